//! The calls of a benchmark case, on tensors in the memory of any place.

use norm_host::{
    Backend, DType, Error, Gate, Place, Quantization, QuantizedMut, View, ViewMut,
    problem::{Operand, Param, Problem, Residual},
    reference::Operation,
};
use norm_kernels::abi::Axis;

use super::case::{BenchCase, EPS};
use super::heads;
use super::op::{Op, Quantizes, Scaled};

/// The place and the addresses of a call's tensors.
#[derive(Clone, Copy, Debug)]
pub struct TensorAddresses {
    pub place: Place,
    pub x: u64,
    /// The output. For operations in place, both input and output, and `x` is not used.
    pub y: u64,
    pub w: u64,
    /// Biases, the weights of a second norm, or tables and positions. Not used if the operation has neither.
    pub b: u64,
    /// The residual or the gate. Not used if the operation has neither.
    pub r: u64,
    /// The sum with a residual. It is `r` unless the operation takes a separate tensor for it.
    pub sum: u64,
}

/// Calls the operation as an engine would. On a stream this enqueues it.
///
/// # Safety
/// At each address that the operation uses, there is a dense tensor of the case's types and extents. Until the work is
/// done, nothing else uses them: the call writes `y` and the sum, and reads the others.
pub unsafe fn call(case: &BenchCase, tensors: TensorAddresses, on: &impl Backend) -> Result<(), Error> {
    let TensorAddresses { place, x, y, w, b, r, sum } = tensors;
    let (types, extents) = (case.types, case.extents.as_slice());
    // SAFETY: the caller guarantees a tensor of this type and these extents at the address, which nothing writes while the
    // view lives.
    let view =
        |address, dtype, extents: &[usize]| unsafe { View::from_raw_parts(place, address, dtype, extents) };
    if let Some(quantizes) = case.op.quantizes() {
        // SAFETY: the caller guarantees what this requires.
        return unsafe { call_quantized(case, quantizes, tensors, on) };
    }
    // SAFETY: the caller guarantees a tensor of this type and these extents at `y`. It has no other view: an operation in
    // place is called with this view alone.
    let mut y = unsafe { ViewMut::from_raw_parts(place, y, types.y, extents) }?;
    let norm = case.operation().norm().weight(view(w, types.w, case.parameter_extents())?);
    // SAFETY: the caller guarantees a tensor of this type and these extents at `sum`. It has no other view: an operation
    // whose sum overwrites the residual is called with this view alone.
    let sum = || unsafe { ViewMut::from_raw_parts(place, sum, case.residual_type(), extents) };
    let r = || view(r, case.residual_type(), extents);
    match case.op {
        Op::RmsInPlace => norm.rows_in_place(&mut y, on),
        Op::Rms => norm.rows(view(x, types.x, extents)?, &mut y, on),
        Op::Layer => {
            let b = view(b, types.w, case.parameter_extents())?;
            norm.bias(b).rows(view(x, types.x, extents)?, &mut y, on)
        }
        Op::Head => norm.heads(view(x, types.x, extents)?, &mut y, on),
        Op::AddRms | Op::AddRmsF32 => norm.add_then_norm(view(x, types.x, extents)?, &mut sum()?, &mut y, on),
        Op::AddRmsTo => norm.add_then_norm_to(view(x, types.x, extents)?, r()?, &mut sum()?, &mut y, on),
        Op::AddLayer => {
            let b = view(b, types.w, case.parameter_extents())?;
            norm.bias(b).add_then_norm(view(x, types.x, extents)?, &mut sum()?, &mut y, on)
        }
        Op::AddLayerTo => {
            let b = view(b, types.w, case.parameter_extents())?;
            norm.bias(b).add_then_norm_to(view(x, types.x, extents)?, r()?, &mut sum()?, &mut y, on)
        }
        Op::GatedRms | Op::GatedHead | Op::GateFirstRms => {
            let gating = case.op.gating().unwrap_or_default();
            let gate = Gate::new(r()?, gating.activation).order(gating.order);
            match case.extents.rank() {
                3 => norm.gated_heads(view(x, types.x, extents)?, gate, &mut y, on),
                _ => norm.gated_rows(view(x, types.x, extents)?, gate, &mut y, on),
            }
        }
        Op::SandwichRms => {
            let next = case.next_operation().norm().weight(view(b, types.w, case.parameter_extents())?);
            norm.sandwich_rows(&next, view(x, types.x, extents)?, &mut sum()?, &mut y, on)
        }
        // SAFETY: the caller guarantees the tensors, at `b` that of the tables; the view of `y` above is not used.
        Op::QkRope => unsafe { heads::call(case, tensors, on) },
        // Called above.
        Op::RmsFp8Static
        | Op::RmsFp8Token
        | Op::RmsFp8Block
        | Op::RmsInt8Token
        | Op::LayerFp8Token
        | Op::AddRmsFp8Static
        | Op::AddRmsFp8Token
        | Op::AddRmsFp8Block => Ok(()),
    }
}

/// Calls an operation whose output is quantized. A scale that is given is the first `f32` at `b`.
///
/// # Safety
/// As for [`call`]; behind the codes at `y` there is memory for the case's scales.
unsafe fn call_quantized(
    case: &BenchCase,
    quantizes: Quantizes,
    tensors: TensorAddresses,
    on: &impl Backend,
) -> Result<(), Error> {
    let TensorAddresses { place, x, y, w, b, sum, .. } = tensors;
    let (types, extents) = (case.types, case.extents.as_slice());
    // SAFETY: the caller guarantees a tensor of this type and these extents at the address, which nothing writes while the
    // view lives.
    let view =
        |address, dtype, extents: &[usize]| unsafe { View::from_raw_parts(place, address, dtype, extents) };
    let quantization = match quantizes.scaled {
        Scaled::Tensor => Quantization::per_tensor(quantizes.format, view(b, DType::F32, &[1])?),
        Scaled::Token => Quantization::per_token(quantizes.format),
        Scaled::Block(block) => Quantization::per_block(quantizes.format, block),
    };
    let quantization = quantization.preset(case.preset());
    let scales = match case.row_scales() {
        0 => None,
        scales => {
            let shape = [case.extents.rows(), scales];
            // SAFETY: the caller guarantees memory for the scales behind the codes, which has no other view.
            let scales =
                unsafe { ViewMut::from_raw_parts(place, y + case.scales_offset(), DType::F32, &shape) };
            Some(scales?)
        }
    };
    // SAFETY: the caller guarantees the codes at `y`, which have no other view.
    let y = unsafe { QuantizedMut::from_raw_parts(place, y, quantizes.format, extents) };
    let mut y = y?.scales(scales);
    let mut norm = case.operation().norm().weight(view(w, types.w, case.parameter_extents())?);
    if case.op.has_bias() {
        norm = norm.bias(view(b, types.w, case.parameter_extents())?);
    }
    let x = view(x, types.x, extents)?;
    if case.op.has_residual() {
        // SAFETY: the caller guarantees a tensor of this type and these extents at `sum`, which has no other view.
        let mut sum = unsafe { ViewMut::from_raw_parts(place, sum, case.residual_type(), extents) }?;
        norm.add_then_quantize(&quantization, x, &mut sum, &mut y, on)
    } else {
        norm.quantize_rows(&quantization, x, &mut y, on)
    }
}

/// Calls the parts of an operation one after the other, as an engine without the fused operation would: a sandwich's two norms, or the
/// norms of queries and of keys, and their rotation.
///
/// # Safety
/// At `x`, `y`, `w`, `b` and `sum`, there are dense tensors of the case's types and extents. Until the work is done,
/// nothing else uses them: the calls write `y` and `sum`, and read the others.
pub unsafe fn call_unfused(
    case: &BenchCase,
    tensors: TensorAddresses,
    on: &impl Backend,
) -> Result<(), Error> {
    if case.op.rotates() {
        // SAFETY: the caller guarantees the tensors, at `b` that of the tables.
        return unsafe { heads::call_unfused(case, tensors, on) };
    }
    let TensorAddresses { place, x, y, w, b, sum, .. } = tensors;
    let (types, extents) = (case.types, case.extents.as_slice());
    // SAFETY: the caller guarantees a tensor of this type and these extents at the address, which nothing writes while the
    // view lives.
    let view =
        |address, dtype, extents: &[usize]| unsafe { View::from_raw_parts(place, address, dtype, extents) };
    // SAFETY: the caller guarantees a tensor of this type and the case's extents at the address. The view lives only for
    // one of the two calls, in which the tensor has no other view.
    let view_mut = |address, dtype| unsafe { ViewMut::from_raw_parts(place, address, dtype, extents) };
    let norm = |operation: Operation, weight| {
        Ok::<_, Error>(operation.norm().weight(view(weight, types.w, case.parameter_extents())?))
    };
    norm(case.operation(), w)?.norm_then_add(
        view(x, types.x, extents)?,
        &mut view_mut(sum, case.residual_type())?,
        on,
    )?;
    norm(case.next_operation(), b)?.rows(
        view(sum, case.residual_type(), extents)?,
        &mut view_mut(y, types.y)?,
        on,
    )
}

/// The `Problem` that the argument checks make of [`call`], for plans with tiles of one's own. It is not for a sandwich
/// or a gate, which take other problems.
pub fn problem(case: &BenchCase, tensors: TensorAddresses) -> Problem {
    let TensorAddresses { x, y, w, b, r, sum, .. } = tensors;
    let (rows, heads, dim) = (case.extents.rows() as u64, case.extents.heads() as u64, case.extents.dim());
    let residual = case.op.has_residual();
    let axis = |extent, stride| {
        let r_stride = if residual { stride } else { 0 };
        Axis { extent, x_stride: stride, y_stride: stride, r_stride, s_stride: r_stride }
    };
    let dense = dim as u64;
    let (outer, inner) = match heads {
        1 => (Axis::ONE, axis(rows, dense)),
        _ => (axis(rows / heads, heads * dense), axis(heads, dense)),
    };
    let [r, sum] = [r, sum].map(|address| Operand { address, dtype: case.residual_type() });
    let param = |address| Param { address, dtype: case.types.w, stride: if heads == 1 { 0 } else { dense } };
    Problem {
        kind: case.op.kind(),
        x: Operand { address: if case.op.is_in_place() { y } else { x }, dtype: case.types.x },
        y: Operand { address: y, dtype: case.types.y },
        residual: residual.then(|| Residual::in_front(r, sum)),
        w: Some(param(w)),
        b: case.op.has_bias().then(|| param(b)),
        axes: [Axis::ONE, outer, inner],
        rows,
        // Parsing limits the last extent to `MAX_DIM`, which fits.
        dim: u32::try_from(dim).unwrap_or(u32::MAX),
        eps: EPS,
        weight_offset: 0.0,
        round_offset: false,
        rounding: case.rounding,
        overlap: true,
    }
}

//! A case's call, on tensors in the memory of any place.

use norm_host::{
    Backend, Error, Place, View, ViewMut,
    problem::{Operand, Param, Problem, Residual},
    reference::Operation,
};
use norm_kernels::abi::Axis;

use super::case::{Case, EPS};
use super::op::Op;

/// Where the tensors of a call are.
#[derive(Clone, Copy, Debug)]
pub struct Tensors {
    pub place: Place,
    pub x: u64,
    /// `x` itself in place.
    pub y: u64,
    pub w: u64,
    /// Biases, or the weights of a second norm. Not read where the operation has neither.
    pub b: u64,
    /// Neither read nor written where the operation has no residual.
    pub r: u64,
    /// The sum with a residual: `r` itself where the operation has no tensor of its own for it.
    pub sum: u64,
}

/// Carries the operation out, or enqueues it, as an engine would.
///
/// # Safety
/// The addresses lead to tensors of the case's types and extents, of which `y` and the sum with a residual
/// alone are written, and which nothing else uses until the work is done.
pub unsafe fn call(case: &Case, tensors: Tensors, on: &impl Backend) -> Result<(), Error> {
    let Tensors { place, x, y, w, b, r, sum } = tensors;
    let (types, extents) = (case.types, case.extents.as_slice());
    // SAFETY: the caller vouches for the addresses.
    let view =
        |address, dtype, extents: &[usize]| unsafe { View::from_raw_parts(place, address, dtype, extents) };
    // SAFETY: as above; `y` has no other view, or is `x` itself, which is not looked at then.
    let mut y = unsafe { ViewMut::from_raw_parts(place, y, types.y, extents) }?;
    let norm = case.operation().norm().weight(view(w, types.w, case.parameter_extents())?);
    // SAFETY: as above; the sum has no other view, or is the residual itself, which is not looked at then.
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
        Op::SandwichRms => {
            let next = case.next_operation().norm().weight(view(b, types.w, case.parameter_extents())?);
            norm.sandwich_rows(&next, view(x, types.x, extents)?, &mut sum()?, &mut y, on)
        }
    }
}

/// A sandwich's two norms, one after the other, as an engine without the fused form would call them.
///
/// # Safety
/// As for [`call`].
pub unsafe fn unfused(case: &Case, tensors: Tensors, on: &impl Backend) -> Result<(), Error> {
    let Tensors { place, x, y, w, b, sum, .. } = tensors;
    let (types, extents) = (case.types, case.extents.as_slice());
    // SAFETY: the caller vouches for the addresses.
    let view =
        |address, dtype, extents: &[usize]| unsafe { View::from_raw_parts(place, address, dtype, extents) };
    // SAFETY: as above; neither tensor has another view while it is written.
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

/// What the checks make of that call, to be planned otherwise than operations are. Of a sandwich it is no such thing.
pub fn problem(case: &Case, tensors: Tensors) -> Problem {
    let Tensors { x, y, w, b, r, sum, .. } = tensors;
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
        // Extents are parsed with this bound.
        dim: u32::try_from(dim).unwrap_or(u32::MAX),
        eps: EPS,
        weight_offset: 0.0,
        round_offset: false,
        rounding: case.rounding,
        overlap: true,
    }
}

//! A case's call, on tensors in the memory of any place.

use norm_host::{Backend, Error, Norm, Operand, Param, Place, Problem, Residual, View, ViewMut};
use norm_kernels::abi::Axis;

use super::case::Case;
use super::op::Op;

/// Added under the square root.
pub const EPS: f32 = 1e-6;

/// Where the tensors of a call are.
#[derive(Clone, Copy, Debug)]
pub struct Tensors {
    pub place: Place,
    pub x: u64,
    /// `x` itself in place.
    pub y: u64,
    pub w: u64,
    /// Not read where the operation has no biases.
    pub b: u64,
    /// Neither read nor written where the operation has no residual.
    pub r: u64,
}

/// Carries the operation out, or enqueues it, as an engine would.
///
/// # Safety
/// The addresses lead to tensors of the case's types and extents, of which `y` and a residual
/// alone are written, and which nothing else uses until the work is done.
pub unsafe fn call(case: &Case, tensors: Tensors, on: &impl Backend) -> Result<(), Error> {
    let Tensors { place, x, y, w, b, r } = tensors;
    let (types, extents) = (case.types, case.extents.as_slice());
    // SAFETY: the caller vouches for the addresses.
    let view =
        |address, dtype, extents: &[usize]| unsafe { View::from_raw_parts(place, address, dtype, extents) };
    // SAFETY: as above; `y` has no other view, or is `x` itself, which is not looked at then.
    let mut y = unsafe { ViewMut::from_raw_parts(place, y, types.y, extents) }?;
    let norm = Norm::new(case.op.kind(), EPS)
        .weight(view(w, types.w, case.parameter_extents())?)
        .rounding(case.rounding);
    // SAFETY: as above; a residual has no other view.
    let residual = || unsafe { ViewMut::from_raw_parts(place, r, types.x, extents) };
    match case.op {
        Op::RmsInPlace => norm.rows_in_place(&mut y, on),
        Op::Rms => norm.rows(view(x, types.x, extents)?, &mut y, on),
        Op::Layer => {
            let b = view(b, types.w, case.parameter_extents())?;
            norm.bias(b).rows(view(x, types.x, extents)?, &mut y, on)
        }
        Op::Head => norm.heads(view(x, types.x, extents)?, &mut y, on),
        Op::AddRms => norm.add_rows(view(x, types.x, extents)?, &mut residual()?, &mut y, on),
        Op::AddLayer => {
            let b = view(b, types.w, case.parameter_extents())?;
            norm.bias(b).add_rows(view(x, types.x, extents)?, &mut residual()?, &mut y, on)
        }
    }
}

/// What the checks make of that call, to be planned otherwise than operations are.
pub fn problem(case: &Case, tensors: Tensors) -> Problem {
    let Tensors { x, y, w, b, r, .. } = tensors;
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
    let r = Operand { address: r, dtype: case.types.x };
    let param = |address| Param { address, dtype: case.types.w, stride: if heads == 1 { 0 } else { dense } };
    Problem {
        kind: case.op.kind(),
        x: Operand { address: if case.op.is_in_place() { y } else { x }, dtype: case.types.x },
        y: Operand { address: y, dtype: case.types.y },
        residual: residual.then(|| Residual::in_front(r, r)),
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

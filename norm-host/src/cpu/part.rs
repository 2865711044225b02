//! One part of a row: its share of a sum, its outputs.

use super::{
    affine::{Scale, affine},
    line::{Line, Run},
    sum::{Center, Term, sum},
    vector::{STREAM_ALIGN, Vector},
    wide::{Wide, elements_mut, narrow},
    workspace::Workspace,
};
use crate::DType;

/// Elements worked on at a time: what most rows have, so that 16-bit types are converted once, and
/// little enough for four such parts to stay in the second-level cache.
pub(super) const PART: usize = 8192;

/// What an infinite `f16` input counts as: one infinity from an earlier layer must not wipe out the
/// row.
const LARGEST_F16: f32 = 65504.0;

/// Parts of a row of `dim` elements.
#[inline(always)]
pub(super) fn parts(dim: usize) -> usize {
    dim.div_ceil(PART)
}

/// Where part `index` of a row starts, and how long it is.
#[inline(always)]
fn span(line: &Line, index: usize) -> (usize, usize) {
    let from = index * PART;
    (from, PART.min(line.dim - from))
}

/// A total over part `index` of the row.
///
/// # Safety
///
/// As [`Perform`](super::perform::Perform), for the part, on a machine with the instructions of
/// `V`.
#[inline(always)]
pub(super) unsafe fn total<V: Vector>(
    line: &Line,
    term: impl Term,
    index: usize,
    space: &mut Workspace,
) -> f64 {
    let (from, len) = span(line, index);
    // SAFETY: handed on; the part is within the row.
    unsafe { sum::<V>(space.x.read::<V>(line.x, from, len, LARGEST_F16), len, term) }
}

/// `y = (x - center) * rstd * (w + weight_offset) + b` over part `index` of the row, rounded once.
///
/// # Safety
///
/// As [`total`].
#[inline(always)]
pub(super) unsafe fn write<V: Vector, C: Center>(
    line: &Line,
    center: C,
    rstd: f32,
    index: usize,
    space: &mut Workspace,
) {
    let (from, len) = span(line, index);
    let scale = Scale { center, rstd, weight_offset: line.weight_offset };
    // SAFETY: handed on; the part is within the row, and in place no later part reads it again.
    unsafe {
        let x = space.x.read::<V>(line.x, from, len, LARGEST_F16);
        let w = param::<V>(&mut space.w, line.w, from, len);
        let b = param::<V>(&mut space.b, line.b, from, len);
        let y = match line.y.dtype {
            DType::F32 => elements_mut(line.y.at(from)),
            DType::F16 | DType::BF16 => space.y.as_mut_ptr(),
        };
        let none = std::ptr::null();
        let stream = line.stream && y.addr().is_multiple_of(STREAM_ALIGN);
        match (w, b) {
            (None, None) => affine::<V, C, false, false>(y, (x, none, none), len, scale, stream),
            (Some(w), None) => affine::<V, C, true, false>(y, (x, w, none), len, scale, stream),
            (None, Some(b)) => affine::<V, C, false, true>(y, (x, none, b), len, scale, stream),
            (Some(w), Some(b)) => affine::<V, C, true, true>(y, (x, w, b), len, scale, stream),
        }
        narrow::<V>(&space.y[..len], line.y, from);
    }
}

/// A part of the weights or biases, if there are any.
///
/// # Safety
///
/// As [`total`].
#[inline(always)]
unsafe fn param<V: Vector>(
    space: &mut Wide,
    param: Option<Run>,
    from: usize,
    len: usize,
) -> Option<*const f32> {
    // SAFETY: handed on.
    param.map(|param| unsafe { space.read::<V>(param, from, len, f32::INFINITY) })
}

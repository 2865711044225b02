//! One part of a row: its share of a sum, its outputs.

use super::{
    affine::{Scale, affine},
    line::{Line, Run, Terms},
    residual::add,
    round::{Between, Nothing, Steps, add_and_round},
    sum::{self, Center, sums},
    vector::{STREAM_ALIGN, Vector},
    wide::{Wide, narrow},
    workspace::Workspace,
};
use crate::problem::Roundings;

/// Elements worked on at a time: what most rows have, so that 16-bit types are converted once, and
/// little enough for four such parts to stay in the second-level cache.
///
/// Miri takes microseconds for each element, and finds in short parts what it finds in long ones.
pub(super) const PART: usize = if cfg!(miri) { 32 } else { 8192 };

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

/// Stores part `index` of the row that is the sum of an input and a residual, rounded to its type.
///
/// # Safety
///
/// As [`Perform`](super::perform::Perform), for the part, on a machine with the instructions of
/// `V`.
#[inline(always)]
pub(super) unsafe fn add_residual<V: Vector>(
    line: &Line,
    Terms { branch, r }: Terms,
    index: usize,
    space: &mut Workspace,
) {
    let (from, len) = span(line, index);
    // SAFETY: the caller keeps the row's elements there; the part is within it, and is read before it is written.
    unsafe {
        let x = space.addend.read::<V>(branch, from, len, f32::INFINITY);
        let r = space.x.read::<V>(r, from, len, f32::INFINITY);
        add::<V>(space.output(line.x, from), (x, r), len, line.scaling);
        narrow::<V>(&space.y[..len], line.x, from);
    }
    // It holds what was there before, which the sum may have taken the place of.
    space.x.forget();
}

/// Totals over part `index` of the row.
///
/// # Safety
///
/// As [`add_residual`].
#[inline(always)]
pub(super) unsafe fn totals<V: Vector, const N: usize>(
    line: &Line,
    terms: impl sum::Terms<N>,
    index: usize,
    space: &mut Workspace,
) -> [f64; N] {
    let (from, len) = span(line, index);
    // SAFETY: handed on; the part is within the row.
    unsafe { sums::<V, N>(space.x.read::<V>(line.x, from, len, LARGEST_F16), len, terms) }
}

/// `y = (x - center) * rstd * (w + weight_offset) + b` over part `index` of the row, or as much
/// added to `y`, rounded once, or where there are roundings in between (`ROUNDS`), by those of the row.
///
/// # Safety
///
/// As [`add_residual`].
#[inline(always)]
pub(super) unsafe fn write<V: Vector, C: Center, const ROUNDS: bool>(
    line: &Line,
    center: C,
    rstd: f32,
    index: usize,
    space: &mut Workspace,
) {
    // SAFETY: the caller keeps for this part what `add_residual` asks, and both of these ask the same.
    unsafe {
        match ROUNDS {
            false => write_at_once::<V, C>(line, center, rstd, index, space),
            true => write_in_steps::<V, C>(line, center, rstd, index, space),
        }
    }
}

/// [`write`] with the last rounding alone.
///
/// # Safety
///
/// As [`add_residual`].
#[inline(always)]
unsafe fn write_at_once<V: Vector, C: Center>(
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
        let y = if line.behind.is_some() { space.y.as_mut_ptr() } else { space.output(line.y, from) };
        let stream = line.stream && y.addr().is_multiple_of(STREAM_ALIGN);
        outputs::<V, C>(y, (x, w, b), len, scale, Nothing, stream);
        if let Some(r) = line.behind {
            let r = space.addend.read::<V>(r, from, len, f32::INFINITY);
            add::<V>(space.output(line.y, from), (y, r), len, line.scaling);
        }
        narrow::<V>(&space.y[..len], line.y, from);
    }
}

/// [`write`] with the roundings of the row before the last one.
///
/// # Safety
///
/// As [`add_residual`].
#[inline(always)]
unsafe fn write_in_steps<V: Vector, C: Center>(
    line: &Line,
    center: C,
    rstd: f32,
    index: usize,
    space: &mut Workspace,
) {
    let (from, len) = span(line, index);
    let Roundings { factor, normalized, product, result, .. } = line.roundings;
    // -0, which changes no weight, where the offset has been added already.
    let weight_offset = if factor.is_some() { -0.0 } else { line.weight_offset };
    let scale = Scale { center, rstd, weight_offset };
    // SAFETY: the caller keeps the row's elements in memory and the instructions there; the part is within the row, and in
    // place no later part reads it again.
    unsafe {
        let x = space.x.read::<V>(line.x, from, len, LARGEST_F16);
        let added = factor.map(|_| line.weight_offset);
        let w = line.w.map(|w| space.w.read_sum::<V>(w, from, len, f32::INFINITY, added));
        let b = param::<V>(&mut space.b, line.b, from, len);
        let y = if line.behind.is_some() { space.y.as_mut_ptr() } else { space.output(line.y, from) };
        let stream = line.stream && y.addr().is_multiple_of(STREAM_ALIGN);
        outputs::<V, C>(y, (x, w, b), len, scale, Steps { normalized, product }, stream);
        if let Some(r) = line.behind {
            if let Some(to) = result {
                add_and_round::<V>(&mut space.y[..len], -0.0, to);
            }
            let r = space.addend.read::<V>(r, from, len, f32::INFINITY);
            add::<V>(space.output(line.y, from), (y, r), len, line.scaling);
        }
        narrow::<V>(&space.y[..len], line.y, from);
    }
}

/// [`affine`] with the weights and biases that there are.
///
/// # Safety
///
/// As [`affine`].
#[inline(always)]
unsafe fn outputs<V: Vector, C: Center>(
    y: *mut f32,
    (x, w, b): (*const f32, Option<*const f32>, Option<*const f32>),
    len: usize,
    scale: Scale<C>,
    between: impl Between,
    stream: bool,
) {
    let none = std::ptr::null();
    // SAFETY: the caller keeps what `affine` asks, of the weights and biases that there are.
    unsafe {
        match (w, b) {
            (None, None) => affine::<V, C, false, false>(y, (x, none, none), len, scale, between, stream),
            (Some(w), None) => affine::<V, C, true, false>(y, (x, w, none), len, scale, between, stream),
            (None, Some(b)) => affine::<V, C, false, true>(y, (x, none, b), len, scale, between, stream),
            (Some(w), Some(b)) => affine::<V, C, true, true>(y, (x, w, b), len, scale, between, stream),
        }
    }
}

/// A part of the weights or biases, if there are any.
///
/// # Safety
///
/// As [`add_residual`].
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

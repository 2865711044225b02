//! One row normalized, part by part: the sums, then the output.

use norm_kernels::abi::NormKind;

use super::{
    line::{Line, Run},
    sum::sum,
    wide::{PART, Wide},
};
use crate::DType;

/// Where parts of rows are while they are worked on. One for each task, reused row after row.
pub(super) struct Workspace {
    x: Wide,
    /// Where the part in `x` starts in its row, if it holds one: a row of one part is read once.
    held: Option<usize>,
    w: Wide,
    b: Wide,
    y: Wide,
}

impl Workspace {
    pub(super) const EMPTY: Workspace =
        Workspace { x: Wide::ZERO, held: None, w: Wide::ZERO, b: Wide::ZERO, y: Wide::ZERO };
}

/// Normalizes a row.
///
/// # Safety
///
/// The elements of the line's `x`, `w` and `b` are there to be read and those of `y` to be
/// written, and no other thread writes any of the former or touches any of the latter meanwhile.
pub(super) type Normalize = unsafe fn(&Line, &mut Workspace);

/// The fastest for this machine.
///
/// All give the same bits: `mul_add` rounds once everywhere, but is a slow function call where
/// the compiler may not assume the instruction.
pub(super) fn normalizer() -> Normalize {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        return normalize_avx2;
    }
    normalize
}

/// # Safety
///
/// As [`Normalize`], on a machine with AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn normalize_avx2(line: &Line, space: &mut Workspace) {
    // SAFETY: handed on.
    unsafe { normalize(line, space) }
}

/// # Safety
///
/// As [`Normalize`].
#[inline(always)]
unsafe fn normalize(line: &Line, space: &mut Workspace) {
    space.held = None;
    // SAFETY: handed on, to each.
    unsafe {
        match line.kind {
            NormKind::Rms => {
                let rstd = rstd(line, space, |x| x);
                write(line, space, |x| x * rstd);
            }
            NormKind::Layer => {
                let mean = mean_of(line, space, f64::from);
                // The mean as two `f32`: what rounding took from the first is in the second.
                let high = mean as f32;
                let low = (mean - f64::from(high)) as f32;
                let centered = |x: f32| (x - high) - low;
                let rstd = rstd(line, space, centered);
                write(line, space, |x| centered(x) * rstd);
            }
        }
    }
}

/// `1 / sqrt(mean(f(x)²) + eps)`.
///
/// # Safety
///
/// As [`Normalize`].
#[inline(always)]
unsafe fn rstd(line: &Line, space: &mut Workspace, f: impl Fn(f32) -> f32) -> f32 {
    // SAFETY: handed on.
    let mean = unsafe {
        mean_of(line, space, |x| {
            let value = f64::from(f(x));
            value * value
        })
    };
    (1.0 / (mean + f64::from(line.eps)).sqrt()) as f32
}

/// The mean of `f(x)` over the row.
///
/// # Safety
///
/// As [`Normalize`].
#[inline(always)]
unsafe fn mean_of(line: &Line, space: &mut Workspace, f: impl Fn(f32) -> f64) -> f64 {
    let mut total = 0.0;
    for (from, len) in parts(line.dim) {
        // SAFETY: handed on; the part is within the row.
        total += sum(unsafe { input(line, space, from, len) }, &f);
    }
    total / line.dim as f64
}

/// `y = norm(x) * (w + weight_offset) + b`, rounded once.
///
/// # Safety
///
/// As [`Normalize`].
#[inline(always)]
unsafe fn write(line: &Line, space: &mut Workspace, norm: impl Fn(f32) -> f32) {
    let offset = line.weight_offset;
    for (from, len) in parts(line.dim) {
        // SAFETY: the part is within the row. In place, it has been read before it is written,
        // and no later part reads it again.
        unsafe {
            input(line, space, from, len);
            let w = param(&mut space.w, line.w, from, len);
            let b = param(&mut space.b, line.b, from, len);
            let x = space.x.first(len);
            let y = space.y.first_mut(len);
            match (w, b) {
                (None, None) => scale(y, x, x, x, |x, _, _| norm(x)),
                (Some(w), None) => scale(y, x, w, w, |x, w, _| norm(x) * (w + offset)),
                (None, Some(b)) => scale(y, x, b, b, |x, b, _| norm(x) + b),
                (Some(w), Some(b)) => scale(y, x, w, b, |x, w, b| norm(x).mul_add(w + offset, b)),
            }
            space.y.write(line.y, from, len);
        }
    }
}

/// `y = f(x, w, b)`, element by element.
#[inline(always)]
fn scale(y: &mut [f32], x: &[f32], w: &[f32], b: &[f32], f: impl Fn(f32, f32, f32) -> f32) {
    for (((y, x), w), b) in y.iter_mut().zip(x).zip(w).zip(b) {
        *y = f(*x, *w, *b);
    }
}

/// A part of the input as the arithmetic sees it: finite where it is `f16`, but for NaN.
///
/// # Safety
///
/// As [`Normalize`]; the part is within the row.
#[inline(always)]
unsafe fn input<'a>(line: &Line, space: &'a mut Workspace, from: usize, len: usize) -> &'a [f32] {
    if space.held != Some(from) {
        // SAFETY: handed on.
        let x = unsafe { space.x.read(line.x, from, len) };
        if line.x.dtype == DType::F16 {
            // One infinity from an earlier layer must not wipe out the row. `clamp` keeps NaN.
            x.iter_mut().for_each(|x| *x = x.clamp(-65504.0, 65504.0));
        }
        space.held = Some(from);
    }
    space.x.first(len)
}

/// A part of the weights or biases, if there are any.
///
/// # Safety
///
/// As [`Normalize`]; the part is within the row.
#[inline(always)]
unsafe fn param(space: &mut Wide, param: Option<Run>, from: usize, len: usize) -> Option<&[f32]> {
    // SAFETY: handed on.
    param.map(|param| unsafe { &*space.read(param, from, len) })
}

/// Where each part of a row starts, and how long it is.
fn parts(dim: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..dim).step_by(PART).map(move |from| (from, PART.min(dim - from)))
}

//! One row normalized, part by part: the sums, then the output.

#[cfg(test)]
mod tests;

use norm_kernels::abi::NormKind;

use super::{
    line::{Line, Run},
    sum::sum,
    wide::{PART, Wide},
};
use crate::DType;

/// Where parts of rows are while they are worked on. One for each thread, reused row after row:
/// rows that share weights convert them once.
pub(super) struct Workspace {
    x: Wide,
    w: Wide,
    b: Wide,
}

impl Workspace {
    pub(super) fn new() -> Workspace {
        Workspace { x: Wide::new(), w: Wide::new(), b: Wide::new() }
    }

    /// Forgets what the last operation left: the memory may hold something else by now.
    pub(super) fn forget(&mut self) {
        self.x.forget();
        self.w.forget();
        self.b.forget();
    }
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
        total += sum(unsafe { input(line, &mut space.x, from, len) }, &f);
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
            let x = input(line, &mut space.x, from, len);
            let w = param(&mut space.w, line.w, from, len);
            let b = param(&mut space.b, line.b, from, len);
            match (w, b) {
                (None, None) => x.iter_mut().for_each(|x| *x = norm(*x)),
                (Some(w), None) => each(x, w, |x, w| norm(x) * (w + offset)),
                (None, Some(b)) => each(x, b, |x, b| norm(x) + b),
                (Some(w), Some(b)) => {
                    for ((x, w), b) in x.iter_mut().zip(w).zip(b) {
                        *x = norm(*x).mul_add(*w + offset, *b);
                    }
                }
            }
            space.x.write(line.y, from, len);
            // It holds outputs now.
            space.x.forget();
        }
    }
}

/// `x = f(x, p)`, element by element.
#[inline(always)]
fn each(x: &mut [f32], p: &[f32], f: impl Fn(f32, f32) -> f32) {
    for (x, p) in x.iter_mut().zip(p) {
        *x = f(*x, *p);
    }
}

/// A part of the input as the arithmetic sees it: finite where it is `f16`, but for NaN.
///
/// # Safety
///
/// As [`Normalize`]; the part is within the row.
#[inline(always)]
unsafe fn input<'a>(line: &Line, space: &'a mut Wide, from: usize, len: usize) -> &'a mut [f32] {
    let as_seen = |x: &mut [f32]| {
        if line.x.dtype == DType::F16 {
            // One infinity from an earlier layer must not wipe out the row. `clamp` keeps NaN.
            x.iter_mut().for_each(|x| *x = x.clamp(-65504.0, 65504.0));
        }
    };
    // SAFETY: handed on.
    unsafe { space.read(line.x, from, len, as_seen) }
}

/// A part of the weights or biases, if there are any.
///
/// # Safety
///
/// As [`Normalize`]; the part is within the row.
#[inline(always)]
unsafe fn param(space: &mut Wide, param: Option<Run>, from: usize, len: usize) -> Option<&[f32]> {
    // SAFETY: handed on.
    param.map(|param| unsafe { &*space.read(param, from, len, |_| {}) })
}

/// Where each part of a row starts, and how long it is.
fn parts(dim: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..dim).step_by(PART).map(move |from| (from, PART.min(dim - from)))
}

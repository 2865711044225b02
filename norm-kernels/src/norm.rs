//! The two normalizations, over any part of a row and any team of threads.

use crate::each::each;
use crate::element::Element;
use crate::gpu;
use crate::part::Part;
use crate::reduce::{FIRST, SECOND, Team};

/// A normalization.
pub trait Norm {
    /// Whether its kernels that hold a row can add biases. RMSNorm has them so seldom that they
    /// are left to the kernel that streams, for registers: 0.975 instead of 0.938 of a copy's
    /// bandwidth at 1024 f16 (NVIDIA H200, 2026-11-22).
    const HELD_BIASES: bool;

    /// Normalizes one row of `1 / reciprocal` elements, `y = norm(x) * (w + offset) + b`.
    ///
    /// # Safety
    /// As [`Part::write`].
    unsafe fn run<T: Team, Y: Element, const N: usize>(part: impl Part<N>, reciprocal: f64, eps: f32);
}

/// `x / sqrt(mean(x²) + eps)` (Zhang and Sennrich 2019, arXiv:1910.07467).
pub struct Rms;

/// `(x - mean(x)) / sqrt(var(x) + eps)`, biased variance (Ba et al. 2016, arXiv:1607.06450).
pub struct Layer;

impl Norm for Rms {
    const HELD_BIASES: bool = false;

    #[inline(always)]
    unsafe fn run<T: Team, Y: Element, const N: usize>(part: impl Part<N>, reciprocal: f64, eps: f32) {
        let rstd = rstd::<T, _, N>(&part, reciprocal, eps, |x| x);
        // SAFETY: handed on.
        unsafe { part.write::<Y>(|x| x * rstd) };
    }
}

impl Norm for Layer {
    const HELD_BIASES: bool = true;

    #[inline(always)]
    unsafe fn run<T: Team, Y: Element, const N: usize>(part: impl Part<N>, reciprocal: f64, eps: f32) {
        // In f64, because terms can cancel: no f32 sum would keep the accuracy promise.
        // A sum a vector first, so that the adder has several chains to work on.
        let mut sum = 0.0;
        part.each(|x, _| {
            let mut vector = 0.0;
            each::<N>(|i| vector += x[i] as f64);
            sum += vector;
        });
        let mean = (T::sum(sum, FIRST) * reciprocal) as f32;
        let rstd = rstd::<T, _, N>(&part, reciprocal, eps, |x| x - mean);
        // SAFETY: handed on.
        unsafe { part.write::<Y>(|x| (x - mean) * rstd) };
    }
}

/// `1 / sqrt(mean(f(x)²) + eps)` over the row.
///
/// Squares are summed in f32 within a vector, and in f64 from vector to vector: a thread's sum is
/// off by few ULPs however long the row is.
#[inline(always)]
fn rstd<T: Team, P: Part<N>, const N: usize>(
    part: &P,
    reciprocal: f64,
    eps: f32,
    f: impl Fn(f32) -> f32,
) -> f32 {
    let mut sum = 0.0;
    part.each(|x, valid| {
        let mut squares = 0.0;
        each::<N>(|i| {
            let value = if P::WHOLE || (i as u32) < valid { f(x[i]) } else { 0.0 };
            squares = gpu::fma(value, value, squares);
        });
        sum += if P::WHOLE && valid == 0 { 0.0 } else { squares as f64 };
    });
    let mean = T::sum(sum as f32, SECOND) * reciprocal as f32;
    gpu::rsqrt(mean + eps)
}

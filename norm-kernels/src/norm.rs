//! The two normalizations, over any part of a row and any team of threads.

use crate::each::each;
use crate::element::Element;
use crate::gpu;
use crate::part::Part;
use crate::reduce::{FIRST, SECOND, Team};
use crate::sum::{Compensated, Sum};

/// A normalization.
pub trait Norm {
    /// Normalizes one row of `dim` elements, `y = norm(x) * (w + offset) + b`.
    ///
    /// # Safety
    /// As [`Part::write`].
    unsafe fn run<T: Team, Y: Element, const N: usize>(part: impl Part<N>, dim: u32, eps: f32);
}

/// `x / sqrt(mean(x²) + eps)` (Zhang and Sennrich 2019, arXiv:1910.07467).
pub struct Rms;

/// `(x - mean(x)) / sqrt(var(x) + eps)`, biased variance (Ba et al. 2016, arXiv:1607.06450).
pub struct Layer;

impl Norm for Rms {
    #[inline(always)]
    unsafe fn run<T: Team, Y: Element, const N: usize>(part: impl Part<N>, dim: u32, eps: f32) {
        let rstd = rstd::<T, N>(&part, dim, eps, |x| x);
        // SAFETY: handed on.
        unsafe { part.write::<Y>(|x| x * rstd) };
    }
}

impl Norm for Layer {
    #[inline(always)]
    unsafe fn run<T: Team, Y: Element, const N: usize>(part: impl Part<N>, dim: u32, eps: f32) {
        let mut sum = Compensated::ZERO;
        part.each(|x, _| each::<N>(|i| sum = sum.add(x[i])));
        let mean = T::sum(sum, FIRST).mean(dim as f32);
        let rstd = rstd::<T, N>(&part, dim, eps, |x| x - mean);
        // SAFETY: handed on.
        unsafe { part.write::<Y>(|x| (x - mean) * rstd) };
    }
}

/// `1 / sqrt(mean(f(x)²) + eps)` over the row.
///
/// Squares are summed plainly within a vector, and with compensation from vector to vector: a
/// thread's sum is off by few ULPs however long the row is.
#[inline(always)]
fn rstd<T: Team, const N: usize>(part: &impl Part<N>, dim: u32, eps: f32, f: impl Fn(f32) -> f32) -> f32 {
    let mut sum = Compensated::ZERO;
    part.each(|x, valid| {
        let mut squares = 0.0;
        each::<N>(|i| {
            let value = if (i as u32) < valid { f(x[i]) } else { 0.0 };
            squares = gpu::fma(value, value, squares);
        });
        sum = sum.add(squares);
    });
    let mean = T::sum(sum.value(), SECOND) * (1.0 / dim as f32);
    1.0 / gpu::sqrt(mean + eps)
}

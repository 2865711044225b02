//! What is added up over a row.

use std::array::from_fn;

use super::vector::{Doubles, Vector, WIDTH, load_some};

/// Where a row's elements are measured from.
pub(super) trait Center: Copy {
    /// What it leaves of `x`.
    ///
    /// # Safety
    ///
    /// The machine has the instructions of `V`.
    unsafe fn leave<V: Vector>(self, x: V) -> V;
}

/// 0, from where RMSNorm measures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin;

impl Center for Origin {
    #[inline(always)]
    unsafe fn leave<V: Vector>(self, x: V) -> V {
        x
    }
}

/// A mean as two `f32`: what rounding took from the first is in the second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mean {
    high: f32,
    low: f32,
}

impl Mean {
    /// That of `count` elements that add up to `sum`. The second part comes from the difference of sums, which is exact:
    /// the mean itself, a product with `reciprocal`, the rounded `1 / count`, may be off by an ULP of `f64`, and
    /// of a row of one value throughout that would be all that is left.
    #[inline(always)]
    pub(super) fn of_sum(sum: f64, count: f64, reciprocal: f64) -> Mean {
        let high = (sum * reciprocal) as f32;
        Mean { high, low: ((sum - f64::from(high) * count) * reciprocal) as f32 }
    }
}

impl Center for Mean {
    #[inline(always)]
    unsafe fn leave<V: Vector>(self, x: V) -> V {
        // SAFETY: handed on.
        unsafe { x.sub(V::splat(self.high)).sub(V::splat(self.low)) }
    }
}

/// What an element adds to `N` sums.
pub(super) trait Terms<const N: usize>: Copy {
    /// `sums` and what `x` adds to each.
    ///
    /// # Safety
    ///
    /// The machine has the instructions of `V`.
    unsafe fn add<V: Vector>(self, sums: [V::Doubles; N], x: V) -> [V::Doubles; N];
}

/// Its square, measured from a center: exact in `f64`, but for what the center took.
#[derive(Clone, Copy)]
pub(super) struct Square<C>(pub(super) C);

impl<C: Center> Terms<1> for Square<C> {
    #[inline(always)]
    unsafe fn add<V: Vector>(self, [sum]: [V::Doubles; 1], x: V) -> [V::Doubles; 1] {
        // SAFETY: handed on.
        [sum.add_square(unsafe { self.0.leave(x) }.widen())]
    }
}

/// The element itself, and its square.
#[derive(Clone, Copy)]
pub(super) struct Moments;

impl Terms<2> for Moments {
    #[inline(always)]
    unsafe fn add<V: Vector>(self, [sum, squares]: [V::Doubles; 2], x: V) -> [V::Doubles; 2] {
        let x = x.widen();
        [sum.add(x), squares.add_square(x)]
    }
}

/// Vectors of sums that run side by side, which hide the latency of adding. Four were no faster where
/// memory sets the pace.
const SUMS: usize = 2;

/// The sums of the terms of `len` elements, a part of a row, in `f64`.
///
/// Of at most 8192 elements a lane adds 512, a row of 2²⁰ elements has 128 such parts, and each
/// addition is within 2⁻⁵³: each result is within 2⁻⁴³ of the sum of magnitudes. The order depends
/// on the number of elements alone.
///
/// # Safety
///
/// They are there, aligned to an `f32`. The machine has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn sums<V: Vector, const N: usize>(
    x: *const f32,
    len: usize,
    terms: impl Terms<N>,
) -> [f64; N] {
    // SAFETY: handed on; no index reaches `len`.
    unsafe {
        let zeros = [V::Doubles::zero(); N];
        let mut sums = [zeros; SUMS];
        let mut at = 0;
        while at + SUMS * WIDTH <= len {
            for (index, sums) in sums.iter_mut().enumerate() {
                *sums = terms.add(*sums, V::load(x.add(at + index * WIDTH)));
            }
            at += SUMS * WIDTH;
        }
        if at + WIDTH <= len {
            sums[0] = terms.add(sums[0], V::load(x.add(at)));
            at += WIDTH;
        }
        let [even, odd] = sums;
        let mut totals: [f64; N] = from_fn(|n| even[n].add(odd[n]).total());
        if at < len {
            let rest = terms.add(zeros, load_some::<V>(x.add(at), len - at));
            for (total, rest) in totals.iter_mut().zip(rest) {
                for term in &rest.to_array()[..len - at] {
                    *total += term;
                }
            }
        }
        totals
    }
}

//! What is added up over a row.

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
    #[inline(always)]
    pub(super) fn new(mean: f64) -> Mean {
        let high = mean as f32;
        Mean { high, low: (mean - f64::from(high)) as f32 }
    }
}

impl Center for Mean {
    #[inline(always)]
    unsafe fn leave<V: Vector>(self, x: V) -> V {
        // SAFETY: handed on.
        unsafe { x.sub(V::splat(self.high)).sub(V::splat(self.low)) }
    }
}

/// What an element adds to a sum.
pub(super) trait Term: Copy {
    /// `sum` and what `x` adds to it.
    ///
    /// # Safety
    ///
    /// The machine has the instructions of `V`.
    unsafe fn add<V: Vector>(self, sum: V::Doubles, x: V) -> V::Doubles;
}

/// The element itself.
#[derive(Clone, Copy)]
pub(super) struct Plain;

impl Term for Plain {
    #[inline(always)]
    unsafe fn add<V: Vector>(self, sum: V::Doubles, x: V) -> V::Doubles {
        sum.add(x.widen())
    }
}

/// Its square, measured from a center: exact in `f64`, but for what the center took.
#[derive(Clone, Copy)]
pub(super) struct Square<C>(pub(super) C);

impl<C: Center> Term for Square<C> {
    #[inline(always)]
    unsafe fn add<V: Vector>(self, sum: V::Doubles, x: V) -> V::Doubles {
        // SAFETY: handed on.
        sum.add_square(unsafe { self.0.leave(x) }.widen())
    }
}

/// Vectors of sums that run side by side, which hide the latency of adding. Four were no faster where
/// memory sets the pace.
const SUMS: usize = 2;

/// The sum of the terms of `len` elements, a part of a row, in `f64`.
///
/// Of at most 8192 elements a lane adds 512, a row of 2²⁰ elements has 128 such parts, and each
/// addition is within 2⁻⁵³: the result is within 2⁻⁴³ of the sum of magnitudes. The order depends
/// on the number of elements alone.
///
/// # Safety
///
/// They are there, aligned to an `f32`. The machine has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn sum<V: Vector>(x: *const f32, len: usize, term: impl Term) -> f64 {
    // SAFETY: handed on; no index reaches `len`.
    unsafe {
        let mut sums = [V::Doubles::zero(); SUMS];
        let mut at = 0;
        while at + SUMS * WIDTH <= len {
            for (index, sum) in sums.iter_mut().enumerate() {
                *sum = term.add(*sum, V::load(x.add(at + index * WIDTH)));
            }
            at += SUMS * WIDTH;
        }
        if at + WIDTH <= len {
            sums[0] = term.add(sums[0], V::load(x.add(at)));
            at += WIDTH;
        }
        let [a, b] = sums;
        let [a, b, c, d, e, f, g, h] = a.add(b).to_array();
        let mut total = ((a + e) + (c + g)) + ((b + f) + (d + h));
        if at < len {
            let terms = term.add(V::Doubles::zero(), load_some::<V>(x.add(at), len - at)).to_array();
            for term in &terms[..len - at] {
                total += term;
            }
        }
        total
    }
}

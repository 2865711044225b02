//! Sums in f32 that stay exact enough over a million terms.

use crate::gpu;

/// A partial sum that threads exchange.
///
/// `plus` is commutative to the bit, so that all lanes of a butterfly end with the same bits.
pub trait Sum: Copy {
    /// Bytes in shared memory.
    const BYTES: u32;
    /// The empty sum.
    const ZERO: Self;

    /// The sum of both.
    fn plus(self, other: Self) -> Self;

    /// The sum held by the lane whose number differs by `lane_mask`.
    fn shuffle_xor(self, lane_mask: u32) -> Self;

    /// # Safety
    /// As [`gpu::store_shared`], for [`Self::BYTES`] bytes.
    unsafe fn store_shared(self, offset: u32);

    /// # Safety
    /// As [`gpu::load_shared`], for [`Self::BYTES`] bytes.
    unsafe fn load_shared(offset: u32) -> Self;
}

/// For terms of one sign, already summed with care within a thread: ten levels of a tree add
/// at most ten half ULPs.
impl Sum for f32 {
    const BYTES: u32 = 4;
    const ZERO: f32 = 0.0;

    #[inline(always)]
    fn plus(self, other: f32) -> f32 {
        self + other
    }

    #[inline(always)]
    fn shuffle_xor(self, lane_mask: u32) -> f32 {
        gpu::shuffle_xor(self, lane_mask)
    }

    #[inline(always)]
    unsafe fn store_shared(self, offset: u32) {
        // SAFETY: handed on.
        unsafe { gpu::store_shared(offset, self) }
    }

    #[inline(always)]
    unsafe fn load_shared(offset: u32) -> f32 {
        // SAFETY: handed on.
        unsafe { gpu::load_shared(offset) }
    }
}

/// `high + low`, `low` being what rounding took from `high`: about 48 bits of a sum, for terms
/// that can cancel.
#[derive(Clone, Copy)]
pub struct Compensated {
    high: f32,
    low: f32,
}

impl Compensated {
    /// Adds one term.
    #[inline(always)]
    pub fn add(self, term: f32) -> Compensated {
        let (high, error) = two_sum(self.high, term);
        Compensated { high, low: self.low + error }
    }

    /// The sum, rounded.
    #[inline(always)]
    pub fn value(self) -> f32 {
        let value = self.high + self.low;
        // An infinite sum has no error term: infinity less infinity.
        if value.is_nan() { self.high } else { value }
    }

    /// The sum divided by `count`, within one ULP, and exact where all terms are equal.
    #[inline(always)]
    pub fn mean(self, count: f32) -> f32 {
        let reciprocal = 1.0 / count;
        let estimate = self.high * reciprocal;
        let rest = gpu::fma(-estimate, count, self.high) + self.low;
        let mean = gpu::fma(rest, reciprocal, estimate);
        if mean.is_nan() { estimate } else { mean }
    }
}

impl Sum for Compensated {
    const BYTES: u32 = 8;
    const ZERO: Compensated = Compensated { high: 0.0, low: 0.0 };

    #[inline(always)]
    fn plus(self, other: Compensated) -> Compensated {
        let (high, error) = two_sum(self.high, other.high);
        Compensated { high, low: (self.low + other.low) + error }
    }

    #[inline(always)]
    fn shuffle_xor(self, lane_mask: u32) -> Compensated {
        Compensated {
            high: gpu::shuffle_xor(self.high, lane_mask),
            low: gpu::shuffle_xor(self.low, lane_mask),
        }
    }

    #[inline(always)]
    unsafe fn store_shared(self, offset: u32) {
        // SAFETY: handed on, half for half.
        unsafe {
            gpu::store_shared(offset, self.high);
            gpu::store_shared(offset + 4, self.low);
        }
    }

    #[inline(always)]
    unsafe fn load_shared(offset: u32) -> Compensated {
        // SAFETY: handed on, half for half.
        unsafe { Compensated { high: gpu::load_shared(offset), low: gpu::load_shared(offset + 4) } }
    }
}

/// `a + b` rounded, and exactly what rounding took (Knuth's TwoSum; Møller 1965).
#[inline(always)]
fn two_sum(a: f32, b: f32) -> (f32, f32) {
    let sum = a + b;
    let b_part = sum - a;
    let a_part = sum - b_part;
    (sum, (a - a_part) + (b - b_part))
}

//! Sums that threads exchange.

use crate::gpu;

/// A thread's sum, or that of several threads.
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

    /// The sum of the four sums from `offset` on.
    ///
    /// # Safety
    /// As [`gpu::load4_shared`], for four times [`Self::BYTES`] bytes.
    unsafe fn sum4_shared(offset: u32) -> Self;
}

/// For terms of one sign, already summed with care within a thread: each level of a tree adds
/// half an ULP.
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
    unsafe fn sum4_shared(offset: u32) -> f32 {
        // SAFETY: handed on.
        let [a, b, c, d] = unsafe { gpu::load4_shared(offset) };
        (a + b) + (c + d)
    }
}

/// For terms that can cancel.
impl Sum for f64 {
    const BYTES: u32 = 8;
    const ZERO: f64 = 0.0;

    #[inline(always)]
    fn plus(self, other: f64) -> f64 {
        self + other
    }

    #[inline(always)]
    fn shuffle_xor(self, lane_mask: u32) -> f64 {
        join(split(self).map(|half| gpu::shuffle_xor(half, lane_mask)))
    }

    #[inline(always)]
    unsafe fn store_shared(self, offset: u32) {
        let [low, high] = split(self);
        // SAFETY: handed on, half for half.
        unsafe {
            gpu::store_shared(offset, low);
            gpu::store_shared(offset + 4, high);
        }
    }

    #[inline(always)]
    unsafe fn sum4_shared(offset: u32) -> f64 {
        // SAFETY: handed on, half for half.
        let ([a, b, c, d], [e, f, g, h]) =
            unsafe { (gpu::load4_shared(offset), gpu::load4_shared(offset + 16)) };
        (join([a, b]) + join([c, d])) + (join([e, f]) + join([g, h]))
    }
}

/// The lower and the upper half of the bits.
#[inline(always)]
pub fn split(value: f64) -> [f32; 2] {
    let bits = value.to_bits();
    [f32::from_bits(bits as u32), f32::from_bits((bits >> 32) as u32)]
}

/// The float with this lower and upper half.
#[inline(always)]
pub fn join([low, high]: [f32; 2]) -> f64 {
    f64::from_bits(low.to_bits() as u64 | (high.to_bits() as u64) << 32)
}

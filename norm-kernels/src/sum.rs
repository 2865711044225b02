//! Sums that threads exchange by shuffles and shared memory.

use core::marker::PhantomData;

use crate::abi::WARP;
use crate::element::{Input, Total};
use crate::gpu;

/// The sum of a thread, or of several threads.
///
/// [`plus`](Self::plus) gives the same bits in either order of its operands, so that all lanes of a butterfly end with the
/// same bits.
pub trait Sum: Copy {
    /// Bytes of shared memory for the sums of [`WARP`] warps.
    const SCRATCH: u32;
    /// How many sums [`plus_scratch`](Self::plus_scratch) adds, a power of two.
    const UNROLL: u32;
    /// The empty sum.
    const ZERO: Self;

    /// The sum of both.
    fn plus(self, other: Self) -> Self;

    /// The sum of the lane whose index is this lane's xor `lane_mask`.
    fn shuffle_xor(self, lane_mask: u32) -> Self;

    /// Writes it to one of [`WARP`] places in the scratch memory at offset `scratch`.
    ///
    /// # Safety
    /// As [`gpu::st_scratch`], for [`Self::SCRATCH`] bytes from `scratch` on.
    unsafe fn st_scratch(self, scratch: u32, place: u32);

    /// The sum of it and of [`UNROLL`](Self::UNROLL) sums in the scratch memory, from `place` on, which is a multiple of
    /// `UNROLL`.
    ///
    /// # Safety
    /// As [`gpu::ld_scratch_v4`], for the bytes of these places.
    unsafe fn plus_scratch(self, scratch: u32, place: u32) -> Self;
}

/// For terms of one sign, which cannot cancel: each level of the tree over the threads adds half an ULP of error.
impl Sum for f32 {
    const SCRATCH: u32 = 4 * WARP;
    /// The 8 warps of a block of 256 threads, whose sums are all loaded before the first is added.
    const UNROLL: u32 = 8;
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
    unsafe fn st_scratch(self, scratch: u32, place: u32) {
        // SAFETY: the caller guarantees that `place` is below 32, and its 4 bytes this thread's.
        unsafe { gpu::st_scratch(scratch + 4 * place, self) }
    }

    #[inline(always)]
    unsafe fn plus_scratch(self, scratch: u32, place: u32) -> f32 {
        let offset = scratch + 4 * place;
        // SAFETY: the caller guarantees that these places were written before the last barrier.
        let ([a, b, c, d], [e, f, g, h]) =
            unsafe { (gpu::ld_scratch_v4(offset), gpu::ld_scratch_v4(offset + 16)) };
        (self + ((a + b) + (c + d))) + ((e + f) + (g + h))
    }
}

/// The bits of the largest magnitude of some elements: a number that is not negative, or a NaN, which counts as larger than any
/// number. Bits of such `f32` have the order of unsigned integers.
#[derive(Clone, Copy)]
pub struct Largest(pub u32);

impl Largest {
    /// The magnitude.
    #[inline(always)]
    pub fn magnitude(self) -> f32 {
        f32::from_bits(self.0)
    }

    /// That of all lanes of the warp, which all must call.
    #[inline(always)]
    pub fn over_warp(self) -> Largest {
        Largest(gpu::redux_max(self.0))
    }
}

impl Sum for Largest {
    const SCRATCH: u32 = 4 * WARP;
    const UNROLL: u32 = 8;
    const ZERO: Largest = Largest(0);

    #[inline(always)]
    fn plus(self, other: Largest) -> Largest {
        Largest(u32::max(self.0, other.0))
    }

    #[inline(always)]
    fn shuffle_xor(self, lane_mask: u32) -> Largest {
        Largest(gpu::shuffle_xor(self.magnitude(), lane_mask).to_bits())
    }

    #[inline(always)]
    unsafe fn st_scratch(self, scratch: u32, place: u32) {
        // SAFETY: the caller guarantees that `place` is below 32, and its 4 bytes this thread's.
        unsafe { gpu::st_scratch(scratch + 4 * place, self.magnitude()) }
    }

    #[inline(always)]
    unsafe fn plus_scratch(self, scratch: u32, place: u32) -> Largest {
        let offset = scratch + 4 * place;
        // SAFETY: the caller guarantees that these places were written before the last barrier.
        let (low, high) = unsafe { (gpu::ld_scratch_v4(offset), gpu::ld_scratch_v4(offset + 16)) };
        let ([a, b, c, d], [e, f, g, h]) = (low.map(f32::to_bits), high.map(f32::to_bits));
        let (low, high) =
            (u32::max(u32::max(a, b), u32::max(c, d)), u32::max(u32::max(e, f), u32::max(g, h)));
        self.plus(Largest(u32::max(low, high)))
    }
}

/// The total of elements of type `X`, and the sum of their squares.
pub struct Moments<X> {
    /// `Σ x`. Elements can cancel, and no `f32` sum of them would keep the accuracy promise.
    pub total: Total,
    /// `Σ x²`.
    pub squares: f32,
    elements: PhantomData<X>,
}

impl<X> Moments<X> {
    /// The moments with these sums.
    #[inline(always)]
    pub fn new(total: Total, squares: f32) -> Self {
        Moments { total, squares, elements: PhantomData }
    }
}

impl<X> Clone for Moments<X> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<X> Copy for Moments<X> {}

/// Bytes of the totals of [`WARP`] warps.
const TOTALS: u32 = 8 * WARP;

/// Bytes of scratch memory for [`Moments`] of [`WARP`] warps.
pub const MOMENTS_SCRATCH: u32 = TOTALS + f32::SCRATCH;

impl<X: Input> Sum for Moments<X> {
    const SCRATCH: u32 = MOMENTS_SCRATCH;
    const UNROLL: u32 = 4;
    const ZERO: Self = Moments { total: [0; 2], squares: 0.0, elements: PhantomData };

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Moments::new(X::plus(self.total, other.total), self.squares + other.squares)
    }

    #[inline(always)]
    fn shuffle_xor(self, lane_mask: u32) -> Self {
        let total = self.total.map(|word| gpu::shuffle_xor(f32::from_bits(word), lane_mask).to_bits());
        Moments::new(total, self.squares.shuffle_xor(lane_mask))
    }

    #[inline(always)]
    unsafe fn st_scratch(self, scratch: u32, place: u32) {
        let ([first, second], offset) = (self.total.map(f32::from_bits), scratch + 8 * place);
        // SAFETY: the caller guarantees that `place` is below 32 and this thread's in each of the two arrays, which do not
        // overlap.
        unsafe {
            gpu::st_scratch(offset, first);
            gpu::st_scratch(offset + 4, second);
            self.squares.st_scratch(scratch + TOTALS, place);
        }
    }

    #[inline(always)]
    unsafe fn plus_scratch(self, scratch: u32, place: u32) -> Self {
        let (totals, squares) = (scratch + 8 * place, scratch + TOTALS + 4 * place);
        // SAFETY: the caller guarantees that these places of both arrays were written before the last barrier.
        let ([a, b, c, d], [e, f, g, h], [p, q, r, s]) = unsafe {
            (gpu::ld_scratch_v4(totals), gpu::ld_scratch_v4(totals + 16), gpu::ld_scratch_v4(squares))
        };
        let total = |first: f32, second: f32| [first.to_bits(), second.to_bits()];
        let of_four = X::plus(X::plus(total(a, b), total(c, d)), X::plus(total(e, f), total(g, h)));
        Moments::new(X::plus(self.total, of_four), self.squares + ((p + q) + (r + s)))
    }
}

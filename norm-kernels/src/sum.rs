//! Sums that threads exchange by shuffles and shared memory.

use crate::abi::WARP;
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

/// For terms that can cancel.
impl Sum for f64 {
    const SCRATCH: u32 = 8 * WARP;
    const UNROLL: u32 = 4;
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
    unsafe fn st_scratch(self, scratch: u32, place: u32) {
        let ([low, high], offset) = (split(self), scratch + 8 * place);
        // SAFETY: the caller guarantees that `place` is below 32, and its 8 bytes this thread's.
        unsafe {
            gpu::st_scratch(offset, low);
            gpu::st_scratch(offset + 4, high);
        }
    }

    #[inline(always)]
    unsafe fn plus_scratch(self, scratch: u32, place: u32) -> f64 {
        let offset = scratch + 8 * place;
        // SAFETY: the caller guarantees that these places, of 8 bytes, were written before the last barrier.
        let ([a, b, c, d], [e, f, g, h]) =
            unsafe { (gpu::ld_scratch_v4(offset), gpu::ld_scratch_v4(offset + 16)) };
        self + ((join([a, b]) + join([c, d])) + (join([e, f]) + join([g, h])))
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

/// A sum of elements, and one of their squares.
#[derive(Clone, Copy)]
pub struct Moments {
    /// `Σ x`.
    pub total: f64,
    /// `Σ x²`.
    pub squares: f32,
}

impl Sum for Moments {
    const SCRATCH: u32 = f64::SCRATCH + f32::SCRATCH;
    const UNROLL: u32 = f64::UNROLL;
    const ZERO: Moments = Moments { total: 0.0, squares: 0.0 };

    #[inline(always)]
    fn plus(self, other: Moments) -> Moments {
        Moments { total: self.total + other.total, squares: self.squares + other.squares }
    }

    #[inline(always)]
    fn shuffle_xor(self, lane_mask: u32) -> Moments {
        Moments { total: self.total.shuffle_xor(lane_mask), squares: self.squares.shuffle_xor(lane_mask) }
    }

    #[inline(always)]
    unsafe fn st_scratch(self, scratch: u32, place: u32) {
        // SAFETY: the caller guarantees that `place` is below 32 and this thread's in each of the two arrays, which do not
        // overlap.
        unsafe {
            self.total.st_scratch(scratch, place);
            self.squares.st_scratch(scratch + f64::SCRATCH, place);
        }
    }

    #[inline(always)]
    unsafe fn plus_scratch(self, scratch: u32, place: u32) -> Moments {
        let squares = scratch + f64::SCRATCH + 4 * place;
        // SAFETY: the caller guarantees that these places of both arrays were written before the last barrier.
        let (total, [a, b, c, d]) =
            unsafe { (self.total.plus_scratch(scratch, place), gpu::ld_scratch_v4(squares)) };
        Moments { total, squares: self.squares + ((a + b) + (c + d)) }
    }
}

/// The lower and the upper half of the bits of `value`, as shuffles and scratch memory take them.
#[inline(always)]
pub fn split(value: f64) -> [f32; 2] {
    let bits = value.to_bits();
    [f32::from_bits(bits as u32), f32::from_bits((bits >> 32) as u32)]
}

/// The inverse of [`split`].
#[inline(always)]
pub fn join([low, high]: [f32; 2]) -> f64 {
    f64::from_bits(low.to_bits() as u64 | (high.to_bits() as u64) << 32)
}

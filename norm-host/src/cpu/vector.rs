//! Eight elements at a time, in the registers of an instruction set.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;
use half::f16;
pub(super) use portable::Portable;

/// Elements of a vector.
pub(super) const WIDTH: usize = 8;

/// Bytes that the address of a [`stream`](Vector::stream) is a multiple of.
pub(super) const STREAM_ALIGN: usize = 16;

/// [`WIDTH`] `f32`.
///
/// Every method rounds as the operation of its name on each element by itself, so all
/// implementations give the same bits. A value exists only where its instructions do: whoever
/// makes the first vouches for them, and the rest is safe.
pub(super) trait Vector: Copy {
    /// The same elements in `f64`.
    type Doubles: Doubles;

    /// The first of the elements at `from`.
    ///
    /// # Safety
    ///
    /// They are there, aligned to an `f32`. The machine has the instructions of this vector.
    unsafe fn load(from: *const f32) -> Self;

    /// `value` throughout.
    ///
    /// # Safety
    ///
    /// The machine has the instructions of this vector.
    unsafe fn splat(value: f32) -> Self;

    /// Writes the elements.
    ///
    /// # Safety
    ///
    /// There is room for them at `to`, aligned to an `f32`.
    unsafe fn store(self, to: *mut f32);

    /// `from` in `f32`.
    ///
    /// # Safety
    ///
    /// The machine has the instructions of this vector.
    unsafe fn load_f16(from: &[f16; WIDTH]) -> Self;

    /// The elements rounded to nearest even.
    fn store_f16(self, to: &mut [f16; WIDTH]);

    /// The elements rounded to nearest even in `f16`, and widened again; NaN stays NaN.
    fn round_f16(self) -> Self;

    /// The elements rounded to nearest even in `bf16`, and widened again; NaN stays NaN.
    fn round_bf16(self) -> Self;

    /// The elements within ±`limit`; NaN stays NaN.
    fn clamp(self, limit: f32) -> Self;

    /// [`store`](Vector::store) past the caches where there are instructions for it, in no order
    /// with what else is written until [`fence`](Vector::fence).
    ///
    /// # Safety
    ///
    /// As [`store`](Vector::store); `to` is aligned to [`STREAM_ALIGN`].
    unsafe fn stream(self, to: *mut f32) {
        // SAFETY: handed on.
        unsafe { self.store(to) }
    }

    /// Orders what was [`stream`](Vector::stream)ed before what is written next.
    ///
    /// # Safety
    ///
    /// The machine has the instructions of this vector.
    unsafe fn fence() {}

    /// Fetches the cache line of `from`, which may be any address.
    ///
    /// # Safety
    ///
    /// The machine has the instructions of this vector.
    unsafe fn prefetch(from: *const f32) {
        let _ = from;
    }

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `self * factor + addend`, rounded once.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    fn widen(self) -> Self::Doubles;
}

/// [`WIDTH`] `f64`.
pub(super) trait Doubles: Copy {
    /// # Safety
    ///
    /// The machine has the instructions of this vector.
    unsafe fn zero() -> Self;

    fn add(self, other: Self) -> Self;
    /// `self + x²`, of which the square is exact: each of `x` has the 24 bits of an `f32`.
    fn add_square(self, x: Self) -> Self;
    /// The sum of the elements `a` to `h`: `((a + e) + (c + g)) + ((b + f) + (d + h))`.
    fn total(self) -> f64;
    fn to_array(self) -> [f64; WIDTH];
}

/// As many elements as are at `from` but fewer than a vector has, and zeros.
///
/// # Safety
///
/// They are there, aligned to an `f32`. The machine has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn load_some<V: Vector>(from: *const f32, count: usize) -> V {
    let mut vector = [0.0; WIDTH];
    // SAFETY: handed on; `count` is less than the array has.
    unsafe {
        vector.as_mut_ptr().copy_from_nonoverlapping(from, count);
        V::load(vector.as_ptr())
    }
}

/// Writes the first `count` elements, fewer than the vector has.
///
/// # Safety
///
/// There is room for them at `to`, aligned to an `f32`.
#[inline(always)]
pub(super) unsafe fn store_some<V: Vector>(vector: V, to: *mut f32, count: usize) {
    let mut array = [0.0; WIDTH];
    // SAFETY: handed on; `count` is less than the array has.
    unsafe {
        vector.store(array.as_mut_ptr());
        to.copy_from_nonoverlapping(array.as_ptr(), count);
    }
}

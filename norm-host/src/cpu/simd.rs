//! Eight elements at a time, in the registers of an instruction set.
//!
//! A value of a type that implements [`Simd`] is a witness: it exists only on a machine that has the instructions, because
//! the one way to get it is to ask the machine. Vectors are made by the witness, so they exist only there, too. That is
//! why the methods of both are safe.

#[cfg(target_arch = "x86_64")]
mod avx2;
// The build script sees to it that only such compilers come here.
#[clippy::msrv = "1.89"]
#[cfg(norm_avx512)]
mod avx512;
mod pair;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;
#[cfg(norm_avx512)]
pub(super) use avx512::Avx512;
use half::{bf16, f16};
pub(super) use portable::Portable;

/// Elements of a vector.
pub(super) const WIDTH: usize = 8;

/// Elements of two vectors.
pub(super) const PAIR: usize = 2 * WIDTH;

/// Bytes of a cache line. What goes past the caches begins at a multiple of it, so that whole lines do.
pub(super) const STREAM_ALIGN: usize = 64;

/// What vectors are computed with. A function that is generic over it serves vectors of any width.
pub(super) trait Arithmetic: Copy {
    /// A vector of `f32`.
    type F32: Floats<F64 = Self::F64>;
    /// As many `f64`.
    type F64: Doubles;

    /// A vector whose elements are all `value`.
    fn splat(self, value: f32) -> Self::F32;

    /// A vector of zeros.
    fn zero(self) -> Self::F64;
}

/// An instruction set that this machine has. Its vectors have [`WIDTH`] elements.
pub(super) trait Simd: Arithmetic<F32: Vector, F64: Total> {
    /// Two vectors at a time.
    type Pair: Pairs<Self>;

    /// Whether two vectors are one register: then outputs are written by pairs, too.
    const WIDE: bool = false;

    /// The same instructions, for two vectors at a time.
    fn pair(self) -> Self::Pair;

    /// A vector of these elements.
    fn load(self, from: &[f32; WIDTH]) -> Self::F32;

    /// A vector of these elements, converted, which is exact.
    fn load_f16(self, from: &[f16; WIDTH]) -> Self::F32;

    /// A vector of these elements, converted, which is exact.
    fn load_bf16(self, from: &[bf16; WIDTH]) -> Self::F32;

    /// Orders what was [streamed](Vector::stream) before all that is written later.
    fn fence(self) {}

    /// Fetches the cache line at `address`, which need not be valid: a prefetch never faults.
    fn prefetch(self, address: *const f32) {
        let _ = address;
    }
}

/// Two vectors of `S` at a time. Each method does what that of `S` of the same name does on either.
pub(super) trait Pairs<S: Simd>: Arithmetic {
    /// The vectors of these elements.
    fn load(self, from: &[f32; PAIR]) -> Self::F32;

    /// The vectors of these elements, converted.
    fn load_f16(self, from: &[f16; PAIR]) -> Self::F32;

    /// The vectors of these elements, converted.
    fn load_bf16(self, from: &[bf16; PAIR]) -> Self::F32;

    /// These elements in `f64`, which is exact.
    #[inline(always)]
    fn widen_f16(self, from: &[f16; PAIR]) -> Self::F64 {
        self.load_f16(from).widen()
    }

    /// Stores the elements.
    ///
    /// # Safety
    ///
    /// The memory at `to` may be written; with `stream` its address is a multiple of its size.
    unsafe fn store(self, pair: Self::F32, to: *mut [f32; PAIR], stream: bool);

    /// Stores the elements rounded to nearest even.
    ///
    /// # Safety
    ///
    /// As [`store`](Pairs::store).
    unsafe fn store_f16(self, pair: Self::F32, to: *mut [f16; PAIR], stream: bool);

    /// Stores the elements rounded to nearest even; NaN stays NaN.
    ///
    /// # Safety
    ///
    /// As [`store`](Pairs::store).
    unsafe fn store_bf16(self, pair: Self::F32, to: *mut [bf16; PAIR], stream: bool);

    /// The two vectors of `f64`.
    fn split(self, pair: Self::F64) -> [S::F64; 2];
}

/// A vector of `f32`.
///
/// Every method rounds as the operation of its name does on each element by itself, so all instruction sets give the same
/// bits.
pub(super) trait Floats: Copy {
    /// As many `f64`.
    type F64: Doubles;

    /// The elements rounded to nearest even in `f16`, and widened again; NaN stays NaN.
    fn round_f16(self) -> Self;

    /// The elements rounded to nearest even in `bf16`, and widened again; NaN stays NaN.
    fn round_bf16(self) -> Self;

    /// The elements limited to ±`limit`; NaN stays NaN.
    fn clamp(self, limit: f32) -> Self;

    /// `self + other`.
    fn add(self, other: Self) -> Self;

    /// `self - other`.
    fn sub(self, other: Self) -> Self;

    /// `self * other`.
    fn mul(self, other: Self) -> Self;

    /// `self * factor + addend`, rounded once.
    fn mul_add(self, factor: Self, addend: Self) -> Self;

    /// `1 / self`.
    fn reciprocal(self) -> Self;

    /// `2^self`, for integers from -126 to 127; any number for NaN.
    fn power_of_two(self) -> Self;

    /// The same elements in `f64`, which is exact.
    fn widen(self) -> Self::F64;
}

/// [`WIDTH`] `f32`, which go to memory.
pub(super) trait Vector: Floats {
    /// The elements.
    fn to_array(self) -> [f32; WIDTH];

    /// Stores the elements rounded to nearest even.
    fn store_f16(self, to: &mut [f16; WIDTH]);

    /// Stores the elements rounded to nearest even; NaN stays NaN.
    fn store_bf16(self, to: &mut [bf16; WIDTH]);

    /// Stores the elements past the caches, where there is an instruction for it. The store is in no order with other
    /// stores until [`Simd::fence`].
    ///
    /// # Safety
    ///
    /// The memory at `to` may be written, and its address is a multiple of its size.
    unsafe fn stream(self, to: *mut [f32; WIDTH]) {
        // SAFETY: the caller promises that the memory may be written; what it is aligned to suffices for an `f32`.
        unsafe { to.write(self.to_array()) }
    }

    /// Stores the elements rounded to nearest even past the caches, as [`stream`](Vector::stream) does.
    ///
    /// # Safety
    ///
    /// As [`stream`](Vector::stream).
    unsafe fn stream_f16(self, to: *mut [f16; WIDTH]) {
        // SAFETY: the caller promises that the memory may be written; what it is aligned to suffices for an `f16`.
        self.store_f16(unsafe { &mut *to });
    }

    /// Stores the elements rounded to nearest even past the caches, as [`stream`](Vector::stream) does.
    ///
    /// # Safety
    ///
    /// As [`stream`](Vector::stream).
    unsafe fn stream_bf16(self, to: *mut [bf16; WIDTH]) {
        // SAFETY: the caller promises that the memory may be written; what it is aligned to suffices for a `bf16`.
        self.store_bf16(unsafe { &mut *to });
    }
}

/// A vector of `f64`.
pub(super) trait Doubles: Copy {
    /// `self + other`.
    fn add(self, other: Self) -> Self;

    /// `self + x²`. The square is exact where each element of `x` has the 24 bits of an `f32`.
    fn add_square(self, x: Self) -> Self;

    /// The same by a multiplication and an addition, where that is worth an instruction more: the next sum waits for the addition
    /// alone.
    #[inline(always)]
    fn add_square_soon(self, x: Self) -> Self {
        self.add_square(x)
    }
}

/// [`WIDTH`] `f64`, which are added up.
pub(super) trait Total: Doubles {
    /// The sum of the elements `a` to `h`, in this order: `((a + e) + (c + g)) + ((b + f) + (d + h))`.
    fn total(self) -> f64;

    /// The elements.
    fn to_array(self) -> [f64; WIDTH];
}

//! Vectors of AVX2, FMA and F16C.
//!
//! Every method is inlined into one of the functions of [`dispatch`](super::super::dispatch) that are compiled for these
//! instructions. Called from elsewhere it would be right, too, but each instruction would be a function call.

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::{Arithmetic, Doubles, Floats, Simd, Total, Vector, WIDTH, pair::Twice};

/// The witness that this machine has AVX2, FMA and F16C: [`Avx2::detect`] alone makes one.
#[derive(Clone, Copy)]
pub struct Avx2(());

/// A register of `f32`.
#[derive(Clone, Copy)]
pub struct F32x8(__m256);

/// Two registers of `f64`, the first elements in the first.
#[derive(Clone, Copy)]
pub struct F64x8(__m256d, __m256d);

impl F64x8 {
    /// The vector of these registers, which exist only where the instructions do.
    #[cfg(norm_avx512)]
    #[inline(always)]
    pub fn new(first: __m256d, second: __m256d) -> F64x8 {
        F64x8(first, second)
    }
}

impl Avx2 {
    /// The witness, if this machine has the instructions.
    #[inline]
    pub fn detect() -> Option<Avx2> {
        let detected = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        detected.then_some(Avx2(()))
    }
}

impl Arithmetic for Avx2 {
    type F32 = F32x8;
    type F64 = F64x8;

    #[inline(always)]
    fn splat(self, value: f32) -> F32x8 {
        // SAFETY: `self` proves that the machine has the instruction.
        F32x8(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    fn zero(self) -> F64x8 {
        // SAFETY: `self` proves that the machine has the instruction.
        unsafe { F64x8(_mm256_setzero_pd(), _mm256_setzero_pd()) }
    }
}

impl Simd for Avx2 {
    type Pair = Twice<Avx2>;

    #[inline(always)]
    fn pair(self) -> Twice<Avx2> {
        Twice(self)
    }

    #[inline(always)]
    fn load(self, from: &[f32; WIDTH]) -> F32x8 {
        // SAFETY: `self` proves that the machine has the instruction, which reads the eight elements.
        F32x8(unsafe { _mm256_loadu_ps(from.as_ptr()) })
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; WIDTH]) -> F32x8 {
        // SAFETY: `self` proves that the machine has the instructions; an `f16` is 16 bits, so eight of them are 128.
        F32x8(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())) })
    }

    #[inline(always)]
    fn load_bf16(self, from: &[bf16; WIDTH]) -> F32x8 {
        // SAFETY: `self` proves that the machine has the instructions; a `bf16` is 16 bits, so eight of them are 128.
        unsafe {
            let upper = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.as_ptr().cast()));
            F32x8(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(upper)))
        }
    }

    #[inline(always)]
    fn fence(self) {
        // SAFETY: every machine of this architecture has the instruction.
        unsafe { _mm_sfence() }
    }

    #[inline(always)]
    fn prefetch(self, address: *const f32) {
        // SAFETY: every machine of this architecture has the instruction, which never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
}

impl F32x8 {
    /// The elements rounded to nearest even in `f16`.
    #[inline(always)]
    fn as_f16(self) -> __m128i {
        // SAFETY: a vector exists only where its instructions do.
        unsafe { _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0) }
    }

    /// The elements rounded to nearest even in `bf16`; NaN stays NaN. [`Vector::round_bf16`] says how.
    #[inline(always)]
    fn as_bf16(self) -> __m128i {
        // SAFETY: a vector exists only where its instructions do.
        unsafe {
            let bits = _mm256_castps_si256(self.0);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
            let quiet = _mm256_castsi256_ps(_mm256_or_si256(bits, _mm256_set1_epi32(1 << 22)));
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0);
            let both = _mm256_blendv_ps(_mm256_castsi256_ps(rounded), quiet, nan);
            let upper = _mm256_srli_epi32::<16>(_mm256_castps_si256(both));
            _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256::<1>(upper))
        }
    }
}

impl Floats for F32x8 {
    type F64 = F64x8;

    #[inline(always)]
    fn round_f16(self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        F32x8(unsafe { _mm256_cvtph_ps(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0)) })
    }

    // A bf16 is the upper half of an f32. To round to nearest even, half of what the lower half can count is added, less
    // one where the upper half is even, and then the lower half is dropped. The bits of a NaN could overflow into the sign,
    // so a NaN is added to itself instead, which leaves a NaN.
    #[inline(always)]
    fn round_bf16(self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        unsafe {
            let bits = _mm256_castps_si256(self.0);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
            let upper = _mm256_set1_epi32(0xffff_0000_u32.cast_signed());
            let rounded = _mm256_castsi256_ps(_mm256_and_si256(_mm256_add_epi32(bits, half), upper));
            let quiet = _mm256_add_ps(self.0, self.0);
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0);
            F32x8(_mm256_blendv_ps(rounded, quiet, nan))
        }
    }

    // Where an operand is NaN both instructions return the second one.
    #[inline(always)]
    fn clamp(self, limit: f32) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        unsafe {
            let below = _mm256_min_ps(_mm256_set1_ps(limit), self.0);
            F32x8(_mm256_max_ps(_mm256_set1_ps(-limit), below))
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        F32x8(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        F32x8(unsafe { _mm256_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        F32x8(unsafe { _mm256_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        F32x8(unsafe { _mm256_fmadd_ps(self.0, factor.0, addend.0) })
    }

    #[inline(always)]
    fn reciprocal(self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        F32x8(unsafe { _mm256_div_ps(_mm256_set1_ps(1.0), self.0) })
    }

    // The exponent's field of an f32 counts from -127.
    #[inline(always)]
    fn power_of_two(self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(self.0), _mm256_set1_epi32(127));
            F32x8(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        }
    }

    #[inline(always)]
    fn widen(self) -> F64x8 {
        // SAFETY: a vector exists only where its instructions do.
        unsafe {
            let (low, high) = (_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            F64x8(_mm256_cvtps_pd(low), _mm256_cvtps_pd(high))
        }
    }
}

impl Vector for F32x8 {
    #[inline(always)]
    fn to_array(self) -> [f32; WIDTH] {
        let mut array = [0.0; WIDTH];
        // SAFETY: a vector exists only where its instructions do; the array has room for a register.
        unsafe { _mm256_storeu_ps(array.as_mut_ptr(), self.0) };
        array
    }

    #[inline(always)]
    fn store_f16(self, to: &mut [f16; WIDTH]) {
        // SAFETY: a vector exists only where its instructions do; an `f16` is 16 bits, so eight of them are 128.
        unsafe {
            _mm_storeu_si128(to.as_mut_ptr().cast(), self.as_f16());
        }
    }

    #[inline(always)]
    fn store_bf16(self, to: &mut [bf16; WIDTH]) {
        // SAFETY: a vector exists only where its instructions do; a `bf16` is 16 bits, so eight of them are 128.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), self.as_bf16()) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut [f32; WIDTH]) {
        // SAFETY: a vector exists only where its instructions do. The caller promises that the memory may be written and that its
        // address is a multiple of 32.
        unsafe { _mm256_stream_ps(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn stream_f16(self, to: *mut [f16; WIDTH]) {
        // SAFETY: a vector exists only where its instructions do. The caller promises that the memory may be written and that
        // its address is a multiple of 16.
        unsafe { _mm_stream_si128(to.cast(), self.as_f16()) }
    }

    #[inline(always)]
    unsafe fn stream_bf16(self, to: *mut [bf16; WIDTH]) {
        // SAFETY: a vector exists only where its instructions do. The caller promises that the memory may be written and that
        // its address is a multiple of 16.
        unsafe { _mm_stream_si128(to.cast(), self.as_bf16()) }
    }
}

impl Doubles for F64x8 {
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        unsafe { F64x8(_mm256_add_pd(self.0, other.0), _mm256_add_pd(self.1, other.1)) }
    }

    #[inline(always)]
    fn add_square(self, x: Self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        unsafe { F64x8(_mm256_fmadd_pd(x.0, x.0, self.0), _mm256_fmadd_pd(x.1, x.1, self.1)) }
    }
}

impl Total for F64x8 {
    #[inline(always)]
    fn total(self) -> f64 {
        // SAFETY: a vector exists only where its instructions do.
        unsafe {
            let four = _mm256_add_pd(self.0, self.1);
            let two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd::<1>(four));
            _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }

    #[inline(always)]
    fn to_array(self) -> [f64; WIDTH] {
        let mut array = [0.0; WIDTH];
        // SAFETY: a vector exists only where its instructions do; each half of the array has room for a register.
        unsafe {
            _mm256_storeu_pd(array.as_mut_ptr(), self.0);
            _mm256_storeu_pd(array[WIDTH / 2..].as_mut_ptr(), self.1);
        }
        array
    }
}

//! Vectors of AVX2, FMA and F16C.

use std::arch::x86_64::*;

use half::f16;

use super::{Doubles, Vector, WIDTH};

/// A register of `f32`.
#[derive(Clone, Copy)]
pub struct Avx2(__m256);

/// Two registers of `f64`.
#[derive(Clone, Copy)]
pub struct Avx2Doubles(__m256d, __m256d);

// Always inlined, or the instructions would stand behind calls from code that has them.
impl Vector for Avx2 {
    type Doubles = Avx2Doubles;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for the instructions and the elements.
        Avx2(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller vouches for the instructions.
        Avx2(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: `self` exists, so the instructions do; the caller vouches for the room.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: &[f16; WIDTH]) -> Self {
        // SAFETY: the caller vouches for the instructions; an `f16` is its 16 bits.
        unsafe { Avx2(_mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn store_f16(self, to: &mut [f16; WIDTH]) {
        // SAFETY: `self` exists, so the instructions do; an `f16` is its 16 bits.
        unsafe {
            let rounded = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0);
            _mm_storeu_si128(to.as_mut_ptr().cast(), rounded);
        }
    }

    #[inline(always)]
    fn round_f16(self) -> Self {
        // SAFETY: a vector of this type exists only on a machine with AVX2, FMA and F16C.
        Avx2(unsafe { _mm256_cvtph_ps(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0)) })
    }

    // A bf16 is the upper half of an f32: half of what the lower one can count is added, less one where the upper half
    // is even, and the lower half is dropped. The bits of a NaN could overflow into the sign.
    #[inline(always)]
    fn round_bf16(self) -> Self {
        // SAFETY: a vector of this type exists only on a machine with AVX2, FMA and F16C.
        unsafe {
            let bits = _mm256_castps_si256(self.0);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
            let upper = _mm256_set1_epi32(0xffff_0000_u32.cast_signed());
            let rounded = _mm256_castsi256_ps(_mm256_and_si256(_mm256_add_epi32(bits, half), upper));
            let quiet = _mm256_add_ps(self.0, self.0);
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0);
            Avx2(_mm256_blendv_ps(rounded, quiet, nan))
        }
    }

    #[inline(always)]
    fn clamp(self, limit: f32) -> Self {
        // SAFETY: as above. Where an operand is NaN both return the second.
        unsafe {
            let below = _mm256_min_ps(_mm256_set1_ps(limit), self.0);
            Avx2(_mm256_max_ps(_mm256_set1_ps(-limit), below))
        }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut f32) {
        // SAFETY: `self` exists, so the instructions do; the caller vouches for the room, and that
        // each half of it is aligned to 16 bytes.
        unsafe {
            _mm_stream_ps(to, _mm256_castps256_ps128(self.0));
            _mm_stream_ps(to.add(WIDTH / 2), _mm256_extractf128_ps::<1>(self.0));
        }
    }

    #[inline(always)]
    unsafe fn fence() {
        // SAFETY: every machine of this architecture has it.
        unsafe { _mm_sfence() }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        // SAFETY: a prefetch never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: `self` exists, so the instructions do.
        Avx2(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        Avx2(unsafe { _mm256_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        Avx2(unsafe { _mm256_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: as above.
        Avx2(unsafe { _mm256_fmadd_ps(self.0, factor.0, addend.0) })
    }

    #[inline(always)]
    fn widen(self) -> Avx2Doubles {
        // SAFETY: as above.
        unsafe {
            let (low, high) = (_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            Avx2Doubles(_mm256_cvtps_pd(low), _mm256_cvtps_pd(high))
        }
    }
}

impl Doubles for Avx2Doubles {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for the instructions.
        unsafe { Avx2Doubles(_mm256_setzero_pd(), _mm256_setzero_pd()) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: `self` exists, so the instructions do.
        unsafe { Avx2Doubles(_mm256_add_pd(self.0, other.0), _mm256_add_pd(self.1, other.1)) }
    }

    #[inline(always)]
    fn add_square(self, x: Self) -> Self {
        // SAFETY: as above.
        unsafe { Avx2Doubles(_mm256_fmadd_pd(x.0, x.0, self.0), _mm256_fmadd_pd(x.1, x.1, self.1)) }
    }

    #[inline(always)]
    fn total(self) -> f64 {
        // SAFETY: as above.
        unsafe {
            let four = _mm256_add_pd(self.0, self.1);
            let two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd::<1>(four));
            _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }

    #[inline(always)]
    fn to_array(self) -> [f64; WIDTH] {
        let mut array = [0.0; WIDTH];
        // SAFETY: as above; each half of the array holds a register.
        unsafe {
            _mm256_storeu_pd(array.as_mut_ptr(), self.0);
            _mm256_storeu_pd(array[WIDTH / 2..].as_mut_ptr(), self.1);
        }
        array
    }
}

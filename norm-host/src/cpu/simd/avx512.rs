//! Vectors of AVX-512: two of [`Avx2`] in a register.
//!
//! Where `x` and `y` have one type, rows use them for all but what is less than a pair; all else is done by AVX2. A sum is taken in
//! the same order: the even vectors in the lower halves, the odd ones in the upper halves.

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::{
    Arithmetic, Avx2, Doubles, Floats, PAIR, Pairs, Simd, WIDTH,
    avx2::{F32x8, F64x8},
};

/// The witness that this machine has AVX2, FMA, F16C, and of AVX-512 what CPUs since Ice Lake and Zen 4 have:
/// [`Avx512::detect`] alone makes one. On those before it such instructions slow the clock down.
#[derive(Clone, Copy)]
pub struct Avx512(Avx2);

/// Registers of `f32`.
#[derive(Clone, Copy)]
pub struct F32x16(__m512);

/// Two registers of `f64`, the first elements in the first.
#[derive(Clone, Copy)]
pub struct F64x16(__m512d, __m512d);

impl Avx512 {
    /// The witness, if this machine has the instructions.
    #[inline]
    pub fn detect() -> Option<Avx512> {
        let detected = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vbmi2");
        if detected { Avx2::detect().map(Avx512) } else { None }
    }

    /// The witness for what does not use AVX-512.
    #[inline(always)]
    pub fn avx2(self) -> Avx2 {
        self.0
    }
}

impl Arithmetic for Avx512 {
    type F32 = F32x8;
    type F64 = F64x8;

    #[inline(always)]
    fn splat(self, value: f32) -> F32x8 {
        self.0.splat(value)
    }

    #[inline(always)]
    fn zero(self) -> F64x8 {
        self.0.zero()
    }
}

impl Simd for Avx512 {
    type Pair = Wide;

    const WIDE: bool = true;

    #[inline(always)]
    fn pair(self) -> Wide {
        Wide(self)
    }

    #[inline(always)]
    fn load(self, from: &[f32; WIDTH]) -> F32x8 {
        self.0.load(from)
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; WIDTH]) -> F32x8 {
        self.0.load_f16(from)
    }

    #[inline(always)]
    fn load_bf16(self, from: &[bf16; WIDTH]) -> F32x8 {
        self.0.load_bf16(from)
    }

    #[inline(always)]
    fn fence(self) {
        self.0.fence();
    }

    #[inline(always)]
    fn prefetch(self, address: *const f32) {
        self.0.prefetch(address);
    }
}

/// The same witness, for registers of 512 bits.
#[derive(Clone, Copy)]
pub struct Wide(Avx512);

impl Arithmetic for Wide {
    type F32 = F32x16;
    type F64 = F64x16;

    #[inline(always)]
    fn splat(self, value: f32) -> F32x16 {
        // SAFETY: `self` proves that the machine has the instruction.
        F32x16(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn zero(self) -> F64x16 {
        // SAFETY: `self` proves that the machine has the instruction.
        unsafe { F64x16(_mm512_setzero_pd(), _mm512_setzero_pd()) }
    }
}

impl Pairs<Avx512> for Wide {
    #[inline(always)]
    fn load(self, from: &[f32; PAIR]) -> F32x16 {
        // SAFETY: `self` proves that the machine has the instruction, which reads the sixteen elements.
        F32x16(unsafe { _mm512_loadu_ps(from.as_ptr()) })
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; PAIR]) -> F32x16 {
        // SAFETY: `self` proves that the machine has the instructions; an `f16` is 16 bits, so sixteen of them are 256.
        F32x16(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())) })
    }

    // From memory, eight elements are converted by one instruction; sixteen take two, and then their halves have to be taken apart.
    #[inline(always)]
    fn widen_f16(self, from: &[f16; PAIR]) -> F64x16 {
        let from = from.as_ptr().cast::<__m128i>();
        // SAFETY: `self` proves that the machine has the instructions; an `f16` is 16 bits, so sixteen of them are twice 128.
        unsafe {
            let (low, high) = (_mm_loadu_si128(from), _mm_loadu_si128(from.add(1)));
            F64x16(_mm512_cvtps_pd(_mm256_cvtph_ps(low)), _mm512_cvtps_pd(_mm256_cvtph_ps(high)))
        }
    }

    #[inline(always)]
    fn load_bf16(self, from: &[bf16; PAIR]) -> F32x16 {
        /// Each element's bytes, twice: the lower half is masked.
        const BYTES: [u8; 64] = bytes(2, 0);
        // SAFETY: `self` proves that the machine has the instructions; a `bf16` is 16 bits, so sixteen of them are 256.
        unsafe {
            let elements = _mm512_castsi256_si512(_mm256_loadu_si256(from.as_ptr().cast()));
            let bytes = _mm512_loadu_si512(BYTES.as_ptr().cast());
            let upper = _mm512_maskz_permutexvar_epi8(0xcccc_cccc_cccc_cccc, bytes, elements);
            F32x16(_mm512_castsi512_ps(upper))
        }
    }

    #[inline(always)]
    unsafe fn store(self, pair: F32x16, to: *mut [f32; PAIR], stream: bool) {
        // SAFETY: `self` proves that the machine has the instructions. The caller promises that the memory may be written and,
        // with `stream`, that its address is a multiple of 64.
        unsafe {
            match stream {
                true => _mm512_stream_ps(to.cast(), pair.0),
                false => _mm512_storeu_ps(to.cast(), pair.0),
            }
        }
    }

    #[inline(always)]
    unsafe fn store_f16(self, pair: F32x16, to: *mut [f16; PAIR], stream: bool) {
        // SAFETY: `self` proves that the machine has the instructions. The caller promises that the memory may be written and, with
        // `stream`, that its address is a multiple of 32.
        unsafe { store_256(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(pair.0), to.cast(), stream) }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, pair: F32x16, to: *mut [bf16; PAIR], stream: bool) {
        /// The upper bytes of each element, one after the other.
        const BYTES: [u8; 64] = bytes(4, 2);
        // SAFETY: `self` proves that the machine has the instructions. The caller promises that the memory may be written and, with
        // `stream`, that its address is a multiple of 32.
        unsafe {
            let bytes = _mm512_loadu_si512(BYTES.as_ptr().cast());
            let upper = _mm512_permutexvar_epi8(bytes, rounded_to_bf16(pair.0));
            store_256(_mm512_castsi512_si256(upper), to.cast(), stream);
        }
    }

    #[inline(always)]
    fn split(self, F64x16(even, odd): F64x16) -> [F64x8; 2] {
        // SAFETY: `self` proves that the machine has the instructions.
        unsafe {
            [
                F64x8::new(_mm512_castpd512_pd256(even), _mm512_extractf64x4_pd::<1>(even)),
                F64x8::new(_mm512_castpd512_pd256(odd), _mm512_extractf64x4_pd::<1>(odd)),
            ]
        }
    }
}

/// Stores 256 bits.
///
/// # Safety
///
/// The machine has the instructions, the memory may be written, and with `stream` its address is a multiple of 32.
#[inline(always)]
unsafe fn store_256(bits: __m256i, to: *mut __m256i, stream: bool) {
    // SAFETY: the caller promises all of it.
    unsafe {
        match stream {
            true => _mm256_stream_si256(to, bits),
            false => _mm256_storeu_si256(to, bits),
        }
    }
}

/// Which byte goes to each place in a permutation of bytes, where those of place `i / 4` or `i / 2` come from an element of `stride` bytes:
/// the two from `first` on.
const fn bytes(stride: usize, first: usize) -> [u8; 64] {
    let mut bytes = [0; 64];
    let mut i = 0;
    while i < 64 {
        // Places are of the other size: four bytes where the elements have two.
        bytes[i] = (i / (8 / stride) * stride + first + i % 2) as u8 % 64;
        i += 1;
    }
    bytes
}

/// The elements rounded to nearest even in `bf16`, which are the upper halves; the lower ones are to be dropped. A NaN becomes a
/// quiet one with its sign, as at [`Avx2`]'s. Half of what the lower half can count is added, less one where the upper half is even.
///
/// # Safety
///
/// The machine has the instructions.
#[inline(always)]
unsafe fn rounded_to_bf16(values: __m512) -> __m512i {
    // SAFETY: the caller promises it.
    unsafe {
        let bits = _mm512_castps_si512(values);
        let odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(1 << 16));
        let rounded = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
        let rounded = _mm512_mask_add_epi32(rounded, odd, rounded, _mm512_set1_epi32(1));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values);
        _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(1 << 22))
    }
}

impl Floats for F32x16 {
    type F64 = F64x16;

    #[inline(always)]
    fn round_f16(self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        F32x16(unsafe { _mm512_cvtph_ps(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0)) })
    }

    // AVX2's leaves another NaN: the bits of a NaN are in no promise.
    #[inline(always)]
    fn round_bf16(self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        unsafe {
            let upper = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
            F32x16(_mm512_castsi512_ps(_mm512_and_si512(rounded_to_bf16(self.0), upper)))
        }
    }

    // Where an operand is NaN both instructions return the second one.
    #[inline(always)]
    fn clamp(self, limit: f32) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        unsafe {
            let below = _mm512_min_ps(_mm512_set1_ps(limit), self.0);
            F32x16(_mm512_max_ps(_mm512_set1_ps(-limit), below))
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        F32x16(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        F32x16(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        F32x16(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        F32x16(unsafe { _mm512_fmadd_ps(self.0, factor.0, addend.0) })
    }

    #[inline(always)]
    fn reciprocal(self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        F32x16(unsafe { _mm512_div_ps(_mm512_set1_ps(1.0), self.0) })
    }

    // The exponent's field of an f32 counts from -127.
    #[inline(always)]
    fn power_of_two(self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        unsafe {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(127));
            F32x16(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent)))
        }
    }

    #[inline(always)]
    fn widen(self) -> F64x16 {
        // SAFETY: a vector exists only where its instructions do.
        unsafe {
            let (low, high) = (_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0));
            F64x16(_mm512_cvtps_pd(low), _mm512_cvtps_pd(high))
        }
    }
}

impl Doubles for F64x16 {
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        unsafe { F64x16(_mm512_add_pd(self.0, other.0), _mm512_add_pd(self.1, other.1)) }
    }

    #[inline(always)]
    fn add_square(self, x: Self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        unsafe { F64x16(_mm512_fmadd_pd(x.0, x.0, self.0), _mm512_fmadd_pd(x.1, x.1, self.1)) }
    }

    #[inline(always)]
    fn add_square_soon(self, x: Self) -> Self {
        // SAFETY: a vector exists only where its instructions do.
        self.add(unsafe { F64x16(_mm512_mul_pd(x.0, x.0), _mm512_mul_pd(x.1, x.1)) })
    }
}

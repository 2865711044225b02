//! The element types, as 32-bit words from memory to `f32` and back.

use crate::abi::DType;
use crate::gpu;

/// The bits of a vector: 2, 4 or all 8 words of them, as many as its elements fill.
pub type Words = [u32; 8];

/// An element type of `x`, `w`, `b` or `y`.
pub trait Element {
    /// Its tag.
    const DTYPE: DType;
    /// Bytes of one element.
    const SIZE: u64 = Self::DTYPE.size() as u64;

    /// A word of ones.
    const ONES: u32;

    /// A word of negative zeros.
    const NEGATIVE_ZEROS: u32;

    /// What [`wide`](Self::wide) counts in: a power of two.
    const WIDE_UNIT: f64;

    /// Element `index` of the vector in `words`, exactly, in [`WIDE_UNIT`](Self::WIDE_UNIT)s.
    /// Infinities and NaN of 16-bit types give some finite number.
    fn wide(words: &Words, index: usize) -> f64;

    /// Element `index` of the vector in `words`.
    fn unpack(words: &Words, index: usize) -> f32;

    /// Two neighbours, as the words that hold them: 16-bit types fill the first alone.
    fn pack(low: f32, high: f32) -> [u32; 2];

    /// One element, as a vector with nothing behind it.
    ///
    /// # Safety
    /// `address` is that of a readable element in global memory.
    unsafe fn load(address: u64) -> u32;

    /// # Safety
    /// `address` is that of a writable element in global memory.
    unsafe fn store(address: u64, value: f32);

    /// Whether [`clamp`](Self::clamp) changes anything.
    const CLAMPS: bool = false;

    /// A vector of inputs as the arithmetic is to see it.
    #[inline(always)]
    fn clamp(words: Words) -> Words {
        words
    }
}

/// IEEE 754 binary16.
pub struct F16;
/// bfloat16.
pub struct BF16;
/// IEEE 754 binary32.
pub struct F32;

/// Half `index` of a vector of 16-bit elements.
#[inline(always)]
fn half(words: &Words, index: usize) -> u16 {
    (words[index / 2] >> (16 * (index % 2))) as u16
}

/// Half `index` as an f64 with the same exponent and mantissa fields, where an f64 has them: the
/// number, subnormal or not, times the power of two that the exponents' biases differ by. Two
/// instructions, where a conversion occupies a unit that has an eighth of the throughput:
/// LayerNorm at 8192 f16 takes 0.95 instead of 0.80 of a copy's bandwidth, at 16384 0.90 instead
/// of 0.54 (NVIDIA H200, 2026-11-23).
#[inline(always)]
fn wide_half<const EXPONENT: u32>(words: &Words, index: usize) -> f64 {
    // f64's upper word: the sign, 11 bits of exponent, 20 of mantissa.
    let unused = 11 - EXPONENT;
    let word = words[index / 2] << (16 - 16 * (index % 2));
    let fields = 0x7fff_0000 >> unused;
    let upper = (word as i32 >> unused) as u32 & (0x8000_0000 | fields);
    f64::from_bits((upper as u64) << 32)
}

impl Element for F16 {
    const DTYPE: DType = DType::F16;
    const ONES: u32 = 0x3c00_3c00;
    const NEGATIVE_ZEROS: u32 = 0x8000_8000;
    /// 15 for the bias of f16's exponent, 1023 for that of f64's.
    const WIDE_UNIT: f64 = f64::from_bits((1023 + 1023 - 15) << 52);

    #[inline(always)]
    fn wide(words: &Words, index: usize) -> f64 {
        wide_half::<5>(words, index)
    }

    #[inline(always)]
    fn unpack(words: &Words, index: usize) -> f32 {
        gpu::f16_to_f32(half(words, index))
    }

    #[inline(always)]
    fn pack(low: f32, high: f32) -> [u32; 2] {
        [gpu::f16x2_from_f32(low, high), 0]
    }

    #[inline(always)]
    unsafe fn load(address: u64) -> u32 {
        // SAFETY: the caller keeps the address that of an element in global memory.
        unsafe { gpu::ld_global_b16(address) as u32 }
    }

    #[inline(always)]
    unsafe fn store(address: u64, value: f32) {
        // SAFETY: the caller keeps the address that of an element in global memory.
        unsafe { gpu::st_global_b16(address, gpu::f16x2_from_f32(value, 0.0) as u16) }
    }

    const CLAMPS: bool = true;

    /// One infinity from an earlier layer must not wipe out the row; NaN stays NaN.
    #[inline(always)]
    fn clamp(words: Words) -> Words {
        words.map(gpu::f16x2_clamp)
    }
}

impl Element for BF16 {
    const DTYPE: DType = DType::BF16;
    const ONES: u32 = 0x3f80_3f80;
    const NEGATIVE_ZEROS: u32 = 0x8000_8000;
    /// 127 for the bias of bf16's exponent.
    const WIDE_UNIT: f64 = f64::from_bits((1023 + 1023 - 127) << 52);

    #[inline(always)]
    fn wide(words: &Words, index: usize) -> f64 {
        wide_half::<8>(words, index)
    }

    #[inline(always)]
    fn unpack(words: &Words, index: usize) -> f32 {
        f32::from_bits((half(words, index) as u32) << 16)
    }

    #[inline(always)]
    fn pack(low: f32, high: f32) -> [u32; 2] {
        [gpu::bf16x2_from_f32(low, high), 0]
    }

    #[inline(always)]
    unsafe fn load(address: u64) -> u32 {
        // SAFETY: the caller keeps the address that of an element in global memory.
        unsafe { gpu::ld_global_b16(address) as u32 }
    }

    #[inline(always)]
    unsafe fn store(address: u64, value: f32) {
        // SAFETY: the caller keeps the address that of an element in global memory.
        unsafe { gpu::st_global_b16(address, gpu::bf16x2_from_f32(value, 0.0) as u16) }
    }
}

impl Element for F32 {
    const DTYPE: DType = DType::F32;
    const ONES: u32 = 0x3f80_0000;
    const NEGATIVE_ZEROS: u32 = 0x8000_0000;
    const WIDE_UNIT: f64 = 1.0;

    #[inline(always)]
    fn wide(words: &Words, index: usize) -> f64 {
        f32::from_bits(words[index]) as f64
    }

    #[inline(always)]
    fn unpack(words: &Words, index: usize) -> f32 {
        f32::from_bits(words[index])
    }

    #[inline(always)]
    fn pack(low: f32, high: f32) -> [u32; 2] {
        [low.to_bits(), high.to_bits()]
    }

    #[inline(always)]
    unsafe fn load(address: u64) -> u32 {
        // SAFETY: the caller keeps the address that of an element in global memory.
        unsafe { gpu::ld_global_b32(address) }
    }

    #[inline(always)]
    unsafe fn store(address: u64, value: f32) {
        // SAFETY: the caller keeps the address that of an element in global memory.
        unsafe { gpu::st_global_b32(address, value.to_bits()) }
    }
}

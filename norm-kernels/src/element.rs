//! The element types of x, of the weights and of y, as 32-bit words from memory to `f32` and back.
//!
//! Which of the 16-bit types a tensor has is no matter of compilation: [`XHalf`], [`WHalf`] and [`YHalf`] leave it open,
//! and what depends on it is a pseudo-instruction ([`pseudo`]) that the host expands.

use crate::gpu::{self, pseudo};
use crate::row::Scales;

/// The bits of a vector: 2, 4 or all 8 words of them, as many as its elements fill.
pub type Words = [u32; 8];

/// An element type of a tensor.
pub trait Element {
    /// Bytes of one element.
    const SIZE: u64;

    /// Elements `2 * pair` and `2 * pair + 1` of the vector in `words`.
    fn unpack(words: &Words, pair: usize) -> [f32; 2];

    /// The bits of one element, in the lower ones of the word.
    ///
    /// # Safety
    /// `address` is that of a readable element in global memory.
    unsafe fn load(address: u64) -> u32;

    /// Two neighbours' bits as the words that hold them: 16-bit types fill the first alone.
    fn join(pair: [u32; 2]) -> [u32; 2];
}

/// An element type of weights and biases.
pub trait Param: Element {
    /// A word of negative zeros.
    const NEGATIVE_ZEROS: u32;

    /// A word of ones.
    fn ones() -> u32;

    /// Two weights with their offset, rounded to this type where the offset is rounded.
    fn round(pair: [f32; 2]) -> [f32; 2];
}

/// An element type of a tensor that is written.
pub trait Stored: Element {
    /// Two neighbours, rounded to nearest even, as the words that hold them: 16-bit types fill the first alone.
    fn pack(pair: [f32; 2]) -> [u32; 2];

    /// The bits of each of two neighbours, in the lower ones of a word, of what [`pack`](Self::pack) gives.
    fn split(words: [u32; 2]) -> [u32; 2];

    /// Stores one element, given its bits in the lower ones of the word.
    ///
    /// # Safety
    /// `address` is that of a writable element in global memory.
    unsafe fn store(address: u64, bits: u32);
}

/// The element type of y.
pub trait Output: Stored {
    /// Two results of the norm added to a residual of this type. The order of roundings may round to this type on the way.
    fn add(n: [f32; 2], r: [f32; 2], scales: Scales) -> [f32; 2];

    /// `n * w + b` for two neighbours, where the order of roundings says so with the product rounded to this type.
    fn affine(n: [f32; 2], w: [f32; 2], b: [f32; 2]) -> [f32; 2];
}

/// An element type of x and the residual, of which the norm takes sums.
pub trait Input: Stored {
    /// What [`widen`](Self::widen) counts in: a power of two.
    fn wide_unit() -> f64;

    /// Elements `2 * pair` and `2 * pair + 1` of the vector in `words`, exactly, in [`wide_unit`](Self::wide_unit)s.
    /// Infinities and NaN of 16-bit types give some finite number.
    fn widen(words: &Words, pair: usize) -> [f64; 2];

    /// Whether [`clamp`](Self::clamp) may change anything.
    const MAY_CLAMP: bool;

    /// A vector of inputs as the arithmetic is to see it: one infinity of f16 from an earlier layer must not wipe out
    /// the row; NaN stays NaN.
    fn clamp(words: Words) -> Words;

    /// Stores a clamped vector of `bytes` bytes, 8 or 16, back to where it was read, in shared memory; nothing where
    /// the type is none that is clamped.
    ///
    /// # Safety
    /// As [`gpu::st_shared_v2`] or [`gpu::st_shared_v4`].
    unsafe fn st_clamped(slot: u32, words: Words, bytes: u32);
}

/// An element type of x, which is added to a residual.
pub trait Addend: Input {
    /// Two elements of x added to a residual. The order of roundings may round to this type on the way.
    #[inline(always)]
    fn add(x: [f32; 2], r: [f32; 2], scales: Scales) -> [f32; 2] {
        pseudo::add_x(x, r, scales.branch, scales.sum)
    }

    /// Two results of a norm of x added to a residual of this type, between the norms of a sandwich.
    #[inline(always)]
    fn add_norm(n: [f32; 2], r: [f32; 2], scales: Scales) -> [f32; 2] {
        pseudo::add_n(n, r, scales.branch, scales.sum)
    }
}

impl Addend for XHalf {}
impl Addend for F32 {}

/// f16 or bf16, of x and the residual.
pub struct XHalf;

/// f16 or bf16, of weights and biases.
pub struct WHalf;

/// f16 or bf16, of y.
pub struct YHalf;

/// IEEE 754 binary32.
pub struct F32;

/// What a 16-bit type of either role is.
macro_rules! half {
    ($half:ident, $unpack:ident) => {
        impl Element for $half {
            const SIZE: u64 = 2;

            #[inline(always)]
            fn unpack(words: &Words, pair: usize) -> [f32; 2] {
                pseudo::$unpack(words[pair])
            }

            #[inline(always)]
            unsafe fn load(address: u64) -> u32 {
                // SAFETY: the caller keeps the address that of an element in global memory.
                unsafe { gpu::ld_global_b16(address) as u32 }
            }

            #[inline(always)]
            fn join([low, high]: [u32; 2]) -> [u32; 2] {
                [gpu::join(low as u16, high as u16), 0]
            }
        }
    };
}

half!(XHalf, unpack_x);
half!(WHalf, unpack_w);
half!(YHalf, unpack_y);

/// What a 16-bit type of a tensor that is written is.
macro_rules! half_stored {
    ($half:ident, $pack:ident) => {
        impl Stored for $half {
            #[inline(always)]
            fn pack(pair: [f32; 2]) -> [u32; 2] {
                [pseudo::$pack(pair), 0]
            }

            #[inline(always)]
            fn split([word, _]: [u32; 2]) -> [u32; 2] {
                [word, word >> 16]
            }

            #[inline(always)]
            unsafe fn store(address: u64, bits: u32) {
                // SAFETY: the caller keeps the address that of an element in global memory.
                unsafe { gpu::st_global_b16(address, bits as u16) }
            }
        }
    };
}

half_stored!(XHalf, pack_x);
half_stored!(YHalf, pack_y);

impl Output for YHalf {
    #[inline(always)]
    fn add(n: [f32; 2], r: [f32; 2], scales: Scales) -> [f32; 2] {
        pseudo::add_y(n, r, scales.branch, scales.sum)
    }

    #[inline(always)]
    fn affine(n: [f32; 2], w: [f32; 2], b: [f32; 2]) -> [f32; 2] {
        pseudo::affine_y(n, w, b)
    }
}

impl Param for WHalf {
    const NEGATIVE_ZEROS: u32 = 0x8000_8000;

    #[inline(always)]
    fn ones() -> u32 {
        pseudo::ones_w()
    }

    #[inline(always)]
    fn round(pair: [f32; 2]) -> [f32; 2] {
        pseudo::round_w(pair)
    }
}

impl Input for XHalf {
    #[inline(always)]
    fn wide_unit() -> f64 {
        pseudo::unit_x()
    }

    #[inline(always)]
    fn widen(words: &Words, pair: usize) -> [f64; 2] {
        pseudo::widen_x(words[pair]).map(|upper| f64::from_bits((upper as u64) << 32))
    }

    const MAY_CLAMP: bool = true;

    #[inline(always)]
    fn clamp(words: Words) -> Words {
        words.map(pseudo::clamp_x)
    }

    #[inline(always)]
    unsafe fn st_clamped(slot: u32, [a, b, c, d, ..]: Words, bytes: u32) {
        // SAFETY: the caller keeps the slot this thread's.
        unsafe {
            match bytes {
                8 => pseudo::st_clamped_x_v2(slot, [a, b]),
                _ => pseudo::st_clamped_x_v4(slot, [a, b, c, d]),
            }
        }
    }
}

impl Element for F32 {
    const SIZE: u64 = 4;

    #[inline(always)]
    fn unpack(words: &Words, pair: usize) -> [f32; 2] {
        [f32::from_bits(words[2 * pair]), f32::from_bits(words[2 * pair + 1])]
    }

    #[inline(always)]
    unsafe fn load(address: u64) -> u32 {
        // SAFETY: the caller keeps the address that of an element in global memory.
        unsafe { gpu::ld_global_b32(address) }
    }

    #[inline(always)]
    fn join(pair: [u32; 2]) -> [u32; 2] {
        pair
    }
}

impl Param for F32 {
    const NEGATIVE_ZEROS: u32 = 0x8000_0000;

    #[inline(always)]
    fn ones() -> u32 {
        0x3f80_0000
    }

    #[inline(always)]
    fn round(pair: [f32; 2]) -> [f32; 2] {
        pair
    }
}

impl Input for F32 {
    #[inline(always)]
    fn wide_unit() -> f64 {
        1.0
    }

    #[inline(always)]
    fn widen(words: &Words, pair: usize) -> [f64; 2] {
        [f32::from_bits(words[2 * pair]) as f64, f32::from_bits(words[2 * pair + 1]) as f64]
    }

    const MAY_CLAMP: bool = false;

    #[inline(always)]
    fn clamp(words: Words) -> Words {
        words
    }

    #[inline(always)]
    unsafe fn st_clamped(_slot: u32, _words: Words, _bytes: u32) {}
}

impl Output for F32 {
    #[inline(always)]
    fn add(n: [f32; 2], r: [f32; 2], scales: Scales) -> [f32; 2] {
        pseudo::add_y(n, r, scales.branch, scales.sum)
    }

    #[inline(always)]
    fn affine(n: [f32; 2], w: [f32; 2], b: [f32; 2]) -> [f32; 2] {
        [gpu::fma(n[0], w[0], b[0]), gpu::fma(n[1], w[1], b[1])]
    }
}

impl Stored for F32 {
    #[inline(always)]
    fn pack(pair: [f32; 2]) -> [u32; 2] {
        pair.map(f32::to_bits)
    }

    #[inline(always)]
    fn split(words: [u32; 2]) -> [u32; 2] {
        words
    }

    #[inline(always)]
    unsafe fn store(address: u64, bits: u32) {
        // SAFETY: the caller keeps the address that of an element in global memory.
        unsafe { gpu::st_global_b32(address, bits) }
    }
}

//! The element types of x, of the weights and of y: conversions between `f32` and the 32-bit words that memory holds.
//!
//! Which 16-bit type a tensor has, f16 or bf16, is not decided when kernels are compiled. [`XHalf`], [`WHalf`] and
//! [`YHalf`] stand for either, and each operation that depends on it is a pseudo-instruction ([`pseudo`]) that the host
//! expands.

use crate::gpu::{
    self,
    pseudo::{self, ValuePair},
};
use crate::row::Scales;

/// The bits of a sum of elements, with about twice the precision of an `f32`. All zeros are the empty sum. The host decides what
/// form it has when it writes the types into a template: an `f64`, or on a GPU with few lanes of `f64` an integer or two `f32`.
pub type Total = [u32; 2];

/// The bits of a vector, in the first 2, 4 or 8 words: as many as its elements fill.
pub type Words = [u32; 8];

/// An element type of a tensor.
pub trait Element {
    /// Bytes of one element.
    const SIZE: u64;

    /// Elements `2 * pair` and `2 * pair + 1` of the vector in `words`.
    fn unpack(words: &Words, pair: usize) -> [f32; 2];

    /// Loads one element; its bits are the lower ones of the word.
    ///
    /// # Safety
    /// `address` is that of a readable element in global memory.
    unsafe fn load(address: u64) -> u32;

    /// Packs the bits of two neighbours into words: one word for a 16-bit type, two for f32.
    fn join(pair: [u32; 2]) -> [u32; 2];
}

/// An element type of weights and biases.
pub trait Param: Element {
    /// A word of negative zeros, which stand for absent biases: adding -0 changes nothing.
    const NEGATIVE_ZEROS: u32;

    /// A word of ones, which stand for absent weights.
    fn ones() -> u32;

    /// Two weights with their offset, rounded to this type where the offset is rounded.
    fn round(pair: [f32; 2]) -> [f32; 2];

    /// Two normalized numbers times weights `2 * pair` and `2 * pair + 1` of a vector's words, as a pair of values that are
    /// quantized.
    fn weigh(normalized: [f32; 2], weights: &Words, pair: usize) -> ValuePair;
}

/// An element type of a tensor that is written.
pub trait Stored: Element {
    /// Rounds two neighbours to nearest even and packs them into words: one word for a 16-bit type, two for f32.
    fn pack(pair: [f32; 2]) -> [u32; 2];

    /// The inverse of packing: the bits of each of two neighbours that [`pack`](Self::pack) has packed, in the lower ones of
    /// a word each.
    fn split(words: [u32; 2]) -> [u32; 2];

    /// Stores one element, given its bits in the lower ones of the word.
    ///
    /// # Safety
    /// `address` is that of a writable element in global memory.
    unsafe fn store(address: u64, bits: u32);
}

/// The element type of y.
pub trait Output: Stored {
    /// Two results of the norm added to a residual of this type. Some orders of roundings round them to this type first,
    /// and in a scaled kernel the product and the sum, too.
    fn add(n: [f32; 2], r: [f32; 2], scales: Scales) -> [f32; 2];

    /// `n * w + b` for two neighbours. Some orders of roundings round the product to this type.
    fn affine(n: [f32; 2], w: [f32; 2], b: [f32; 2]) -> [f32; 2];
}

/// An element type of the rows that are normalized: x, or its sum with a residual.
pub trait Input: Stored {
    /// The total with the `N` elements of a vector, 4 or 8, more, given as `f32` and as their words. What becomes of infinities
    /// and NaN is not said; the norm finds them by their squares.
    fn add_to_total<const N: usize>(total: Total, x: [f32; N], words: &Words) -> Total;

    /// The sum of both totals, with the same bits for either order of them.
    fn plus(a: Total, b: Total) -> Total;

    /// Mean, excess and M2 of some elements: [`pseudo::moments_x`].
    fn moments(total: Total, squares: f32, elements: f32, reciprocal: (f32, f64)) -> [f32; 3];

    /// Mean and excess of some elements: [`pseudo::mean_x`].
    fn mean(total: Total, elements: f32, reciprocal: (f32, f64)) -> [f32; 2];

    /// The mean of a share minus that of the row: [`pseudo::distance_x`].
    fn distance(share: (Total, f32, f32, f64), row: (Total, f64, [f32; 2])) -> f32;

    /// Whether a total is beyond what it can hold, given the mean of it.
    fn overflows(mean: f32) -> bool;

    /// Whether [`clamp`](Self::clamp) may change anything.
    const MAY_CLAMP: bool;

    /// Clamps infinities of f16 to ±65504, so that one infinity from an earlier layer does not make the whole row NaN. NaN
    /// stays NaN, and other types stay as they are.
    fn clamp(words: Words) -> Words;

    /// Stores a clamped vector of `bytes` bytes, 8 or 16, back to its slot in shared memory. Types that are not clamped
    /// store nothing.
    ///
    /// # Safety
    /// As [`gpu::st_shared_v2`] or [`gpu::st_shared_v4`].
    unsafe fn st_clamped(slot: u32, words: Words, bytes: u32);
}

/// An element type of x, which is added to a residual.
pub trait Addend: Input {
    /// Two elements of x added to a residual. In a scaled kernel some orders of roundings round the product and the sum to
    /// this type.
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

/// [`Element`] for a 16-bit type.
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
                // SAFETY: the caller guarantees that the address is that of an element in global memory.
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

/// [`Stored`] for a 16-bit type.
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
                // SAFETY: the caller guarantees that the address is that of an element in global memory.
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

    #[inline(always)]
    fn weigh(normalized: [f32; 2], weights: &Words, pair: usize) -> ValuePair {
        pseudo::weigh_w(normalized, weights[pair])
    }
}

impl Input for XHalf {
    #[inline(always)]
    fn add_to_total<const N: usize>(total: Total, x: [f32; N], words: &Words) -> Total {
        let [p, q, r, s, ..] = *words;
        match N {
            8 => pseudo::total_x_v8(total, [x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]], [p, q, r, s]),
            _ => pseudo::total_x_v4(total, [x[0], x[1], x[2], x[3]], [p, q]),
        }
    }

    #[inline(always)]
    fn plus(a: Total, b: Total) -> Total {
        pseudo::plus_x(a, b)
    }

    #[inline(always)]
    fn moments(total: Total, squares: f32, elements: f32, (r32, r64): (f32, f64)) -> [f32; 3] {
        pseudo::moments_x(total, squares, elements, r32, r64)
    }

    #[inline(always)]
    fn mean(total: Total, elements: f32, (r32, r64): (f32, f64)) -> [f32; 2] {
        pseudo::mean_x(total, elements, r32, r64)
    }

    #[inline(always)]
    fn distance(share: (Total, f32, f32, f64), row: (Total, f64, [f32; 2])) -> f32 {
        pseudo::distance_x(share, row)
    }

    #[inline(always)]
    fn overflows(mean: f32) -> bool {
        pseudo::overflows_x(mean) != 0
    }

    const MAY_CLAMP: bool = true;

    #[inline(always)]
    fn clamp(words: Words) -> Words {
        words.map(pseudo::clamp_x)
    }

    #[inline(always)]
    unsafe fn st_clamped(slot: u32, [a, b, c, d, ..]: Words, bytes: u32) {
        // SAFETY: the caller guarantees that the slot is `bytes` bytes of shared memory that belong to this thread.
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
        // SAFETY: the caller guarantees that the address is that of an element in global memory.
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

    #[inline(always)]
    fn weigh(normalized: [f32; 2], weights: &Words, pair: usize) -> ValuePair {
        let ([a, b], [v, w]) = (pseudo::round_n(normalized), Self::unpack(weights, pair));
        pseudo::value_v([a * v, b * w])
    }
}

impl Input for F32 {
    #[inline(always)]
    fn add_to_total<const N: usize>(total: Total, x: [f32; N], _words: &Words) -> Total {
        match N {
            8 => pseudo::total_s_v8(total, [x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]]),
            _ => pseudo::total_s_v4(total, [x[0], x[1], x[2], x[3]]),
        }
    }

    #[inline(always)]
    fn plus(a: Total, b: Total) -> Total {
        pseudo::plus_s(a, b)
    }

    #[inline(always)]
    fn moments(total: Total, squares: f32, elements: f32, (r32, r64): (f32, f64)) -> [f32; 3] {
        pseudo::moments_s(total, squares, elements, r32, r64)
    }

    #[inline(always)]
    fn mean(total: Total, elements: f32, (r32, r64): (f32, f64)) -> [f32; 2] {
        pseudo::mean_s(total, elements, r32, r64)
    }

    #[inline(always)]
    fn distance(share: (Total, f32, f32, f64), row: (Total, f64, [f32; 2])) -> f32 {
        pseudo::distance_s(share, row)
    }

    #[inline(always)]
    fn overflows(mean: f32) -> bool {
        pseudo::overflows_s(mean) != 0
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
        // SAFETY: the caller guarantees that the address is that of an element in global memory.
        unsafe { gpu::st_global_b32(address, bits) }
    }
}

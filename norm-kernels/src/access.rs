//! Loads and stores of `N` neighbouring elements: as vectors, or element by element.

use crate::each::{each, map_pairs};
use crate::element::{Element, Stored, Words};
use crate::gpu::{self, Reuse};

/// The `N` elements of a vector.
#[inline(always)]
pub fn unpack<E: Element, const N: usize>(words: Words) -> [f32; N] {
    map_pairs(|i| E::unpack(&words, i / 2))
}

/// `N` elements as a vector, rounded to nearest even.
#[inline(always)]
pub fn pack<E: Stored, const N: usize>(values: [f32; N]) -> Words {
    words::<E, N>(|pair| E::pack([values[2 * pair], values[2 * pair + 1]]))
}

/// The words of a vector of `N` elements, given those of each pair of neighbours by the pair's index.
#[inline(always)]
fn words<E: Element, const N: usize>(pair: impl Fn(usize) -> [u32; 2]) -> Words {
    let mut words = [0; 8];
    each::<4>(|index| {
        if 2 * index < N {
            let [low, high] = pair(index);
            let at = 2 * index * E::SIZE as usize / 4;
            words[at] = low;
            if E::SIZE == 4 {
                words[at + 1] = high;
            }
        }
    });
    words
}

/// How a kernel accesses global memory.
pub trait MemoryAccess {
    /// Whether a vector lies in the row with all of its elements or with none.
    const WHOLE: bool;

    /// How many of the `N` elements from index `at` on lie in a row of `dim` elements.
    fn valid<const N: usize>(at: u32, dim: u32) -> u32;

    /// Loads the first `valid` of `N` elements from `address` on; the others have the bits of `absent`, a word of them.
    ///
    /// # Safety
    /// These elements are readable global memory, and, for [`Vectors`], aligned to `N` elements or 16 bytes.
    unsafe fn fetch<E: Element, const N: usize>(address: u64, valid: u32, absent: u32, reuse: Reuse)
    -> Words;

    /// Stores the first `valid` of `values`, rounded to nearest even.
    ///
    /// # Safety
    /// These elements are writable global memory, and, for [`Vectors`], aligned to `N` elements or 16 bytes.
    unsafe fn store<E: Stored, const N: usize>(address: u64, valid: u32, values: [f32; N]);

    /// Stores the first `valid` of eight codes, one byte each, the first in the lowest byte of the first word.
    ///
    /// # Safety
    /// These bytes are writable global memory, and, for [`Vectors`], aligned to 8.
    unsafe fn store_codes(address: u64, valid: u32, words: [u32; 2]);
}

/// Rows of whole, aligned vectors: accesses of 16 bytes, or of 8 for a tensor whose elements are narrower than the other's.
///
/// `STREAMED`: what is loaded once does not stay in L1, and what is stored leaves the caches first.
pub struct Vectors<const STREAMED: bool>;

/// Vectors without cache hints. A kernel that holds its row in registers, and whose rows are prefetched into the L2 cache, takes
/// 0.95 to 0.99 of the time that it takes with hints (NVIDIA H200, 2026-11-30; docs/TUNING.md, 'Seventeenth round').
pub type Vector = Vectors<false>;

/// Vectors with cache hints, for kernels that load a row again for each pass, stage it in shared memory, or rotate heads.
pub type StreamedVector = Vectors<true>;

impl<const STREAMED: bool> MemoryAccess for Vectors<STREAMED> {
    const WHOLE: bool = true;

    #[inline(always)]
    fn valid<const N: usize>(at: u32, dim: u32) -> u32 {
        if at < dim { N as u32 } else { 0 }
    }

    #[inline(always)]
    unsafe fn fetch<E: Element, const N: usize>(
        address: u64,
        valid: u32,
        absent: u32,
        reuse: Reuse,
    ) -> Words {
        let wanted = valid != 0;
        let reuse = if STREAMED || reuse == Reuse::Shared { reuse } else { Reuse::Cached };
        let mut words = [absent; 8];
        // SAFETY: the caller guarantees that the vector's elements, if `valid` is not 0, are in memory and aligned.
        unsafe {
            match const { N as u64 * E::SIZE } {
                8 => [words[0], words[1]] = gpu::ld_global_v2(address, wanted, absent, reuse),
                16 => {
                    [words[0], words[1], words[2], words[3]] =
                        gpu::ld_global_v4(address, wanted, absent, reuse)
                }
                _ => {
                    [words[0], words[1], words[2], words[3]] =
                        gpu::ld_global_v4(address, wanted, absent, reuse);
                    [words[4], words[5], words[6], words[7]] =
                        gpu::ld_global_v4(address + 16, wanted, absent, reuse);
                }
            }
        }
        words
    }

    #[inline(always)]
    unsafe fn store<E: Stored, const N: usize>(address: u64, valid: u32, values: [f32; N]) {
        if valid == 0 {
            return;
        }
        let words = pack::<E, N>(values);
        let [a, b, c, d, e, f, g, h] = words;
        // SAFETY: the caller guarantees that the vector's elements, if `valid` is not 0, are in memory and aligned.
        unsafe {
            match const { N as u64 * E::SIZE } {
                8 => gpu::st_global_v2::<STREAMED>(address, [a, b]),
                16 => gpu::st_global_v4::<STREAMED>(address, [a, b, c, d]),
                _ => {
                    gpu::st_global_v4::<STREAMED>(address, [a, b, c, d]);
                    gpu::st_global_v4::<STREAMED>(address + 16, [e, f, g, h]);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store_codes(address: u64, valid: u32, words: [u32; 2]) {
        if valid != 0 {
            // SAFETY: the caller guarantees eight bytes of writable global memory, aligned to as many, if `valid` is not 0.
            unsafe { gpu::st_global_v2::<STREAMED>(address, words) }
        }
    }
}

/// Rows of any length and alignment: one access an element.
pub struct Scalar;

impl MemoryAccess for Scalar {
    const WHOLE: bool = false;

    #[inline(always)]
    fn valid<const N: usize>(at: u32, dim: u32) -> u32 {
        u32::min(dim.saturating_sub(at), N as u32)
    }

    #[inline(always)]
    unsafe fn fetch<E: Element, const N: usize>(
        address: u64,
        valid: u32,
        absent: u32,
        _reuse: Reuse,
    ) -> Words {
        let mut elements = [absent; N];
        each::<N>(|i| {
            if (i as u32) < valid {
                // SAFETY: one of the first `valid` elements, which the caller guarantees to be in memory.
                elements[i] = unsafe { E::load(address + i as u64 * E::SIZE) };
            }
        });
        words::<E, N>(|pair| E::join([elements[2 * pair], elements[2 * pair + 1]]))
    }

    #[inline(always)]
    unsafe fn store<E: Stored, const N: usize>(address: u64, valid: u32, values: [f32; N]) {
        each::<4>(|pair| {
            let i = 2 * pair;
            if i < N {
                let bits = E::split(E::pack([values[i], values[i + 1]]));
                each::<2>(|at| {
                    if ((i + at) as u32) < valid {
                        // SAFETY: one of the first `valid` elements, which the caller guarantees to be in memory.
                        unsafe { E::store(address + (i + at) as u64 * E::SIZE, bits[at]) };
                    }
                });
            }
        });
    }

    #[inline(always)]
    unsafe fn store_codes(address: u64, valid: u32, words: [u32; 2]) {
        each::<8>(|i| {
            if (i as u32) < valid {
                // SAFETY: one of the first `valid` bytes, which the caller guarantees to be writable.
                unsafe { gpu::st_global_b8(address + i as u64, words[i / 4] >> (8 * (i % 4))) };
            }
        });
    }
}

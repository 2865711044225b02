//! `N` neighbouring elements between memory and registers: as vectors, or one by one.

use crate::each::each;
use crate::element::{Element, Input, Words};
use crate::gpu::{self, Reuse};
use crate::output;

/// The `N` elements of a vector.
#[inline(always)]
pub fn unpack<E: Element, const N: usize>(words: Words) -> [f32; N] {
    let mut values = [0.0; N];
    each::<4>(|pair| {
        if 2 * pair < N {
            [values[2 * pair], values[2 * pair + 1]] = E::unpack(&words, pair);
        }
    });
    values
}

/// `N` elements as a vector, rounded to nearest even.
#[inline(always)]
pub fn pack<X: Input, const N: usize>(values: [f32; N]) -> Words {
    words::<X, N>(|pair| X::pack([values[2 * pair], values[2 * pair + 1]]))
}

/// The words of a vector of `N` elements, from those of each pair of neighbours.
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

/// How a kernel reaches memory.
pub trait MemoryAccess {
    /// Whether all or none of a vector's elements are in the row.
    const WHOLE: bool;

    /// How many of the `N` elements from `at` on lie in a row of `dim`.
    fn valid<const N: usize>(at: u32, dim: u32) -> u32;

    /// Loads the first `valid` of `N` elements from `address` on; the others are what `absent`,
    /// a word of them, says.
    ///
    /// # Safety
    /// They are readable, and, for [`Vector`], aligned to `N` elements or 16 bytes.
    unsafe fn fetch<E: Element, const N: usize>(address: u64, valid: u32, absent: u32, reuse: Reuse)
    -> Words;

    /// Stores the first `valid` of `values` in the residual, rounded to nearest even.
    ///
    /// # Safety
    /// They are writable, and, for [`Vector`], aligned to `N` elements or 16 bytes.
    unsafe fn store<X: Input, const N: usize>(address: u64, valid: u32, values: [f32; N]);

    /// Loads the first `valid` of `N` elements of y; the others are zeros.
    ///
    /// # Safety
    /// They are readable, and, for [`Vector`], aligned to `N` elements or 16 bytes.
    unsafe fn load_output<const N: usize>(address: u64, valid: u32) -> [f32; N];

    /// Stores the first `valid` of `values` in y, rounded to nearest even.
    ///
    /// # Safety
    /// They are writable, and, for [`Vector`], aligned to `N` elements or 16 bytes.
    unsafe fn store_output<const N: usize>(address: u64, valid: u32, values: [f32; N]);
}

/// Rows of whole vectors, aligned: accesses of 16 bytes, or 8 where the other tensor's
/// elements are wider.
pub struct Vector;

impl MemoryAccess for Vector {
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
        let mut words = [absent; 8];
        // SAFETY: the caller keeps the elements in memory, aligned to the vector.
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
    unsafe fn store<X: Input, const N: usize>(address: u64, valid: u32, values: [f32; N]) {
        if valid == 0 {
            return;
        }
        let words = pack::<X, N>(values);
        let [a, b, c, d, e, f, g, h] = words;
        // SAFETY: the caller keeps the elements in memory, aligned to the vector.
        unsafe {
            match const { N as u64 * X::SIZE } {
                8 => gpu::st_global_v2(address, [a, b]),
                16 => gpu::st_global_v4(address, [a, b, c, d]),
                _ => {
                    gpu::st_global_v4(address, [a, b, c, d]);
                    gpu::st_global_v4(address + 16, [e, f, g, h]);
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn load_output<const N: usize>(address: u64, valid: u32) -> [f32; N] {
        // SAFETY: the caller keeps the elements in memory, aligned to the vector.
        unsafe { output::load_vector(address, valid != 0) }
    }

    #[inline(always)]
    unsafe fn store_output<const N: usize>(address: u64, valid: u32, values: [f32; N]) {
        if valid != 0 {
            // SAFETY: the caller keeps the elements in memory, aligned to the vector.
            unsafe { output::store_vector(address, values) }
        }
    }
}

/// Any row: one access an element.
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
                // SAFETY: one of the first `valid` elements, which the caller keeps in memory.
                elements[i] = unsafe { E::load(address + i as u64 * E::SIZE) };
            }
        });
        words::<E, N>(|pair| E::join([elements[2 * pair], elements[2 * pair + 1]]))
    }

    #[inline(always)]
    unsafe fn store<X: Input, const N: usize>(address: u64, valid: u32, values: [f32; N]) {
        each::<N>(|i| {
            if (i as u32) < valid {
                // SAFETY: one of the first `valid` elements, which the caller keeps in memory.
                unsafe { X::store(address + i as u64 * X::SIZE, values[i]) };
            }
        });
    }
    #[inline(always)]
    unsafe fn load_output<const N: usize>(address: u64, valid: u32) -> [f32; N] {
        let mut values = [0.0; N];
        each::<N>(|i| {
            if (i as u32) < valid {
                // SAFETY: one of the first `valid` elements, which the caller keeps in memory.
                values[i] = unsafe { output::load(address + output::offset(i as u32)) };
            }
        });
        values
    }

    #[inline(always)]
    unsafe fn store_output<const N: usize>(address: u64, valid: u32, values: [f32; N]) {
        each::<N>(|i| {
            if (i as u32) < valid {
                // SAFETY: one of the first `valid` elements, which the caller keeps in memory.
                unsafe { output::store(address + output::offset(i as u32), values[i]) };
            }
        });
    }
}

//! A part in shared memory.

use core::marker::PhantomData;

use super::{Params, RowStorage, add_residual, finish, is_common};
use crate::abi::stages_sums_with_y;
use crate::access::{MemoryAccess, Vector, unpack};
use crate::each::each;
use crate::element::{Addend, Input, Output, Param, Words};
use crate::gpu::{self, Reuse};
use crate::row::Row;

/// Aligned vectors, as many as there are, read once and kept in shared memory: they hold no
/// registers on their way, so all can be on it at once. A thread touches only its own, which takes
/// no barrier.
pub struct Shared<X, W, Y, const N: usize> {
    row: Row,
    /// The address in shared memory of its first vector.
    slot: u32,
    elements: PhantomData<(X, W, Y)>,
}

/// Neighbours among a thread's vectors that are on their way between memory and registers at the
/// same time: two where the passes are short, one where they take the registers for more.
#[derive(Clone, Copy)]
struct Flight<const F: usize> {
    /// The first element of each, and how many of its elements are in the row.
    places: [(u32, u32); F],
    /// Where each is in shared memory. Those behind the row have a slot too.
    slots: [u32; F],
}

impl<X: Input, W: Param, Y: Output, const N: usize> Shared<X, W, Y, N> {
    /// Bytes of a vector: 16, or 8 where `y` has the wider elements.
    const BYTES: u32 = N as u32 * X::SIZE as u32;

    /// Loads the part. With a residual in front of the norm, the sum of it and x, of type `I`, is what is loaded, and stored
    /// too; where `I` is not `X`, there is one.
    ///
    /// # Safety
    /// As [`start`](Self::start); no other thread touches these elements of the sum.
    #[inline(always)]
    pub unsafe fn load<I: Addend>(row: Row) -> Self {
        // SAFETY: the caller says where the row and its residual lie, and that shared memory holds its vectors.
        unsafe {
            if I::SIZE != X::SIZE || row.adds() {
                let part = Self::of(row);
                part.add::<I>();
                part
            } else {
                let part = Self::start(row);
                gpu::cp_async_wait_all();
                part
            }
        }
    }

    /// The part, on its way: [`gpu::cp_async_wait_all`] comes before anything else. A residual is left
    /// where it is.
    ///
    /// # Safety
    /// The row lies in memory as it says, vectors whole and aligned, and the block has shared
    /// memory for all of its threads' vectors, an even number each.
    #[inline(always)]
    pub unsafe fn start(row: Row) -> Self {
        let part = Self::of(row);
        part.flights(|Flight::<2> { places, slots }| {
            each::<2>(|v| {
                let (at, valid) = places[v];
                let address = row.x + at as u64 * X::SIZE;
                // SAFETY: a whole vector of the row, or nothing; the slot is this thread's.
                unsafe { Self::stage(slots[v], address, valid != 0) };
            });
        });
        part
    }

    /// The part, with nothing in its slots.
    #[inline(always)]
    fn of(row: Row) -> Self {
        let thread = gpu::thread_y() * gpu::block_x() + gpu::thread_x();
        Shared { row, slot: gpu::row() + thread * Self::BYTES, elements: PhantomData }
    }

    /// Adds `x` to the residual and keeps the sum.
    ///
    /// # Safety
    /// As [`load`](Self::load).
    #[inline(always)]
    unsafe fn add<I: Addend>(&self) {
        self.flights(|Flight::<2> { places, slots }| {
            // One after the other, for registers; but the one behind the row too, whose slot is to
            // hold zeros.
            each::<2>(|v| {
                let (at, valid) = places[v];
                let (x, r) = (self.row.x + at as u64 * I::SIZE, self.row.r + at as u64 * X::SIZE);
                // SAFETY: a whole vector of each row, or nothing; the slot is this thread's.
                unsafe {
                    let x = Vector::fetch::<I, N>(x, valid, 0, Reuse::Once);
                    let r = Vector::fetch::<X, N>(r, valid, 0, Reuse::Once);
                    Self::store(slots[v], add_residual::<I, X, N>(&self.row, (at, valid), x, r));
                }
            });
        });
    }

    /// Calls `f` with all of the thread's vectors.
    #[inline(always)]
    fn flights<const F: usize>(&self, mut f: impl FnMut(Flight<F>)) {
        let mut at = self.row.start;
        let mut slot = self.slot;
        let hop = gpu::block_x() * gpu::block_y() * Self::BYTES;
        while at < self.row.end {
            let mut flight = Flight { places: [(0, 0); F], slots: [0; F] };
            each::<F>(|v| {
                let at = at + v as u32 * self.row.step;
                flight.places[v] = (at, Vector::valid::<N>(at, self.row.end));
                flight.slots[v] = slot + v as u32 * hop;
            });
            f(flight);
            at += F as u32 * self.row.step;
            slot += F as u32 * hop;
        }
    }

    /// Starts to copy a vector to its slot, or zeros where not `wanted`.
    ///
    /// # Safety
    /// As [`gpu::cp_async_16`], for [`Self::BYTES`].
    #[inline(always)]
    unsafe fn stage(slot: u32, address: u64, wanted: bool) {
        // SAFETY: the caller keeps the slot this thread's and the address that of a vector, where `wanted`.
        unsafe {
            match Self::BYTES {
                8 => gpu::cp_async_8(slot, address, wanted),
                _ => gpu::cp_async_16(slot, address, wanted),
            }
        }
    }

    /// Puts a vector into its slot.
    ///
    /// # Safety
    /// As [`gpu::st_shared_v4`], for [`Self::BYTES`].
    #[inline(always)]
    unsafe fn store(slot: u32, [a, b, c, d, ..]: Words) {
        // SAFETY: the caller keeps the slot this thread's.
        unsafe {
            match Self::BYTES {
                8 => gpu::st_shared_v2(slot, [a, b]),
                _ => gpu::st_shared_v4(slot, [a, b, c, d]),
            }
        }
    }

    /// The vector in a slot.
    ///
    /// # Safety
    /// As [`gpu::ld_shared_v4`], for [`Self::BYTES`].
    #[inline(always)]
    unsafe fn fetch(slot: u32) -> Words {
        let mut words = [0; 8];
        // SAFETY: the caller keeps the slot one that this thread has filled.
        unsafe {
            match Self::BYTES {
                8 => [words[0], words[1]] = gpu::ld_shared_v2(slot),
                _ => [words[0], words[1], words[2], words[3]] = gpu::ld_shared_v4(slot),
            }
        }
        words
    }

    /// What the slots hold: from [`RowStorage::each_first`] on, as the arithmetic is to see it.
    #[inline(always)]
    fn words<const F: usize>(slots: [u32; F]) -> [Words; F] {
        let mut words = [[0; 8]; F];
        // SAFETY: filled by `load`, by this thread.
        each::<F>(|v| words[v] = unsafe { Self::fetch(slots[v]) });
        words
    }

    /// [`RowStorage::write`], of the common case or of any: with `adds` the kernel can add to what `y` holds.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn write_as<const F: usize, const BIASES: bool, const EXTRAS: bool>(
        &self,
        norm: impl Fn(f32) -> f32,
        adds: bool,
    ) {
        self.flights(|Flight::<F> { places, slots }| {
            let mut params = [Params::NONE; F];
            each::<F>(|v| {
                let (at, valid) = places[v];
                // SAFETY: vectors of the row, or nothing: for it the first's are loaded, which are there.
                params[v] = unsafe {
                    if BIASES && !EXTRAS {
                        let at = if v == 0 || valid != 0 { at } else { places[0].0 };
                        Params::load_both::<W, N>(&self.row, at)
                    } else {
                        Params::load::<Vector, W, N, BIASES>(&self.row, (at, valid))
                    }
                };
            });
            let x = Self::words(slots);
            each::<F>(|v| {
                let mut values = unpack::<X, N>(x[v]);
                each::<N>(|i| values[i] = norm(values[i]));
                // SAFETY: the vector is in the row, or there is nothing of it; the caller gives these elements of `y`
                // to this thread alone.
                unsafe {
                    if EXTRAS && adds {
                        finish::<Vector, W, Y, N, BIASES, EXTRAS, true>(
                            &self.row, places[v], values, params[v],
                        );
                    } else {
                        finish::<Vector, W, Y, N, BIASES, EXTRAS, false>(
                            &self.row, places[v], values, params[v],
                        );
                    }
                }
            });
        });
    }
}

impl<X: Input, W: Param, Y: Output, const N: usize> RowStorage<N> for Shared<X, W, Y, N> {
    type X = X;
    const WHOLE: bool = true;
    const LONG: bool = false;

    /// Also clamps what the slots hold, once for all passes.
    #[inline(always)]
    fn each_first(&self, mut f: impl FnMut(Words, u32)) {
        self.flights(|Flight::<2> { places, slots }| {
            let mut x = Self::words(slots);
            if X::MAY_CLAMP {
                each::<2>(|v| {
                    x[v] = X::clamp(x[v]);
                    // SAFETY: the slot is this thread's.
                    unsafe { X::st_clamped(slots[v], x[v], Self::BYTES) };
                });
            }
            each::<2>(|v| f(x[v], places[v].1));
        });
    }

    #[inline(always)]
    fn each(&self, mut f: impl FnMut(Words, u32)) {
        // One at a time, for registers: few rows need a later pass.
        self.flights(|Flight::<1> { places: [(_, valid)], slots }| f(Self::words(slots)[0], valid));
    }

    #[inline(always)]
    unsafe fn write<const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32) {
        // SAFETY: the caller gives these elements of `y` to this thread.
        unsafe {
            if !is_common::<BIASES>(&self.row) {
                let adds = const { stages_sums_with_y(BIASES, X::SIZE as usize, W::SIZE as usize, N as u32) };
                self.write_as::<1, true, true>(norm, adds);
            } else if BIASES && W::SIZE == 4 {
                // Two with weights and biases in f32 would leave registers for two blocks a multiprocessor in
                // place of three: for f32 0.86 in place of 0.94 of a copy's bandwidth at 262144; beside x in
                // f16 0.82 in place of 0.87 there, but 0.97 in place of 0.95 at 32768
                // (NVIDIA H100, 2026-11-25).
                self.write_as::<1, BIASES, false>(norm, false);
            } else {
                self.write_as::<2, BIASES, false>(norm, false);
            }
        }
    }
}

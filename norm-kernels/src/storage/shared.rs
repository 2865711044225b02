//! A thread's part of a row in shared memory.

use core::marker::PhantomData;

use super::{Params, RowStorage, add_residual, finish, is_common};
use crate::abi::stages_residual_behind_norm;
use crate::access::{MemoryAccess, StreamedVector, unpack};
use crate::each::each;
use crate::element::{Addend, Input, Output, Param, Words};
use crate::gpu::{self, Reuse};
use crate::row::Row;

/// Aligned vectors, any number that fits, read once and kept in shared memory. `cp.async` copies them there without passing
/// through registers, so all of them can be in flight at once. A thread accesses only its own vectors, which takes no
/// barrier.
pub struct Shared<X, W, Y, const N: usize> {
    row: Row,
    /// The address in shared memory of the thread's first vector.
    slot: u32,
    elements: PhantomData<(X, W, Y)>,
}

/// Consecutive vectors of a thread that a pass handles together: two where the pass is short, one where it would take too
/// many registers for two.
#[derive(Clone, Copy)]
struct Batch<const F: usize> {
    /// The index of the first element of each, and how many of its elements are in the row.
    places: [(u32, u32); F],
    /// The address of each in shared memory. A vector past the end of the row has a slot, too.
    slots: [u32; F],
}

impl<X: Input, W: Param, Y: Output, const N: usize> Shared<X, W, Y, N> {
    /// Bytes of a vector: 16, or 8 where `y` has the wider elements.
    const BYTES: u32 = N as u32 * X::SIZE as u32;

    /// Loads the part. With a residual in front of the norm, adds `x`, of type `I`, to it, stores the sum, and keeps the sum
    /// as the part. Where `I` is not `X`, there must be a residual.
    ///
    /// # Safety
    /// As [`start`](Self::start), for the rows of `x`, the residual and the sum. No other thread touches these elements of
    /// the sum.
    #[inline(always)]
    pub unsafe fn load<I: Addend>(row: Row) -> Self {
        // SAFETY: the caller guarantees that the elements of all rows are in memory, that no other thread touches these of
        // the sum, and that shared memory holds the vectors.
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

    /// Starts to copy the part into shared memory. [`gpu::cp_async_wait_all`] has to be called before anything else is done
    /// with it. No residual is added in front of the norm.
    ///
    /// # Safety
    /// The addresses of the row are those of its elements, in whole and aligned vectors. The block has shared memory for
    /// all vectors of its threads, rounded up to an even number a thread.
    #[inline(always)]
    pub unsafe fn start(row: Row) -> Self {
        let part = Self::of(row);
        part.each_batch(|Batch::<2> { places, slots }| {
            each::<2>(|v| {
                let (at, valid) = places[v];
                let address = row.x + at as u64 * X::SIZE;
                // SAFETY: a whole vector of the row, or `valid` is 0; no other thread has the slot.
                unsafe { Self::stage(slots[v], address, valid != 0) };
            });
        });
        part
    }

    /// A part whose slots are not filled yet.
    #[inline(always)]
    fn of(row: Row) -> Self {
        let thread = gpu::thread_y() * gpu::block_x() + gpu::thread_x();
        Shared { row, slot: gpu::row() + thread * Self::BYTES, elements: PhantomData }
    }

    /// Adds `x` to the residual, stores the sum, and keeps it in the slots.
    ///
    /// # Safety
    /// As [`load`](Self::load).
    #[inline(always)]
    unsafe fn add<I: Addend>(&self) {
        self.each_batch(|Batch::<2> { places, slots }| {
            // One vector after the other, which takes fewer registers. One past the end of the row is included, so that its
            // slot holds zeros.
            each::<2>(|v| {
                let (at, valid) = places[v];
                let (x, r) = (self.row.x + at as u64 * I::SIZE, self.row.r + at as u64 * X::SIZE);
                // SAFETY: a whole vector of each row, or `valid` is 0; no other thread has the slot.
                unsafe {
                    let x = StreamedVector::fetch::<I, N>(x, valid, 0, Reuse::Once);
                    let r = StreamedVector::fetch::<X, N>(r, valid, 0, Reuse::Once);
                    Self::store(
                        slots[v],
                        add_residual::<StreamedVector, I, X, N>(&self.row, (at, valid), x, r),
                    );
                }
            });
        });
    }

    /// Calls `f` with all vectors of the thread, `F` at a time.
    #[inline(always)]
    fn each_batch<const F: usize>(&self, mut f: impl FnMut(Batch<F>)) {
        let mut at = self.row.start;
        let mut slot = self.slot;
        let hop = gpu::block_x() * gpu::block_y() * Self::BYTES;
        while at < self.row.end {
            let mut batch = Batch { places: [(0, 0); F], slots: [0; F] };
            each::<F>(|v| {
                let at = at + v as u32 * self.row.step;
                batch.places[v] = (at, StreamedVector::valid::<N>(at, self.row.end));
                batch.slots[v] = slot + v as u32 * hop;
            });
            f(batch);
            at += F as u32 * self.row.step;
            slot += F as u32 * hop;
        }
    }

    /// Starts to copy a vector to its slot, or zeros if not `wanted`.
    ///
    /// # Safety
    /// As [`gpu::cp_async_16`], for [`Self::BYTES`].
    #[inline(always)]
    unsafe fn stage(slot: u32, address: u64, wanted: bool) {
        // SAFETY: the caller guarantees that the slot is this thread's, and the address that of a vector if `wanted`.
        unsafe {
            match Self::BYTES {
                8 => gpu::cp_async_8(slot, address, wanted),
                _ => gpu::cp_async_16(slot, address, wanted),
            }
        }
    }

    /// Writes a vector to its slot.
    ///
    /// # Safety
    /// As [`gpu::st_shared_v4`], for [`Self::BYTES`].
    #[inline(always)]
    unsafe fn store(slot: u32, [a, b, c, d, ..]: Words) {
        // SAFETY: the caller guarantees that the slot is this thread's.
        unsafe {
            match Self::BYTES {
                8 => gpu::st_shared_v2(slot, [a, b]),
                _ => gpu::st_shared_v4(slot, [a, b, c, d]),
            }
        }
    }

    /// Reads the vector in a slot.
    ///
    /// # Safety
    /// As [`gpu::ld_shared_v4`], for [`Self::BYTES`].
    #[inline(always)]
    unsafe fn fetch(slot: u32) -> Words {
        let mut words = [0; 8];
        // SAFETY: the caller guarantees that this thread has filled the slot.
        unsafe {
            match Self::BYTES {
                8 => [words[0], words[1]] = gpu::ld_shared_v2(slot),
                _ => [words[0], words[1], words[2], words[3]] = gpu::ld_shared_v4(slot),
            }
        }
        words
    }

    /// The vectors in the slots, which [`RowStorage::each_first`] has clamped.
    #[inline(always)]
    fn words<const F: usize>(slots: [u32; F]) -> [Words; F] {
        let mut words = [[0; 8]; F];
        // SAFETY: this thread has filled all of its slots in `load` or `start`.
        each::<F>(|v| words[v] = unsafe { Self::fetch(slots[v]) });
        words
    }

    /// [`RowStorage::write`]: the fast copy for the common case ([`is_common`]), or with `EXTRAS` the one for any row. That one
    /// adds a residual behind the norm if `adds`.
    ///
    /// # Safety
    /// As [`RowStorage::write`].
    #[inline(always)]
    unsafe fn write_as<const F: usize, const BIASES: bool, const EXTRAS: bool>(
        &self,
        norm: impl Fn(f32) -> f32,
        adds: bool,
    ) {
        self.each_batch(|Batch::<F> { places, slots }| {
            let mut params = [Params::NONE; F];
            each::<F>(|v| {
                let (at, valid) = places[v];
                // SAFETY: the weights and biases of a vector of the row. Past its end, `load_both` loads those of the batch's
                // first vector, which is in the row, and `load` none.
                params[v] = unsafe {
                    if BIASES && !EXTRAS {
                        let at = if v == 0 || valid != 0 { at } else { places[0].0 };
                        Params::load_both::<W, N>(&self.row, at)
                    } else {
                        Params::load::<StreamedVector, W, N, BIASES>(&self.row, (at, valid))
                    }
                };
            });
            let x = Self::words(slots);
            each::<F>(|v| {
                let mut values = unpack::<X, N>(x[v]);
                each::<N>(|i| values[i] = norm(values[i]));
                // SAFETY: a whole vector of the row, or `valid` is 0; the caller guarantees that no other thread touches
                // these elements of `y`.
                unsafe {
                    if EXTRAS && adds {
                        finish::<StreamedVector, W, Y, N, BIASES, EXTRAS, true>(
                            &self.row, places[v], values, params[v],
                        );
                    } else {
                        finish::<StreamedVector, W, Y, N, BIASES, EXTRAS, false>(
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

    /// Also clamps the vectors in the slots, once for all passes.
    #[inline(always)]
    fn each_first(&self, mut f: impl FnMut(Words, u32)) {
        self.each_batch(|Batch::<2> { places, slots }| {
            let mut x = Self::words(slots);
            if X::MAY_CLAMP {
                each::<2>(|v| {
                    x[v] = X::clamp(x[v]);
                    // SAFETY: no other thread has the slot.
                    unsafe { X::st_clamped(slots[v], x[v], Self::BYTES) };
                });
            }
            each::<2>(|v| f(x[v], places[v].1));
        });
    }

    #[inline(always)]
    fn each(&self, mut f: impl FnMut(Words, u32)) {
        // One at a time, which takes fewer registers: few rows need a later pass.
        self.each_batch(|Batch::<1> { places: [(_, valid)], slots }| f(Self::words(slots)[0], valid));
    }

    #[inline(always)]
    unsafe fn write<const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32) {
        // SAFETY: the caller guarantees that no other thread touches these elements of `y`.
        unsafe {
            if !is_common::<BIASES>(&self.row) {
                let adds = const {
                    stages_residual_behind_norm(BIASES, X::SIZE as usize, W::SIZE as usize, N as u32)
                };
                self.write_as::<1, true, true>(norm, adds);
            } else if BIASES && W::SIZE == 4 {
                // One vector at a time: two, with weights and biases in f32, would leave registers for two blocks a
                // multiprocessor instead of three. At 262144, f32 would reach 0.86 instead of 0.94 of a copy's bandwidth,
                // f16 with weights in f32 0.82 instead of 0.87; the latter would gain only at 32768, 0.97 instead of 0.95
                // (NVIDIA H100, 2026-11-25).
                self.write_as::<1, BIASES, false>(norm, false);
            } else {
                self.write_as::<2, BIASES, false>(norm, false);
            }
        }
    }
}

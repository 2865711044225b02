//! A thread's part of a row that stays in global memory.

use core::marker::PhantomData;

use super::{Params, RowStorage, finish, is_common};
use crate::access::{MemoryAccess, unpack};
use crate::each::{each, map_pairs};
use crate::element::{Addend, Element, Input, Output, Param, Words};
use crate::gpu::Reuse;
use crate::row::Row;

/// Any number of vectors, loaded again by every pass.
pub struct Reload<A, X, W, Y, const N: usize> {
    row: Row,
    access: PhantomData<(A, X, W, Y)>,
}

/// How many whole vectors a thread loads at a time: with four in flight a kernel reaches 0.83 of a copy's bandwidth at 32768
/// f16, with one 0.62 (NVIDIA H200, 2026-11-22).
const IN_FLIGHT: usize = 4;

impl<A: MemoryAccess, X: Input, W: Param, Y: Output, const N: usize> Reload<A, X, W, Y, N> {
    /// The part of a row without a residual in front of the norm.
    ///
    /// # Safety
    /// The addresses of the row are those of its elements, for [`Vector`](crate::access::Vector) in whole and aligned
    /// vectors.
    #[inline(always)]
    pub unsafe fn new(row: Row) -> Self {
        Reload { row, access: PhantomData }
    }

    /// The part of any row. With a residual in front of the norm, it adds `x`, of type `I`, to the residual and stores the
    /// sum first; the part is then that of the sum.
    ///
    /// # Safety
    /// As [`new`](Self::new), for the rows of `x`, the residual and the sum. No other thread touches these elements of the
    /// sum. If there is no residual in front of the norm, `I` is `X`.
    #[inline(always)]
    pub unsafe fn with_residual<I: Addend>(row: Row) -> Self {
        let mut part = Reload { row, access: PhantomData };
        if row.adds() {
            part.each_at::<I, 1>(|(at, valid), x| {
                let at = at as u64 * X::SIZE;
                // SAFETY: the residual and the sum have the same elements as `x`; the caller guarantees that no other
                // thread touches those of the sum.
                unsafe {
                    let r = A::fetch::<X, N>(row.r + at, valid, 0, Reuse::Cached);
                    let (x, r) = (unpack::<I, N>(x), unpack::<X, N>(r));
                    let sum = map_pairs(|i| I::add([x[i], x[i + 1]], [r[i], r[i + 1]], row.scales));
                    A::store::<X, N>(row.s + at, valid, sum);
                }
            });
            part.row.x = row.s;
        }
        part
    }

    /// Loads every vector of the row, of elements `E`, up to `F` at a time, and calls `f` with the index of its first element,
    /// the number of its elements that are in the row, and the vector.
    #[inline(always)]
    fn each_at<E: Element, const F: usize>(&self, mut f: impl FnMut((u32, u32), Words)) {
        let flight = if A::WHOLE { F } else { 1 };
        let mut at = self.row.start;
        while at < self.row.end {
            let place = |v: usize| {
                let at = at + v as u32 * self.row.step;
                (at, A::valid::<N>(at, self.row.end))
            };
            let mut words: [Words; F] = [[0; 8]; F];
            each::<F>(|v| {
                if v < flight {
                    let (at, valid) = place(v);
                    let address = self.row.x + at as u64 * E::SIZE;
                    // SAFETY: the first `valid` elements are in the row; who called `new` or `with_residual` guaranteed that
                    // they are in memory and aligned.
                    words[v] = unsafe { A::fetch::<E, N>(address, valid, 0, Reuse::Cached) };
                }
            });
            each::<F>(|v| {
                if v < flight {
                    f(place(v), words[v]);
                }
            });
            at += flight as u32 * self.row.step;
        }
    }

    /// [`RowStorage::write`]: the fast copy for the common case ([`is_common`]), or with `EXTRAS` the one for any row.
    ///
    /// # Safety
    /// As [`RowStorage::write`].
    #[inline(always)]
    unsafe fn write_as<const F: usize, const BIASES: bool, const EXTRAS: bool>(
        &self,
        norm: impl Fn(f32) -> f32,
    ) {
        self.each_at::<X, F>(|place, words| {
            let mut values = unpack::<X, N>(X::clamp(words));
            each::<N>(|i| values[i] = norm(values[i]));
            // SAFETY: these elements are in the row; the caller guarantees that no other thread touches them in `y`.
            unsafe {
                let params = Params::load::<A, W, N, BIASES>(&self.row, place);
                finish::<A, W, Y, N, BIASES, EXTRAS, EXTRAS>(&self.row, place, values, params);
            }
        });
    }
}

impl<A: MemoryAccess, X: Input, W: Param, Y: Output, const N: usize> RowStorage<N> for Reload<A, X, W, Y, N> {
    type X = X;
    const WHOLE: bool = A::WHOLE;
    const LONG: bool = true;

    #[inline(always)]
    fn each(&self, mut f: impl FnMut(Words, u32)) {
        self.each_at::<X, IN_FLIGHT>(|(_, valid), words| f(X::clamp(words), valid));
    }

    #[inline(always)]
    unsafe fn write<const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32) {
        // SAFETY: the caller guarantees that no other thread touches these elements of `y`.
        unsafe {
            // Scalar kernels have one copy of the pass: a second would not pay.
            if A::WHOLE && is_common::<BIASES>(&self.row) {
                self.write_as::<IN_FLIGHT, BIASES, false>(norm);
            } else {
                self.write_as::<1, true, true>(norm);
            }
        }
    }
}

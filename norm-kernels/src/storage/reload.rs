//! A part left in memory.

use core::marker::PhantomData;

use super::{Params, RowStorage, finish, is_common};
use crate::access::{MemoryAccess, unpack};
use crate::each::{each, map_pairs};
use crate::element::{Addend, Element, Input, Output, Param, Words};
use crate::gpu::Reuse;
use crate::row::Row;

/// Any number of vectors, read again by every pass.
pub struct Reload<A, X, W, Y, const N: usize> {
    row: Row,
    access: PhantomData<(A, X, W, Y)>,
}

/// Vectors on their way at a time, where they are whole: four give 0.83 of a copy's bandwidth at
/// 32768 f16, one gives 0.62 (NVIDIA H200, 2026-11-22).
const FLIGHT: usize = 4;

impl<A: MemoryAccess, X: Input, W: Param, Y: Output, const N: usize> Reload<A, X, W, Y, N> {
    /// The part of a row without a residual in front of the norm.
    ///
    /// # Safety
    /// The row lies in memory as it says, and, for [`Vector`](crate::access::Vector), vectors whole and aligned.
    #[inline(always)]
    pub unsafe fn new(row: Row) -> Self {
        Reload { row, access: PhantomData }
    }

    /// The part. With a residual in front of the norm, the sum of it and `x`, of type `I`, is stored first, and the part is
    /// that of the sum.
    ///
    /// # Safety
    /// As [`new`](Self::new), of all three rows. No other thread touches these elements of the sum. Without a residual
    /// `I` is `X`.
    #[inline(always)]
    pub unsafe fn with_residual<I: Addend>(row: Row) -> Self {
        let mut part = Reload { row, access: PhantomData };
        if row.adds() {
            part.each_at::<I, 1>(|(at, valid), x| {
                let at = at as u64 * X::SIZE;
                // SAFETY: elements that exist in `x` exist in the residual and in the sum; the caller gives those of the
                // sum to this thread.
                unsafe {
                    let r = A::fetch::<X, N>(row.r + at, valid, 0, Reuse::Again);
                    let (x, r) = (unpack::<I, N>(x), unpack::<X, N>(r));
                    let sum = map_pairs(|i| I::add([x[i], x[i + 1]], [r[i], r[i + 1]], row.scales));
                    A::store::<X, N>(row.s + at, valid, sum);
                }
            });
            part.row.x = row.s;
        }
        part
    }

    /// Calls `f` with the place of every vector, how many of its elements, of type `E`, count, and them.
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
                    // SAFETY: `valid` elements of the row; the caller of `new` said that they
                    // are in memory and aligned.
                    words[v] = unsafe { A::fetch::<E, N>(address, valid, 0, Reuse::Again) };
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

    /// [`RowStorage::write`], of the common case or of any.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn write_as<const F: usize, const BIASES: bool, const EXTRAS: bool>(
        &self,
        norm: impl Fn(f32) -> f32,
    ) {
        self.each_at::<X, F>(|place, words| {
            let mut values = unpack::<X, N>(X::clamp(words));
            each::<N>(|i| values[i] = norm(values[i]));
            // SAFETY: elements that this pass has read already; the caller gives these elements of `y` to this thread.
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
        self.each_at::<X, FLIGHT>(|(_, valid), words| f(X::clamp(words), valid));
    }

    #[inline(always)]
    unsafe fn write<const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32) {
        // SAFETY: the caller gives these elements of `y` to this thread.
        unsafe {
            // The scalar kernels are not worth a second copy of the pass.
            if A::WHOLE && is_common::<BIASES>(&self.row) {
                self.write_as::<FLIGHT, BIASES, false>(norm);
            } else {
                self.write_as::<1, true, true>(norm);
            }
        }
    }
}

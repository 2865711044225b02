//! A part left in memory.

use core::marker::PhantomData;

use super::{Params, RowStorage, finish, is_common};
use crate::access::{MemoryAccess, unpack};
use crate::each::each;
use crate::element::{Input, Output, Param, Words};
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
    /// The part. With a residual, `r += x` comes first, and the part is that of `r`.
    ///
    /// # Safety
    /// The row lies in memory as it says, and, for [`Vector`](crate::access::Vector), vectors
    /// whole and aligned. No other thread touches these elements of `r`.
    #[inline(always)]
    pub unsafe fn new(row: Row) -> Self {
        let mut part = Reload { row, access: PhantomData };
        if row.r != 0 {
            part.each_at::<1>(|(at, valid), x| {
                let at = at as u64 * X::SIZE;
                // SAFETY: elements that exist in `x` exist in `r`; the caller gives them to this thread.
                unsafe {
                    let r = A::fetch::<X, N>(row.r + at, valid, 0, Reuse::Again);
                    let (x, mut sum) = (unpack::<X, N>(x), unpack::<X, N>(r));
                    each::<N>(|i| sum[i] += x[i]);
                    A::store::<X, N>(row.r + at, valid, sum);
                }
            });
            part.row.x = row.r;
        }
        part
    }

    /// Calls `f` with the place of every vector, how many of its elements count, and them.
    #[inline(always)]
    fn each_at<const F: usize>(&self, mut f: impl FnMut((u32, u32), Words)) {
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
                    let address = self.row.x + at as u64 * X::SIZE;
                    // SAFETY: `valid` elements of the row; the caller of `new` said that they
                    // are in memory and aligned.
                    words[v] = unsafe { A::fetch::<X, N>(address, valid, 0, Reuse::Again) };
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
        self.each_at::<F>(|place, words| {
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
        self.each_at::<FLIGHT>(|(_, valid), words| f(X::clamp(words), valid));
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

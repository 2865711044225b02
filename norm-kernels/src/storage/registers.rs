//! A part in registers.

use core::marker::PhantomData;

use super::{Params, RowStorage, add_residual, finish};
use crate::access::{MemoryAccess, Vector, unpack};
use crate::each::each;
use crate::element::{Addend, Input, Output, Param, Words};
use crate::gpu::Reuse;
use crate::row::Row;

/// `V` aligned vectors, read once. It adds nothing behind the norm; biases and a weight offset it
/// supports where the constant parameters of `load` and `write` say so.
///
/// `PRELOAD_PARAMS`: weights and biases are loaded with the row, not after the reduction that they would then
/// delay, one vector after the other: 1 row of 8192 f16 takes 1.4 in place of 1.9 µs for RMSNorm, 256
/// rows of 4096 take 3.0 in place of 4.6 for LayerNorm. But LayerNorm's four vectors with their
/// weights and biases take so many registers that large grids lose a fifth of their bandwidth
/// (NVIDIA H200, 2026-11-23).
pub struct Registers<X, W, Y, const N: usize, const V: usize, const PRELOAD_PARAMS: bool> {
    row: Row,
    x: [Words; V],
    params: [Params; V],
    elements: PhantomData<(X, W, Y)>,
}

impl<X: Input, W: Param, Y: Output, const N: usize, const V: usize, const PRELOAD_PARAMS: bool>
    Registers<X, W, Y, N, V, PRELOAD_PARAMS>
{
    /// Loads the part; without `BIASES` none.
    ///
    /// # Safety
    /// The row lies in memory as it says, vectors whole and aligned, at most `V` a thread.
    #[inline(always)]
    pub unsafe fn load<const BIASES: bool>(row: Row) -> Self {
        // SAFETY: the caller keeps the row in memory.
        unsafe {
            let x = Self::vectors::<X>(&row, row.x);
            let params = Self::preload::<BIASES>(&row);
            Self::of(row, x, params)
        }
    }

    /// Loads the row that is the sum of `x`, of type `I`, and the residual, which is stored too; without `BIASES` none.
    ///
    /// # Safety
    /// As [`load`](Self::load), of both rows and of the sum's, of which no other thread touches these elements.
    #[inline(always)]
    pub unsafe fn load_sum<I: Addend, const BIASES: bool>(row: Row) -> Self {
        // SAFETY: the caller keeps the rows in memory, and gives these elements of the sum to this thread.
        unsafe {
            let x = Self::vectors::<I>(&row, row.x);
            let mut sum = Self::vectors::<X>(&row, row.r);
            let params = Self::preload::<BIASES>(&row);
            each::<V>(|v| sum[v] = add_residual::<I, X, N>(&row, Self::at(&row, v), x[v], sum[v]));
            Self::of(row, sum, params)
        }
    }

    /// The part of a row whose vectors and parameters have been loaded.
    #[inline(always)]
    pub fn of(row: Row, mut x: [Words; V], params: [Params; V]) -> Self {
        each::<V>(|v| x[v] = X::clamp(x[v]));
        Registers { row, x, params, elements: PhantomData }
    }

    /// The vectors of a row of elements `E` at `address`.
    ///
    /// # Safety
    /// They are in memory, whole and aligned.
    #[inline(always)]
    pub unsafe fn vectors<E: Input>(row: &Row, address: u64) -> [Words; V] {
        let mut words: [Words; V] = [[0; 8]; V];
        each::<V>(|v| {
            let (at, valid) = Self::at(row, v);
            // SAFETY: a whole vector of the row, or nothing.
            words[v] = unsafe { Vector::fetch::<E, N>(address + at as u64 * E::SIZE, valid, 0, Reuse::Once) };
        });
        words
    }

    /// The weights and biases that are loaded with the row.
    ///
    /// # Safety
    /// Those that the row has are in memory, vectors whole and aligned.
    #[inline(always)]
    pub unsafe fn preload<const BIASES: bool>(row: &Row) -> [Params; V] {
        let mut params = [Params::NONE; V];
        if PRELOAD_PARAMS {
            // SAFETY: the elements of the row's vectors.
            each::<V>(|v| params[v] = unsafe { Params::load::<Vector, W, N, BIASES>(row, Self::at(row, v)) });
        }
        params
    }

    /// [`RowStorage::write`], with a weight offset or without.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn write_as<const BIASES: bool, const OFFSET: bool>(&self, norm: impl Fn(f32) -> f32) {
        each::<V>(|v| {
            let at = Self::at(&self.row, v);
            let mut values = unpack::<X, N>(self.x[v]);
            each::<N>(|i| values[i] = norm(values[i]));
            // SAFETY: the vector that was loaded, or nothing; the caller gives these elements of `y` to this thread.
            unsafe {
                let params = self.params::<BIASES>(v);
                finish::<Vector, W, Y, N, BIASES, OFFSET, false>(&self.row, at, values, params);
            }
        });
    }

    /// Vector `v`.
    #[inline(always)]
    pub fn vector(&self, v: usize) -> Words {
        self.x[v]
    }

    /// The weights and biases of vector `v`, loaded with it or now.
    ///
    /// # Safety
    /// Those that the row has are in memory, vectors whole and aligned.
    #[inline(always)]
    pub unsafe fn params<const BIASES: bool>(&self, v: usize) -> Params {
        if PRELOAD_PARAMS {
            return self.params[v];
        }
        // SAFETY: the elements of a vector of the row, or nothing.
        unsafe { Params::load::<Vector, W, N, BIASES>(&self.row, Self::at(&self.row, v)) }
    }

    /// The place of vector `v`, and how many of its elements are in the row.
    #[inline(always)]
    pub fn at(row: &Row, v: usize) -> (u32, u32) {
        (row.at(v), Vector::valid::<N>(row.at(v), row.end))
    }
}

impl<X: Input, W: Param, Y: Output, const N: usize, const V: usize, const PRELOAD_PARAMS: bool> RowStorage<N>
    for Registers<X, W, Y, N, V, PRELOAD_PARAMS>
{
    type X = X;
    const WHOLE: bool = true;
    const LONG: bool = false;

    #[inline(always)]
    fn each(&self, mut f: impl FnMut(Words, u32)) {
        each::<V>(|v| f(self.x[v], Self::at(&self.row, v).1));
    }

    #[inline(always)]
    unsafe fn write<const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32) {
        // SAFETY: the caller gives these elements of `y` to this thread.
        unsafe {
            if !OFFSETS || self.row.weight_offset == 0.0 {
                self.write_as::<BIASES, false>(norm);
            } else {
                self.write_as::<BIASES, true>(norm);
            }
        }
    }
}

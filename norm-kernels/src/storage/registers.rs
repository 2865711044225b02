//! A part in registers.

use core::marker::PhantomData;

use super::{Params, RowStorage, add_to_residual, finish};
use crate::access::{MemoryAccess, Vector, unpack};
use crate::each::each;
use crate::element::{Input, Output, Param, Words};
use crate::gpu::Reuse;
use crate::row::Row;

/// `V` aligned vectors, read once. It adds to nothing; a residual, biases and a weight offset it
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
    /// Loads the part; without `BIASES` none. With `RESIDUAL`, `r += x` is what is loaded.
    ///
    /// # Safety
    /// The row lies in memory as it says, vectors whole and aligned, at most `V` a thread; it has
    /// a residual with `RESIDUAL` alone, of which no other thread touches these elements.
    #[inline(always)]
    pub unsafe fn load<const BIASES: bool, const RESIDUAL: bool>(row: Row) -> Self {
        let at = |v| Self::at(&row, v);
        let mut x: [Words; V] = [[0; 8]; V];
        each::<V>(|v| {
            let (at, valid) = at(v);
            // SAFETY: a whole vector of the row, or nothing.
            x[v] = unsafe { Vector::fetch::<X, N>(row.x + at as u64 * X::SIZE, valid, 0, Reuse::Once) };
        });
        let mut r: [Words; V] = [[0; 8]; V];
        if RESIDUAL {
            each::<V>(|v| {
                let (at, valid) = at(v);
                // SAFETY: the same elements.
                r[v] = unsafe { Vector::fetch::<X, N>(row.r + at as u64 * X::SIZE, valid, 0, Reuse::Once) };
            });
        }
        let mut params = [Params::NONE; V];
        if PRELOAD_PARAMS {
            // SAFETY: the same elements.
            each::<V>(|v| params[v] = unsafe { Params::load::<Vector, W, N, BIASES>(&row, at(v)) });
        }
        if RESIDUAL {
            each::<V>(|v| {
                let (at, valid) = at(v);
                // SAFETY: the vector that was loaded, or nothing; the caller gives it to this thread.
                x[v] = unsafe { add_to_residual::<X, N>(row.r + at as u64 * X::SIZE, valid, x[v], r[v]) };
            });
        }
        each::<V>(|v| x[v] = X::clamp(x[v]));
        Registers { row, x, params, elements: PhantomData }
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
                let params = if PRELOAD_PARAMS {
                    self.params[v]
                } else {
                    Params::load::<Vector, W, N, BIASES>(&self.row, at)
                };
                finish::<Vector, W, Y, N, BIASES, OFFSET, false>(&self.row, at, values, params);
            }
        });
    }

    /// The place of vector `v`, and how many of its elements are in the row.
    #[inline(always)]
    fn at(row: &Row, v: usize) -> (u32, u32) {
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

//! A thread's part of a row in registers.

use core::marker::PhantomData;

use super::{Params, RowStorage, add_residual, finish};
use crate::access::{MemoryAccess, Vector, unpack};
use crate::each::each;
use crate::element::{Addend, Element, Input, Output, Param, Words};
use crate::gpu::Reuse;
use crate::row::Row;

/// At most `V` aligned vectors, read once. It adds no residual behind the norm, and biases and a weight offset only where
/// the constant parameters of `load` and `write` say so.
///
/// `PRELOAD_PARAMS`: weights and biases are loaded with the row. Loaded after the reduction, one vector after the other,
/// their latency would add to the kernel's: 1 row of 8192 f16 takes 1.4 instead of 1.9 µs for RMSNorm, 256 rows of 4096
/// take 3.0 instead of 4.6 µs for LayerNorm. But four vectors of LayerNorm with their weights and biases take so many
/// registers that large grids lose a fifth of their bandwidth (NVIDIA H200, 2026-11-23). `A` says which cache hints vectors are
/// loaded and stored with.
pub struct RegistersOf<A, X, W, Y, const N: usize, const V: usize, const PRELOAD_PARAMS: bool> {
    row: Row,
    x: [Words; V],
    params: [Params; V],
    elements: PhantomData<(A, X, W, Y)>,
}

/// The same without cache hints.
pub type Registers<X, W, Y, const N: usize, const V: usize, const PRELOAD_PARAMS: bool> =
    RegistersOf<Vector, X, W, Y, N, V, PRELOAD_PARAMS>;

impl<
    A: MemoryAccess,
    X: Input,
    W: Param,
    Y: Output,
    const N: usize,
    const V: usize,
    const PRELOAD_PARAMS: bool,
> RegistersOf<A, X, W, Y, N, V, PRELOAD_PARAMS>
{
    /// Loads the part; with `BIASES` and `PRELOAD_PARAMS` its biases, too.
    ///
    /// # Safety
    /// The addresses of the row are those of its elements, in whole and aligned vectors, at most `V` a thread.
    #[inline(always)]
    pub unsafe fn load<const BIASES: bool>(row: Row) -> Self {
        // SAFETY: the caller guarantees that the row's elements are in memory, in whole and aligned vectors.
        unsafe {
            let x = Self::vectors::<X>(&row, row.x);
            let params = Self::preload::<BIASES>(&row);
            Self::of(row, x, params)
        }
    }

    /// Loads `x`, of type `I`, and the residual, adds them, stores the sum, and keeps it as the part; with `BIASES` and
    /// `PRELOAD_PARAMS` its biases, too.
    ///
    /// # Safety
    /// As [`load`](Self::load), for the rows of `x`, the residual and the sum. No other thread touches these elements of
    /// the sum.
    #[inline(always)]
    pub unsafe fn load_sum<I: Addend, const BIASES: bool>(row: Row) -> Self {
        // SAFETY: the caller guarantees that the elements of all three rows are in memory, and that no other thread touches
        // these elements of the sum.
        unsafe {
            let x = Self::vectors::<I>(&row, row.x);
            let mut sum = Self::vectors::<X>(&row, row.r);
            let params = Self::preload::<BIASES>(&row);
            each::<V>(|v| sum[v] = add_residual::<A, I, X, N>(&row, Self::at(&row, v), x[v], sum[v]));
            Self::of(row, sum, params)
        }
    }

    /// A part whose vectors and parameters have been loaded; clamps the vectors.
    #[inline(always)]
    pub fn of(row: Row, mut x: [Words; V], params: [Params; V]) -> Self {
        each::<V>(|v| x[v] = X::clamp(x[v]));
        RegistersOf { row, x, params, elements: PhantomData }
    }

    /// Loads this thread's vectors of a row of elements `E` that begins at `address`.
    ///
    /// # Safety
    /// The vectors are in memory, whole and aligned.
    #[inline(always)]
    pub unsafe fn vectors<E: Element>(row: &Row, address: u64) -> [Words; V] {
        let mut words: [Words; V] = [[0; 8]; V];
        each::<V>(|v| {
            let (at, valid) = Self::at(row, v);
            // SAFETY: a whole vector of the row, which the caller guarantees to be in memory, or `valid` is 0.
            words[v] = unsafe { A::fetch::<E, N>(address + at as u64 * E::SIZE, valid, 0, Reuse::Once) };
        });
        words
    }

    /// Loads weights, and with `BIASES` biases, if `PRELOAD_PARAMS` says that they are loaded with the row.
    ///
    /// # Safety
    /// The weights and biases that the row has are in memory, in whole and aligned vectors.
    #[inline(always)]
    pub unsafe fn preload<const BIASES: bool>(row: &Row) -> [Params; V] {
        let mut params = [Params::NONE; V];
        if PRELOAD_PARAMS {
            // SAFETY: `at` gives elements of the row, whose weights and biases the caller guarantees to be in memory.
            each::<V>(|v| params[v] = unsafe { Params::load::<A, W, N, BIASES>(row, Self::at(row, v)) });
        }
        params
    }

    /// [`RowStorage::write`], with a weight offset or without.
    ///
    /// # Safety
    /// As [`RowStorage::write`].
    #[inline(always)]
    unsafe fn write_as<const BIASES: bool, const OFFSET: bool>(&self, norm: impl Fn(f32) -> f32) {
        each::<V>(|v| {
            let at = Self::at(&self.row, v);
            let mut values = unpack::<X, N>(self.x[v]);
            each::<N>(|i| values[i] = norm(values[i]));
            // SAFETY: a whole vector of the row, which was loaded, or `valid` is 0; the caller guarantees that no other
            // thread touches these elements of `y`.
            unsafe {
                let params = self.params::<BIASES>(v);
                finish::<A, W, Y, N, BIASES, OFFSET, false>(&self.row, at, values, params);
            }
        });
    }

    /// Vector `v`.
    #[inline(always)]
    pub fn vector(&self, v: usize) -> Words {
        self.x[v]
    }

    /// The weights, and with `BIASES` the biases, of vector `v`: loaded with the row, or now.
    ///
    /// # Safety
    /// The weights and biases that the row has are in memory, in whole and aligned vectors.
    #[inline(always)]
    pub unsafe fn params<const BIASES: bool>(&self, v: usize) -> Params {
        if PRELOAD_PARAMS {
            return self.params[v];
        }
        // SAFETY: `at` gives elements of the row, whose weights and biases the caller guarantees to be in memory.
        unsafe { Params::load::<A, W, N, BIASES>(&self.row, Self::at(&self.row, v)) }
    }

    /// The index of the first element of vector `v`, and how many of its elements are in the row.
    #[inline(always)]
    pub fn at(row: &Row, v: usize) -> (u32, u32) {
        (row.at(v), A::valid::<N>(row.at(v), row.end))
    }
}

impl<
    A: MemoryAccess,
    X: Input,
    W: Param,
    Y: Output,
    const N: usize,
    const V: usize,
    const PRELOAD_PARAMS: bool,
> RowStorage<N> for RegistersOf<A, X, W, Y, N, V, PRELOAD_PARAMS>
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
        // SAFETY: the caller guarantees that no other thread touches these elements of `y`.
        unsafe {
            if !OFFSETS || self.row.weight_offset == 0.0 {
                self.write_as::<BIASES, false>(norm);
            } else {
                self.write_as::<BIASES, true>(norm);
            }
        }
    }
}

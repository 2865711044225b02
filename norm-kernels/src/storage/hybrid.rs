//! A thread's part of a row in registers and in shared memory.

use super::{RegistersOf, RowStorage, Shared};
use crate::access::StreamedVector;
use crate::element::{Input, Output, Param, Words};
use crate::gpu;
use crate::row::Row;

/// Aligned vectors, read once: a thread's first `V` are kept in registers, the others in shared memory.
///
/// Two blocks fit a multiprocessor where [`Shared`] would leave room for one, and rows fit that are too long for shared
/// memory alone. It adds no residual, and biases and a weight offset only as [`RegistersOf`] does.
pub struct Hybrid<X, W, Y, const N: usize, const V: usize> {
    in_registers: RegistersOf<StreamedVector, X, W, Y, N, V, false>,
    in_shared: Shared<X, W, Y, N>,
}

impl<X: Input, W: Param, Y: Output, const N: usize, const V: usize> Hybrid<X, W, Y, N, V> {
    /// Loads the part.
    ///
    /// # Safety
    /// The addresses of the row are those of its elements, in whole and aligned vectors; it has no residual. The block has
    /// shared memory for all vectors of its threads but the first `V` of each, rounded up to an even number a thread.
    #[inline(always)]
    pub unsafe fn load(row: Row) -> Self {
        // SAFETY: the caller guarantees that the row's elements are in memory, and that shared memory holds all vectors but
        // the first `V` of each thread.
        unsafe {
            // `Shared` could add a residual behind the norm, which registers cannot: leave that code out.
            let row = Row { accumulate: false, ..row };
            // The loads into registers come before the loop that copies the others. Behind it, they would be issued only
            // after the copies have been waited for.
            let in_registers = RegistersOf::load::<false>(row);
            let in_shared = Shared::start(Row { start: row.at(V), ..row });
            gpu::cp_async_wait_all();
            Hybrid { in_registers, in_shared }
        }
    }
}

impl<X: Input, W: Param, Y: Output, const N: usize, const V: usize> RowStorage<N> for Hybrid<X, W, Y, N, V> {
    type X = X;
    const WHOLE: bool = true;
    const LONG: bool = false;

    #[inline(always)]
    fn each_first(&self, mut f: impl FnMut(Words, u32)) {
        self.in_registers.each_first(&mut f);
        self.in_shared.each_first(f);
    }

    #[inline(always)]
    fn each(&self, mut f: impl FnMut(Words, u32)) {
        self.in_registers.each(&mut f);
        self.in_shared.each(f);
    }

    #[inline(always)]
    unsafe fn write<const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32) {
        // SAFETY: the caller guarantees that no other thread touches these elements of `y`; each is in one of the two.
        unsafe {
            self.in_registers.write::<BIASES, OFFSETS>(&norm);
            self.in_shared.write::<BIASES, OFFSETS>(norm);
        }
    }
}

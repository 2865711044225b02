//! A part in registers and in shared memory.

use super::{Registers, RowStorage, Shared};
use crate::element::{Input, Output, Param, Words};
use crate::gpu;
use crate::row::Row;

/// Aligned vectors, read once: a thread's first `V` are kept in registers, the others in shared memory.
/// Two blocks fit a multiprocessor where shared memory alone holds one, and rows fit that are too long
/// for it. It adds no residual; weight offsets and biases it supports as [`Registers`] does.
pub struct Hybrid<X, W, Y, const N: usize, const V: usize> {
    held: Registers<X, W, Y, N, V, false>,
    staged: Shared<X, W, Y, N>,
}

impl<X: Input, W: Param, Y: Output, const N: usize, const V: usize> Hybrid<X, W, Y, N, V> {
    /// Loads the part.
    ///
    /// # Safety
    /// The row lies in memory as it says, vectors whole and aligned, without a residual, and the block
    /// has shared memory for all of its threads' vectors but `V` each, an even number each.
    #[inline(always)]
    pub unsafe fn load(row: Row) -> Self {
        // SAFETY: the caller says where the row lies and that shared memory holds all vectors but the first `V`.
        unsafe {
            // The part in shared memory could.
            let row = Row { accumulate: false, ..row };
            // In front of the loop that copies the others, or ptxas may put them behind it, where they are waited for.
            let held = Registers::load::<false>(row);
            let staged = Shared::start(Row { start: row.at(V), ..row });
            gpu::cp_async_wait_all();
            Hybrid { held, staged }
        }
    }
}

impl<X: Input, W: Param, Y: Output, const N: usize, const V: usize> RowStorage<N> for Hybrid<X, W, Y, N, V> {
    type X = X;
    const WHOLE: bool = true;
    const LONG: bool = false;

    #[inline(always)]
    fn each_first(&self, mut f: impl FnMut(Words, u32)) {
        self.held.each_first(&mut f);
        self.staged.each_first(f);
    }

    #[inline(always)]
    fn each(&self, mut f: impl FnMut(Words, u32)) {
        self.held.each(&mut f);
        self.staged.each(f);
    }

    #[inline(always)]
    unsafe fn write<const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32) {
        // SAFETY: the caller gives these elements of `y` to this thread; both parts have different ones.
        unsafe {
            self.held.write::<BIASES, OFFSETS>(&norm);
            self.staged.write::<BIASES, OFFSETS>(norm);
        }
    }
}

//! A part in registers and in shared memory.

use super::{Held, Part, Staged};
use crate::element::{Element, Words};
use crate::gpu;
use crate::row::Row;

/// Aligned vectors, read once: a thread's first `V` are kept in registers, the others in shared memory.
/// Two blocks fit a multiprocessor where shared memory alone holds one, and rows fit that are too long
/// for it. It knows no residual and adds to nothing; a weight offset and biases it knows as [`Held`] does.
pub struct Mixed<X, W, const N: usize, const V: usize> {
    held: Held<X, W, N, V, false>,
    staged: Staged<X, W, N>,
}

impl<X: Element, W: Element, const N: usize, const V: usize> Mixed<X, W, N, V> {
    /// Loads the part.
    ///
    /// # Safety
    /// The row lies in memory as it says, vectors whole and aligned, without a residual, and the block
    /// has shared memory for all of its threads' vectors but `V` each, an even number each.
    #[inline(always)]
    pub unsafe fn load(row: Row) -> Self {
        // SAFETY: handed on.
        unsafe {
            let staged = Staged::start(Row { start: row.at(V), ..row });
            let held = Held::load::<false, false>(row);
            gpu::wait_for_staged();
            Mixed { held, staged }
        }
    }
}

impl<X: Element, W: Element, const N: usize, const V: usize> Part<N> for Mixed<X, W, N, V> {
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
    unsafe fn write<Y: Element, const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32) {
        // SAFETY: handed on.
        unsafe {
            self.held.write::<Y, BIASES, OFFSETS>(&norm);
            self.staged.write::<Y, BIASES, OFFSETS>(norm);
        }
    }
}

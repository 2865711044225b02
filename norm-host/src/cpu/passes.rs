//! Who carries out the passes over a row: one thread at once, or chunk by chunk, perhaps by several threads.

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use super::{
    algorithm::{Pass, Passes, Total, normalize},
    chunk::{CHUNK, Chunk, chunks},
    dispatch::{Isa, RowFn},
    row::{Row, RowRange},
    simd::Simd,
    tasks::TASK,
    workspace::{Workspace, with_workspace},
};
use crate::MAX_DIM;

/// Normalizes rows of one chunk, with their passes inlined: in short rows each instruction tells.
///
/// `ROUNDS`: whether results on the way are rounded to 16 bits. That is a function of its own because beside it a row of 64
/// elements without such roundings took a third longer (2026-11-29). `PLAIN`: whether the problem
/// [is plain](super::row::is_plain).
pub(super) struct NormalizeRows<'a, 'p, const ROUNDS: bool, const PLAIN: bool> {
    /// Their `dim` is at most [`CHUNK`].
    pub(super) rows: &'a mut RowRange<'p>,
    pub(super) space: &'a mut Workspace,
}

impl<const ROUNDS: bool, const PLAIN: bool> RowFn for NormalizeRows<'_, '_, ROUNDS, PLAIN> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let NormalizeRows { rows, space } = self;
        let rows = rows.iter::<ROUNDS, PLAIN>();
        let stream = rows.stream;
        for row in rows {
            // SAFETY: nobody else has the row, so that there is no other chunk of it.
            let chunk = unsafe { Chunk::new(&row, 0) };
            normalize::<ROUNDS>(&mut OneChunk { simd, chunk, space });
        }
        if stream {
            simd.fence();
        }
    }
}

/// Passes over the one chunk of a row.
struct OneChunk<'a, S> {
    simd: S,
    chunk: Chunk<'a>,
    space: &'a mut Workspace,
}

impl<S: Simd> Passes for OneChunk<'_, S> {
    #[inline(always)]
    fn row(&self) -> &Row<'_> {
        self.chunk.row()
    }

    #[inline(always)]
    fn run<P: Pass>(&mut self, pass: P) -> P::Output {
        pass.over(self.simd, &mut self.chunk, self.space)
    }
}

/// Passes over a row of any length, chunk by chunk. The bits are those of [`OneChunk`] where there is one.
pub(super) struct Chunks<'a, 'r> {
    pub(super) isa: Isa,
    pub(super) row: &'a mut Row<'r>,
    /// Whether rayon's current thread pool shares the chunks.
    pub(super) parallel: bool,
}

impl Passes for Chunks<'_, '_> {
    fn row(&self) -> &Row<'_> {
        self.row
    }

    fn run<P: Pass>(&mut self, pass: P) -> P::Output {
        let Chunks { isa, ref row, parallel } = *self;
        let over = |index| {
            // SAFETY: `sum_over` calls this once for each chunk, and this pass has the row to itself: it is borrowed mutably.
            let chunk = unsafe { Chunk::new(row, index) };
            with_workspace(|space| isa.run(OverChunk { pass, chunk, space })).into_sums()
        };
        Total::from_sums(sum_over(chunks(row.dim), parallel, &over))
    }
}

/// Carries a pass out over one chunk.
struct OverChunk<'a, P> {
    pass: P,
    chunk: Chunk<'a>,
    space: &'a mut Workspace,
}

impl<P: Pass> RowFn for OverChunk<'_, P> {
    type Output = P::Output;

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) -> P::Output {
        let output = self.pass.over(simd, &mut self.chunk, self.space);
        if self.chunk.row().stream {
            simd.fence();
        }
        output
    }
}

/// Chunks that make a task, with as many elements as a task of whole rows has.
const CHUNKS_PER_TASK: usize = TASK / CHUNK;

/// Chunks of the longest row.
const MAX_CHUNKS: usize = (MAX_DIM as usize).div_ceil(CHUNK);

/// The sums of what comes of each of `chunks` chunks, added up in their order whoever computes them.
///
/// Never inlined: the array takes 32 KiB of the stack, which a function touches page by page when it is called. Short rows would
/// do so, too.
#[inline(never)]
fn sum_over(chunks: usize, parallel: bool, over: &(dyn Fn(usize) -> [f64; 2] + Sync)) -> [f64; 2] {
    let add = |[a, b]: [f64; 2], [c, d]: [f64; 2]| [a + c, b + d];
    if !parallel {
        return (0..chunks).map(over).fold([0.0; 2], add);
    }
    let mut sums = [[0.0; 2]; MAX_CHUNKS];
    let sums = &mut sums[..chunks];
    let each = sums.par_iter_mut().enumerate().with_min_len(CHUNKS_PER_TASK);
    each.for_each(|(index, sums)| *sums = over(index));
    sums.iter().copied().fold([0.0; 2], add)
}

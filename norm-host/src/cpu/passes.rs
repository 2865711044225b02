//! Who carries out the passes over a row: one thread at once, or chunk by chunk, perhaps by several threads.

#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use rayon::prelude::*;

use super::{
    algorithm::{Pass, Passes, Total, normalize},
    chunk::{CHUNK, Chunk, chunks},
    dispatch::{Isa, RowFn},
    form::Form,
    row::{Row, Rows},
    simd::Simd,
    tasks::TASK,
    workspace::{Workspace, with_workspace},
};
use crate::MAX_DIM;

/// Normalizes rows of one chunk, with their passes inlined: in short rows each instruction tells.
///
/// Rows whose results are rounded on the way have a function of their own, among others, because beside it a row of 64
/// elements without such roundings took a third longer (2026-11-29).
pub(super) struct NormalizeRows<'a, 'p, F> {
    /// Their `dim` is at most [`CHUNK`].
    pub(super) rows: Rows<'p, F>,
    pub(super) space: &'a mut Workspace,
}

impl<'p, F: Form> RowFn for NormalizeRows<'_, 'p, F> {
    /// A row that was to be finite and is not, and those behind it, which are left.
    type Output = Option<(Row<'p>, Rows<'p, F>)>;

    const WIDE: bool = F::UNIFORM.is_some();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let NormalizeRows { mut rows, space } = self;
        let stream = rows.stream;
        while let Some(row) = rows.next() {
            // SAFETY: nobody else has the row, so that there is no other chunk of it.
            let chunk = unsafe { Chunk::new(&row, 0) };
            if !normalize(&mut OneChunk { simd, chunk, space, form: PhantomData::<F> }) {
                if stream {
                    simd.fence();
                }
                return Some((row, rows));
            }
        }
        if stream {
            simd.fence();
        }
        None
    }
}

/// Passes over the one chunk of a row.
pub(super) struct OneChunk<'a, S, F> {
    pub(super) simd: S,
    pub(super) chunk: Chunk<'a>,
    pub(super) space: &'a mut Workspace,
    pub(super) form: PhantomData<F>,
}

impl<S: Simd, F: Form> Passes for OneChunk<'_, S, F> {
    const FINITE: bool = F::FINITE;

    #[inline(always)]
    fn row(&self) -> &Row<'_> {
        self.chunk.row()
    }

    #[inline(always)]
    fn run<P: Pass>(&mut self, pass: P) -> P::Output {
        pass.over::<S, F>(self.simd, &mut self.chunk, self.space)
    }
}

/// Passes over a row of any length, chunk by chunk. The bits are those of [`OneChunk`] where there is one.
pub(super) struct Chunks<'a, 'r, F> {
    pub(super) isa: Isa,
    pub(super) row: &'a mut Row<'r>,
    /// Whether rayon's current thread pool shares the chunks.
    pub(super) parallel: bool,
    pub(super) form: PhantomData<F>,
}

impl<F: Form> Passes for Chunks<'_, '_, F> {
    const FINITE: bool = F::FINITE;

    fn row(&self) -> &Row<'_> {
        self.row
    }

    fn run<P: Pass>(&mut self, pass: P) -> P::Output {
        let Chunks { isa, ref row, parallel, .. } = *self;
        let head = if P::WRITES { row.head() } else { 0 };
        let over = |index| {
            // SAFETY: `sum_over` calls this once for each chunk, and this pass has the row to itself: it is borrowed mutably.
            let chunk = unsafe { Chunk::behind(head, row, index) };
            with_workspace(|space| isa.run(OverChunk { pass, chunk, space, form: PhantomData::<F> }))
                .into_sums()
        };
        let count = usize::from(head > 0) + chunks(row.dim - head);
        Total::from_sums(sum_over(count, parallel, &over))
    }
}

/// Carries a pass out over one chunk.
struct OverChunk<'a, P, F> {
    pass: P,
    chunk: Chunk<'a>,
    space: &'a mut Workspace,
    form: PhantomData<F>,
}

impl<P: Pass, F: Form> RowFn for OverChunk<'_, P, F> {
    type Output = P::Output;

    const WIDE: bool = F::UNIFORM.is_some();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) -> P::Output {
        let output = self.pass.over::<S, F>(simd, &mut self.chunk, self.space);
        if self.chunk.row().stream {
            simd.fence();
        }
        output
    }
}

/// Chunks that make a task, with as many elements as a task of whole rows has.
const CHUNKS_PER_TASK: usize = TASK / CHUNK;

/// Chunks of the longest row, and a head.
const MAX_CHUNKS: usize = (MAX_DIM as usize).div_ceil(CHUNK) + 1;

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

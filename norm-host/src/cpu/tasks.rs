//! An operation cut into tasks for the threads of rayon's current pool.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    algorithm::normalize,
    chunk::CHUNK,
    dispatch::Isa,
    passes::{Chunks, NormalizeRows},
    row::{RowRange, is_plain},
    workspace::with_workspace,
};
use crate::problem::{Problem, Roundings};

/// Elements that make a task: some 10 µs, against which waking a thread is little.
pub(super) const TASK: usize = 32 * 1024;

/// Normalizes all rows, spread over threads where there are enough of them.
///
/// # Safety
///
/// As [`Backend::run`](crate::Backend::run).
pub(super) unsafe fn run(problem: &Problem) {
    let Problem { rows, dim, .. } = *problem;
    let roundings = problem.roundings();
    let job = Job {
        isa: Isa::detect(),
        rounds: roundings != Roundings::NONE,
        is_plain: is_plain(problem),
        share_chunks: dim as usize > TASK && rows < rayon::current_num_threads() as u64,
    };
    let normalize = |range: Range<u64>| {
        // SAFETY: the caller promises the memory of all rows, no two of which share an output; each is in one task.
        let mut rows = unsafe { RowRange::new(problem, &roundings, range) };
        job.normalize(&mut rows);
    };
    // One task: threads share the chunks of each row, or there are too few elements for two tasks.
    if job.share_chunks || rows.saturating_sub(1).saturating_mul(dim.into()) < TASK as u64 {
        return normalize(0..rows);
    }
    let rows_per_task = TASK.div_ceil(dim as usize) as u64;
    (0..rows.div_ceil(rows_per_task)).into_par_iter().for_each(|task| {
        let first = task * rows_per_task;
        normalize(first..rows.min(first + rows_per_task));
    });
}

/// How the tasks of an operation are carried out.
pub(super) struct Job {
    pub(super) isa: Isa,
    /// Whether there are roundings before the last one.
    pub(super) rounds: bool,
    /// Whether the problem [is plain](is_plain).
    pub(super) is_plain: bool,
    /// Whether threads share the chunks of each row.
    pub(super) share_chunks: bool,
}

impl Job {
    /// Normalizes `rows`, one after the other.
    #[inline]
    pub(super) fn normalize(&self, rows: &mut RowRange<'_>) {
        if rows.dim() > CHUNK {
            return self.normalize_long(rows);
        }
        with_workspace(|space| match (self.rounds, self.is_plain) {
            (true, _) => self.isa.run(NormalizeRows::<true, false> { rows, space }),
            (false, true) => self.isa.run(NormalizeRows::<false, true> { rows, space }),
            (false, false) => self.isa.run(NormalizeRows::<false, false> { rows, space }),
        });
    }

    /// Normalizes rows of any length, chunk by chunk. Never inlined, to keep the code for short rows small.
    #[inline(never)]
    fn normalize_long(&self, rows: &mut RowRange<'_>) {
        for mut row in rows.iter::<true, false>() {
            let passes = &mut Chunks { isa: self.isa, row: &mut row, parallel: self.share_chunks };
            match self.rounds {
                false => normalize::<false>(passes),
                true => normalize::<true>(passes),
            }
        }
    }
}

//! An operation cut into tasks for the threads of rayon's current pool.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    algorithm::normalize,
    chunk::CHUNK,
    dispatch::Isa,
    passes::{Chunks, NormalizeRows},
    row::Rows,
    workspace::with_workspace,
};
use crate::problem::{Problem, Roundings};

/// Elements that make a task: some 10 µs, against which waking a thread is little.
pub(super) const TASK: usize = 32 * 1024;

/// What the tasks of an operation share.
pub(super) struct Job<'a> {
    problem: &'a Problem,
    roundings: Roundings,
    /// Whether there are roundings before the last one.
    rounds: bool,
    isa: Isa,
    /// Whether threads share the chunks of each row.
    share_chunks: bool,
}

/// Normalizes all rows, spread over threads where there are enough of them.
///
/// # Safety
///
/// As [`Backend::run`](crate::Backend::run).
pub(super) unsafe fn run(problem: &Problem) {
    let Problem { rows, dim, .. } = *problem;
    let share_chunks = dim as usize > TASK && rows < rayon::current_num_threads() as u64;
    let job = Job::new(problem, Isa::detect(), share_chunks);
    let normalize = |rows: Range<u64>| {
        // SAFETY: the caller promises the memory of all rows, no two of which share an output; each is in one task.
        unsafe { job.normalize(rows) };
    };
    // No more rows than a task has.
    if share_chunks || rows.saturating_sub(1).saturating_mul(dim.into()) < TASK as u64 {
        return normalize(0..rows);
    }
    let rows_per_task = TASK.div_ceil(dim as usize) as u64;
    (0..rows.div_ceil(rows_per_task)).into_par_iter().for_each(|task| {
        let first = task * rows_per_task;
        normalize(first..rows.min(first + rows_per_task));
    });
}

impl Job<'_> {
    #[inline(always)]
    pub(super) fn new(problem: &Problem, isa: Isa, share_chunks: bool) -> Job<'_> {
        let roundings = problem.roundings();
        Job { problem, roundings, rounds: roundings != Roundings::NONE, isa, share_chunks }
    }

    /// Normalizes the rows `rows`, one after the other.
    ///
    /// # Safety
    ///
    /// As for [`Rows::new`], until this returns.
    #[inline]
    pub(super) unsafe fn normalize(&self, rows: Range<u64>) {
        let Job { problem, ref roundings, rounds, isa, .. } = *self;
        if problem.dim as usize > CHUNK {
            // SAFETY: the caller promises the memory of these rows.
            return unsafe { self.normalize_long(rows) };
        }
        with_workspace(|space| {
            // SAFETY: the caller promises the memory of these rows.
            unsafe {
                match rounds {
                    false => isa.run(NormalizeRows::<false>::new(problem, roundings, rows, space)),
                    true => isa.run(NormalizeRows::<true>::new(problem, roundings, rows, space)),
                }
            }
        });
    }

    /// [`normalize`](Job::normalize) for rows of several chunks. Never inlined: its large stack frame, touched page by page,
    /// would cost a short row a tenth of its time.
    ///
    /// # Safety
    ///
    /// As [`normalize`](Job::normalize).
    #[inline(never)]
    unsafe fn normalize_long(&self, rows: Range<u64>) {
        // SAFETY: the caller promises the memory of these rows.
        for mut row in unsafe { Rows::new(self.problem, self.roundings, rows) } {
            let passes = &mut Chunks { isa: self.isa, row: &mut row, parallel: self.share_chunks };
            match self.rounds {
                false => normalize::<false>(passes),
                true => normalize::<true>(passes),
            }
        }
    }
}

//! An operation cut into tasks for the threads of rayon's current pool.

use std::{marker::PhantomData, ops::Range};

use super::{
    algorithm::normalize,
    chunk::CHUNK,
    dispatch::Isa,
    form::{Any, Form, Uniform, uniform},
    passes::{Chunks, NormalizeRows},
    row::{Row, RowRange},
    team,
    workspace::with_workspace,
};
use crate::{
    DType,
    problem::{Problem, Roundings},
};
use half::{bf16, f16};

/// Elements that make a task: some 10 µs, against which waking a thread is little. Of fewer there is one task.
pub(super) const TASK: usize = 32 * 1024;

/// Elements of a task at least, where there are few for so many threads.
const MIN_TASK: u64 = 8 * 1024;

/// Rows of a task: those of [`TASK`] elements, or fewer where each thread would have less than four such tasks.
pub(super) fn rows_per_task(rows: u64, dim: u64) -> u64 {
    let fair = rows.saturating_mul(dim) / (4 * rayon::current_num_threads() as u64);
    fair.clamp(MIN_TASK, TASK as u64).div_ceil(dim)
}

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
        uniform: uniform(problem, roundings),
        share_chunks: dim as usize > TASK && rows < rayon::current_num_threads() as u64,
    };
    let normalize = |range: Range<u64>| {
        // SAFETY: the caller promises the memory of all rows, no two of which share an output; each is in one task.
        let mut rows = unsafe { RowRange::new(problem, &roundings, range) };
        job.normalize(&mut rows);
    };
    // One task: threads share the chunks of each row, or there are too few elements for two tasks.
    if job.share_chunks || rows <= 1 || rows.saturating_mul(dim.into()) < TASK as u64 {
        return normalize(0..rows);
    }
    team::share(rows, rows_per_task(rows, dim.into()), &normalize);
}

/// How the tasks of an operation are carried out.
pub(super) struct Job {
    pub(super) isa: Isa,
    /// Whether there are roundings before the last one.
    pub(super) rounds: bool,
    /// The type of `x` and `y`, where the problem is [`Uniform`].
    pub(super) uniform: Option<DType>,
    /// Whether threads share the chunks of each row.
    pub(super) share_chunks: bool,
}

impl Job {
    /// Normalizes `rows`, one after the other.
    #[inline]
    pub(super) fn normalize(&self, rows: &mut RowRange<'_>) {
        match (self.uniform, self.rounds) {
            (Some(DType::F32), _) => self.normalize_form::<Uniform<f32>>(rows),
            (Some(DType::F16), _) => self.normalize_form::<Uniform<f16>>(rows),
            (Some(DType::BF16), _) => self.normalize_form::<Uniform<bf16>>(rows),
            (None, false) => self.normalize_form::<Any<false>>(rows),
            (None, true) => self.normalize_form::<Any<true>>(rows),
        }
    }

    /// Normalizes rows of a problem of this form, one after the other.
    #[inline]
    fn normalize_form<F: Form>(&self, rows: &mut RowRange<'_>) {
        if rows.dim() > CHUNK {
            return self.normalize_long::<F::Long>(rows);
        }
        let mut left = Some(rows.iter::<F>());
        while let Some(rows) = left {
            let unfit = with_workspace(|space| self.isa.run(NormalizeRows { rows, space }));
            left = unfit.map(|(mut row, rows)| {
                self.normalize_unfit(&mut row);
                rows
            });
        }
    }

    /// Normalizes rows of any length, chunk by chunk. Never inlined, to keep the code for short rows small.
    #[inline(never)]
    fn normalize_long<F: Form>(&self, rows: &mut RowRange<'_>) {
        let Job { isa, share_chunks: parallel, .. } = *self;
        for mut row in rows.iter::<F>() {
            if !normalize(&mut Chunks { isa, row: &mut row, parallel, form: PhantomData::<F> }) {
                self.normalize_unfit(&mut row);
            }
        }
    }

    /// Normalizes a row that was to be [finite](Form::FINITE) and is not. Its sum with a residual is stored already.
    #[cold]
    #[inline(never)]
    pub(super) fn normalize_unfit(&self, row: &mut Row<'_>) {
        (row.in_front, row.stream) = (None, false);
        let (isa, parallel, form) = (self.isa, self.share_chunks, PhantomData::<Any<false>>);
        // It takes no row for finite.
        let _ = normalize(&mut Chunks { isa, row, parallel, form });
    }
}

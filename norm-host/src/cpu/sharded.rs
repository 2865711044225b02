//! The two steps of an RMSNorm whose rows are split over devices.

use std::marker::PhantomData;

use super::{
    algorithm::{Passes, SumSq, Write},
    dispatch::Isa,
    form::Any,
    passes::Chunks,
    row::{Row, RowRange, rstd},
    sum::Origin,
    tasks::TASK,
    team,
};
use crate::problem::{Roundings, ShardProblem, ShardStep};

/// Carries a step out, with rows spread over rayon's current thread pool.
///
/// # Safety
///
/// As [`Backend::run_shard`](crate::Backend::run_shard).
pub(super) unsafe fn run(problem: &ShardProblem, isa: Isa) {
    let ShardProblem { step, part, sums, dim } = problem;
    let roundings = part.roundings();
    let rows_per_task = TASK.div_ceil(part.dim as usize) as u64;
    team::share(part.rows, rows_per_task, &|indices| {
        // SAFETY: the caller promises the memory of all rows, no two of which share an output; each is in one task.
        let mut rows = unsafe { RowRange::new(part, &roundings, indices.clone()) };
        for (index, mut row) in indices.zip(rows.iter::<Any<true>>()) {
            let sum = std::ptr::with_exposed_provenance_mut::<f32>(*sums as usize + 4 * index as usize);
            match step {
                ShardStep::Partial => {
                    let sum_sq = chunks::<true>(isa, &mut row).run(SumSq(Origin));
                    // SAFETY: the caller promises that there is an `f32` for each row, which this step may write.
                    unsafe { *sum = sum_sq as f32 };
                }
                ShardStep::Apply => {
                    // SAFETY: the caller promises that there is an `f32` for each row, which this step may read.
                    let mean_sq = f64::from(unsafe { *sum }) / f64::from(*dim);
                    let rstd = rstd(mean_sq, part.eps);
                    let write = Write { center: Origin, rstd };
                    match roundings == Roundings::NONE {
                        true => chunks::<false>(isa, &mut row).run(write),
                        false => chunks::<true>(isa, &mut row).run(write),
                    }
                }
            }
        }
    });
}

/// Passes over a row by this thread alone.
fn chunks<'a, 'r, const ROUNDS: bool>(isa: Isa, row: &'a mut Row<'r>) -> Chunks<'a, 'r, Any<ROUNDS>> {
    Chunks { isa, row, parallel: false, form: PhantomData }
}

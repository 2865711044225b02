//! The two steps of an RMSNorm whose rows are split.

use rayon::prelude::*;

use super::{
    TASK, in_own_space,
    line::{Line, Lines},
    part::parts,
    perform::{Pass, Perform, Step, add_up},
};
use crate::problem::{ShardProblem, ShardStep};

/// Carries a step out, rows spread over rayon's current thread pool.
///
/// # Safety
///
/// As [`Backend::run_shard`](crate::Backend::run_shard).
pub(super) unsafe fn run(problem: &ShardProblem, perform: Perform) {
    let ShardProblem { step, part, sums, dim } = problem;
    let rows_a_task = TASK.div_ceil(part.dim as usize) as u64;
    (0..part.rows.div_ceil(rows_a_task)).into_par_iter().for_each(|task| {
        let first = task * rows_a_task;
        let rows = first..part.rows.min(first + rows_a_task);
        for (row, line) in rows.clone().zip(Lines::of(part, rows)) {
            let sum = std::ptr::with_exposed_provenance_mut::<f32>(*sums as usize + 4 * row as usize);
            // SAFETY: a row of the problem, and its own sum, for whose memory the caller vouches.
            unsafe {
                match step {
                    ShardStep::Partial => {
                        let [squares, _] = passes(&line, Pass::Squares(None), perform);
                        *sum = squares as f32;
                    }
                    ShardStep::Apply => {
                        let mean = f64::from(*sum) / f64::from(*dim);
                        let rstd = 1.0 / (mean + f64::from(part.eps)).sqrt();
                        passes(&line, Pass::Write(None, rstd as f32), perform);
                    }
                }
            }
        }
    });
}

/// A pass over all parts of a row, and the sums of what comes of it.
///
/// # Safety
///
/// As [`Perform`], for the whole row.
unsafe fn passes(line: &Line, pass: Pass, perform: Perform) -> [f64; 2] {
    let part = |index| {
        // SAFETY: handed on.
        unsafe { in_own_space(perform, &Step::Part(line, pass, index)) }
    };
    add_up((0..parts(line.dim)).map(part))
}

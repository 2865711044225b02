//! The operations on the host's own memory.

mod affine;
mod convert;
mod line;
mod part;
mod perform;
mod residual;
mod round;
mod row;
mod sharded;
mod split;
mod sum;
mod vector;
mod wide;
mod workspace;

use std::cell::RefCell;

use rayon::prelude::*;

use self::{
    line::Lines,
    perform::{Perform, Step},
    workspace::Workspace,
};
use crate::{
    backend::{Backend, sealed::Sealed},
    error::Result,
    problem::{Problem, Residual, Scales, ShardProblem},
    tensor::Place,
};

/// The host's cores, for views of [`Place::Host`]. An operation has finished when it returns.
///
/// Element by element the arithmetic is `f32`, as on a GPU; sums are kept in `f64`. Rows are
/// spread over rayon's current thread pool, and where there are fewer long rows than threads, the
/// shares of each row are. Shares are cut and added up by `dim` alone: a row's bits depend on the
/// row, the parameters and `dim`, never on how many rows or threads there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu;

/// Elements that make a task: some 10 µs, against which waking a thread is little.
const TASK: usize = 32 * 1024;

thread_local! {
    static SPACE: RefCell<Workspace> = RefCell::new(Workspace::new());
}

impl Sealed for Cpu {}

impl Backend for Cpu {
    fn place(&self) -> Place {
        Place::Host
    }

    unsafe fn run(&self, problem: &Problem) -> Result<()> {
        let scaled;
        // Few have one, and a copy of the problem takes longer than what follows does for a short row.
        let problem = match problem.residual {
            Some(Residual { scales: Scales { sum_at: Some(address), .. }, .. }) => {
                // SAFETY: the caller vouches for the scale, as for all else.
                scaled = unsafe { with_scale(problem, address) };
                &scaled
            }
            _ => problem,
        };
        let perform = perform::fastest(problem.roundings());
        if problem.dim as usize > TASK && problem.rows < rayon::current_num_threads() as u64 {
            for line in Lines::of(problem, 0..problem.rows) {
                // SAFETY: a row of the problem, for whose memory the caller vouches.
                unsafe { split::normalize(&line, perform) };
            }
            return Ok(());
        }
        let rows_a_task = TASK.div_ceil(problem.dim as usize) as u64;
        let task = |task: u64| {
            let first = task * rows_a_task;
            let rows = first..problem.rows.min(first + rows_a_task);
            // SAFETY: rows of the problem, for whose memory the caller vouches; each is normalized
            // once, and no two rows of `y`, or of a residual, share an element.
            unsafe { in_own_space(perform, &Step::Rows(problem, rows)) };
        };
        match problem.rows.div_ceil(rows_a_task) {
            1 => task(0),
            tasks => (0..tasks).into_par_iter().for_each(task),
        }
        Ok(())
    }

    unsafe fn run_shard(&self, problem: &ShardProblem) -> Result<()> {
        // SAFETY: handed on.
        unsafe { sharded::run(problem, perform::fastest(problem.part.roundings())) };
        Ok(())
    }
}

/// The problem with the number that its scale in memory is.
///
/// # Safety
///
/// There is an `f32` at the address, which may be read.
unsafe fn with_scale(problem: &Problem, address: u64) -> Problem {
    // SAFETY: the caller keeps an `f32` there, whose place the checks found aligned.
    let sum = unsafe { *std::ptr::with_exposed_provenance::<f32>(address as usize) };
    let residual = problem.residual.map(|residual| {
        let scales = Scales { sum, sum_at: None, ..residual.scales };
        Residual { scales, ..residual }
    });
    Problem { residual, ..*problem }
}

/// Carries a step out in this thread's workspace.
///
/// # Safety
///
/// As [`Perform`].
unsafe fn in_own_space(perform: Perform, step: &Step<'_>) -> [f64; 2] {
    SPACE.with_borrow_mut(|space| {
        space.forget();
        // SAFETY: handed on.
        unsafe { perform(step, space) }
    })
}

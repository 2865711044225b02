//! The operations on the host's own memory.

mod line;
mod row;
mod sum;
mod wide;

use std::cell::RefCell;

use rayon::prelude::*;

use self::row::Workspace;
use crate::{
    backend::{Backend, sealed::Sealed},
    error::Result,
    problem::Problem,
    tensor::Place,
};

/// The host's cores, for views of [`Place::Host`]. An operation has finished when it returns.
///
/// Element by element the arithmetic is `f32`, as on a GPU; sums are kept in `f64`. Rows are
/// spread over rayon's current thread pool, and a row is always the work of one thread: its bits
/// depend on the row, the parameters and `dim`, never on how many rows or threads there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu;

/// Elements that make a task: some 10 µs, against which waking a thread is little.
const TASK: u64 = 32 * 1024;

thread_local! {
    static SPACE: RefCell<Workspace> = RefCell::new(Workspace::new());
}

impl Sealed for Cpu {}

impl Backend for Cpu {
    fn place(&self) -> Place {
        Place::Host
    }

    unsafe fn run(&self, problem: &Problem) -> Result<()> {
        let normalize = row::normalizer();
        let rows_a_task = TASK.div_ceil(u64::from(problem.dim));
        let tasks = problem.rows.div_ceil(rows_a_task);
        let work = |task: u64, space: &mut Workspace| {
            space.forget();
            let first = task * rows_a_task;
            for index in first..problem.rows.min(first + rows_a_task) {
                // SAFETY: `index` is one of the problem's rows, for whose memory the caller
                // vouches; each row is normalized once, and no two rows of `y` share an element.
                unsafe { normalize(&line::Line::of(problem, index), space) };
            }
        };
        let task = |task| SPACE.with_borrow_mut(|space| work(task, space));
        match tasks {
            1 => task(0),
            _ => (0..tasks).into_par_iter().for_each(task),
        }
        Ok(())
    }
}

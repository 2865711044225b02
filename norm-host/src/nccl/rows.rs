//! Whole rows added up by NCCL, where devices do not reach each other's memory.

use std::sync::PoisonError;

use super::NcclGroup;
use crate::{device::RestoreContext, error::Result, problem::Problem, tp::TpContext};

impl NcclGroup {
    /// Enqueues `y = Σ x` on each stream, given each one's checked problem. Rows with gaps between them are added up one by one.
    pub(crate) fn all_reduce_rows(
        &self,
        tp: &TpContext,
        problem: impl Fn(usize) -> Result<Problem>,
    ) -> Result<()> {
        let _restore = RestoreContext::save()?;
        let _one_at_a_time = self.calling.lock().unwrap_or_else(PoisonError::into_inner);
        // The end of NCCL's group waits for every rank, so that a lost context must be found before.
        tp.streams().iter().try_for_each(|stream| stream.device().ensure_live())?;
        // All ranks make the same calls.
        let mut whole = true;
        for index in 0..tp.streams().len() {
            whole &= is_dense(&problem(index)?);
        }
        let done = self.nccl.grouped(|| {
            for (index, (stream, &comm)) in tp.streams().iter().zip(&self.comms).enumerate() {
                let problem = problem(index)?;
                let (rows, dtype) = (problem.rows as usize, problem.x.dtype);
                let (calls, count) =
                    if whole { (1, rows * problem.dim as usize) } else { (rows, problem.dim as usize) };
                for row in 0..calls as u64 {
                    let [x, y] = offsets(&problem, row);
                    let size = dtype.size() as u64;
                    let from_to = [problem.x.address + x * size, problem.y.address + y * size];
                    // SAFETY: communicator and stream are alive, and `check` has established that they are of one device. The
                    // rows are those of views that may be read, and written, until the stream has done this.
                    unsafe { self.nccl.sum_of(comm, from_to, (count, dtype), stream.as_raw()) }?;
                }
            }
            Ok(())
        });
        self.remember(done)
    }
}

/// Whether there is no gap between rows, neither of `x` nor of `y`.
fn is_dense(problem: &Problem) -> bool {
    let [outer, middle, inner] = &problem.axes;
    let dim = u64::from(problem.dim);
    outer.extent * middle.extent == 1 && (inner.extent == 1 || inner.x_stride == dim && inner.y_stride == dim)
}

/// The first elements of a row in `x` and `y`.
fn offsets(problem: &Problem, row: u64) -> [u64; 2] {
    let [outer, middle, inner] = &problem.axes;
    let (rest, c) = (row / inner.extent, row % inner.extent);
    let (a, b) = (rest / middle.extent, rest % middle.extent);
    [
        a * outer.x_stride + b * middle.x_stride + c * inner.x_stride,
        a * outer.y_stride + b * middle.y_stride + c * inner.y_stride,
    ]
}

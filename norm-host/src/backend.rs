//! Where operations run.

use crate::{
    error::Result,
    problem::{Problem, SandwichProblem, ShardProblem},
    tensor::Place,
};

/// Something that carries operations out: [`Cpu`](crate::Cpu), or a CUDA
/// [`Stream`](crate::Stream).
///
/// Sealed: an operation's checks and its numbers are promised for these.
pub trait Backend: sealed::Sealed {
    /// Where every tensor of an operation must be.
    fn place(&self) -> Place;

    /// Carries out, or enqueues, what the checks left. Operations call it; there is no need to.
    ///
    /// # Errors
    ///
    /// What the backend itself may fail with: a launch that the driver refuses.
    ///
    /// # Safety
    ///
    /// The addresses lie at [`place`](Backend::place), aligned to their elements. Every element
    /// that the problem's axes, strides and `dim` lead to may be read (`x`, `w`, `b`, `r`) or written (`y`, the sum with a
    /// residual) until the work is done, and so may the scale in memory be read, where there is one. No two rows of `y`, or
    /// of the sum, share an element; `y` is either exactly `x` or apart from `x`, `w` and `b`; the sum is apart from
    /// all of them, but that behind the norm it is `y`; `r` is either exactly the sum or apart from it, and from `y`.
    #[doc(hidden)]
    unsafe fn run(&self, problem: &Problem) -> Result<()>;

    /// Carries out, or enqueues, two norms with a residual between them: one after the other, unless the backend has them
    /// in one.
    ///
    /// # Errors
    ///
    /// As for [`run`](Backend::run).
    ///
    /// # Safety
    ///
    /// As for [`run`](Backend::run), of either problem, and what one of them writes is apart from the parameters of the
    /// other, and from the first's `x` and the second's `y`, which may be one tensor.
    #[doc(hidden)]
    unsafe fn run_sandwich(&self, problem: &SandwichProblem) -> Result<()> {
        // SAFETY: the caller vouches for both problems.
        unsafe { one_after_the_other(self, problem) }
    }

    /// Carries out, or enqueues, a step of a norm whose rows are split over devices.
    ///
    /// # Errors
    ///
    /// As for [`run`](Backend::run).
    ///
    /// # Safety
    ///
    /// As for [`run`](Backend::run), but that the first step does not write `y`. There is an `f32` a
    /// row at the address of the sums, apart from all else that is written, to be written by the
    /// first step and read by the second.
    #[doc(hidden)]
    unsafe fn run_shard(&self, problem: &ShardProblem) -> Result<()>;
}

/// Two norms with a residual between them, as two operations.
///
/// # Safety
///
/// As for [`Backend::run_sandwich`].
pub(crate) unsafe fn one_after_the_other<B: Backend + ?Sized>(
    on: &B,
    problem: &SandwichProblem,
) -> Result<()> {
    // SAFETY: the caller vouches for both, the second of which reads what the first has written.
    unsafe {
        on.run(&problem.first)?;
        on.run(&problem.second)
    }
}

pub(crate) mod sealed {
    /// Keeps [`Backend`](super::Backend) to this crate.
    pub trait Sealed {}
}

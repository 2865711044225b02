//! Where operations run.

use crate::{
    error::Result,
    problem::{Problem, ShardProblem},
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
    /// that the problem's axes, strides and `dim` lead to may be read (`x`, `w`, `b`, `r`, and `y`
    /// where it is added to) or written (`y`, `r`) until the work is done. No two rows of `y`, or of
    /// `r`, share an element; `y` is either exactly `x` or apart from `x`, `w` and `b`; `r` is apart
    /// from all of them.
    #[doc(hidden)]
    unsafe fn run(&self, problem: &Problem) -> Result<()>;

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

pub(crate) mod sealed {
    /// Keeps [`Backend`](super::Backend) to this crate.
    pub trait Sealed {}
}

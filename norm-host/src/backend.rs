//! What carries operations out: the CPU, a CUDA stream, a simulator.

use crate::{
    error::Result,
    problem::{GatedProblem, Problem, QkRopeProblem, QuantizedProblem, SandwichProblem, ShardProblem},
    tensor::Place,
};

/// What carries operations out: [`Cpu`](crate::Cpu), or a CUDA
/// [`Stream`](crate::Stream).
///
/// Sealed: the checks of an operation and the accuracy of its results are promised for these backends alone.
pub trait Backend: sealed::Sealed {
    /// Where every tensor of an operation must be.
    fn place(&self) -> Place;

    /// Carries out, or enqueues, a checked operation. Operations call it; engines have no need to.
    ///
    /// # Errors
    ///
    /// The backend's own failures, such as a launch that the driver refuses.
    ///
    /// # Safety
    ///
    /// - Every address lies at [`place`](Backend::place) and is aligned to its elements.
    /// - Every element that the problem's axes, strides and `dim` lead to may be read (`x`, `w`, `b`, `r`) or written (`y`,
    ///   the sum with a residual) until the work is done; a scale in memory may be read until then.
    /// - No two rows of `y`, or of the sum, share an element.
    /// - `y` is the same tensor as `x`, or shares no memory with it; it shares none with `w` and `b`.
    /// - The sum shares no memory with `x`, `y`, `w` and `b`. With a residual behind the norm, though, the sum is `y` itself.
    /// - `r` is the same tensor as the sum, or shares no memory with it, nor with `y`.
    #[doc(hidden)]
    unsafe fn run(&self, problem: &Problem) -> Result<()>;

    /// Carries out, or enqueues, two norms with a residual between them: one after the other, unless the backend
    /// overrides this with a fused form.
    ///
    /// # Errors
    ///
    /// As for [`run`](Backend::run).
    ///
    /// # Safety
    ///
    /// As for [`run`](Backend::run), for both problems. What the first writes shares no memory with the parameters and the
    /// `y` of the second, and what the second writes shares none with the parameters of the first; the `x` of the first
    /// and the `y` of the second may be one tensor.
    #[doc(hidden)]
    unsafe fn run_sandwich(&self, problem: &SandwichProblem) -> Result<()> {
        // SAFETY: the caller guarantees what `one_after_the_other` requires: it is the contract of this method.
        unsafe { one_after_the_other(self, problem) }
    }

    /// Carries out, or enqueues, a gated norm.
    ///
    /// # Errors
    ///
    /// As for [`run`](Backend::run).
    ///
    /// # Safety
    ///
    /// As for [`run`](Backend::run), for the norm. Every element of the gate that the strides of a residual lead to may be
    /// read until the work is done; the gate shares no memory with `y`. The types are those of a
    /// [`GatedKernel`](norm_kernels::abi::GatedKernel).
    #[doc(hidden)]
    unsafe fn run_gated(&self, problem: &GatedProblem) -> Result<()>;

    /// Carries out, or enqueues, a norm whose output is quantized.
    ///
    /// # Errors
    ///
    /// As for [`run`](Backend::run).
    ///
    /// # Safety
    ///
    /// As for [`run`](Backend::run), where `y` are the codes, of one byte each. The scales and the copy that the problem has
    /// may be written, a given scale and a bound in memory may be read, until the work is done. Nothing that is written
    /// shares memory with anything else, but that the sum may be the residual.
    #[doc(hidden)]
    unsafe fn run_quantized(&self, problem: &QuantizedProblem) -> Result<()>;

    /// Carries out, or enqueues, a step of a norm whose rows are split over devices.
    ///
    /// # Errors
    ///
    /// As for [`run`](Backend::run).
    ///
    /// # Safety
    ///
    /// As for [`run`](Backend::run), except that the first step does not write `y`. At the address of the sums is one
    /// `f32` for each row, which the first step may write and the second may read, and which shares no memory with
    /// anything else that is written.
    #[doc(hidden)]
    unsafe fn run_shard(&self, problem: &ShardProblem) -> Result<()>;

    /// Carries out, or enqueues, norm and rotation of the heads of queries, keys and values.
    ///
    /// # Errors
    ///
    /// As for [`run`](Backend::run).
    ///
    /// # Safety
    ///
    /// - Every address lies at [`place`](Backend::place) and is aligned to its elements.
    /// - Every element that tokens, heads, strides and `head_dim` lead to may be read (`x`, weights) or written (`y`) until
    ///   the work is done; so may, for reading, be the positions of all tokens and the rows of both tables.
    /// - On the host every position is below the number of the tables' rows.
    /// - No two heads of `y` share an element, be they queries, keys or values.
    /// - The `y` of queries, keys or values is the same tensor as their `x`, or shares no memory with it. It shares none with
    ///   anything else that is read.
    #[doc(hidden)]
    unsafe fn run_qk_rope(&self, problem: &QkRopeProblem) -> Result<()>;
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
    // SAFETY: the caller guarantees the contract of `Backend::run` for both problems; the second one's `x` is what the first
    // has written by then.
    unsafe {
        on.run(&problem.first)?;
        on.run(&problem.second)
    }
}

pub(crate) mod sealed {
    /// Keeps [`Backend`](super::Backend) to this crate.
    pub trait Sealed {}
}

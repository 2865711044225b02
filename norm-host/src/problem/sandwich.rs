//! Two norms with a residual between them.

use super::Problem;

/// A checked sandwich: what the two problems give one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SandwichProblem {
    /// `sum = (norm(x) * branch + r) * scale`: a residual behind the norm.
    pub first: Problem,
    /// `y = norm(sum)`.
    pub second: Problem,
    /// The axes of both, neighbours merged where all of `x`, `r`, the sum and `y` allow it.
    pub axes: [norm_kernels::abi::Axis; 3],
}

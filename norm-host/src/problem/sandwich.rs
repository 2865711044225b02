//! Two norms with a residual between them.

use super::Problem;

/// Two checked norms with a residual between them. The result is that of the two problems one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SandwichProblem {
    /// `sum = (norm(x) * branch + r) * scale`: the first norm, with a residual behind it.
    pub first: Problem,
    /// `y = norm(sum)`: the second norm.
    pub second: Problem,
    /// The axes of both, merged where the strides of `x`, `r`, the sum and `y` all allow it.
    pub axes: [norm_kernels::abi::Axis; 3],
}

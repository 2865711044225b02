//! One device's part of a norm whose rows are split over devices.

use super::Problem;

/// A step of an RMSNorm over shards of rows, on one device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShardProblem {
    /// Which step.
    pub step: ShardStep,
    /// The shards of this device as if they were whole rows, without a residual. For the first step `y` is `x`, and is
    /// not written.
    pub part: Problem,
    /// Address of the sums of squares, one `f32` for each row, in the order of rows.
    pub sums: u64,
    /// Elements in a whole row: no fewer than in a shard, at most [`MAX_DIM`](crate::MAX_DIM).
    pub dim: u32,
}

/// The two steps. Between them the sums are added up over all devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardStep {
    /// `sums[row] = Σ x²`.
    Partial,
    /// `y = x / sqrt(sums[row] / dim + eps) * (w + weight_offset) + b`, rounded as
    /// [`part`](ShardProblem::part) says.
    Apply,
}

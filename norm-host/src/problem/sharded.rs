//! A norm whose rows are split over devices: what one device has to do.

use super::Problem;

/// A step of an RMSNorm over shards of rows, on one device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShardProblem {
    /// Which step.
    pub step: ShardStep,
    /// The shards that are here, as if they were rows: without a residual, and not added to `y`. For
    /// the first step `y` is `x`, and is not written.
    pub part: Problem,
    /// Address of the sums of squares, one `f32` a row, in the order of rows.
    pub sums: u64,
    /// Elements in a whole row: at least those of a shard, at most [`MAX_DIM`](crate::MAX_DIM).
    pub dim: u32,
}

/// The steps. Between them the sums are added up over all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardStep {
    /// `sums[row] = Σ x²`.
    Partial,
    /// `y = x / sqrt(sums[row] / dim + eps) * (w + weight_offset) + b`, rounded as
    /// [`part`](ShardProblem::part) says.
    Apply,
}

//! The plan of a step of a norm whose rows are split over devices.

use norm_kernels::abi::{Args, Kernel, ShardKernel, Variant};

use super::{DeviceProfile, Plan};
use crate::{
    error::Result,
    problem::{ShardProblem, ShardStep},
};

/// A launch, with the tile of whole rows of the shard's length: one row a block, or several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ShardPlan {
    pub(crate) kernel: ShardKernel,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) overlap: bool,
    /// The kernel's parameters.
    pub(crate) args: Args,
    pub(crate) sums: u64,
}

impl ShardPlan {
    /// The launch for at least one row.
    ///
    /// # Errors
    ///
    /// As for [`Plan::new`].
    pub(crate) fn new(problem: &ShardProblem, profile: DeviceProfile) -> Result<ShardPlan> {
        let ShardProblem { step, part, sums, dim } = problem;
        // Shard kernels do not support clusters, because a shard is rarely long enough for one.
        let Plan { kernel, grid, block, overlap, args, .. } =
            Plan::new(part, DeviceProfile { max_cluster: 1, ..profile })?;
        let vectors = kernel.variant != Variant::Scalar;
        let kernel = match step {
            ShardStep::Partial => ShardKernel::Partial { x: kernel.x, vectors },
            ShardStep::Apply => {
                let Kernel { x, w, y, epilogue, .. } = kernel;
                ShardKernel::Apply { x, w, y, vectors, epilogue }
            }
        };
        let reciprocal = 1.0 / f64::from(*dim);
        let args = Args { reciprocal, reciprocal_f32: reciprocal as f32, ..args };
        Ok(ShardPlan { kernel, grid, block, overlap, args, sums: *sums })
    }
}

//! The plan of a sum of rows over the devices of a group, and of its norm.

use norm_kernels::abi::{Args, GroupKernel, GroupVariant, NO_PREFETCH, NormKind, Variant, WARP, width};

use super::{
    DeviceProfile, Plan, Tile,
    ladders::{ONE_SHOT, PACKETS},
};
use crate::{DType, error::Result, problem::Problem};

/// The largest block of a sum without a norm, and the largest that has several rows.
const MOST: u32 = 512;
const PACKED: u32 = 256;

/// A launch of one rank, but for what depends on its group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GroupPlan {
    pub(crate) kernel: GroupKernel,
    pub(crate) block: [u32; 3],
    pub(crate) overlap: bool,
    /// The kernel's first parameter.
    pub(crate) args: Args,
    /// Bytes from a staged row to the next.
    pub(crate) pitch: u32,
    pub(crate) rows: u32,
}

impl GroupPlan {
    /// The launch for at least one row: of its norm, if it has one, and else of the sum alone.
    ///
    /// # Errors
    ///
    /// As for [`Plan::new`].
    pub(crate) fn new(
        problem: &Problem,
        norm: Option<NormKind>,
        profile: DeviceProfile,
    ) -> Result<GroupPlan> {
        // A block has whole rows: with clusters, blocks of all devices would have to be resident as clusters.
        let profile = DeviceProfile { max_cluster: 1, ..profile };
        let Plan { kernel, overlap, args, .. } = Plan::new(problem, profile)?;
        let (x, dim) = (problem.x.dtype, problem.dim);
        let tile = Tile::new(problem.kind, x, x, dim, profile);
        let block = if norm.is_some() { tile.block() } else { of_sum(x, dim) };
        let variant = match norm {
            _ if kernel.variant == Variant::Scalar => GroupVariant::Scalar,
            Some(kind) if in_registers(kind, problem, tile) => GroupVariant::Block,
            _ => GroupVariant::Stream,
        };
        let w = if norm.is_some() { kernel.w } else { x };
        let kernel = GroupKernel { norm, x, w, variant, epilogue: kernel.epilogue };
        let share = dim;
        let short = problem.rows <= profile.short_grid && variant != GroupVariant::Scalar;
        Ok(GroupPlan {
            kernel: GroupKernel {
                epilogue: if norm.is_some() { kernel.epilogue } else { Default::default() },
                ..kernel
            },
            // Rows so long that they would have more threads are in clusters elsewhere, with other bits.
            block: [block[0].min(kernel.max_threads()), block[1], 1],
            overlap,
            args: Args {
                share,
                share_reciprocal: 1.0 / f64::from(share),
                last_share_reciprocal: 1.0 / f64::from(share),
                // A block prefetches its first row where it has few.
                l2_prefetch_rows: if short { 0 } else { NO_PREFETCH },
                ..args
            },
            pitch: (dim * x.size() as u32).next_multiple_of(16),
            // `Plan::new` has checked that they are below 2³¹.
            rows: problem.rows as u32,
        })
    }
}

/// Threads along a row of a sum, and rows of a block: a vector a thread, as far as that fills a block. How a sum is dealt to
/// threads changes no bit of it.
fn of_sum(x: DType, dim: u32) -> [u32; 2] {
    let vectors = dim.div_ceil(width(x, x));
    if vectors <= WARP {
        let threads = vectors.next_power_of_two();
        [threads, PACKED / threads]
    } else {
        [vectors.next_multiple_of(WARP).min(MOST), 1]
    }
}

/// Whether a row's norm is computed in registers. Those kernels add no biases to RMSNorm, and no weight offset to LayerNorm's
/// weights.
fn in_registers(kind: NormKind, problem: &Problem, tile: Tile) -> bool {
    let is_common = match kind {
        NormKind::Rms => problem.b.is_none(),
        NormKind::Layer => problem.w.is_none() || problem.weight_offset == 0.0,
    };
    let threads = tile.threads;
    is_common
        && tile.rows == 1
        && threads.is_multiple_of(WARP)
        && tile.vectors <= GroupVariant::REGISTER_VECTORS
        && threads <= MOST
}

/// Bytes of a device's rows up to which every rank of a group adds up all rows by itself.
pub(crate) fn one_shot_up_to(ranks: usize) -> u64 {
    ONE_SHOT[ranks.min(ONE_SHOT.len() - 1)]
}

/// Bytes of a device's rows up to which ranks of a group send each other all of them as packets.
pub(crate) fn packets_up_to(ranks: usize) -> u64 {
    PACKETS[ranks.min(PACKETS.len() - 1)]
}

const _: () = assert!(NormKind::ALL.len() == 2, "a norm without a rule in `in_registers`");

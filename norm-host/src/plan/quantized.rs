//! The plan of a norm whose output is quantized.

use norm_kernels::abi::{Args, Granularity, NormKind, QuantArgs, QuantKernel, QuantVariant, Variant, WARP};

use super::{
    DeviceProfile, MAX_GRID, Plan, Tile, alignment::takes_quantized_vectors, prefetch::distance, rules::Loads,
};
use crate::{
    error::{Arg, Error, Result},
    problem::{Param, QuantLimits, QuantScales, QuantizedProblem, UniformRows},
};

/// A launch: a block for each row.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct QuantizedPlan {
    /// The entry point.
    pub kernel: QuantKernel,
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y and z.
    pub block: [u32; 3],
    /// As [`Plan::overlap`].
    pub overlap: bool,
    /// The kernel's first parameter; its `y` are the codes.
    pub args: Args,
    /// The kernel's second parameter.
    pub quant: QuantArgs,
}

impl QuantizedPlan {
    /// The launch for a problem with at least one row, on a device of that profile.
    ///
    /// The tile follows from the norm, `dim` and the device, as in [`Plan::new`]; the order of every sum is that of the same
    /// norm with an output of the type of `x`, where that one has a block a row.
    ///
    /// # Errors
    ///
    /// As for [`Plan::new`].
    pub fn new(problem: &QuantizedProblem, profile: DeviceProfile) -> Result<QuantizedPlan> {
        let QuantizedProblem { norm, format, recipe, .. } = problem;
        if norm.rows > MAX_GRID {
            return Err(Error::GridTooLarge { arg: Arg::X, blocks: norm.rows, max: MAX_GRID });
        }
        // Rows are not shared by clusters: there are no kernels for that.
        let profile = DeviceProfile { max_cluster: 1, ..profile };
        let Plan { kernel, args, overlap, .. } = Plan::new(norm, profile)?;
        let tile = Tile::new(norm.kind, norm.x.dtype, norm.x.dtype, norm.dim, profile);
        let tile = Tile { threads: tile.threads.next_multiple_of(WARP), rows: 1, ..tile };
        let variant = variant(problem, tile, profile);
        // A thread of the kernels for long grids has the vectors of several.
        let sharing = match variant.register_vectors() {
            Some(vectors) if is_for_long_grids(variant) => vectors / tile.vectors,
            _ => 1,
        };
        let threads = tile.threads / sharing;
        let row_bytes = u64::from(norm.dim) * norm.x.dtype.size() as u64;
        let loads = if norm.residual.is_some() { Loads::Residual } else { Loads::Alone };
        // The rules for the kernels whose loads are the same.
        let like = match variant {
            QuantVariant::Scalar => Variant::Scalar,
            _ => Variant::Block4,
        };
        let args = Args {
            share: norm.dim,
            share_reciprocal: args.reciprocal,
            last_share_reciprocal: args.reciprocal,
            l2_prefetch_rows: distance((like, norm.kind, loads), row_bytes, norm.rows, profile),
            ..args
        };
        Ok(QuantizedPlan {
            kernel: QuantKernel {
                kind: norm.kind,
                x: norm.x.dtype,
                w: kernel.w,
                variant,
                format: *format,
                recipe: *recipe,
            },
            // Fewer than 2^31 rows.
            grid: [norm.rows as u32, 1, 1],
            block: [threads, 1, 1],
            overlap,
            args,
            quant: QuantArgs { sharing, ..quant_args(problem) },
        })
    }
}

/// Threads of the largest tile that kernels for long grids take.
const MAX_TILE_THREADS: u32 = QuantVariant::Long4.max_threads();

/// Whether a variant serves bandwidth-bound (long) grids alone.
fn is_for_long_grids(variant: QuantVariant) -> bool {
    matches!(variant, QuantVariant::Long4 | QuantVariant::Long8)
}

/// The variant for a launch.
fn variant(problem: &QuantizedProblem, tile: Tile, profile: DeviceProfile) -> QuantVariant {
    let norm = &problem.norm;
    if !takes_quantized_vectors(problem, tile) {
        return QuantVariant::Scalar;
    }
    // In registers these options would cost every launch.
    let is_rare = match norm.kind {
        NormKind::Rms => norm.b.is_some(),
        NormKind::Layer => norm.w.is_some() && norm.weight_offset != 0.0,
    };
    // LayerNorm's kernel for long grids is for biases, too.
    let has_params = norm.w.is_some() && (norm.kind == NormKind::Rms || norm.b.is_some());
    let is_plain = norm.residual.is_none() && !is_rare && has_params;
    let has_offset = norm.w.is_some() && norm.weight_offset != 0.0;
    let fills_its_block = norm.dim == tile.threads * tile.vectors * tile.width;
    // Those kernels look for no row among axes, nor for weights of its own.
    let has_own = |params: Option<Param>| params.is_some_and(|params| params.stride != 0);
    let is_dense = norm.axes[2].extent == norm.rows && !has_own(norm.w) && !has_own(norm.b);
    if is_plain && is_dense && !has_offset && fills_its_block && norm.rows > profile.short_grid {
        // The most vectors a thread with which its block has whole warps, but two warps at least where it has four vectors:
        // docs/TUNING.md, sixteenth and nineteenth round.
        let whole_warps = |threads: u32| tile.threads.is_multiple_of(threads * WARP);
        let long = match tile.vectors {
            2 if whole_warps(4) && tile.threads > 4 * WARP => Some(QuantVariant::Long8),
            2 if whole_warps(2) => Some(QuantVariant::Long4),
            4 if whole_warps(2) => Some(QuantVariant::Long8),
            4 => Some(QuantVariant::Long4),
            _ => None,
        };
        let fits = |variant: &QuantVariant| variant.serves(norm.kind) && tile.threads <= MAX_TILE_THREADS;
        if let Some(long) = long.filter(fits) {
            return long;
        }
    }
    let in_registers = match norm.residual {
        None => [QuantVariant::Registers2, QuantVariant::Registers4],
        Some(_) => [QuantVariant::Add2, QuantVariant::Add4],
    };
    let fits = |variant: &QuantVariant| {
        variant.serves(norm.kind)
            && variant.register_vectors().is_some_and(|vectors| tile.vectors <= vectors)
            && tile.threads <= variant.max_threads()
    };
    in_registers.into_iter().find(|variant| !is_rare && fits(variant)).unwrap_or(QuantVariant::Stream)
}

/// The second parameter.
fn quant_args(problem: &QuantizedProblem) -> QuantArgs {
    let QuantizedProblem { format, recipe, scales, normed, .. } = *problem;
    let (granularity, rows, (block, stride), limits) = match scales {
        QuantScales::Tensor { at } => {
            let rows = UniformRows { address: at, stride: 0 };
            (Granularity::Tensor, rows, (0, 0), QuantLimits::of(recipe, format))
        }
        QuantScales::Token { rows, limits } => (Granularity::Token, rows, (0, 0), limits),
        QuantScales::Block { rows, stride, block, limits } => {
            (Granularity::Block, rows, (block, stride), limits)
        }
    };
    QuantArgs {
        scales: rows.address,
        row_stride: rows.stride,
        block_stride: stride,
        bound_at: limits.bound_at.unwrap_or(0),
        normed: normed.map_or(0, |normed| normed.address),
        normed_stride: normed.map_or(0, |normed| normed.stride),
        granularity: granularity as u32,
        block,
        bound: limits.bound,
        floor: limits.floor,
        max: limits.max,
        max_reciprocal: 1.0 / limits.max,
        least: limits.least,
        // `QuantizedPlan::new` sets it.
        sharing: 1,
    }
}

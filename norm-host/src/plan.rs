//! From a checked problem to a launch, as pure data.

mod sharded;
#[cfg(test)]
mod tests;

pub(crate) use sharded::ShardPlan;

use norm_kernels::abi::{Args, Divisor, Kernel, LaunchShape, Limits, NO_PREFETCH, NormKind, Tile, Variant};

use crate::{
    DType,
    error::{Arg, Error, Result},
    problem::{Param, Problem},
};

/// The most blocks along x, on every device since compute capability 3.0 (CUDA C++ Programming
/// Guide, "Technical Specifications per Compute Capability").
pub const MAX_GRID: u64 = (1 << 31) - 1;

/// The widest access a thread can make, in bytes.
const WIDEST: u64 = 16;

/// Bytes between a row and the one that its block prefetches into the L2 cache. From 1 MiB on it helps, from
/// 8 MiB on the rows drive each other out (NVIDIA H200, 50 MB of L2, 2026-11-23).
const AHEAD_BYTES: u64 = 4 << 20;

/// A launch: which kernel, how many threads, with what.
///
/// The tile, and with it the order of every sum, comes from the types and `dim` alone. The number
/// of rows changes only how many blocks there are and, as the alignment does, how memory is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// The entry point.
    pub kernel: Kernel,
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block: along the row, rows, 1.
    pub block: [u32; 3],
    /// Blocks along x that work on a row together, as a cluster; 1 for none.
    pub cluster: u32,
    /// Dynamic shared memory of a block in bytes, beside what the kernel declares itself.
    pub shared_bytes: u32,
    /// Whether the kernel may start while the one in front of it still finishes, on devices that
    /// can: it waits before it reads or writes.
    pub overlap: bool,
    /// The kernel's parameter.
    pub args: Args,
}

impl Plan {
    /// The launch for a problem with at least one row, on a device of these limits.
    ///
    /// # Errors
    ///
    /// [`GridTooLarge`](Error::GridTooLarge) if there are more than [`MAX_GRID`] rows, or they take
    /// more blocks, [`DType`](Error::DType) if the biases have another type than the weights.
    pub fn new(problem: &Problem, limits: Limits) -> Result<Plan> {
        let Problem { kind, x, y, r, accumulate, w, b, axes, rows, dim, eps, weight_offset, overlap } =
            *problem;
        let parameters = match (w, b) {
            (Some(w), Some(b)) if w.dtype != b.dtype => {
                return Err(Error::DType { arg: Arg::B, expected: w.dtype, given: b.dtype });
            }
            (Some(param), _) | (None, Some(param)) => param.dtype,
            (None, None) => x.dtype,
        };
        // Absent weights count as ones, which the offset must not change.
        let weight_offset = if w.is_some() && weight_offset != 0.0 { weight_offset } else { -0.0 };
        let tile = Tile::new(kind, x.dtype, y.dtype, dim, limits);
        let most = u64::max(tile.grid(rows), rows);
        if most > MAX_GRID {
            return Err(Error::GridTooLarge { arg: Arg::X, blocks: most, max: MAX_GRID });
        }
        let variant = if takes_vectors(problem, tile) {
            let rare = match kind {
                NormKind::Rms => b.is_some(),
                NormKind::Layer => weight_offset != 0.0,
            };
            let launch =
                LaunchShape { residual: r.is_some(), extras: rare || accumulate, blocks: tile.grid(rows) };
            Variant::vectorized(tile, kind, [x.dtype, parameters, y.dtype], launch, limits)
        } else {
            Variant::Scalar
        };
        let divisor = |axis: usize| Divisor::new(axes[axis].extent as u32);
        let plan = Plan {
            kernel: Kernel { kind, x: x.dtype, w: parameters, y: y.dtype, variant },
            // The tile says what follows from it.
            grid: [0; 3],
            block: [0; 3],
            cluster: 0,
            shared_bytes: 0,
            overlap,
            args: Args {
                x: x.address,
                y: y.address,
                w: w.map_or(0, |w| w.address),
                b: b.map_or(0, |b| b.address),
                r: r.map_or(0, |r| r.address),
                axes,
                divisors: [divisor(1), divisor(2)],
                w_stride: w.map_or(0, |w| w.stride),
                b_stride: b.map_or(0, |b| b.stride),
                reciprocal: 1.0 / f64::from(dim),
                share_reciprocals: [0.0; 2],
                reciprocal_f32: (1.0 / f64::from(dim)) as f32,
                rows: rows as u32,
                dim,
                share: 0,
                l2_prefetch_rows: 0,
                eps,
                weight_offset,
                accumulate: accumulate.into(),
            },
        };
        Ok(plan.with_tile(variant, tile.taken_by(variant), limits))
    }

    /// The plan with another kernel and tile, which must suit it: to measure others than
    /// operations take.
    #[doc(hidden)]
    pub fn with_tile(self, variant: Variant, tile: Tile, limits: Limits) -> Plan {
        let Args { rows, dim, .. } = self.args;
        let [threads, rows_a_block] = tile.block();
        let share = tile.share(dim);
        let last_share = dim - share * (tile.blocks - 1);
        let kernel = Kernel { variant, ..self.kernel };
        Plan {
            kernel,
            grid: [u32::try_from(tile.grid(rows.into())).unwrap_or(u32::MAX), 1, 1],
            block: [threads, rows_a_block, 1],
            cluster: tile.blocks,
            overlap: self.overlap,
            shared_bytes: tile.shared_bytes(variant, kernel.x),
            args: Args {
                share,
                share_reciprocals: [share, last_share].map(|share| 1.0 / f64::from(share)),
                l2_prefetch_rows: l2_prefetch_rows(kernel, tile, rows, dim, limits),
                ..self.args
            },
        }
    }
}

/// How many rows further than its own a block prefetches, as [`Args::l2_prefetch_rows`]. Short rows are many at a
/// time anyway, and element by element the memory is not what is waited for.
fn l2_prefetch_rows(kernel: Kernel, tile: Tile, rows: u32, dim: u32, limits: Limits) -> u32 {
    let row = u64::from(dim) * kernel.x.size() as u64;
    // 0.996 at 8 KiB for RMSNorm without, 0.985 with; 0.985 and 0.99 at 16 KiB. LayerNorm at
    // 8 KiB: 0.96 and 0.975, at 4 KiB: 0.974 and 0.971.
    let least = match kernel.kind {
        NormKind::Rms => 16 << 10,
        NormKind::Layer => 8 << 10,
    };
    match kernel.variant {
        Variant::Scalar => NO_PREFETCH,
        // A block asks for its own row before the kernel in front has ended: 2.90 µs become 2.42
        // for 256 rows of 4096 f16; with 1024 rows 5.8 become 6.0 (NVIDIA H200, 2026-11-23).
        _ if tile.grid(rows.into()) <= limits.short_grid => 0,
        // The longest rows of all blocks fill the L2 cache: 1048576 f16 take 0.91 of a copy's bandwidth without and
        // 0.825 with. RMSNorm of 32768 was measured without alone: 0.994 (NVIDIA H100, 2026-11-25).
        Variant::Mixed => NO_PREFETCH,
        _ if tile.rows == 1 && row >= least => {
            u32::try_from((AHEAD_BYTES / row).max(1)).unwrap_or(NO_PREFETCH)
        }
        _ => NO_PREFETCH,
    }
}

/// Whether every row of every tensor is made of whole, aligned vectors.
fn takes_vectors(problem: &Problem, tile: Tile) -> bool {
    let width = u64::from(tile.width);
    // A stride along an axis with one position leads nowhere.
    let axes = || problem.axes.iter().filter(|axis| axis.extent > 1);
    let heads = problem.axes[2].extent > 1;
    let residual =
        problem.r.is_none_or(|r| is_aligned(width, r.dtype, r.address, axes().map(|axis| axis.r_stride)));
    let param = |param: Option<Param>| {
        param.is_none_or(|Param { address, dtype, stride }| {
            is_aligned(width, dtype, address, heads.then_some(stride))
        })
    };
    u64::from(problem.dim).is_multiple_of(width)
        && is_aligned(width, problem.x.dtype, problem.x.address, axes().map(|axis| axis.x_stride))
        && is_aligned(width, problem.y.dtype, problem.y.address, axes().map(|axis| axis.y_stride))
        && residual
        && param(problem.w)
        && param(problem.b)
}

/// Whether a vector of `width` elements, or each 16 bytes of a longer one, is aligned wherever
/// the strides lead.
fn is_aligned(width: u64, dtype: DType, address: u64, strides: impl IntoIterator<Item = u64>) -> bool {
    let size = dtype.size() as u64;
    let bytes = u64::min(width * size, WIDEST);
    address.is_multiple_of(bytes) && strides.into_iter().all(|stride| stride.is_multiple_of(bytes / size))
}

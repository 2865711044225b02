//! Plans: the launch of a checked problem, as plain data.
//!
//! A stream makes a [`Plan`] of every [`Problem`] and launches it; so does the simulator. Engines need one only to look at
//! what is launched, and a [`DeviceProfile`] to restrict what kernels use.

mod alignment;
mod all_reduce;
mod gated;
mod ladders;
mod prefetch;
mod profile;
mod qk_rope;
mod quantized;
mod rules;
mod sandwich;
mod select;
mod sharded;
#[cfg(test)]
mod tests;
mod tile;

use norm_kernels::abi::{Addition, Args, Divisor, Kernel, NormKind, Variant};

use alignment::takes_vectors;
pub(crate) use all_reduce::{GroupPlan, one_shot_up_to, packets_up_to};
pub use gated::GatedPlan;
pub(crate) use gated::variants_of_gated_rows;
use prefetch::l2_prefetch_rows;
pub use profile::DeviceProfile;
pub use qk_rope::QkRopePlan;
pub use quantized::QuantizedPlan;
pub use sandwich::SandwichPlan;
pub use select::LaunchShape;
pub(crate) use select::variants_of_rows;
pub(crate) use sharded::ShardPlan;
pub use tile::Tile;

use crate::{
    error::{Arg, Error, Result},
    problem::{Param, Problem, Scales},
};

/// The most blocks along x, on every device since compute capability 3.0 (CUDA C++ Programming
/// Guide, "Technical Specifications per Compute Capability").
pub const MAX_GRID: u64 = (1 << 31) - 1;

/// A launch: the kernel, the grid, and the kernel's argument.
///
/// The tile, and with it the order of every sum, follows from the norm, the types, `dim` and the device alone. The number
/// of rows decides the number of blocks and, like the alignment, which variant of the kernel runs.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// The entry point.
    pub kernel: Kernel,
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block: along the row, for each of its rows, 1.
    pub block: [u32; 3],
    /// Blocks along x that work on a row together, as a cluster; 1 for none.
    pub cluster: u32,
    /// Dynamic shared memory of a block in bytes, in addition to the kernel's static shared memory.
    pub shared_bytes: u32,
    /// Whether the kernel may start before its predecessor has finished (programmatic dependent launch), on devices
    /// that support it. The kernel itself waits before it reads or writes.
    pub overlap: bool,
    /// The kernel's parameter.
    pub args: Args,
}

/// The offset that a kernel adds to every weight. Where there is none it is -0, which changes no weight. Absent weights
/// count as ones, which an offset must not change.
fn kernel_offset(w: Option<Param>, offset: f32) -> f32 {
    if w.is_some() && offset != 0.0 { offset } else { -0.0 }
}

impl Plan {
    /// The launch for a problem with at least one row, on a device of that profile.
    ///
    /// # Errors
    ///
    /// [`GridTooLarge`](Error::GridTooLarge) if there are more than [`MAX_GRID`] rows, or they take
    /// more blocks, [`DType`](Error::DType) if the biases have another type than the weights.
    pub fn new(problem: &Problem, profile: DeviceProfile) -> Result<Plan> {
        let Problem {
            kind,
            x,
            y,
            residual,
            w,
            b,
            axes,
            rows,
            dim,
            eps,
            weight_offset,
            // `Problem::roundings` evaluates it.
            round_offset: _,
            rounding,
            overlap,
        } = *problem;
        let parameters = match (w, b) {
            (Some(w), Some(b)) if w.dtype != b.dtype => {
                return Err(Error::DType { arg: Arg::B, expected: w.dtype, given: b.dtype });
            }
            (Some(param), _) | (None, Some(param)) => param.dtype,
            (None, None) => x.dtype,
        };
        let weight_offset = kernel_offset(w, weight_offset);
        // A sum in f32 has the tile of a tensor in f32, so that its norm has the bits of that tensor's norm.
        let tile = Tile::new(kind, problem.normalized_dtype(), y.dtype, dim, profile);
        let most = u64::max(tile.grid(rows), rows);
        if most > MAX_GRID {
            return Err(Error::GridTooLarge { arg: Arg::X, blocks: most, max: MAX_GRID });
        }
        let types = [x.dtype, parameters, y.dtype];
        let wide = problem.normalized_dtype() != x.dtype;
        let variant = if takes_vectors(problem, tile) {
            let rare = match kind {
                NormKind::Rms => b.is_some(),
                NormKind::Layer => weight_offset != 0.0,
            };
            let launch = LaunchShape {
                kind,
                types,
                tile,
                residual: problem.residual_in_front().is_some(),
                wide,
                extras: rare || problem.residual_behind().is_some(),
                blocks: tile.grid(rows),
            };
            launch.select(profile)
        } else {
            Variant::Scalar
        };
        let scales = residual.map_or(Scales::NONE, |residual| residual.scales);
        let divisor = |axis: usize| Divisor::new(axes[axis].extent as u32);
        let plan = Plan {
            kernel: Kernel {
                kind,
                x: x.dtype,
                w: parameters,
                y: y.dtype,
                variant,
                addition: Addition {
                    wide,
                    scaled: residual.is_some_and(|residual| residual.scales != Scales::NONE),
                },
                epilogue: problem.roundings().epilogue(rounding),
            },
            // `with_tile` sets what follows from the tile.
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
                r: residual.map_or(0, |residual| residual.r.address),
                s: problem.residual_in_front().map_or(0, |residual| residual.sum.address),
                sum_scale_at: scales.sum_at.unwrap_or(0),
                inner: axes[2],
                outer: [axes[0], axes[1]],
                divisors: [divisor(1), divisor(2)],
                w_stride: w.map_or(0, |w| w.stride),
                b_stride: b.map_or(0, |b| b.stride),
                reciprocal: 1.0 / f64::from(dim),
                share_reciprocal: 0.0,
                last_share_reciprocal: 0.0,
                reciprocal_f32: (1.0 / f64::from(dim)) as f32,
                rows: rows as u32,
                dim,
                share: 0,
                l2_prefetch_rows: 0,
                eps,
                weight_offset,
                branch_scale: scales.branch,
                sum_scale: scales.sum,
                accumulate: problem.residual_behind().is_some().into(),
            },
        };
        Ok(plan.with_tile(variant, tile.for_variant(variant), profile))
    }

    /// The plan with another variant and tile, which must support it, so that tiles other than those of operations can be
    /// measured.
    #[doc(hidden)]
    pub fn with_tile(self, variant: Variant, tile: Tile, profile: DeviceProfile) -> Plan {
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
            shared_bytes: tile.shared_bytes(variant, kernel.normalized()),
            args: Args {
                share,
                share_reciprocal: 1.0 / f64::from(share),
                last_share_reciprocal: 1.0 / f64::from(last_share),
                l2_prefetch_rows: l2_prefetch_rows(kernel, tile, rows, dim, profile),
                ..self.args
            },
        }
    }
}

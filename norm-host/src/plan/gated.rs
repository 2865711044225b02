//! The plan of a gated norm.

use norm_kernels::abi::{Args, GatedKernel, GatedVariant, MAX_STAGED_VECTORS, NO_PREFETCH, WARP};

use super::{
    DeviceProfile, Plan, Tile, alignment,
    ladders::{GATED_PACKED_BLOCKS, GATED_TILES},
};
use crate::{error::Result, problem::GatedProblem};

/// A launch of a gated norm.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct GatedPlan {
    /// The kernel.
    pub kernel: GatedKernel,
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block: along the row, for each of its rows, 1.
    pub block: [u32; 3],
    /// Blocks along x that work on a row together, as a cluster; 1 for none.
    pub cluster: u32,
    /// Whether the kernel may start before its predecessor has finished, as in [`Plan::overlap`].
    pub overlap: bool,
    /// The kernel's parameter, in which the gate stands in place of the residual.
    pub args: Args,
}

impl GatedPlan {
    /// The launch for a problem with at least one row.
    ///
    /// # Errors
    ///
    /// As for [`Plan::new`].
    pub fn new(problem: &GatedProblem, profile: DeviceProfile) -> Result<GatedPlan> {
        let GatedProblem { norm, gate, gating } = problem;
        // What does not depend on the tile is as for the norm without a gate.
        let Plan { args, overlap, .. } = Plan::new(norm, profile)?;
        let tile = Tile::by(GATED_TILES, norm.x.dtype, norm.y.dtype, norm.dim, profile);
        let tile = spread(tile, norm.rows);
        let kernel = GatedKernel {
            x: norm.x.dtype,
            // Without weights they have the type of the gate.
            w: norm.w.map_or(gate.dtype, |w| w.dtype),
            variant: GatedVariant::Scalar,
            gating: *gating,
            epilogue: problem.roundings().epilogue(norm.rounding),
        };
        let variant = if alignment::takes_gated_vectors(problem, tile) {
            of_vectors(kernel, tile)
        } else {
            GatedVariant::Scalar
        };
        let share = tile.share(norm.dim);
        let last_share = norm.dim - share * (tile.blocks - 1);
        let [threads, rows_a_block] = tile.block();
        Ok(GatedPlan {
            kernel: GatedKernel { variant, ..kernel },
            grid: [u32::try_from(tile.grid(norm.rows)).unwrap_or(u32::MAX), 1, 1],
            block: [threads, rows_a_block, 1],
            cluster: tile.blocks,
            overlap,
            args: Args {
                r: gate.address,
                share,
                share_reciprocal: 1.0 / f64::from(share),
                last_share_reciprocal: 1.0 / f64::from(last_share),
                l2_prefetch_rows: l2_prefetch_rows(variant, tile.grid(norm.rows), profile),
                ..args
            },
        })
    }
}

/// The tile with fewer rows a block where all of them would make few blocks: a multiprocessor computes so many exponentials
/// a clock that the rows of a token are better spread. How many rows a block has does not change a row's bits.
fn spread(tile: Tile, rows: u64) -> Tile {
    let mut tile = tile;
    while tile.rows > 1 && tile.rows * tile.threads > WARP && tile.grid(rows) < GATED_PACKED_BLOCKS {
        tile.rows /= 2;
    }
    tile
}

/// The variant for rows of whole, aligned vectors.
fn of_vectors(kernel: GatedKernel, tile: Tile) -> GatedVariant {
    let candidates = [GatedVariant::Warp, GatedVariant::Block];
    let fits = |&variant: &GatedVariant| fits(GatedKernel { variant, ..kernel }, tile);
    candidates.into_iter().find(fits).unwrap_or(GatedVariant::Stream)
}

/// The variants that gated norms of rows of `dim` elements may use: that of whole, aligned vectors, and that of others.
pub(crate) fn variants_of_gated_rows(
    kernel: GatedKernel,
    dim: u32,
    profile: DeviceProfile,
) -> [GatedVariant; 2] {
    let tile = Tile::by(GATED_TILES, kernel.x, kernel.x, dim, profile);
    [of_vectors(kernel, tile), GatedVariant::Scalar]
}

/// Whether a kernel that holds rows in registers supports this tile.
fn fits(kernel: GatedKernel, tile: Tile) -> bool {
    let fits_scope = match kernel.variant {
        GatedVariant::Warp => tile.threads <= WARP,
        GatedVariant::Block => tile.rows == 1 && tile.threads.is_multiple_of(WARP),
        GatedVariant::Stream | GatedVariant::Scalar => true,
    };
    fits_scope
        && tile.blocks == 1
        && tile.vectors <= GatedVariant::REGISTER_VECTORS
        && tile.threads * tile.rows <= kernel.max_threads()
}

/// As [`Args::l2_prefetch_rows`] says: in short grids a block's own row. In long ones a prefetch costs more than it saves:
/// with two rows on their way to each block, memory is busy without it (T46).
fn l2_prefetch_rows(variant: GatedVariant, blocks: u64, profile: DeviceProfile) -> u32 {
    match variant {
        GatedVariant::Scalar => NO_PREFETCH,
        _ if blocks <= profile.short_grid => 0,
        _ => NO_PREFETCH,
    }
}

const _: () = assert!(GatedVariant::REGISTER_VECTORS <= MAX_STAGED_VECTORS, "squares are added in one group");

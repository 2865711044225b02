//! Which variant a launch takes.

use super::{DType, Limits, NormKind, Tile, Variant, WARP, stages_sums_with_y};

impl Variant {
    /// The variant for a tile whose vectors of `x` are all whole and aligned, with the types of x,
    /// weights and y.
    pub const fn vectorized(
        tile: Tile,
        kind: NormKind,
        types: [DType; 3],
        launch: LaunchShape,
        limits: Limits,
    ) -> Variant {
        let LaunchShape { residual, extras, blocks } = launch;
        let long_grid = blocks > limits.short_grid;
        let [x, ..] = types;
        let staged = tile.fits(Variant::Staged, x, limits);
        match (kind, tile.rows, tile.vectors) {
            _ if extras && !stages_sums_with_y(matches!(kind, NormKind::Layer), types) => Variant::Stream,
            _ if extras && staged => Variant::Staged,
            _ if extras => Variant::Stream,
            // In very long grids the fastest is another where memory is fast: at 4096 f16 staged 258 µs, add4 260,
            // add2 269 (NVIDIA H200, 2026-11-26); add4 356, add2 359, staged 361 (NVIDIA H100, 2026-11-25).
            (NormKind::Rms, 1, 2)
                if residual
                    && (blocks <= limits.short_grid.saturating_mul(8)
                        || (tile.threads <= 128 && limits.has_fast_memory())) =>
            {
                Variant::Add2
            }
            (NormKind::Rms, 1, 2) if residual && !limits.has_fast_memory() => Variant::Add4,
            (_, 1, 4) if residual && tile.threads <= most_adding_threads(kind, long_grid, limits) => {
                Variant::Add4
            }
            // A block of a warp, a row each: LayerNorm at 1024 f16 takes 0.95 in place of 0.83 of a copy's
            // bandwidth (NVIDIA H200, 2026-11-23), 0.97 in place of 0.92 (NVIDIA H100, 2026-11-25).
            (_, 2.., 4) if residual && tile.threads == WARP => Variant::Add4,
            _ if residual && staged => Variant::Staged,
            _ if residual => Variant::Stream,
            _ if tile.vectors > Tile::ALL_STAGED && tile.fits(Variant::Mixed, x, limits) => Variant::Mixed,
            (_, 2.., 2) => Variant::Warp2,
            (_, 2.., _) => Variant::Warp4,
            (NormKind::Rms, _, 2) => Variant::Block2,
            _ if long_grid && tile.streams_well(kind, types, limits) => Variant::Stream,
            _ if long_grid && tile.mixes_well(kind, limits) && tile.fits(Variant::Mixed, x, limits) => {
                Variant::Mixed
            }
            // 8192 elements of f16 in registers: 0.99; in shared memory: 0.96. With 16384 it is
            // 0.99 and 1.00 (NVIDIA H200, 2026-11-23).
            (NormKind::Rms, _, 4) if tile.threads <= Tile::MAX_PAIR_THREADS => Variant::Block4,
            (NormKind::Layer, _, 4) if tile.threads <= Tile::MAX_HELD_THREADS => {
                if long_grid {
                    Variant::Block4
                } else {
                    Variant::Short4
                }
            }
            _ if staged => Variant::Staged,
            _ => Variant::Stream,
        }
    }
}

/// The largest block that holds a row's sum with a residual in registers, four vectors a thread; larger
/// ones stage it.
///
/// 1 row of 4096 f16 takes 1.35 µs in place of 1.9 for RMSNorm, 1.9 in place of 3.6 for LayerNorm; 8 rows of 16384
/// take 2.56 in place of 3.93 for RMSNorm. In long grids RMSNorm takes 0.965 of a copy's bandwidth at 1024 in
/// place of 0.945, 0.985 at 2048 in place of 0.98, 0.99 at 8192 in place of 0.967, but at 16384 0.90 in place of 0.97,
/// unless memory is slower: 1.006 in place of 0.99. LayerNorm takes 0.985 at 2048 in place of 0.945, 0.99 at 4096 in
/// place of 0.95, 1.00 at 8192 in place of 0.966, 1.00 at 16384 in place of 0.97, also where memory is slower
/// (NVIDIA H200, 2026-11-23 and 2026-11-26; NVIDIA H100, 2026-11-25).
const fn most_adding_threads(kind: NormKind, long_grid: bool, limits: Limits) -> u32 {
    match kind {
        NormKind::Rms if long_grid && limits.has_fast_memory() => Tile::MAX_PAIR_THREADS,
        _ => Tile::MAX_HELD_THREADS,
    }
}

/// What a launch needs of its kernel, beside the tile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LaunchShape {
    /// There is a residual.
    pub residual: bool,
    /// `y` is added to, RMSNorm has biases or LayerNorm a weight offset, which kernels that hold the
    /// row do not know.
    pub extras: bool,
    /// Blocks of the grid, which say whether it is a short or a long one: [`Limits::short_grid`].
    pub blocks: u64,
}

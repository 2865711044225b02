//! How a row is laid over threads. A function of norm, element types and `dim` alone, so that a
//! row's bits never depend on how many rows there are or where they stand.

use super::{DType, NormKind};

/// Threads in a warp.
pub const WARP: u32 = 32;

/// The largest block any tile uses.
pub const MAX_BLOCK_THREADS: u32 = 1024;

/// The longest row: up to 2²⁴ every count of elements is exact in `f32`.
pub const MAX_DIM: u32 = 1 << 24;

/// A row cut into vectors of `width` elements and dealt to `threads` threads, `vectors` each:
/// thread `t` owns vectors `t`, `t + threads`, `t + 2 * threads` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Elements in a vector: 16 bytes of the wider of `x` and `y`.
    pub width: u32,
    /// Threads that work on one row: a power of two up to [`WARP`], from there a multiple of it
    /// up to [`MAX_BLOCK_THREADS`].
    pub threads: u32,
    /// Vectors each of them owns.
    pub vectors: u32,
    /// Rows a block works on: more than one only where a row takes no more than a warp, and then
    /// whole warps of them.
    pub rows: u32,
}

impl Tile {
    /// Threads a block has where several rows share one.
    pub const PACKED_THREADS: u32 = 256;

    /// The most vectors a thread holds in registers; a longer row is read again in each pass.
    pub const MAX_HELD: u32 = 4;

    /// The largest block that holds that many: at 112 registers a thread, the most that fits the
    /// 65,536 of a multiprocessor. From 608 threads on ptxas 13.5 spills in LayerNorm.
    pub const MAX_HELD_THREADS: u32 = 576;

    /// The largest block that holds two.
    pub const MAX_PAIR_THREADS: u32 = 256;

    /// The tile for rows of `dim` elements, `1 <= dim <= MAX_DIM`.
    ///
    /// Shares of a copy's bandwidth that stand beside a choice were measured on an NVIDIA H200,
    /// f16, 256 MiB and more, 2026-11-22.
    pub const fn new(kind: NormKind, x: DType, y: DType, dim: u32) -> Tile {
        const HELD: u32 = Tile::MAX_HELD * Tile::MAX_HELD_THREADS;
        let width = (16 / if x.size() > y.size() { x.size() } else { y.size() }) as u32;
        let row = dim.div_ceil(width);
        let vectors = match (kind, row) {
            // 0.96 at dim 128 and 256; two: 0.93 and 0.94.
            (NormKind::Rms, ..=32) => 1,
            // 0.975 at dim 1024 and 2048, 0.95 at 4096; four: 0.97 and 0.93.
            (NormKind::Rms, ..=512) => 2,
            // Two reductions cost as much as eight elements more, so a thread has more of them:
            // 0.92 at dim 128; one vector: 0.58.
            (NormKind::Layer, ..=32) => 2,
            // 0.95 at dim 512, 0.92 at 4096; two: 0.93 and 0.69.
            (_, ..=HELD) => Tile::MAX_HELD,
            _ => row.div_ceil(MAX_BLOCK_THREADS),
        };
        let threads = match row.div_ceil(vectors) {
            lanes @ ..=WARP => lanes.next_power_of_two(),
            threads => threads.next_multiple_of(WARP),
        };
        // LayerNorm's rows of a whole warp have a block each: 0.94 at dim 1024; packed: 0.90.
        let packed = threads < WARP || threads == WARP && matches!(kind, NormKind::Rms);
        let rows = if packed { Tile::PACKED_THREADS / threads } else { 1 };
        Tile { width, threads, vectors, rows }
    }

    /// Threads of a block: along the row, and rows.
    pub const fn block(self) -> [u32; 2] {
        [self.threads, self.rows]
    }

    /// Blocks that `rows` rows take.
    pub const fn grid(self, rows: u64) -> u64 {
        rows.div_ceil(self.rows as u64)
    }
}

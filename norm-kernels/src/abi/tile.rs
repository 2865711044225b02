//! How a row is laid over threads. A function of element types and `dim` alone, so that a
//! row's bits never depend on how many rows there are or where they stand.

use super::DType;

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
    /// Rows a block works on: more than one only where a row takes no more than a warp.
    pub rows: u32,
}

impl Tile {
    /// Threads a block has where several rows share one.
    pub const PACKED_THREADS: u32 = 256;

    /// The most vectors a thread holds in registers; a longer row is read again in each pass.
    pub const MAX_HELD: u32 = 4;

    /// The largest block that holds that many: at 72 registers a thread, the most that fits the
    /// 65,536 of a multiprocessor.
    pub const MAX_HELD_THREADS: u32 = 896;

    /// The tile for rows of `dim` elements, `1 <= dim <= MAX_DIM`.
    pub const fn new(x: DType, y: DType, dim: u32) -> Tile {
        let width = (16 / if x.size() > y.size() { x.size() } else { y.size() }) as u32;
        const HELD: u32 = Tile::MAX_HELD * Tile::MAX_HELD_THREADS;
        let row = dim.div_ceil(width);
        // Two vectors a thread from a warp on: one loses 10 to 20 % of bandwidth at large dims.
        let vectors = match row {
            0..=32 => 1,
            33..=512 => 2,
            // Four from half a full block on: 0.92 of a copy's bandwidth at 8192 f16, where two
            // reach 0.72 (NVIDIA H200, 2026-11-22).
            513..=HELD => Tile::MAX_HELD,
            _ => row.div_ceil(MAX_BLOCK_THREADS),
        };
        let threads = match row {
            0..=32 => row.next_power_of_two(),
            _ => row.div_ceil(vectors).next_multiple_of(WARP),
        };
        let rows = if threads <= WARP { Tile::PACKED_THREADS / threads } else { 1 };
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

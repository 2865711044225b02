//! How a row is laid over threads. A function of norm, element types, `dim` and the device's
//! limits alone, so that a row's bits never depend on how many rows there are or where they stand.

use super::{DType, HYBRID_REGISTERS, NormKind, Variant, width};

/// Threads in a warp.
pub const WARP: u32 = 32;

/// The largest block any tile uses.
pub const MAX_BLOCK_THREADS: u32 = 1024;

/// The longest row: up to 2²⁴ every count of elements is exact in `f32`.
pub const MAX_DIM: u32 = 1 << 24;

/// What a device lets a tile use (CUDA C++ Programming Guide, "Technical Specifications per
/// Compute Capability").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Blocks of a cluster; 1 where there are no clusters.
    pub cluster: u32,
    /// Bytes of shared memory that a block may keep its share of a row in.
    pub shared_bytes: u32,
    /// Whether a kernel may start while the one in front of it finishes.
    pub overlap: bool,
    /// Blocks of a grid up to which latency is all that counts, not bandwidth: some four for each
    /// multiprocessor.
    pub short_grid: u64,
    /// Bytes that the memory moves for a multiprocessor in one of its clocks, at the highest clocks of
    /// both: 18 on an H200, 12 on an H100. Where it is less, there is more time to compute, and to wait
    /// for other warps. It has a say in which kernel is taken, none in the tile: the bits are the same.
    pub memory_rate: u32,
}

impl Limits {
    /// Compute capability 8.6 and 8.9.
    pub const LEAST: Limits =
        Limits { cluster: 1, shared_bytes: 96 << 10, overlap: false, short_grid: 512, memory_rate: 10 };

    /// Shared memory from which on the L1 cache, which shares a memory with it, holds the rows of all
    /// blocks of a multiprocessor.
    const LARGE_L1: u32 = 224 << 10;

    /// The [`memory_rate`](Limits::memory_rate) from which on it is fast.
    const FAST_MEMORY: u32 = 16;

    /// Those of a compute capability from 8.0 on, with the fastest memory that one of 9.0 or 10.x has or
    /// more.
    pub const fn of_capability(capability: (u32, u32)) -> Limits {
        match capability {
            (8, 0 | 7) => Limits { shared_bytes: 160 << 10, ..Limits::LEAST },
            // Clusters of 16 are beyond the 8 that every such device has, and must be allowed.
            (9 | 10, _) => Limits {
                cluster: 16,
                shared_bytes: Limits::LARGE_L1,
                overlap: true,
                memory_rate: 18,
                ..Limits::LEAST
            },
            (..=8, _) => Limits::LEAST,
            // What is not known better.
            _ => Limits { overlap: true, ..Limits::LEAST },
        }
    }

    /// Whether memory is so fast that instructions are what a long grid waits for: then what takes the
    /// fewest of them and of registers is best.
    pub(super) const fn has_fast_memory(self) -> bool {
        self.memory_rate >= Limits::FAST_MEMORY
    }

    pub(super) const fn has_large_l1(self) -> bool {
        self.shared_bytes >= Limits::LARGE_L1
    }
}

/// A row cut into vectors of `width` elements and dealt to `blocks` blocks, an equal share to
/// each, and in each to `threads` threads, `vectors` each: thread `t` owns vectors `t`,
/// `t + threads`, `t + 2 * threads` and so on of its block's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Elements in a vector: 16 bytes of the wider of `x` and `y`.
    pub width: u32,
    /// Blocks that work on one row, as a cluster: 1 or a power of two up to 16.
    pub blocks: u32,
    /// Threads of a block that work on one row: a power of two up to [`WARP`], from there a
    /// multiple of it up to [`MAX_BLOCK_THREADS`].
    pub threads: u32,
    /// Vectors each of them owns.
    pub vectors: u32,
    /// Rows a block works on: more than one only where a row takes no more than a warp, and then
    /// whole warps of them.
    pub rows: u32,
}

/// How rows up to a length are laid out. The shares of a copy's bandwidth that stand beside each
/// were measured on an NVIDIA H200 with f16, 256 MiB and more, 2026-11-23.
struct Layout {
    /// Vectors in the longest such row.
    up_to: u32,
    /// Blocks for a row.
    blocks: u32,
    /// Vectors a thread.
    vectors: u32,
    /// Threads of a block that packs several rows; 0 for a row a block.
    packed: u32,
}

const RMS: [Layout; 10] = [
    // 0.99 at dim 64, 0.99 at 128, 0.995 at 512. One vector a thread: 0.985, 0.98; 256 threads:
    // 0.99, 0.97, 0.98.
    Layout { up_to: 64, blocks: 1, vectors: 2, packed: 512 },
    // 1.00 at 1024 and 2048, 0.99 at 4096; four: 0.99, 0.99, 0.97.
    Layout { up_to: 512, blocks: 1, vectors: 2, packed: 0 },
    // 0.997 at 8192, read twice; held, four vectors a thread: 0.985; eight: 0.98; two: 0.96.
    Layout { up_to: 1024, blocks: 1, vectors: 4, packed: 0 },
    // 0.99 at 16384, read twice; in shared memory: 0.98.
    Layout { up_to: 2048, blocks: 1, vectors: 4, packed: 0 },
    // 0.975 at 32768, read twice; in shared memory, as all from here on: 0.965; two blocks: 0.97.
    Layout { up_to: 4096, blocks: 1, vectors: 8, packed: 0 },
    // 0.985 at 65536; two blocks: 0.97, four: 0.97.
    Layout { up_to: 8192, blocks: 1, vectors: 8, packed: 0 },
    // 0.975 at 131072; four of 512 threads: 0.94.
    Layout { up_to: 16384, blocks: 8, vectors: 8, packed: 0 },
    // 0.96 at 262144; four: 0.90.
    Layout { up_to: 32768, blocks: 8, vectors: 8, packed: 0 },
    // 0.90 at 524288.
    Layout { up_to: 65536, blocks: 16, vectors: 8, packed: 0 },
    // In shared memory and registers: 0.91 at 1048576, 0.95 where rows are four times as many; in shared
    // memory, eight vectors: 0.825, 0.855 (NVIDIA H100, 2026-11-25, as for LayerNorm).
    Layout { up_to: u32::MAX, blocks: 16, vectors: 16, packed: 0 },
];

const LAYER: [Layout; 8] = [
    // 0.90 at dim 64; four: 0.78.
    Layout { up_to: 8, blocks: 1, vectors: 2, packed: 256 },
    // 0.97 at 128, 0.98 at 256 to 1024; two: 0.84, 0.90 at 256 and 512; 512 threads: 0.91.
    Layout { up_to: 128, blocks: 1, vectors: 4, packed: 256 },
    // 0.975 at 2048, 0.98 at 4096, 0.985 at 8192, 0.955 at 16384; eight: 0.89, 0.74 at 4096 and
    // 16384; two: 0.80 at 4096.
    Layout { up_to: 2048, blocks: 1, vectors: 4, packed: 0 },
    // In shared memory from here on: 0.87 at 32768; one block of 512: 0.85.
    Layout { up_to: 4096, blocks: 2, vectors: 8, packed: 0 },
    // 0.83 at 65536; two of 512 threads: 0.78.
    Layout { up_to: 8192, blocks: 4, vectors: 8, packed: 0 },
    // 0.76 at 131072 and 0.75 at 262144 with eight; sixteen: 0.73 at 262144.
    Layout { up_to: 32768, blocks: 8, vectors: 8, packed: 0 },
    Layout { up_to: 65536, blocks: 16, vectors: 8, packed: 0 },
    // 0.795 at 1048576, 0.83 where rows are four times as many; in shared memory, eight: 0.61.
    Layout { up_to: u32::MAX, blocks: 16, vectors: 16, packed: 0 },
];

impl Tile {
    /// The largest block with four vectors a thread in registers. From 544 threads on ptxas takes
    /// 84 registers where 60 do.
    pub const MAX_HELD_THREADS: u32 = Variant::Block4.max_threads();

    /// The largest block with two.
    pub const MAX_PAIR_THREADS: u32 = Variant::Block2.max_threads();

    /// The most vectors a thread stages. Their squares are one sum in `f32`; those of longer rows,
    /// which are streamed, go into `f64` after this number.
    pub const MAX_STAGED: u32 = 16;

    /// The most vectors a thread has in shared memory alone, unless its norm needs more than
    /// [`Variant::Mixed`] knows: with more, one block at most fits a multiprocessor.
    pub(super) const ALL_STAGED: u32 = 8;

    /// The most threads a block of several rows has.
    pub const MAX_PACKED_THREADS: u32 = Variant::Warp2.max_threads();

    /// The tile for rows of `dim` elements, `1 <= dim <= MAX_DIM`.
    pub const fn new(kind: NormKind, x: DType, y: DType, dim: u32, limits: Limits) -> Tile {
        let width = width(x, y);
        let row = dim.div_ceil(width);
        let layouts: &[Layout] = match kind {
            NormKind::Rms => &RMS,
            NormKind::Layer => &LAYER,
        };
        let mut index = 0;
        while layouts[index].up_to < row {
            index += 1;
        }
        let Layout { blocks, vectors, packed, .. } = layouts[index];
        let blocks = if blocks > limits.cluster { limits.cluster } else { blocks };
        let share = row.div_ceil(blocks);
        let least = share.div_ceil(MAX_BLOCK_THREADS);
        let vectors = if vectors < least { least } else { vectors };
        let threads = match share.div_ceil(vectors) {
            lanes @ ..=WARP if packed > 0 => lanes.next_power_of_two(),
            threads => threads.next_multiple_of(WARP),
        };
        let rows = if packed > threads { packed / threads } else { 1 };
        Tile { width, blocks, threads, vectors, rows }
    }

    /// Whether a row is read twice from memory, the second time from L1, at least as fast as it can be kept:
    /// where rows are so long that blocks which keep them are few, and so short that the L1 caches hold those of
    /// all blocks.
    ///
    /// RMSNorm of f16 at 8192: 0.995 of a copy's bandwidth, in registers 0.985; at 16384: 0.99, in shared memory
    /// 0.98; at 32768: 0.955 and 0.945. But 0.985 and 1.00 at 5120, and less with weights or a y wider than x
    /// (NVIDIA H200, 2026-11-23). Where memory is slower, 8192 takes 0.965 so and 1.00 in registers, but 16384 1.007
    /// so (NVIDIA H100, 2026-11-25).
    ///
    /// LayerNorm of f16 only where memory is slower: at 16384 1.010, in registers 1.003; with weights and biases of
    /// f32, which leave few registers, at 8192 0.994 and 0.936, at 16384 1.00 and 0.81; but at 4096 1.00 in registers,
    /// at 32768 0.82 and 0.95 in shared memory, in clusters (NVIDIA H100, 2026-11-25). Where memory is fast, 16384
    /// takes 0.80 so and 0.98 in registers (NVIDIA H200, 2026-11-25).
    pub(super) const fn streams_well(self, kind: NormKind, [x, w, y]: [DType; 3], limits: Limits) -> bool {
        let vectors = self.threads * self.vectors;
        let narrow = x.size() == y.size() && w.size() <= x.size();
        let (least, most) = match (kind, limits.has_fast_memory()) {
            (NormKind::Rms, true) if narrow => (896, 4096),
            (NormKind::Rms, false) if narrow => (1792, 2048),
            (NormKind::Layer, false) if narrow && x.size() == 2 => (1792, 2048),
            (NormKind::Layer, false) if w.size() > x.size() && w.size() > y.size() => (1023, u32::MAX),
            _ => return false,
        };
        self.blocks == 1 && least < vectors && vectors <= most && limits.has_large_l1()
    }

    /// Whether a row that shared memory could hold is better kept there and in registers: RMSNorm's of more than
    /// 2048 vectors in blocks of up to 512 threads, where memory is slower. f16 at 32768: 0.994 of a copy's bandwidth, in
    /// shared memory 0.988, read twice 0.940; at 65536, with 1024 threads, 0.992 and 0.995 (NVIDIA H100,
    /// 2026-11-25).
    pub(super) const fn mixes_well(self, kind: NormKind, limits: Limits) -> bool {
        matches!(kind, NormKind::Rms)
            && self.blocks == 1
            && self.vectors == Tile::ALL_STAGED
            && self.threads <= Tile::MAX_HELD_THREADS
            && limits.has_large_l1()
            && !limits.has_fast_memory()
    }

    /// The tile as the blocks of an variant work on it: those that add a residual have a row each.
    pub const fn taken_by(self, variant: Variant) -> Tile {
        if variant.adds() { Tile { rows: 1, ..self } } else { self }
    }

    /// Threads of a block: along the row, and rows.
    pub const fn block(self) -> [u32; 2] {
        [self.threads, self.rows]
    }

    /// Blocks that `rows` rows take.
    pub const fn grid(self, rows: u64) -> u64 {
        rows.div_ceil(self.rows as u64).saturating_mul(self.blocks as u64)
    }

    /// Elements of a row of `dim` in the share of each block but the last.
    pub const fn share(self, dim: u32) -> u32 {
        let vectors = dim.div_ceil(self.width).div_ceil(self.blocks);
        if self.blocks == 1 { dim } else { vectors * self.width }
    }

    /// Bytes of shared memory in which a block of this variant holds vectors of `x`, an even number for each
    /// thread.
    pub const fn shared_bytes(self, variant: Variant, x: DType) -> u32 {
        let vectors = match variant {
            Variant::Staged => self.vectors,
            Variant::Mixed => self.vectors.saturating_sub(HYBRID_REGISTERS),
            _ => 0,
        };
        vectors.next_multiple_of(2) * self.threads * self.rows * self.width * x.size() as u32
    }

    /// Whether rows of `x` are short enough for this variant, as far as it keeps them in shared memory.
    pub const fn fits(self, variant: Variant, x: DType, limits: Limits) -> bool {
        match variant {
            Variant::Staged | Variant::Mixed => {
                self.vectors <= Tile::MAX_STAGED && self.shared_bytes(variant, x) <= limits.shared_bytes
            }
            _ => true,
        }
    }
}

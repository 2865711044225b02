//! All tuned thresholds, as tables: tiles by row length, variants by launch, and what is prefetched. In each table the first
//! row that applies decides.
//!
//! `T` and a number refer to docs/TUNING.md, 'Thresholds', which has the measurements behind a row. Lengths of rows are in
//! vectors of 16 bytes of the wider of x and y: 512 are 4096 elements of 16 bits.

use std::ops::RangeInclusive;

use norm_kernels::abi::{
    NormKind::{Layer, Rms},
    Variant::{
        Add2, Add4, Block2, Block4, Mixed, Sandwich2, Sandwich4, Scalar, Short4, Staged, Stream, Warp2, Warp4,
    },
};

use super::rules::{
    Grid,
    Loads::{Alone, Residual, ResidualBetween, WideResidual},
    Memory::{Fast, Slow},
    Prefetch::{BytesAhead, Nothing, OwnRow},
    PrefetchRule, Rule, TileRule,
    Types::{Narrow, Narrow16, WideWeights},
    prefetch, take, tile,
};

const MAX: u32 = u32::MAX;

/// Bytes of shared memory from which on the L1 cache, which is the same memory, is taken to hold the rows of all blocks of
/// a multiprocessor: those of the devices on which reading rows twice was measured (T1).
pub(super) const LARGE_L1: u32 = 224 << 10;

/// Bytes a clock and multiprocessor from which on memory counts as fast: between an H100's and an H200's (T2).
pub(super) const FAST_MEMORY: u32 = 16;

/// Blocks up to which a grid counts as short: about four for each multiprocessor (T3).
pub(super) const SHORT_GRID: u64 = 512;

/// Vectors that a thread owns at least where a device's clusters have fewer blocks than a tile asks for: more threads would leave
/// a multiprocessor one block, which nothing runs beside (T8).
pub(super) const VECTORS_OF_FEWER_BLOCKS: u32 = 8;

/// The tiles of RMSNorm's rows, by their length.
#[rustfmt::skip]
pub(super) static RMS_TILES: &[TileRule] = &[
    //   up to   blocks  vectors  packed
    tile(   64,       1,       2,    512), // One vector a thread is slower, and so are 256 threads (T4).
    tile(  512,       1,       2,      0), // Four vectors are slower (T5).
    tile( 1024,       1,       4,      0), // Two and eight are slower (T6).
    tile( 2048,       1,       4,      0), // Two are slower (T7).
    tile( 4096,       2,       4,      0), // One block is slower with a residual, and of few rows (T8).
    tile( 8192,       4,       4,      0), // The same (T9).
    tile(16384,       8,       8,      0), // Four larger blocks are as fast (T10).
    tile(32768,       8,       8,      0), // Four blocks are slower (T11).
    tile(65536,      16,       8,      0), // A block's share is as long as the longest of eight blocks (T12).
    tile(  MAX,      16,      16,      0), // Eight vectors are slower: one block fits a multiprocessor (T13).
];

/// The tiles of LayerNorm's rows, by their length.
#[rustfmt::skip]
pub(super) static LAYER_TILES: &[TileRule] = &[
    //   up to   blocks  vectors  packed
    tile(    8,       1,       2,    256), // Four vectors are slower (T14).
    tile(  128,       1,       4,    256), // Two vectors are slower, and so are 512 threads (T15).
    tile( 2048,       1,       4,      0), // Two and eight are slower (T16).
    tile( 4096,       2,       8,      0), // In shared memory from here on; one larger block is slower (T17).
    tile( 8192,       4,       8,      0), // Two larger blocks are slower (T18).
    tile(32768,       8,       8,      0), // Sixteen blocks are slower (T19).
    tile(65536,      16,       8,      0), // A block's share is as long as the longest of eight blocks (T19).
    tile(  MAX,      16,      16,      0), // Eight vectors are slower: one block fits a multiprocessor (T20).
];

/// The tiles of gated RMSNorm's rows, each vector of which comes with one of the gate.
#[rustfmt::skip]
pub(super) static GATED_TILES: &[TileRule] = &[
    //   up to   blocks  vectors  packed
    tile(   64,       1,       2,    256), // One vector a thread is slower, and so are 512 threads (T46).
    tile( 2048,       1,       2,      0), // In registers; one vector a thread is slower (T46).
    tile( 8192,       1,       8,      0),
    tile(32768,       8,       8,      0),
    tile(65536,      16,       8,      0),
    tile(  MAX,      16,      16,      0),
];

/// Blocks up to which a gated kernel has fewer rows a block than its tile says (T46).
pub(super) const GATED_PACKED_BLOCKS: u64 = 264;

/// Threads of a block whose heads are rotated: few, so that heads of a short grid spread over multiprocessors, and in a long
/// one a block that has ended is soon followed by another (T47).
pub(super) const ROPE_THREADS: u32 = 64;

/// Heads that a thread norms and rotates where the grid stays full (T47).
pub(super) const ROPE_GROUP: u32 = 2;

/// Blocks of heads that begin while the kernel in front still finishes, in multiples of a short grid (T47).
pub(super) const ROPE_SHORT_GRIDS: u64 = 4;

/// Half tokens of a multiprocessor of which a block has all heads of one (T47).
pub(super) const ROPE_HALF_TOKENS: RangeInclusive<u64> = 3..=8;

/// Bytes of a device's rows up to which every rank of a group adds up all rows (one-shot), by the number of ranks; above, each
/// adds up a share, and gathers the others (two-shot). Measured for two ranks; for more a model's, not measured (T48): of `n`
/// ranks one-shot reads `n - 1` times the rows over the link, two-shot `2 (n - 1) / n` times, which is as much for two, but meets
/// twice.
pub(super) static ONE_SHOT: [u64; 9] =
    [u64::MAX, u64::MAX, 8 << 20, 1 << 20, 1 << 20, 256 << 10, 256 << 10, 256 << 10, 256 << 10];

/// Bytes of a device's rows up to which ranks send each other all rows as packets, by the number of ranks. Measured for two; for
/// more a model's, not measured (T48): each of `n` ranks sends `2 (n - 1)` times the rows, so that as many bytes go over the link.
pub(super) static PACKETS: [u64; 9] =
    [0, u64::MAX, 384 << 10, 192 << 10, 128 << 10, 96 << 10, 76 << 10, 64 << 10, 54 << 10];

/// A grid that is bound by latency.
const SHORT: Grid = Grid::AtMost(1);

/// A grid so long that its blocks start over many rows, of which a prefetch may be ahead (T44).
const VERY_LONG: Grid = Grid::Above(2);

/// A grid that is bound by bandwidth.
const LONG: Grid = Grid::Above(1);

/// Both passes read the row from memory, the second from L1. A block that does not hold its row leaves room for more blocks
/// on a multiprocessor (occupancy). It is for rows so long that holding them would limit occupancy, and so short that L1
/// holds the rows of all blocks.
const READ_TWICE: Rule = Rule { grid: LONG, large_l1: true, ..take(Stream) };

/// The variants for RMSNorm without a residual. The first row that is for a launch, and whose variant supports it, decides.
pub(super) static RMS: &[Rule] = &[
    // So many vectors in shared memory alone leave room for one block a multiprocessor (T21).
    Rule { vectors: 9..=MAX, ..take(Mixed) },
    // Several rows a block, then a row a block, two vectors a thread (T4, T5).
    Rule { row: 1..=64, ..take(Warp2) },
    Rule { row: 65..=512, ..take(Block2) },
    // Where memory is fast, shorter rows are faster in registers, longer ones in shared memory (T22).
    Rule { memory: Fast, types: Narrow, row: 1025..=2048, ..READ_TWICE },
    // Where it is slower, shorter rows are faster in registers, longer ones in shared memory (T23, T26).
    Rule { memory: Slow, types: Narrow, row: 1793..=2048, ..READ_TWICE },
    // Longer rows are as fast in shared memory (T27).
    Rule { row: 513..=1024, ..take(Block4) },
    // What registers do not hold (T7).
    take(Staged),
];

/// The same for LayerNorm.
pub(super) static LAYER: &[Rule] = &[
    // As for RMSNorm (T21).
    Rule { vectors: 9..=MAX, ..take(Mixed) },
    // Several rows a block, two and four vectors a thread (T14, T15).
    Rule { row: 1..=8, ..take(Warp2) },
    Rule { row: 9..=128, ..take(Warp4) },
    // Where memory is fast, LayerNorm lacks the instructions for it (T24).
    Rule { memory: Slow, types: Narrow16, row: 1793..=2048, ..READ_TWICE },
    // Wide weights leave few registers for the row; where clusters share it, shared memory is faster (T25).
    Rule { memory: Slow, types: WideWeights, row: 897..=MAX, blocks: 1..=1, ..READ_TWICE },
    // Weights that are loaded after the reduction leave registers for more blocks, of up to 512 threads (T28, T40).
    Rule { row: 129..=2048, grid: LONG, ..take(Block4) },
    // Weights that are loaded with the row shorten the latency (T28).
    Rule { row: 129..=2048, ..take(Short4) },
    // What registers do not hold (T17).
    take(Staged),
];

/// The variants for RMSNorm with a residual: in registers, a row a block, or staged.
pub(super) static RMS_RESIDUAL: &[Rule] = &[
    // Two vectors a thread are the fastest but, on slower memory, in very long grids (T29, T30, T43).
    Rule { row: 65..=512, grid: Grid::AtMost(8), ..take(Add2) },
    Rule { row: 65..=512, memory: Fast, ..take(Add2) },
    // Four vectors (T29, T30, T31, T43).
    Rule { row: 65..=2048, ..take(Add4) },
    // What registers do not hold (T29).
    take(Staged),
];

/// The same for LayerNorm.
pub(super) static LAYER_RESIDUAL: &[Rule] = &[
    // The fastest in any grid, from blocks of one warp on (T30, T32, T33).
    Rule { row: 65..=2048, ..take(Add4) },
    // What registers do not hold (T17).
    take(Staged),
];

/// The same for RMSNorm with a residual in f32 beside x and y of 16 bits.
pub(super) static RMS_WIDE_RESIDUAL: &[Rule] = &[
    // Two vectors a thread, then four (T41).
    Rule { row: 65..=512, ..take(Add2) },
    Rule { row: 513..=2048, ..take(Add4) },
    // What registers do not hold (T41).
    take(Staged),
];

/// The same for LayerNorm.
pub(super) static LAYER_WIDE_RESIDUAL: &[Rule] = &[
    // In registers as long as they hold a row (T41).
    Rule { row: 65..=2048, ..take(Add4) },
    // What registers do not hold (T41).
    take(Staged),
];

/// The variants for two RMSNorms with a residual between them.
pub(super) static SANDWICH: &[Rule] = &[
    // In registers as long as they hold a row (T42).
    Rule { row: 65..=512, ..take(Sandwich2) },
    Rule { row: 513..=2048, ..take(Sandwich4) },
];

/// The variants that support biases of RMSNorm, weight offsets of LayerNorm, and a residual behind the norm. In other
/// kernels these options would cost registers in every launch (T34).
pub(super) static EXTRAS: &[Rule] = &[take(Staged)];

/// A distance of 1 MiB or more helps; from 8 MiB on the prefetched rows evict each other (T35).
const FOUR_MIB_AHEAD: PrefetchRule = prefetch(BytesAhead(4 << 20));
/// Less where memory is fast, and less the more of a residual comes with each row of x: with it, three to four MiB (T44, T45).
const THREE_MIB_AHEAD: PrefetchRule = prefetch(BytesAhead(3 << 20));
const TWO_MIB_AHEAD: PrefetchRule = prefetch(BytesAhead(2 << 20));
const ONE_MIB_AHEAD: PrefetchRule = prefetch(BytesAhead(1 << 20));

/// Rows of that many KiB or more.
const fn from_kib(kib: u64) -> RangeInclusive<u64> {
    kib << 10..=u64::MAX
}

/// What is prefetched; the first row that is for a launch decides. If none is, nothing is prefetched: a multiprocessor
/// already has many short rows in flight.
pub(super) static PREFETCHES: &[PrefetchRule] = &[
    // Kernels that access single elements do not wait for memory.
    PrefetchRule { variant: Some(Scalar), ..prefetch(Nothing) },
    // The prefetch overlaps with the end of the preceding kernel; in longer grids it costs more than it saves (T36).
    PrefetchRule { grid: SHORT, ..prefetch(OwnRow) },
    // The rows of all blocks already fill the L2 cache (T37).
    PrefetchRule { variant: Some(Mixed), ..prefetch(Nothing) },
    // Fast memory: what registers do not hold (T35), then what they do (T44, T45).
    PrefetchRule {
        variant: Some(Staged),
        memory: Fast,
        grid: VERY_LONG,
        row_bytes: from_kib(8),
        ..FOUR_MIB_AHEAD
    },
    PrefetchRule {
        variant: Some(Stream),
        memory: Fast,
        grid: VERY_LONG,
        row_bytes: from_kib(8),
        ..FOUR_MIB_AHEAD
    },
    PrefetchRule { loads: ResidualBetween, memory: Fast, row_bytes: from_kib(2), ..TWO_MIB_AHEAD },
    PrefetchRule {
        loads: WideResidual,
        memory: Fast,
        grid: VERY_LONG,
        row_bytes: from_kib(2),
        ..ONE_MIB_AHEAD
    },
    PrefetchRule { loads: Residual, memory: Fast, grid: VERY_LONG, row_bytes: from_kib(2), ..TWO_MIB_AHEAD },
    PrefetchRule { loads: Alone, memory: Fast, grid: VERY_LONG, row_bytes: from_kib(2), ..THREE_MIB_AHEAD },
    // From these lengths on it helps (T38, T39).
    PrefetchRule { norm: Some(Rms), row_bytes: from_kib(16), ..FOUR_MIB_AHEAD },
    PrefetchRule { norm: Some(Layer), row_bytes: from_kib(8), ..FOUR_MIB_AHEAD },
];

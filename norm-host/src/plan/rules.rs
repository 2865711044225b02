//! What a row of a table in `ladders` can say. Plain data: [`tile`](super::tile), [`select`](super::select) and
//! [`prefetch`](super::prefetch) match it against a launch.

use std::ops::RangeInclusive;

use norm_kernels::abi::{NormKind, Variant};

/// How rows of up to a given length are divided among blocks and threads.
#[derive(Clone, Copy)]
pub(super) struct TileRule {
    /// Vectors in the longest row that this is for.
    pub up_to: u32,
    /// Blocks that share a row, as a cluster.
    pub blocks: u32,
    /// Vectors a thread.
    pub vectors: u32,
    /// Threads of a block that holds several rows; 0 for one row a block.
    pub packed: u32,
}

/// A [`TileRule`], in the order of the tables' columns.
pub(super) const fn tile(up_to: u32, blocks: u32, vectors: u32, packed: u32) -> TileRule {
    TileRule { up_to, blocks, vectors, packed }
}

/// The launches for which a variant is the fastest. Which launches a variant supports at all is
/// [`Tile::fits`](super::Tile::fits), not part of the rule.
pub(super) struct Rule {
    pub variant: Variant,
    /// Vectors in a row.
    pub row: RangeInclusive<u32>,
    /// Vectors a thread.
    pub vectors: RangeInclusive<u32>,
    /// Blocks that share a row.
    pub blocks: RangeInclusive<u32>,
    pub types: Types,
    pub grid: Grid,
    pub memory: Memory,
    /// Only on devices with an L1 cache of [`LARGE_L1`](super::ladders::LARGE_L1) bytes or more.
    pub large_l1: bool,
}

/// A variant for any launch that it supports.
pub(super) const fn take(variant: Variant) -> Rule {
    Rule {
        variant,
        row: 0..=u32::MAX,
        vectors: 0..=u32::MAX,
        blocks: 0..=u32::MAX,
        types: Types::Any,
        grid: Grid::Any,
        memory: Memory::Any,
        large_l1: false,
    }
}

/// Sizes of the elements of x, w and y.
#[derive(Clone, Copy)]
pub(super) enum Types {
    Any,
    /// x and y of one size, and weights no wider.
    Narrow,
    /// All of 16 bits.
    Narrow16,
    /// Weights wider than x and y.
    WideWeights,
}

/// Blocks of a grid, in multiples of [`short_grid`](super::DeviceProfile::short_grid).
#[derive(Clone, Copy)]
pub(super) enum Grid {
    Any,
    AtMost(u64),
    Above(u64),
}

/// Memory bandwidth for each multiprocessor, above or below [`FAST_MEMORY`](super::ladders::FAST_MEMORY).
#[derive(Clone, Copy)]
pub(super) enum Memory {
    Any,
    Fast,
    Slow,
}

/// The launches in which a block prefetches something into the L2 cache before it starts on its own row.
pub(super) struct PrefetchRule {
    /// `None` for every variant.
    pub variant: Option<Variant>,
    /// `None` for both.
    pub norm: Option<NormKind>,
    pub loads: Loads,
    pub grid: Grid,
    pub memory: Memory,
    /// Bytes of a row of x.
    pub row_bytes: RangeInclusive<u64>,
    pub prefetch: Prefetch,
}

/// What a kernel loads beside x, by its variant. A staged one, which may add a residual or not, counts as adding none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Loads {
    Any,
    /// No residual that it holds in registers.
    Alone,
    /// A residual of x's type, which is added in front of the norm.
    Residual,
    /// The same in f32 beside x of 16 bits.
    WideResidual,
    /// A residual between two norms.
    ResidualBetween,
}

/// What is prefetched.
#[derive(Clone, Copy)]
pub(super) enum Prefetch {
    Nothing,
    /// The block's own row, and the weights.
    OwnRow,
    /// The row that many bytes of x ahead, or the next one where rows are longer; of the residual the same row.
    BytesAhead(u64),
}

/// A prefetch in every launch.
pub(super) const fn prefetch(prefetch: Prefetch) -> PrefetchRule {
    PrefetchRule {
        variant: None,
        norm: None,
        loads: Loads::Any,
        grid: Grid::Any,
        memory: Memory::Any,
        row_bytes: 0..=u64::MAX,
        prefetch,
    }
}

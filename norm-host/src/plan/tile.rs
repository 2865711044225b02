//! How a row is dealt to threads: a function of norm, element types, `dim` and the device alone, so that a row's bits
//! never depend on how many rows there are or where they stand.

use norm_kernels::abi::{
    DType, MAX_BLOCK_THREADS, MAX_STAGED_VECTORS, NormKind, Scope, Storage, Variant, VariantSpec, WARP, width,
};

use super::{
    DeviceProfile,
    ladders::{LAYER_TILES, RMS_TILES},
    rules::TileRule,
};

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

impl Tile {
    /// The tile for rows of `dim` elements, `1 <= dim <= MAX_DIM`.
    pub fn new(kind: NormKind, x: DType, y: DType, dim: u32, profile: DeviceProfile) -> Tile {
        let width = width(x, y);
        let row = dim.div_ceil(width);
        let rules = match kind {
            NormKind::Rms => RMS_TILES,
            NormKind::Layer => LAYER_TILES,
        };
        // The last rule is for rows of any length.
        let TileRule { blocks, vectors, packed, .. } = rules[rules.partition_point(|rule| rule.up_to < row)];
        let blocks = blocks.min(profile.max_cluster);
        let share = row.div_ceil(blocks);
        let vectors = vectors.max(share.div_ceil(MAX_BLOCK_THREADS));
        let threads = match share.div_ceil(vectors) {
            lanes @ ..=WARP if packed > 0 => lanes.next_power_of_two(),
            threads => threads.next_multiple_of(WARP),
        };
        let rows = if packed > threads { packed / threads } else { 1 };
        Tile { width, blocks, threads, vectors, rows }
    }

    /// The tile as the blocks of a variant work on it: those that add a residual have a row each.
    pub fn taken_by(self, variant: Variant) -> Tile {
        if variant.adds() { Tile { rows: 1, ..self } } else { self }
    }

    /// Threads of a block: along the row, and rows.
    pub fn block(self) -> [u32; 2] {
        [self.threads, self.rows]
    }

    /// Blocks that `rows` rows take.
    pub fn grid(self, rows: u64) -> u64 {
        rows.div_ceil(self.rows.into()).saturating_mul(self.blocks.into())
    }

    /// Elements of a row of `dim` in the share of each block but the last.
    pub fn share(self, dim: u32) -> u32 {
        let vectors = dim.div_ceil(self.width).div_ceil(self.blocks);
        if self.blocks == 1 { dim } else { vectors * self.width }
    }

    /// Vectors of a row, rounded up to what all its threads have room for.
    pub(super) fn row_vectors(self) -> u32 {
        self.blocks * self.threads * self.vectors
    }

    /// Bytes of shared memory in which a block of this variant holds vectors of `x`, an even number for each
    /// thread.
    pub fn shared_bytes(self, variant: Variant, x: DType) -> u32 {
        let vectors = match variant.spec().storage {
            Storage::Shared => self.vectors,
            Storage::Hybrid(in_registers) => self.vectors.saturating_sub(in_registers),
            Storage::Registers(_) | Storage::Reload => 0,
        };
        vectors.next_multiple_of(2) * self.threads * self.rows * self.width * x.size() as u32
    }

    /// Whether a variant can take rows of `x` that are dealt out so on a device: by the threads that share a row, by
    /// where they keep it, and by the largest block.
    pub fn fits(self, variant: Variant, x: DType, profile: DeviceProfile) -> bool {
        let VariantSpec { scope, storage, max_threads, .. } = variant.spec();
        let tile = self.taken_by(variant);
        let is_shared = match scope {
            Scope::Warp => tile.blocks == 1 && tile.threads <= WARP,
            Scope::Block => tile.blocks == 1 && tile.rows == 1 && tile.threads.is_multiple_of(WARP),
            Scope::Cluster => true,
        };
        let is_kept = match storage {
            Storage::Registers(vectors) => tile.vectors <= vectors,
            Storage::Shared | Storage::Hybrid(_) => {
                tile.vectors <= MAX_STAGED_VECTORS
                    && tile.shared_bytes(variant, x) <= profile.max_shared_bytes
            }
            Storage::Reload => true,
        };
        is_shared && is_kept && tile.threads * tile.rows <= max_threads
    }
}

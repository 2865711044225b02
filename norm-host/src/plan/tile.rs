//! The tile: how a row is divided among blocks and threads. It is a function of norm, element types, `dim` and the device
//! alone, so that the bits of a row never depend on the number of rows or on their addresses.

use norm_kernels::abi::{
    DType, MAX_BLOCK_THREADS, MAX_STAGED_VECTORS, NormKind, Scope, Storage, Variant, VariantSpec, WARP, width,
};

use super::{
    DeviceProfile,
    ladders::{LAYER_TILES, RMS_TILES, VECTORS_OF_FEWER_BLOCKS},
    rules::TileRule,
};

/// A row divided into vectors of `width` elements. Each of `blocks` blocks has an equal share of them, and each of the
/// `threads` threads of a block owns `vectors` of the share: thread `t` the vectors `t`, `t + threads`,
/// `t + 2 * threads` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Elements in a vector: 16 bytes of the wider of `x` and `y`.
    pub width: u32,
    /// Blocks that work on one row, as a cluster: 1 or a power of two up to 16.
    pub blocks: u32,
    /// Threads of a block that work on one row: a power of two up to [`WARP`], from there a
    /// multiple of it up to [`MAX_BLOCK_THREADS`].
    pub threads: u32,
    /// Vectors that each thread owns.
    pub vectors: u32,
    /// Rows of a block: more than one only where a row takes no more than a warp, and then so many that they fill whole
    /// warps.
    pub rows: u32,
}

impl Tile {
    /// The tile for rows of `dim` elements, `1 <= dim <= MAX_DIM`.
    pub fn new(kind: NormKind, x: DType, y: DType, dim: u32, profile: DeviceProfile) -> Tile {
        let rules = match kind {
            NormKind::Rms => RMS_TILES,
            NormKind::Layer => LAYER_TILES,
        };
        Tile::by(rules, x, y, dim, profile)
    }

    /// The tile by the first of these rules that is for rows of this length.
    pub(super) fn by(rules: &[TileRule], x: DType, y: DType, dim: u32, profile: DeviceProfile) -> Tile {
        let width = width(x, y);
        let row = dim.div_ceil(width);
        // The last rule is for rows of any length.
        let rule = rules[rules.partition_point(|rule| rule.up_to < row)];
        let TileRule { vectors, packed, .. } = rule;
        let blocks = rule.blocks.min(profile.max_cluster);
        let vectors = if blocks < rule.blocks { vectors.max(VECTORS_OF_FEWER_BLOCKS) } else { vectors };
        let share = row.div_ceil(blocks);
        let vectors = vectors.max(share.div_ceil(MAX_BLOCK_THREADS));
        let threads = match share.div_ceil(vectors) {
            lanes @ ..=WARP if packed > 0 => lanes.next_power_of_two(),
            threads => threads.next_multiple_of(WARP),
        };
        let rows = if packed > threads { packed / threads } else { 1 };
        Tile { width, blocks, threads, vectors, rows }
    }

    /// The tile as the blocks of a variant use it: variants that add a residual have one row a block.
    pub fn for_variant(self, variant: Variant) -> Tile {
        if variant.adds() { Tile { rows: 1, ..self } } else { self }
    }

    /// Threads of a block: along the row, and for each of its rows.
    pub fn block(self) -> [u32; 2] {
        [self.threads, self.rows]
    }

    /// Blocks of the grid for `rows` rows.
    pub fn grid(self, rows: u64) -> u64 {
        rows.div_ceil(self.rows.into()).saturating_mul(self.blocks.into())
    }

    /// Elements in a block's share of a row of `dim` elements; the last block's share may be shorter.
    pub fn share(self, dim: u32) -> u32 {
        let vectors = dim.div_ceil(self.width).div_ceil(self.blocks);
        if self.blocks == 1 { dim } else { vectors * self.width }
    }

    /// Vectors of a row, rounded up to what all its threads can hold.
    pub(super) fn row_vectors(self) -> u32 {
        self.blocks * self.threads * self.vectors
    }

    /// Bytes of shared memory in which a block of this variant holds vectors of `x`, rounded up to an even number of
    /// vectors for each thread.
    pub fn shared_bytes(self, variant: Variant, x: DType) -> u32 {
        let vectors = match variant.spec().storage {
            Storage::Shared => self.vectors,
            Storage::Hybrid(in_registers) => self.vectors.saturating_sub(in_registers),
            Storage::Registers(_) | Storage::Reload => 0,
        };
        vectors.next_multiple_of(2) * self.threads * self.rows * self.width * x.size() as u32
    }

    /// Whether a variant supports this tile on a device, for rows of type `x`: the threads that share a row, the storage in
    /// which they hold it, and the size of a block.
    pub fn fits(self, variant: Variant, x: DType, profile: DeviceProfile) -> bool {
        let VariantSpec { scope, storage, max_threads, .. } = variant.spec();
        let tile = self.for_variant(variant);
        let fits_scope = match scope {
            Scope::Warp => tile.blocks == 1 && tile.threads <= WARP,
            Scope::Block => tile.blocks == 1 && tile.rows == 1 && tile.threads.is_multiple_of(WARP),
            Scope::Cluster => true,
        };
        let fits_storage = match storage {
            Storage::Registers(vectors) => tile.vectors <= vectors,
            Storage::Shared | Storage::Hybrid(_) => {
                tile.vectors <= MAX_STAGED_VECTORS
                    && tile.shared_bytes(variant, x) <= profile.max_shared_bytes
            }
            Storage::Reload => true,
        };
        fits_scope && fits_storage && tile.threads * tile.rows <= max_threads
    }
}

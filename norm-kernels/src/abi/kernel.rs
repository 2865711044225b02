//! Which kernels there are, and what they are called.

use super::{DType, Limits, MAX_BLOCK_THREADS, Tile, WARP};

/// Which normalization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NormKind {
    /// `x / sqrt(mean(x²) + eps)`.
    Rms,
    /// `(x - mean(x)) / sqrt(var(x) + eps)`, `var` the biased variance.
    Layer,
}

impl NormKind {
    /// Both, in the order of kernel numbers.
    pub const ALL: [NormKind; 2] = [NormKind::Rms, NormKind::Layer];

    /// The name used in kernel names: `rms` or `layer`.
    pub const fn name(self) -> &'static str {
        match self {
            NormKind::Rms => "rms",
            NormKind::Layer => "layer",
        }
    }
}

/// How a kernel reaches memory and where it keeps the row meanwhile.
///
/// All of them deal a row out as its [`Tile`] says and add in the same order, so for one tile
/// they give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Two vectors a thread, held in registers; several rows a block.
    Warp2,
    /// The same with four vectors a thread.
    Warp4,
    /// Two vectors a thread, held in registers; a row a block.
    Block2,
    /// The same with four vectors a thread.
    Block4,
    /// [`Block4`](Variant::Block4) for grids so short that latency is all that counts: LayerNorm's
    /// weights and biases are loaded with the row, for which RMSNorm's `Block4` has the registers.
    Short4,
    /// [`Block2`](Variant::Block2) with a residual, `r += x` before the norm.
    Add2,
    /// The same with four vectors a thread.
    Add4,
    /// Any tile whose vectors fit the shared memory, where they are kept; also adds biases to
    /// RMSNorm, offsets to LayerNorm's weights, and residuals.
    Staged,
    /// Any tile whose vectors fit the shared memory but for [`Tile::MIXED_HELD`] a thread, which are held in
    /// registers.
    Mixed,
    /// Any row of whole, aligned vectors: every pass reads it again.
    Stream,
    /// Any row, element by element: odd lengths and unaligned addresses.
    Scalar,
}

impl Variant {
    /// All of them, in the order of kernel numbers.
    pub const ALL: [Variant; 11] = [
        Variant::Warp2,
        Variant::Warp4,
        Variant::Block2,
        Variant::Block4,
        Variant::Short4,
        Variant::Add2,
        Variant::Add4,
        Variant::Staged,
        Variant::Mixed,
        Variant::Stream,
        Variant::Scalar,
    ];

    /// The name used in kernel names.
    pub const fn name(self) -> &'static str {
        match self {
            Variant::Warp2 => "warp2",
            Variant::Warp4 => "warp4",
            Variant::Block2 => "block2",
            Variant::Block4 => "block4",
            Variant::Short4 => "short4",
            Variant::Add2 => "add2",
            Variant::Add4 => "add4",
            Variant::Staged => "staged",
            Variant::Mixed => "mixed",
            Variant::Stream => "stream",
            Variant::Scalar => "scalar",
        }
    }

    /// Whether [`Tile`] ever chooses it for that normalization.
    pub const fn serves(self, kind: NormKind) -> bool {
        !matches!(
            (kind, self),
            (NormKind::Rms, Variant::Warp4 | Variant::Short4)
                | (NormKind::Layer, Variant::Block2 | Variant::Add2)
        )
    }

    /// Vectors that a thread holds in registers alone; `None` where it takes any number.
    pub const fn held_vectors(self) -> Option<u32> {
        match self {
            Variant::Warp2 | Variant::Block2 | Variant::Add2 => Some(2),
            Variant::Warp4 | Variant::Block4 | Variant::Short4 | Variant::Add4 => Some(4),
            Variant::Staged | Variant::Mixed | Variant::Stream | Variant::Scalar => None,
        }
    }

    /// The largest block that launches it, which the PTX states as `.maxntid`.
    pub const fn max_threads(self) -> u32 {
        match self {
            Variant::Warp2 => Tile::MAX_PACKED_THREADS,
            Variant::Warp4 | Variant::Block2 | Variant::Add2 => Tile::MAX_PAIR_THREADS,
            Variant::Block4 | Variant::Short4 | Variant::Add4 => Tile::MAX_HELD_THREADS,
            Variant::Staged | Variant::Mixed | Variant::Stream | Variant::Scalar => MAX_BLOCK_THREADS,
        }
    }

    /// Whether its blocks may work on a row together, as a cluster.
    pub const fn takes_clusters(self) -> bool {
        self.held_vectors().is_none()
    }

    /// Whether it adds a residual, without which it is not taken.
    pub const fn adds(self) -> bool {
        matches!(self, Variant::Add2 | Variant::Add4)
    }

    /// True if [`vectorized`](Variant::vectorized) selects this variant for bandwidth-bound (long) grids alone; a
    /// sibling variant covers short ones.
    pub const fn is_for_long_grids(self, kind: NormKind) -> bool {
        matches!((kind, self), (NormKind::Layer, Variant::Block4))
    }

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

/// Whether a staged kernel of `types`, those of x, w and y, has registers for what `y` holds, to which the norm is
/// added. LayerNorm's weights and biases in f32 beside 16-bit x and y fill 16 registers a vector: with four more,
/// ptxas spills a word, or three blocks of 512 threads no longer fit a multiprocessor.
pub const fn stages_sums_with_y(biases: bool, types: [DType; 3]) -> bool {
    let [x, w, y] = types;
    !(biases && w.size() > x.size() && w.size() > y.size())
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

/// One entry point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Which normalization.
    pub kind: NormKind,
    /// Element type of `x`.
    pub x: DType,
    /// Element type of the weights and biases; that of `x` where there are neither.
    pub w: DType,
    /// Element type of `y`.
    pub y: DType,
    /// How it reaches memory.
    pub variant: Variant,
}

impl Kernel {
    /// The most registers a thread may take, where that is to be fewer than the largest block
    /// leaves it; the PTX states them as `.maxnreg`. Three blocks of 512 threads in place of two take
    /// 1.00 in place of 0.98 of a copy's bandwidth at 16384 f16, 0.95 in place of 0.87 at 131072
    /// (NVIDIA H200, 2026-11-23).
    pub const fn max_registers(self) -> Option<u32> {
        use NormKind::{Layer, Rms};
        let sizes = (self.x.size(), self.w.size(), self.y.size());
        match (self.variant, self.kind, sizes) {
            // Two vectors of weights in f32 beside x in 16 bits fill twice the registers.
            (Variant::Staged, Rms, (2, 4, 2)) => Some(48),
            (Variant::Staged, ..) => Some(40),
            // From here on what ptxas can do with, and does not by itself: it takes more where the number of
            // blocks that fit a multiprocessor stays, by its count for the largest block.
            (Variant::Add2, Rms, (2, 4, 4)) | (Variant::Warp2, Layer, (2, 2, 4)) => Some(32),
            (Variant::Block4, Rms, (4, 2, 2)) => Some(40),
            (Variant::Warp4, Layer, (2, 4, 4)) | (Variant::Stream, Layer, (2, _, 4)) => Some(48),
            (Variant::Scalar, Layer, _) => Some(48),
            (Variant::Add4, Rms, (2, 2, 4)) | (Variant::Mixed, Layer, (2, _, 4)) => Some(56),
            (Variant::Block4, Layer, (4, _, 4)) => Some(56),
            (Variant::Add4, Rms, (2, 2, 2)) => Some(72),
            (Variant::Block4, Layer, (2, 2, 2)) if matches!(self.x, DType::BF16) => Some(66),
            (Variant::Short4, Layer, (4, 4, 4)) => Some(80),
            (Variant::Block4, Layer, (2, 4, 2)) => Some(88),
            (Variant::Add4, Layer, (2, 4, 2)) if matches!(self.x, DType::F16) => Some(96),
            _ => None,
        }
    }

    /// So many blocks are to fit a multiprocessor, and no more, where ptxas would else aim at more
    /// and spill registers for it; the PTX states it as `.minnctapersm`. Found with ptxas 13.0 for
    /// sm_80, sm_89, sm_90 and sm_100; `tests/toolchain.rs` checks it in every run.
    pub const fn min_blocks(self) -> Option<u32> {
        let sizes = (self.x.size(), self.w.size(), self.y.size());
        match (self.kind, self.x, sizes, self.variant) {
            (_, DType::BF16, _, Variant::Warp4) => Some(3),
            (NormKind::Layer, DType::F16, (_, 2, 4), Variant::Block4) => Some(2),
            // ptxas spills here with the directive, and does not without.
            (NormKind::Layer, DType::BF16, (_, 4, 2), Variant::Stream) => None,
            (NormKind::Layer, DType::BF16, (_, 2, 4), Variant::Add4) => Some(1),
            (_, _, _, Variant::Mixed | Variant::Stream | Variant::Scalar) => Some(1),
            _ => None,
        }
    }
}

/// A number above every [`Kernel::index`].
pub const KERNEL_SLOTS: usize = NormKind::ALL.len() * DType::ALL.len().pow(3) * Variant::ALL.len();

impl Kernel {
    /// A number below [`KERNEL_SLOTS`], different for every kernel.
    pub const fn index(self) -> usize {
        let [x, w, y] = [self.x as usize - 1, self.w as usize - 1, self.y as usize - 1];
        (((self.kind as usize * 3 + x) * 3 + w) * 3 + y) * Variant::ALL.len() + self.variant as usize
    }

    /// Every entry point, in the order of [`Kernel::index`].
    pub fn all() -> impl Iterator<Item = Kernel> {
        let kernels = (0..KERNEL_SLOTS).map(|index| Kernel {
            kind: NormKind::ALL[index / Variant::ALL.len() / 27],
            x: DType::ALL[index / Variant::ALL.len() / 9 % 3],
            w: DType::ALL[index / Variant::ALL.len() / 3 % 3],
            y: DType::ALL[index / Variant::ALL.len() % 3],
            variant: Variant::ALL[index % Variant::ALL.len()],
        });
        kernels.filter(|kernel| kernel.variant.serves(kernel.kind))
    }
}

/// The entry point's name in the PTX, such as `rms_f16_f32_bf16_block2`: kind, x, w, y, variant.
impl core::fmt::Display for Kernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}_{}_{}_{}_{}", self.kind.name(), self.x, self.w, self.y, self.variant.name())
    }
}

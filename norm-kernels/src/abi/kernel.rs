//! Which kernels there are, and what they are called.

use super::{DType, Limits, MAX_BLOCK_THREADS, Tile};

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
pub enum Access {
    /// Two vectors a thread, held in registers; several rows a block.
    Warp2,
    /// The same with four vectors a thread.
    Warp4,
    /// Two vectors a thread, held in registers; a row a block.
    Block2,
    /// The same with four vectors a thread.
    Block4,
    /// Any tile whose vectors fit the shared memory, where they are kept; also adds biases to
    /// RMSNorm, offsets to LayerNorm's weights, and residuals.
    Staged,
    /// Any row of whole, aligned vectors: every pass reads it again.
    Stream,
    /// Any row, element by element: odd lengths and unaligned addresses.
    Scalar,
}

impl Access {
    /// All of them, in the order of kernel numbers.
    pub const ALL: [Access; 7] = [
        Access::Warp2,
        Access::Warp4,
        Access::Block2,
        Access::Block4,
        Access::Staged,
        Access::Stream,
        Access::Scalar,
    ];

    /// The name used in kernel names.
    pub const fn name(self) -> &'static str {
        match self {
            Access::Warp2 => "warp2",
            Access::Warp4 => "warp4",
            Access::Block2 => "block2",
            Access::Block4 => "block4",
            Access::Staged => "staged",
            Access::Stream => "stream",
            Access::Scalar => "scalar",
        }
    }

    /// Whether [`Tile`] ever chooses it for that normalization.
    pub const fn serves(self, kind: NormKind) -> bool {
        !matches!((kind, self), (NormKind::Rms, Access::Warp4) | (NormKind::Layer, Access::Block2))
    }

    /// Vectors that a thread holds; `None` where it takes any number.
    pub const fn held_vectors(self) -> Option<u32> {
        match self {
            Access::Warp2 | Access::Block2 => Some(2),
            Access::Warp4 | Access::Block4 => Some(4),
            Access::Staged | Access::Stream | Access::Scalar => None,
        }
    }

    /// The largest block that launches it, which the PTX states as `.maxntid`.
    pub const fn max_threads(self) -> u32 {
        match self {
            Access::Warp2 => Tile::MAX_PACKED_THREADS,
            Access::Warp4 | Access::Block2 => Tile::MAX_PAIR_THREADS,
            Access::Block4 => Tile::MAX_HELD_THREADS,
            Access::Staged | Access::Stream | Access::Scalar => MAX_BLOCK_THREADS,
        }
    }

    /// Whether its blocks may work on a row together, as a cluster.
    pub const fn takes_clusters(self) -> bool {
        self.held_vectors().is_none()
    }

    /// The access for a tile whose vectors of `x` are all whole and aligned. `extras`: there is a
    /// residual, `y` is added to, RMSNorm has biases or LayerNorm a weight offset, which kernels
    /// that hold the row do not know.
    pub const fn vectored(tile: Tile, kind: NormKind, x: DType, extras: bool, limits: Limits) -> Access {
        let staged = tile.vectors <= Tile::MAX_STAGED && tile.staged_bytes(x) <= limits.shared_bytes;
        match (kind, tile.rows, tile.vectors) {
            _ if extras && staged => Access::Staged,
            _ if extras => Access::Stream,
            (_, 2.., 2) => Access::Warp2,
            (_, 2.., _) => Access::Warp4,
            (NormKind::Rms, _, 2) => Access::Block2,
            // 8192 elements of f16 in registers: 0.99; in shared memory: 0.96. With 16384 it is
            // 0.99 and 1.00 (NVIDIA H200, 2026-11-23).
            (NormKind::Rms, _, 4) if tile.threads <= Tile::MAX_PAIR_THREADS => Access::Block4,
            (NormKind::Layer, _, 4) if tile.threads <= Tile::MAX_HELD_THREADS => Access::Block4,
            _ if staged => Access::Staged,
            _ => Access::Stream,
        }
    }
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
    pub access: Access,
}

impl Kernel {
    /// The most registers a thread may take, where that is to be fewer than the largest block
    /// leaves it; the PTX states them as `.maxnreg`. Three blocks of 512 threads in place of two take
    /// 1.00 in place of 0.98 of a copy's bandwidth at 16384 f16, 0.95 in place of 0.87 at 131072
    /// (NVIDIA H200, 2026-11-23).
    pub const fn max_registers(self) -> Option<u32> {
        // Two vectors of weights in f32 beside x in 16 bits fill twice the registers.
        let wide = self.w.size() > self.x.size() && self.w.size() > self.y.size();
        match self.access {
            Access::Staged => Some(if wide { 48 } else { 40 }),
            _ => None,
        }
    }

    /// So many blocks are to fit a multiprocessor, and no more, where ptxas would else aim at more
    /// and spill registers for it; the PTX states it as `.minnctapersm`. Found with ptxas 13.0 for
    /// sm_80, sm_90 and sm_100; `tests/toolchain.rs` asks it again.
    pub const fn min_blocks(self) -> Option<u32> {
        let sizes = (self.x.size(), self.w.size(), self.y.size());
        match (self.kind, self.x, sizes, self.access) {
            (_, DType::BF16, _, Access::Warp4) => Some(3),
            (NormKind::Layer, DType::F16, (_, 2, 4), Access::Block4) => Some(3),
            // ptxas spills here with the directive, and does not without.
            (NormKind::Layer, DType::BF16, (_, 4, 2), Access::Stream) => None,
            (_, _, _, Access::Stream | Access::Scalar) => Some(1),
            _ => None,
        }
    }
}

/// A number above every [`Kernel::index`].
pub const KERNEL_SLOTS: usize = NormKind::ALL.len() * DType::ALL.len().pow(3) * Access::ALL.len();

impl Kernel {
    /// A number below [`KERNEL_SLOTS`], different for every kernel.
    pub const fn index(self) -> usize {
        let [x, w, y] = [self.x as usize - 1, self.w as usize - 1, self.y as usize - 1];
        (((self.kind as usize * 3 + x) * 3 + w) * 3 + y) * Access::ALL.len() + self.access as usize
    }

    /// Every entry point, in the order of [`Kernel::index`].
    pub fn all() -> impl Iterator<Item = Kernel> {
        let kernels = (0..KERNEL_SLOTS).map(|index| Kernel {
            kind: NormKind::ALL[index / Access::ALL.len() / 27],
            x: DType::ALL[index / Access::ALL.len() / 9 % 3],
            w: DType::ALL[index / Access::ALL.len() / 3 % 3],
            y: DType::ALL[index / Access::ALL.len() % 3],
            access: Access::ALL[index % Access::ALL.len()],
        });
        kernels.filter(|kernel| kernel.access.serves(kernel.kind))
    }
}

/// The entry point's name in the PTX, such as `rms_f16_f32_bf16_block2`: kind, x, w, y, access.
impl core::fmt::Display for Kernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}_{}_{}_{}_{}", self.kind.name(), self.x, self.w, self.y, self.access.name())
    }
}

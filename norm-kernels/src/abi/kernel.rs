//! Which kernels there are, and what they are called.

use super::{DType, MAX_BLOCK_THREADS, Tile};

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
    /// One vector a thread, held in registers; several rows a block.
    Warp1,
    /// The same with two vectors a thread.
    Warp2,
    /// The same with four vectors a thread.
    Warp4,
    /// Two vectors a thread, held in registers; a row a block.
    Block2,
    /// The same with four vectors a thread.
    Block4,
    /// Any row of whole, aligned vectors: every pass reads it again.
    Stream,
    /// Any row, element by element: odd lengths and unaligned addresses.
    Scalar,
}

impl Access {
    /// All of them, in the order of kernel numbers.
    pub const ALL: [Access; 7] = [
        Access::Warp1,
        Access::Warp2,
        Access::Warp4,
        Access::Block2,
        Access::Block4,
        Access::Stream,
        Access::Scalar,
    ];

    /// The name used in kernel names.
    pub const fn name(self) -> &'static str {
        match self {
            Access::Warp1 => "warp1",
            Access::Warp2 => "warp2",
            Access::Warp4 => "warp4",
            Access::Block2 => "block2",
            Access::Block4 => "block4",
            Access::Stream => "stream",
            Access::Scalar => "scalar",
        }
    }

    /// Whether [`Tile`] ever chooses it for that normalization.
    pub const fn serves(self, kind: NormKind) -> bool {
        !matches!(
            (kind, self),
            (NormKind::Rms, Access::Warp4) | (NormKind::Layer, Access::Warp1 | Access::Block2)
        )
    }

    /// Vectors that a thread holds; `None` where it takes any number.
    pub const fn held_vectors(self) -> Option<u32> {
        match self {
            Access::Warp1 => Some(1),
            Access::Warp2 | Access::Block2 => Some(2),
            Access::Warp4 | Access::Block4 => Some(4),
            Access::Stream | Access::Scalar => None,
        }
    }

    /// The largest block that launches it, which the PTX states as `.maxntid`.
    pub const fn max_threads(self) -> u32 {
        match self {
            Access::Warp1 | Access::Warp2 | Access::Warp4 => Tile::PACKED_THREADS,
            Access::Block2 => Tile::MAX_PAIR_THREADS,
            Access::Block4 => Tile::MAX_HELD_THREADS,
            Access::Stream | Access::Scalar => MAX_BLOCK_THREADS,
        }
    }

    /// The access for a tile whose vectors are all whole and aligned.
    ///
    /// A kernel that holds rows of RMSNorm adds no biases: that is left to [`Access::Stream`].
    pub const fn vectored(tile: Tile, kind: NormKind, biases: bool) -> Access {
        if biases && matches!(kind, NormKind::Rms) {
            return Access::Stream;
        }
        match (tile.rows, tile.vectors) {
            (1, ..=2) => Access::Block2,
            (1, ..=Tile::MAX_HELD) if tile.threads <= Tile::MAX_HELD_THREADS => Access::Block4,
            (1, _) => Access::Stream,
            (_, 1) => Access::Warp1,
            (_, 2) => Access::Warp2,
            (_, _) => Access::Warp4,
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

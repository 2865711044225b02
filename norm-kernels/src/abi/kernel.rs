//! Which kernels there are, and what they are called.

use super::{DType, MAX_BLOCK_THREADS, Tile, WARP};

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
    /// A row takes a warp or less, one vector a thread; several rows a block.
    Warp1,
    /// The same with two vectors a thread.
    Warp2,
    /// A row takes a block, two vectors a thread held in registers.
    Block2,
    /// The same with four vectors a thread.
    Block4,
    /// A row longer than a block's registers: every pass reads it again, in vectors.
    Long,
    /// Any row, element by element: odd lengths and unaligned addresses.
    Scalar,
}

impl Access {
    /// All of them, in the order of kernel numbers.
    pub const ALL: [Access; 6] =
        [Access::Warp1, Access::Warp2, Access::Block2, Access::Block4, Access::Long, Access::Scalar];

    /// The name used in kernel names.
    pub const fn name(self) -> &'static str {
        match self {
            Access::Warp1 => "warp1",
            Access::Warp2 => "warp2",
            Access::Block2 => "block2",
            Access::Block4 => "block4",
            Access::Long => "long",
            Access::Scalar => "scalar",
        }
    }

    /// Vectors that a thread holds; `None` where it takes any number.
    pub const fn held_vectors(self) -> Option<u32> {
        match self {
            Access::Warp1 => Some(1),
            Access::Warp2 | Access::Block2 => Some(2),
            Access::Block4 => Some(4),
            Access::Long | Access::Scalar => None,
        }
    }

    /// The largest block that launches it, which the PTX states as `.maxntid`.
    pub const fn max_threads(self) -> u32 {
        match self {
            Access::Warp1 | Access::Warp2 => Tile::PACKED_THREADS,
            Access::Block2 => 256,
            Access::Block4 => Tile::MAX_HELD_THREADS,
            Access::Long | Access::Scalar => MAX_BLOCK_THREADS,
        }
    }

    /// The access for a tile whose vectors are all whole and aligned.
    pub const fn vectored(tile: Tile) -> Access {
        match (tile.threads, tile.vectors) {
            (..=WARP, 1) => Access::Warp1,
            (..=WARP, 2) => Access::Warp2,
            (..=Tile::MAX_HELD_THREADS, ..=2) => Access::Block2,
            (..=Tile::MAX_HELD_THREADS, ..=Tile::MAX_HELD) => Access::Block4,
            _ => Access::Long,
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

/// Number of entry points.
pub const KERNEL_COUNT: usize = NormKind::ALL.len() * DType::ALL.len().pow(3) * Access::ALL.len();

impl Kernel {
    /// A number below [`KERNEL_COUNT`], different for every kernel.
    pub const fn index(self) -> usize {
        let [x, w, y] = [self.x as usize - 1, self.w as usize - 1, self.y as usize - 1];
        (((self.kind as usize * 3 + x) * 3 + w) * 3 + y) * Access::ALL.len() + self.access as usize
    }

    /// Every entry point, in the order of [`Kernel::index`].
    pub fn all() -> impl Iterator<Item = Kernel> {
        (0..KERNEL_COUNT).map(|index| Kernel {
            kind: NormKind::ALL[index / Access::ALL.len() / 27],
            x: DType::ALL[index / Access::ALL.len() / 9 % 3],
            w: DType::ALL[index / Access::ALL.len() / 3 % 3],
            y: DType::ALL[index / Access::ALL.len() % 3],
            access: Access::ALL[index % Access::ALL.len()],
        })
    }
}

/// The entry point's name in the PTX, such as `rms_f16_f32_bf16_block2`: kind, x, w, y, access.
impl core::fmt::Display for Kernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}_{}_{}_{}_{}", self.kind.name(), self.x, self.w, self.y, self.access.name())
    }
}

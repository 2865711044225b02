//! The kernels of whole rows, and their names.

use super::{Addition, DType, EpilogueRounding, Variant};

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

/// Whether a kernel that stages rows in shared memory can add a residual behind the norm. `x` and `w` are the bytes of
/// an element, `width` is the number of elements in a vector.
///
/// LayerNorm with weights and biases in f32 beside 16-bit x and y cannot: they fill 16 registers a vector, and with four
/// more for the residual ptxas spills a word, or three blocks of 512 threads no longer fit a multiprocessor.
pub const fn stages_residual_behind_norm(biases: bool, x: usize, w: usize, width: u32) -> bool {
    !(biases && x < w && width == 8)
}

/// A kernel of whole rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Which normalization.
    pub kind: NormKind,
    /// Element type of `x`.
    pub x: DType,
    /// Element type of the weights and biases; that of `x` if there are neither.
    pub w: DType,
    /// Element type of `y`.
    pub y: DType,
    /// Its row of the table of variants.
    pub variant: Variant,
    /// How it adds a residual.
    pub addition: Addition,
    /// Where its epilogue rounds.
    pub epilogue: EpilogueRounding,
}

/// One more than the largest [`Kernel::index`].
pub const KERNEL_SLOTS: usize = EpilogueRounding::COUNT * Addition::ALL.len() * PLAIN_SLOTS;

/// One more than the largest index of a kernel that rounds once and has [`Addition::PLAIN`].
const PLAIN_SLOTS: usize = NormKind::ALL.len() * DType::ALL.len().pow(3) * Variant::ALL.len();

impl Kernel {
    /// An index below [`KERNEL_SLOTS`] that no other kernel has.
    pub const fn index(self) -> usize {
        let [x, w, y] = [self.x as usize - 1, self.w as usize - 1, self.y as usize - 1];
        let kernel = ((self.kind as usize * 3 + x) * 3 + w) * 3 + y;
        let form = self.epilogue.index() * Addition::ALL.len() + self.addition.index();
        form * PLAIN_SLOTS + kernel * Variant::ALL.len() + self.variant as usize
    }

    /// Every kernel that rounds once and is not [scaled](Addition), in the order of [`Kernel::index`]. The others are these
    /// with other [`EpilogueRounding`]s, and scaled.
    pub fn all() -> impl Iterator<Item = Kernel> {
        let kernels = (0..2 * PLAIN_SLOTS).map(|index| {
            let (wide, index) = (index / PLAIN_SLOTS == 1, index % PLAIN_SLOTS);
            Kernel {
                kind: NormKind::ALL[index / Variant::ALL.len() / 27],
                x: DType::ALL[index / Variant::ALL.len() / 9 % 3],
                w: DType::ALL[index / Variant::ALL.len() / 3 % 3],
                y: DType::ALL[index / Variant::ALL.len() % 3],
                variant: Variant::ALL[index % Variant::ALL.len()],
                addition: Addition { wide, scaled: false },
                epilogue: EpilogueRounding::SINGLE,
            }
        });
        kernels.filter(|kernel| kernel.exists())
    }

    /// The element type of the rows that are normalized: of `x`, or of its sum with a residual.
    pub const fn normalized(self) -> DType {
        if self.addition.wide { DType::F32 } else { self.x }
    }

    /// Whether there is such a kernel in the PTX.
    const fn exists(self) -> bool {
        let Kernel { kind, x, y, variant, addition, .. } = self;
        variant.serves(kind)
            && (!addition.wide || variant.takes_wide() && Addition::is_wide_beside(x, y))
            && (!addition.scaled || variant.may_add())
            // With x and y of different sizes, the two norms' rows would be dealt to threads in different ways.
            && (!variant.is_sandwich() || x.size() == y.size())
    }
}

/// The kernel's name in the PTX, such as `rms_f16_f32_bf16_add2`: kind, x, w, y, variant. The suffixes of an [`Addition`] that
/// is no plain sum and of an [`EpilogueRounding`] with more than one rounding follow, as in
/// `rms_f16_f32_bf16_add2_r32_scaled_before_weight`.
impl core::fmt::Display for Kernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Kernel { kind, x, w, y, variant, addition, epilogue } = self;
        write!(f, "{}_{x}_{w}_{y}_{}{addition}{epilogue}", kind.name(), variant.name())
    }
}

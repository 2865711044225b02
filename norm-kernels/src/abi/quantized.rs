//! Norms whose output is quantized: the format of the codes, the formulas, the kernels and their second parameter.

use super::{DType, MAX_BLOCK_THREADS, NormKind};

/// What a quantized element is stored as, in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuantFormat {
    /// FP8 E4M3 in its variant `fn`: no infinities, ±448 the largest numbers, 0x7f a NaN (Micikevicius et al. 2022,
    /// arXiv:2209.05433; `torch.float8_e4m3fn`). Numbers beyond ±448 saturate.
    E4m3,
    /// A signed byte, from -128 to 127.
    Int8,
}

impl QuantFormat {
    /// Both.
    pub const ALL: [QuantFormat; 2] = [QuantFormat::E4m3, QuantFormat::Int8];

    /// The name used in kernel names and on the command line: `e4m3` or `int8`.
    pub const fn name(self) -> &'static str {
        match self {
            QuantFormat::E4m3 => "e4m3",
            QuantFormat::Int8 => "int8",
        }
    }

    /// The number that the largest magnitude of a token, or of a block, is scaled to: 448 or 127.
    pub const fn max(self) -> f32 {
        match self {
            QuantFormat::E4m3 => 448.0,
            QuantFormat::Int8 => 127.0,
        }
    }
}

impl core::fmt::Display for QuantFormat {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

/// Whose formula a quantization has, bit for bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QuantPreset {
    /// This library's: no rounding between the norm's value in `f32` and the code.
    #[default]
    Exact,
    /// vLLM's.
    Vllm,
    /// FlashInfer's: E4M3 with a scale for the tensor, or with one for each 128 elements (DeepGEMM's layout).
    FlashInfer,
}

impl QuantPreset {
    /// Every one, the default first.
    pub const ALL: [QuantPreset; 3] = [QuantPreset::Exact, QuantPreset::Vllm, QuantPreset::FlashInfer];

    /// The name used on the command line: `exact`, `vllm` or `flashinfer`.
    pub const fn name(self) -> &'static str {
        match self {
            QuantPreset::Exact => "exact",
            QuantPreset::Vllm => "vllm",
            QuantPreset::FlashInfer => "flashinfer",
        }
    }
}

impl core::fmt::Display for QuantPreset {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

/// The formula of a kernel, which follows from the preset and from whether the scale is given.
///
/// `T` is the type of `x`, `T(v)` rounds to it, everything else is `f32`; `v` is `x`, or `x + r` where a residual is in front
/// of the norm; `W` is the weight with its offset, `rstd = 1 / sqrt(mean(v²) + eps)` (LayerNorm: `v - mean` for `v`).
/// What is stored as sum with a residual is `T(x + r)` in every recipe.
///
/// | | `v` with a residual | value `n` | quotient | code of a NaN in E4M3 |
/// |---|---|---|---|---|
/// | `Exact` | `T(x + r)`; infinities of f16 are ±65504 | `v · rstd · W + b` | `n · (1/scale)` | 0x7f |
/// | `VllmStatic` | `T(x + r)` | `T(T(v · rstd) · W + b)` | `n · (1/scale)` | 0x7e |
/// | `VllmDynamic` | `x + r` | `T(T(v · rstd) · W + b)` | E4M3: `n / scale`; Int8: `n · (1/scale)` | 0x7e |
/// | `FlashInferStatic` | `x + r` | `v · rstd · W + b` | `n · (1/scale)` | 0x7e |
/// | `FlashInferBlock` | `x + r` | `T(v · rstd · W + b)` | `n · (448/absmax)` | 0x7e |
///
/// A dynamic scale is `max(max(min(absmax, bound), floor) / q, least)`, `q` from [`QuantFormat::max`]: see [`QuantArgs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuantRecipe {
    /// [`QuantPreset::Exact`], with any scale.
    Exact,
    /// [`QuantPreset::Vllm`] with a scale for the tensor.
    VllmStatic,
    /// [`QuantPreset::Vllm`] with a scale for each token or block.
    VllmDynamic,
    /// [`QuantPreset::FlashInfer`] with a scale for the tensor.
    FlashInferStatic,
    /// [`QuantPreset::FlashInfer`] with a scale for each block.
    FlashInferBlock,
}

impl QuantRecipe {
    /// Every one, in the order of kernel numbers.
    pub const ALL: [QuantRecipe; 5] = [
        QuantRecipe::Exact,
        QuantRecipe::VllmStatic,
        QuantRecipe::VllmDynamic,
        QuantRecipe::FlashInferStatic,
        QuantRecipe::FlashInferBlock,
    ];

    /// Whether there is such a recipe for that format.
    pub const fn takes(self, format: QuantFormat) -> bool {
        matches!((self, format), (QuantRecipe::Exact | QuantRecipe::VllmDynamic, _) | (_, QuantFormat::E4m3))
    }

    /// Whether infinities of f16 count as ±65504.
    pub const fn clamps(self) -> bool {
        matches!(self, QuantRecipe::Exact)
    }

    /// Whether the sum with a residual is rounded before it is normalized.
    pub const fn rounds_sum(self) -> bool {
        matches!(self, QuantRecipe::Exact | QuantRecipe::VllmStatic)
    }

    /// Whether the normalized value is rounded before the weight multiplies it.
    pub const fn rounds_before_weight(self) -> bool {
        matches!(self, QuantRecipe::VllmStatic | QuantRecipe::VllmDynamic)
    }

    /// Whether the norm's value is rounded before it is quantized.
    pub const fn rounds_value(self) -> bool {
        matches!(self, QuantRecipe::VllmStatic | QuantRecipe::VllmDynamic | QuantRecipe::FlashInferBlock)
    }

    /// Whether a value is divided by its scale, rather than multiplied by the scale's reciprocal.
    pub const fn divides(self, format: QuantFormat) -> bool {
        matches!((self, format), (QuantRecipe::VllmDynamic, QuantFormat::E4m3))
    }

    /// Whether a NaN among the values makes the scale NaN, and has a code of NaN where the format has one. Otherwise it
    /// leaves the scale as it is, and its code in E4M3 is that of 448. In Int8 its code is 0.
    pub const fn keeps_nan(self) -> bool {
        matches!(self, QuantRecipe::Exact)
    }

    const fn suffix(self) -> &'static str {
        match self {
            QuantRecipe::Exact => "",
            QuantRecipe::VllmStatic => "_vllm_static",
            QuantRecipe::VllmDynamic => "_vllm",
            QuantRecipe::FlashInferStatic => "_flashinfer_static",
            QuantRecipe::FlashInferBlock => "_flashinfer",
        }
    }
}

/// How a kernel of [`QuantKernel`] works on a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuantVariant {
    /// At most two vectors a thread, held in registers; a block has one row, as in all variants. RMSNorm alone.
    Registers2,
    /// At most four vectors a thread, held in registers.
    Registers4,
    /// [`Registers2`](QuantVariant::Registers2) with a residual in front of the norm.
    Add2,
    /// [`Registers4`](QuantVariant::Registers4) with a residual in front of the norm.
    Add4,
    /// For long grids, and rows that fill all vectors of all threads, without an offset: four vectors a thread, which are those of
    /// two threads of a tile of two vectors, or of one of four. RMSNorm with weights alone.
    Long4,
    /// The same with eight vectors a thread, those of two threads of a tile of four, or of four threads of one of two; and
    /// LayerNorm with weights and biases, of a tile of four.
    Long8,
    /// Any row of whole, aligned vectors, which every pass loads again; with a residual or without.
    Stream,
    /// Any row, element by element; with a residual or without.
    Scalar,
}

impl QuantVariant {
    /// Every one, in the order of kernel numbers.
    pub const ALL: [QuantVariant; 8] = [
        QuantVariant::Registers2,
        QuantVariant::Registers4,
        QuantVariant::Add2,
        QuantVariant::Add4,
        QuantVariant::Long4,
        QuantVariant::Long8,
        QuantVariant::Stream,
        QuantVariant::Scalar,
    ];

    /// The name used in kernel names.
    pub const fn name(self) -> &'static str {
        match self {
            QuantVariant::Registers2 => "quant2",
            QuantVariant::Registers4 => "quant4",
            QuantVariant::Add2 => "quant_add2",
            QuantVariant::Add4 => "quant_add4",
            QuantVariant::Long4 => "quant_long4",
            QuantVariant::Long8 => "quant_long8",
            QuantVariant::Stream => "quant_stream",
            QuantVariant::Scalar => "quant_scalar",
        }
    }

    /// Whether that norm has a kernel of this variant.
    pub const fn serves(self, kind: NormKind) -> bool {
        use QuantVariant::{Add2, Long4, Registers2};
        !matches!((self, kind), (Registers2 | Add2 | Long4, NormKind::Layer))
    }

    /// The most vectors that a thread holds in registers; `None` where every pass loads them.
    pub const fn register_vectors(self) -> Option<u32> {
        match self {
            QuantVariant::Registers2 | QuantVariant::Add2 => Some(2),
            QuantVariant::Registers4 | QuantVariant::Add4 | QuantVariant::Long4 => Some(4),
            QuantVariant::Long8 => Some(8),
            QuantVariant::Stream | QuantVariant::Scalar => None,
        }
    }

    /// The largest block that launches it.
    pub const fn max_threads(self) -> u32 {
        match self {
            QuantVariant::Registers2 | QuantVariant::Add2 | QuantVariant::Long8 => 256,
            QuantVariant::Registers4 | QuantVariant::Add4 | QuantVariant::Long4 => 512,
            QuantVariant::Stream | QuantVariant::Scalar => MAX_BLOCK_THREADS,
        }
    }
}

/// A kernel of a norm whose output is quantized. Its parameters are [`Args`](super::Args), whose `y` has the address and the
/// strides of the codes, and [`QuantArgs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuantKernel {
    /// Which normalization.
    pub kind: NormKind,
    /// Element type of `x`, the residual and the normed copy: of 16 bits.
    pub x: DType,
    /// Element type of the weights and biases; that of `x` if there are neither.
    pub w: DType,
    /// How it works on a row.
    pub variant: QuantVariant,
    /// The format of the codes.
    pub format: QuantFormat,
    /// The formula.
    pub recipe: QuantRecipe,
}

/// The types that `x` may have.
const X: [DType; 2] = [DType::F16, DType::BF16];

/// Kernels of one format and recipe, those that do not exist counted.
const SLOTS: usize = NormKind::ALL.len() * X.len() * DType::ALL.len() * QuantVariant::ALL.len();

/// One more than the largest [`QuantKernel::index`].
pub const QUANT_KERNEL_SLOTS: usize = QuantFormat::ALL.len() * QuantRecipe::ALL.len() * SLOTS;

impl QuantKernel {
    /// An index below [`QUANT_KERNEL_SLOTS`] that no other kernel has.
    pub const fn index(self) -> usize {
        let form = self.format as usize * QuantRecipe::ALL.len() + self.recipe as usize;
        let types =
            (self.kind as usize * X.len() + self.x as usize - 1) * DType::ALL.len() + self.w as usize - 1;
        form * SLOTS + types * QuantVariant::ALL.len() + self.variant as usize
    }

    /// Every kernel, in the order of [`QuantKernel::index`].
    pub fn every() -> impl Iterator<Item = QuantKernel> {
        let kernels = (0..QUANT_KERNEL_SLOTS).map(|index| {
            let (form, index) = (index / SLOTS, index % SLOTS);
            let (types, variant) = (index / QuantVariant::ALL.len(), index % QuantVariant::ALL.len());
            QuantKernel {
                kind: NormKind::ALL[types / DType::ALL.len() / X.len()],
                x: X[types / DType::ALL.len() % X.len()],
                w: DType::ALL[types % DType::ALL.len()],
                variant: QuantVariant::ALL[variant],
                format: QuantFormat::ALL[form / QuantRecipe::ALL.len()],
                recipe: QuantRecipe::ALL[form % QuantRecipe::ALL.len()],
            }
        });
        kernels.filter(|kernel| kernel.variant.serves(kernel.kind) && kernel.recipe.takes(kernel.format))
    }

    /// Every kernel with [`QuantRecipe::Exact`] and [`QuantFormat::E4m3`], in the order of [`QuantKernel::index`]. The others
    /// are these with other formats and recipes.
    pub fn all() -> impl Iterator<Item = QuantKernel> {
        QuantKernel::every()
            .take_while(|kernel| kernel.format == QuantFormat::E4m3 && kernel.recipe == QuantRecipe::Exact)
    }
}

/// The kernel's name in the PTX, such as `rms_f16_f32_quant2_e4m3`: norm, x, w, variant, format, and the recipe if it is not
/// [`QuantRecipe::Exact`].
impl core::fmt::Display for QuantKernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let QuantKernel { kind, x, w, variant, format, recipe } = self;
        write!(f, "{}_{x}_{w}_{}_{format}{}", kind.name(), variant.name(), recipe.suffix())
    }
}

/// The elements that share a scale, as [`QuantArgs::granularity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Granularity {
    /// All rows have the scale that is at [`QuantArgs::scales`], which is read after the previous kernel has completed.
    Tensor = 0,
    /// Each row has a scale, which is written.
    Token = 1,
    /// Each [`QuantArgs::block`] elements of a row have a scale, which is written.
    Block = 2,
}

/// The second argument of a kernel whose output is quantized.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantArgs {
    /// Device address of the first scale, an f32.
    pub scales: u64,
    /// Distance, in elements, between the scales of neighbouring rows.
    pub row_stride: u64,
    /// Distance, in elements, between the scales of neighbouring blocks of a row.
    pub block_stride: u64,
    /// Device address of an f32 that replaces `bound`, 0 if there is none. It is read after the previous kernel has
    /// completed.
    pub bound_at: u64,
    /// Device address of a copy of the norm's values, rounded to the type of `x`; 0 if there is none.
    pub normed: u64,
    /// Distance, in elements, between neighbouring rows of that copy.
    pub normed_stride: u64,
    /// A [`Granularity`].
    pub granularity: u32,
    /// Elements of a block: 64 or 128, where there are blocks.
    pub block: u32,
    /// The largest magnitude that counts; infinite if there is no bound.
    pub bound: f32,
    /// The least magnitude that counts.
    pub floor: f32,
    /// What the largest magnitude is scaled to: [`QuantFormat::max`].
    pub max: f32,
    /// One over that.
    pub max_reciprocal: f32,
    /// The least scale.
    pub least: f32,
    /// In kernels for long grids, the threads of the tile whose vectors a thread has: 1, 2 or 4.
    pub sharing: u32,
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{collections::BTreeSet, string::ToString, vec::Vec};

    #[test]
    fn kernels_are_numbered_in_order_and_have_names_of_their_own() {
        let kernels: Vec<QuantKernel> = QuantKernel::every().collect();
        assert!(kernels.windows(2).all(|pair| pair[0].index() < pair[1].index()));
        assert!(kernels.iter().all(|kernel| kernel.index() < QUANT_KERNEL_SLOTS));
        let names: BTreeSet<_> = kernels.iter().map(QuantKernel::to_string).collect();
        assert_eq!(names.len(), kernels.len());
        // Thirteen variants of both norms, two types of x, three of weights, and seven pairs of recipe and format.
        assert_eq!((kernels.len(), QuantKernel::all().count()), (13 * 2 * 3 * 7, 13 * 2 * 3));
    }
}

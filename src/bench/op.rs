//! The operations, element types and shapes that can be measured, and how each is written on the command line.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use norm_host::{Activation, DType, GateOrder, Gating, MAX_DIM, NormKind, QuantFormat};
use norm_kernels::abi::{GatedKernel, RopeKernel};

/// An operation to measure. The comments of the variants are the command line's help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Op {
    /// RMSNorm with weights
    Rms,
    /// The same, in place
    #[value(name = "rms_")]
    RmsInPlace,
    /// LayerNorm with weights and biases
    Layer,
    /// RMSNorm of each head, with weights for each
    Head,
    /// The input added to a residual, and RMSNorm of the sum, with weights
    #[value(name = "add_rms")]
    AddRms,
    /// The same with LayerNorm, with weights and biases
    #[value(name = "add_layer")]
    AddLayer,
    /// add_rms with a tensor of its own for the sum
    #[value(name = "add_rms_to")]
    AddRmsTo,
    /// add_layer with a tensor of its own for the sum
    #[value(name = "add_layer_to")]
    AddLayerTo,
    /// add_rms with a residual of f32 beside x and y of 16 bits
    #[value(name = "add_rms_f32")]
    AddRmsF32,
    /// RMSNorm added to a residual, and RMSNorm of the sum, each with weights
    #[value(name = "sandwich_rms")]
    SandwichRms,
    /// RMSNorm with weights, multiplied by the SiLU of a gate
    #[value(name = "gated_rms")]
    GatedRms,
    /// The same of each head, with weights for each
    #[value(name = "gated_head")]
    GatedHead,
    /// The input multiplied by the SiLU of a gate, and RMSNorm of the product, with weights
    #[value(name = "gate_first_rms")]
    GateFirstRms,
    /// RMSNorm of each head of packed queries and keys, four fifths of them queries, and their rotation
    #[value(name = "qk_rope")]
    QkRope,
    /// RMSNorm with weights, quantized to FP8 by a scale that is given
    #[value(name = "rms_fp8_static")]
    RmsFp8Static,
    /// The same with a scale for each row, which is computed
    #[value(name = "rms_fp8_token")]
    RmsFp8Token,
    /// The same with a scale for each 128 elements
    #[value(name = "rms_fp8_block")]
    RmsFp8Block,
    /// rms_fp8_token with signed bytes
    #[value(name = "rms_int8_token")]
    RmsInt8Token,
    /// rms_fp8_token with LayerNorm, with weights and biases
    #[value(name = "layer_fp8_token")]
    LayerFp8Token,
    /// rms_fp8_static of the input added to a residual
    #[value(name = "add_rms_fp8_static")]
    AddRmsFp8Static,
    /// rms_fp8_token of the input added to a residual
    #[value(name = "add_rms_fp8_token")]
    AddRmsFp8Token,
    /// rms_fp8_block of the input added to a residual
    #[value(name = "add_rms_fp8_block")]
    AddRmsFp8Block,
}

/// How an operation quantizes its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantizes {
    pub format: QuantFormat,
    /// Elements that share a scale: all, those of a row, or so many of one.
    pub scaled: Scaled,
}

/// Which elements share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaled {
    Tensor,
    Token,
    Block(usize),
}

impl Op {
    pub const ALL: [Op; 22] = [
        Op::Rms,
        Op::RmsInPlace,
        Op::Layer,
        Op::Head,
        Op::AddRms,
        Op::AddLayer,
        Op::AddRmsTo,
        Op::AddLayerTo,
        Op::AddRmsF32,
        Op::SandwichRms,
        Op::GatedRms,
        Op::GatedHead,
        Op::GateFirstRms,
        Op::QkRope,
        Op::RmsFp8Static,
        Op::RmsFp8Token,
        Op::RmsFp8Block,
        Op::RmsInt8Token,
        Op::LayerFp8Token,
        Op::AddRmsFp8Static,
        Op::AddRmsFp8Token,
        Op::AddRmsFp8Block,
    ];

    /// How its output is quantized, if it is.
    pub fn quantizes(self) -> Option<Quantizes> {
        let (format, scaled) = match self {
            Op::RmsFp8Static | Op::AddRmsFp8Static => (QuantFormat::E4m3, Scaled::Tensor),
            Op::RmsFp8Token | Op::LayerFp8Token | Op::AddRmsFp8Token => (QuantFormat::E4m3, Scaled::Token),
            Op::RmsFp8Block | Op::AddRmsFp8Block => (QuantFormat::E4m3, Scaled::Block(128)),
            Op::RmsInt8Token => (QuantFormat::Int8, Scaled::Token),
            _ => return None,
        };
        Some(Quantizes { format, scaled })
    }

    /// The name in results: that of the Rust function, then the dtype of a residual that has another dtype than `x`, or the
    /// order of a gate that comes first.
    pub fn name(self) -> &'static str {
        match self {
            Op::Rms => "rms_norm",
            Op::RmsInPlace => "rms_norm_",
            Op::Layer => "layer_norm",
            Op::Head => "head_norm",
            Op::AddRms => "add_rms_norm",
            Op::AddLayer => "add_layer_norm",
            Op::AddRmsTo => "add_rms_norm_to",
            Op::AddLayerTo => "add_layer_norm_to",
            Op::AddRmsF32 => "add_rms_norm:f32",
            Op::SandwichRms => "sandwich_rms_norm",
            Op::GatedRms => "gated_rms_norm",
            Op::GatedHead => "gated_head_norm",
            Op::GateFirstRms => "gated_rms_norm:gate_first",
            Op::QkRope => "qk_norm_rope",
            Op::RmsFp8Static => "rms_norm_quantized:fp8-static",
            Op::RmsFp8Token => "rms_norm_quantized:fp8-token",
            Op::RmsFp8Block => "rms_norm_quantized:fp8-block128",
            Op::RmsInt8Token => "rms_norm_quantized:int8-token",
            Op::LayerFp8Token => "layer_norm_quantized:fp8-token",
            Op::AddRmsFp8Static => "add_rms_norm_quantized:fp8-static",
            Op::AddRmsFp8Token => "add_rms_norm_quantized:fp8-token",
            Op::AddRmsFp8Block => "add_rms_norm_quantized:fp8-block128",
        }
    }

    /// The name on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Op::Rms => "rms",
            Op::RmsInPlace => "rms_",
            Op::Layer => "layer",
            Op::Head => "head",
            Op::AddRms => "add_rms",
            Op::AddLayer => "add_layer",
            Op::AddRmsTo => "add_rms_to",
            Op::AddLayerTo => "add_layer_to",
            Op::AddRmsF32 => "add_rms_f32",
            Op::SandwichRms => "sandwich_rms",
            Op::GatedRms => "gated_rms",
            Op::GatedHead => "gated_head",
            Op::GateFirstRms => "gate_first_rms",
            Op::QkRope => "qk_rope",
            Op::RmsFp8Static => "rms_fp8_static",
            Op::RmsFp8Token => "rms_fp8_token",
            Op::RmsFp8Block => "rms_fp8_block",
            Op::RmsInt8Token => "rms_int8_token",
            Op::LayerFp8Token => "layer_fp8_token",
            Op::AddRmsFp8Static => "add_rms_fp8_static",
            Op::AddRmsFp8Token => "add_rms_fp8_token",
            Op::AddRmsFp8Block => "add_rms_fp8_block",
        }
    }

    pub fn kind(self) -> NormKind {
        match self {
            Op::Layer | Op::AddLayer | Op::AddLayerTo | Op::LayerFp8Token => NormKind::Layer,
            _ => NormKind::Rms,
        }
    }

    pub fn has_bias(self) -> bool {
        self.kind() == NormKind::Layer
    }

    /// Whether there is a residual.
    pub fn has_residual(self) -> bool {
        let alone = matches!(
            self,
            Op::Rms
                | Op::RmsInPlace
                | Op::Layer
                | Op::Head
                | Op::QkRope
                | Op::RmsFp8Static
                | Op::RmsFp8Token
                | Op::RmsFp8Block
                | Op::RmsInt8Token
                | Op::LayerFp8Token
        );
        !alone && self.gating().is_none()
    }

    /// What the gate does, if there is one. It has the dtype of `x`.
    pub fn gating(self) -> Option<Gating> {
        let order = match self {
            Op::GatedRms | Op::GatedHead => GateOrder::NormFirst,
            Op::GateFirstRms => GateOrder::GateFirst,
            _ => return None,
        };
        Some(Gating { activation: Activation::Silu, order })
    }

    /// Whether a separate tensor receives the sum with the residual.
    pub fn has_sum(self) -> bool {
        matches!(self, Op::AddRmsTo | Op::AddLayerTo)
    }

    /// Whether the norm of the input is added to the residual, and the sum is normalized again.
    pub fn is_sandwich(self) -> bool {
        self == Op::SandwichRms
    }

    /// Whether heads are normed and rotated.
    pub fn rotates(self) -> bool {
        self == Op::QkRope
    }

    /// Whether it can be measured as its parts, one after the other.
    pub fn has_parts(self) -> bool {
        self.is_sandwich() || self.rotates()
    }

    /// Whether the residual is f32 although the input has 16 bits.
    pub fn wide_residual(self) -> bool {
        self == Op::AddRmsF32
    }

    /// The dtype of the residual for an input of dtype `x`.
    pub fn residual_type(self, x: DType) -> DType {
        if self.wide_residual() { DType::F32 } else { x }
    }

    /// Whether the operation supports these types.
    pub fn takes(self, types: Types) -> bool {
        match self {
            Op::RmsInPlace => types.x == types.y,
            Op::AddRmsF32 => types.x.size() == 2 && types.y.size() == 2,
            Op::GatedRms | Op::GatedHead | Op::GateFirstRms => {
                let kernel_has = GatedKernel::takes(types.x, types.w) && types.w.size() >= types.x.size();
                types.x == types.y && kernel_has
            }
            Op::QkRope => types.x == types.y && RopeKernel::takes(types.x, types.w),
            _ if self.quantizes().is_some() => types.x.size() == 2 && types.y == types.x,
            _ => true,
        }
    }

    /// Which types it supports, as errors say it.
    pub fn takes_what(self) -> &'static str {
        match self {
            Op::RmsInPlace => "works in place and takes x and y of one type",
            Op::AddRmsF32 => "takes x and y of 16 bits",
            Op::GatedRms | Op::GatedHead | Op::GateFirstRms => {
                "takes x and y of one type, and w of that or f32"
            }
            Op::QkRope => "takes x and y of one type, and w of that or f32",
            _ if self.quantizes().is_some() => "quantizes and takes x of 16 bits, its type in place of y's",
            _ => "takes any",
        }
    }

    pub fn is_in_place(self) -> bool {
        self == Op::RmsInPlace
    }

    /// The number of axes of `x`: `(rows, dim)`, or `(rows, heads, head_dim)`.
    pub fn rank(self) -> usize {
        if matches!(self, Op::Head | Op::GatedHead | Op::QkRope) { 3 } else { 2 }
    }

    /// Whether it can be called with tensors of these extents.
    pub fn fits(self, extents: &Extents) -> bool {
        let is_whole = match self.quantizes() {
            Some(Quantizes { scaled: Scaled::Block(block), .. }) => extents.dim().is_multiple_of(block),
            _ => true,
        };
        extents.rank() == self.rank() && is_whole
    }

    /// The form of its shapes, as errors say it.
    pub fn form(self) -> &'static str {
        if matches!(self.quantizes(), Some(Quantizes { scaled: Scaled::Block(_), .. })) {
            return "ROWSxDIM, of whole blocks of 128";
        }
        if self.rank() == 3 { "ROWSxHEADSxHEAD_DIM" } else { "ROWSxDIM" }
    }
}

/// The element types of `x`, `w` (and `b`) and `y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Types {
    pub x: DType,
    pub w: DType,
    pub y: DType,
}

impl Types {
    /// The same dtype for all.
    pub const fn of(dtype: DType) -> Types {
        Types { x: dtype, w: dtype, y: dtype }
    }

    /// All combinations of three dtypes.
    pub fn all() -> impl Iterator<Item = Types> {
        let triples = DType::ALL.into_iter().flat_map(|x| {
            DType::ALL.into_iter().flat_map(move |w| DType::ALL.map(move |y| Types { x, w, y }))
        });
        triples.into_iter()
    }
}

/// `f16`, or `f16:f32:bf16` where they differ.
impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Types::of(self.x) {
            return f.pad(self.x.name());
        }
        f.pad(&format!("{}:{}:{}", self.x, self.w, self.y))
    }
}

impl FromStr for Types {
    type Err = String;

    fn from_str(text: &str) -> Result<Types, String> {
        let dtype = |word: &str| DType::ALL.into_iter().find(|dtype| dtype.name() == word);
        let words: Option<Vec<DType>> = text.split(':').map(dtype).collect();
        match words.as_deref() {
            Some(&[one]) => Ok(Types::of(one)),
            Some(&[x, w, y]) => Ok(Types { x, w, y }),
            _ => Err("expected f16, bf16 or f32, or three of them as X:W:Y such as f16:f32:f16".to_owned()),
        }
    }
}

/// A value of `--dtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypesChoice {
    One(Types),
    All,
}

impl FromStr for TypesChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<TypesChoice, String> {
        match text {
            "all" => Ok(TypesChoice::All),
            _ => text.parse().map(TypesChoice::One).map_err(|expected: String| format!("{expected}, or all")),
        }
    }
}

/// The extents of `x`: `(rows, dim)`, or `(rows, heads, head_dim)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Extents(Vec<usize>);

impl Extents {
    pub fn new(extents: &[usize]) -> Extents {
        Extents(extents.to_vec())
    }

    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }

    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The number of elements of a normalized row.
    pub fn dim(&self) -> usize {
        self.0.last().copied().unwrap_or(1)
    }

    /// The number of heads; 1 if the norm is over rows.
    pub fn heads(&self) -> usize {
        if self.0.len() == 3 { self.0[1] } else { 1 }
    }

    /// The number of normalized rows, which counts each head as one.
    pub fn rows(&self) -> usize {
        self.elements() / self.dim()
    }

    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }
}

/// `32768 × 4096`.
impl fmt::Display for Extents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&crate::bench::record::shape_text(&self.0))
    }
}

/// The most elements a tensor may have. No device has memory for as many, and their bytes do not overflow a `u64`.
const MAX_ELEMENTS: usize = 1 << 40;

impl FromStr for Extents {
    type Err = String;

    fn from_str(text: &str) -> Result<Extents, String> {
        let expected = || "expected ROWSxDIM or ROWSxHEADSxHEAD_DIM, such as 32768x4096".to_owned();
        let extents: Vec<usize> =
            text.split('x').map(str::parse).collect::<Result<_, _>>().map_err(|_| expected())?;
        if !(2..=3).contains(&extents.len()) {
            return Err(expected());
        }
        if extents.contains(&0) {
            return Err("expected extents of 1 or more".to_owned());
        }
        if extents.last().is_some_and(|&dim| dim > MAX_DIM as usize) {
            return Err(format!("expected a last extent of at most {MAX_DIM}"));
        }
        let elements = extents.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent));
        match elements {
            Some(..=MAX_ELEMENTS) => Ok(Extents(extents)),
            _ => Err(format!("expected at most {MAX_ELEMENTS} elements")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_one_or_three() {
        assert_eq!("bf16".parse(), Ok(Types::of(DType::BF16)));
        let mixed = Types { x: DType::F16, w: DType::F32, y: DType::BF16 };
        assert_eq!("f16:f32:bf16".parse(), Ok(mixed));
        assert_eq!(
            (Types::of(DType::F32).to_string(), mixed.to_string()),
            ("f32".into(), "f16:f32:bf16".into())
        );
        for wrong in ["", "f64", "f16:f16", "f16:f16:f16:f16", "f16:"] {
            assert!(wrong.parse::<Types>().is_err(), "{wrong}");
        }
        let all: std::collections::HashSet<Types> = Types::all().collect();
        assert_eq!(all.len(), 27);
    }

    #[test]
    fn extents_are_two_or_three_that_can_be() {
        let heads: Extents = "64x32x128".parse().unwrap();
        assert_eq!((heads.rows(), heads.heads(), heads.dim(), heads.rank()), (2048, 32, 128, 3));
        let rows: Extents = "8x4096".parse().unwrap();
        assert_eq!((rows.rows(), rows.heads(), rows.dim(), rows.rank()), (8, 1, 4096, 2));
        for wrong in ["", "5", "0x8", "8x0", "1x1x1x1", "axb", "1x16777217", "1099511627777x1"] {
            assert!(wrong.parse::<Extents>().is_err(), "{wrong}");
        }
    }
}

//! One case of `norm check`: everything that a call depends on, and its text on the command line.
//!
//! The text alone reproduces a case: it has the shapes, dtypes, gaps, offsets and options, and the pattern and seed of
//! the values.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use norm_host::{
    DType, Gating, MAX_DIM, NormKind, QuantPreset, Rounding,
    problem::ResidualPlace,
    reference::{self, Operation},
};

use super::gate::GateForm;

use super::quantized::Quantized;
use crate::apply::{QuantForm, QuantScaling};

/// The most axes a tensor may have.
pub const MAX_RANK: usize = 4;

/// The most axes in front of the normalized one.
pub const MAX_LEADING: usize = MAX_RANK - 1;

/// The most bytes that the tensors of a case may take together, gaps included. It is enough for a row of the largest
/// dim. Each thread that checks cases holds several copies of such an image, and a row's elements in f64.
const MAX_BYTES: usize = 512 << 20;

/// Gaps and offsets must be less than this, so that no address computed from them overflows.
const LIMIT: usize = 1 << 24;

/// How the values of a case are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValuePattern {
    /// Standard normal.
    Normal,
    /// Normal, with one column in 64 a hundred times as large, as LLM activations have them.
    Outliers,
    /// All zero, of both signs.
    Zeros,
    /// Below the smallest normal number of the dtype.
    Subnormal,
    /// ±65504, the largest f16.
    Largest,
    /// Normal, with ±Inf in about one element of 64.
    Inf,
    /// Normal, with NaN in about one element of 64.
    Nan,
    /// Large values of both signs, which nearly cancel in the sum.
    Cancel,
    /// The same value in all of a row.
    Constant,
    /// A large mean with a small deviation.
    Shifted,
    /// A mean of up to a few standard deviations: in some rows it is most of the sum of squares, in others little.
    Near,
    /// A mean that is many ULPs larger than the deviation: each element is the same number or a few ULPs from it.
    Far,
    /// Exponents spread over the range in which f32 can hold the sum of squares.
    Wide,
    /// So large that a row's sum of squares is near the largest f32, and beyond it in some rows.
    Vast,
    /// So small that with an eps of 0 a row's mean square is near the least for which the accuracy promise holds, and
    /// below it in some rows.
    Faint,
    /// Most rows normal, and one of four unlike them: shifted, in any manner, or with one NaN or ±Inf.
    Mixed,
    /// Normal, and in most rows one NaN or ±Inf: in the first, the last or another column.
    Spot,
    /// Normal, and in most rows one element that is huge, tiny, zero or subnormal, in such a column.
    Hard,
    /// Far from 0, so that LayerNorm needs its second pass, and in most rows one element that is far larger, in such a column: in
    /// f16 an infinity, which is clamped.
    Lifted,
}

impl ValuePattern {
    pub const ALL: [ValuePattern; 19] = [
        ValuePattern::Normal,
        ValuePattern::Outliers,
        ValuePattern::Zeros,
        ValuePattern::Subnormal,
        ValuePattern::Largest,
        ValuePattern::Inf,
        ValuePattern::Nan,
        ValuePattern::Cancel,
        ValuePattern::Constant,
        ValuePattern::Shifted,
        ValuePattern::Near,
        ValuePattern::Far,
        ValuePattern::Wide,
        ValuePattern::Vast,
        ValuePattern::Faint,
        ValuePattern::Mixed,
        ValuePattern::Spot,
        ValuePattern::Hard,
        ValuePattern::Lifted,
    ];

    /// Those that random cases have: not the last, which is of use to some kernels alone.
    pub fn drawn() -> &'static [ValuePattern] {
        &ValuePattern::ALL[..ValuePattern::ALL.len() - 1]
    }

    /// Those in which one row among normal ones is unlike them.
    pub const OF_ROWS: [ValuePattern; 12] = [
        ValuePattern::Outliers,
        ValuePattern::Zeros,
        ValuePattern::Subnormal,
        ValuePattern::Largest,
        ValuePattern::Cancel,
        ValuePattern::Constant,
        ValuePattern::Shifted,
        ValuePattern::Near,
        ValuePattern::Far,
        ValuePattern::Wide,
        ValuePattern::Vast,
        ValuePattern::Faint,
    ];

    pub fn name(self) -> &'static str {
        match self {
            ValuePattern::Normal => "normal",
            ValuePattern::Outliers => "outliers",
            ValuePattern::Zeros => "zeros",
            ValuePattern::Subnormal => "subnormal",
            ValuePattern::Largest => "largest",
            ValuePattern::Inf => "inf",
            ValuePattern::Nan => "nan",
            ValuePattern::Cancel => "cancel",
            ValuePattern::Constant => "constant",
            ValuePattern::Shifted => "shifted",
            ValuePattern::Near => "near",
            ValuePattern::Far => "far",
            ValuePattern::Wide => "wide",
            ValuePattern::Vast => "vast",
            ValuePattern::Faint => "faint",
            ValuePattern::Mixed => "mixed",
            ValuePattern::Spot => "spot",
            ValuePattern::Hard => "hard",
            ValuePattern::Lifted => "lifted",
        }
    }
}

/// The dtype of weights or biases, and where they lie. Gaps and offsets are in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamPlacement {
    pub dtype: DType,
    /// Unused elements behind each head.
    pub gap: usize,
    /// Elements between an aligned address and the first element.
    pub at: usize,
    /// Whether all heads share one `(head_dim,)`.
    pub shared: bool,
}

/// The dtype of a tensor of rows, and where it lies. Gaps and offsets are in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    pub dtype: DType,
    /// Unused elements behind each position of a leading axis, outermost axis first.
    pub gaps: [usize; MAX_LEADING],
    /// Elements between an aligned address and the first element.
    pub at: usize,
}

/// Where a residual is added, if it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ResidualForm {
    /// Nowhere: `y = norm(x)`.
    None,
    /// In front of the norm: `r += x; y = norm(r)`. `gaps` and `at` are the residual's, as in [`Placement`].
    PreNorm { gaps: [usize; MAX_LEADING], at: usize },
    /// Behind the norm: `y += norm(x)`.
    PostNorm,
    /// Between two norms: `r += norm(x); y = next(r)`.
    Sandwich { r: Placement, next: SecondNorm },
}

/// The second norm of a sandwich.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SecondNorm {
    pub kind: NormKind,
    /// The dtype of its weights, which are dense, if it has any.
    pub w: Option<DType>,
    pub eps: f32,
}

/// How the sum with a residual is computed, and where it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdditionOptions {
    /// Gaps and offset, as in [`Placement`], of one more tensor: of the sum, or for [`ResidualForm::PostNorm`] of the
    /// residual. Without it the sum overwrites the residual.
    pub separate: Option<([usize; MAX_LEADING], usize)>,
    /// Whether a pre-norm residual is f32 although `x` and `y` have 16 bits.
    pub wide: bool,
    /// What is added to the residual is multiplied by this.
    pub branch_scale: f32,
    /// The sum is multiplied by this.
    pub sum_scale: f32,
    /// Whether the operation reads `sum_scale` from memory, rather than taking it as a number.
    pub scale_in_memory: bool,
}

impl AdditionOptions {
    /// In place and without factors.
    pub const PLAIN: AdditionOptions = AdditionOptions {
        separate: None,
        wide: false,
        branch_scale: 1.0,
        sum_scale: 1.0,
        scale_in_memory: false,
    };
}

/// One case. Its `Display` is its text on the command line, which parses to an equal case.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckCase {
    pub kind: NormKind,
    /// Whether weights and biases are `(heads, head_dim)` rather than `(dim,)`.
    pub heads: bool,
    pub shape: Vec<usize>,
    pub x: Placement,
    pub y: Placement,
    pub w: Option<ParamPlacement>,
    pub b: Option<ParamPlacement>,
    pub eps: f32,
    pub weight_offset: f32,
    /// Whether `weight + offset` is rounded to the dtype of the weights.
    pub round_offset: bool,
    pub rounding: Rounding,
    pub data: ValuePattern,
    pub seed: u64,
    /// Whether to run the call in place too, and require the same bits.
    pub in_place: bool,
    /// The row to run alone too, and to require the same bits of.
    pub alone: Option<usize>,
    pub residual: ResidualForm,
    /// [`AdditionOptions::PLAIN`] where there is no residual.
    pub addition: AdditionOptions,
    /// The gate, if there is one: only RMSNorm without biases, without a residual and over whole rows has one.
    pub gate: Option<GateForm>,
    /// The number of shards that each row is split into, as if over as many devices; 1 if rows are whole.
    pub shards: usize,
    /// How the output is quantized, if it is. `y` then has the gaps and the offset of the codes, of one byte each, and the type
    /// of `x`.
    pub quantize: Option<Quantized>,
}

impl CheckCase {
    /// Whether rows can be split into shards: only RMSNorm over rows without a residual supports that.
    pub fn may_be_split(&self) -> bool {
        let plain = !self.heads && self.residual == ResidualForm::None;
        self.kind == NormKind::Rms && plain && self.dim() > 1
    }

    /// Whether the output may be quantized: that of a norm over rows of 16 bits, at most behind a residual.
    pub fn may_be_quantized(&self) -> bool {
        let residual = matches!(self.residual, ResidualForm::None | ResidualForm::PreNorm { .. });
        let plain = !self.heads && residual && self.shards == 1 && self.gate.is_none();
        plain && self.x.dtype != DType::F32
    }

    /// The operation that the reference computes. For a sandwich it is the first norm, whose output is the sum.
    pub fn operation(&self) -> Operation {
        let CheckCase { kind, eps, weight_offset, round_offset, rounding, .. } = *self;
        let AdditionOptions { wide, branch_scale, sum_scale, scale_in_memory, .. } = self.addition;
        let place = match self.residual {
            ResidualForm::None => None,
            ResidualForm::PreNorm { .. } => Some(ResidualPlace::InFront),
            ResidualForm::PostNorm | ResidualForm::Sandwich { .. } => Some(ResidualPlace::Behind),
        };
        let addition =
            place.map(|place| reference::Addition { place, wide, branch_scale, sum_scale, scale_in_memory });
        let (x, w) = (self.x.dtype, self.w.map(|w| w.dtype));
        let y = if let ResidualForm::Sandwich { r, .. } = self.residual { r.dtype } else { self.y.dtype };
        Operation { kind, x, w, y, eps, weight_offset, round_offset, rounding, addition }
    }

    /// The second norm of a sandwich. It has the first norm's order of roundings, except that T5's requires weights.
    pub fn next_operation(&self, SecondNorm { kind, w, eps }: SecondNorm) -> Operation {
        let weightless = self.rounding == Rounding::T5 && w.is_none();
        Operation {
            kind,
            x: self.sum_dtype(),
            w,
            y: self.y.dtype,
            eps,
            weight_offset: 0.0,
            round_offset: false,
            rounding: if weightless { Rounding::Single } else { self.rounding },
            addition: None,
        }
    }

    /// Whether `x` is added to a residual in front of the norm.
    pub fn is_pre_norm(&self) -> bool {
        matches!(self.residual, ResidualForm::PreNorm { .. })
    }

    /// The dtype of the sum with a residual.
    pub fn sum_dtype(&self) -> DType {
        self.operation().sum_dtype()
    }

    /// The number of elements in a row.
    pub fn dim(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The axes in front of the normalized one.
    pub fn leading(&self) -> &[usize] {
        &self.shape[..self.shape.len().saturating_sub(1)]
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.leading().iter().product()
    }

    /// The number of heads; 1 if the norm is over rows.
    pub fn heads(&self) -> usize {
        if self.heads { self.leading().last().copied().unwrap_or(1) } else { 1 }
    }

    /// The head that a row belongs to, which selects its weights.
    pub fn head_of(&self, row: usize) -> usize {
        row % self.heads()
    }

    /// The strides of a tensor, one for each axis, in elements: those of a dense tensor, plus its gaps.
    pub fn strides(&self, placement: &Placement) -> Vec<usize> {
        reference::strides(&self.shape, |axis| placement.gaps[axis])
    }

    /// The first element of a row, counted from the tensor's first element.
    pub fn row_start(&self, row: usize, strides: &[usize]) -> usize {
        reference::row_start(row, self.leading(), strides)
    }

    /// The placement of the residual, unless there is none or it is what the output holds.
    pub fn r(&self) -> Option<Placement> {
        let dtype = self.sum_dtype();
        match (self.residual, self.addition.separate) {
            (ResidualForm::PreNorm { gaps, at }, _) => Some(Placement { dtype, gaps, at }),
            (ResidualForm::Sandwich { r, .. }, _) => Some(r),
            (ResidualForm::PostNorm, Some((gaps, at))) => Some(Placement { dtype, gaps, at }),
            (ResidualForm::None, _) | (ResidualForm::PostNorm, None) => None,
        }
    }

    /// The placement of the sum, if it has a tensor of its own.
    pub fn s(&self) -> Option<Placement> {
        let (gaps, at) = self.addition.separate?;
        let is_of_sum = matches!(self.residual, ResidualForm::PreNorm { .. } | ResidualForm::Sandwich { .. });
        is_of_sum.then_some(Placement { dtype: self.sum_dtype(), gaps, at })
    }

    /// The weights of the second norm, if there is one and it has any.
    pub fn next_w(&self) -> Option<ParamPlacement> {
        let ResidualForm::Sandwich { next, .. } = self.residual else { return None };
        next.w.map(|dtype| ParamPlacement { dtype, gap: 0, at: 0, shared: false })
    }

    /// An upper bound on the elements that a tensor takes, gaps included; `None` if it overflows.
    fn span(&self, placement: &Placement) -> Option<usize> {
        let gaps = placement.gaps.iter().copied().take(self.leading().len());
        let mut axes = self.leading().iter().zip(gaps).rev();
        axes.try_fold(self.dim(), |inner, (&extent, gap)| inner.checked_add(gap)?.checked_mul(extent.max(1)))
    }

    /// An upper bound on the bytes that all tensors take, gaps included; `None` if it overflows.
    fn bytes(&self) -> Option<usize> {
        let gate = self.gate.map(|gate| gate.g);
        let placed = [Some(self.x), Some(self.y), self.r(), self.s(), gate].into_iter().flatten();
        let tensors = placed.map(|tensor| (tensor.dtype, self.span(&tensor), tensor.at));
        let params = [self.w, self.b, self.next_w()].into_iter().flatten().map(|param| {
            let (heads, gap) =
                if self.heads && !param.shared { (self.heads().max(1), param.gap) } else { (1, 0) };
            let span = self.dim().checked_add(gap).and_then(|head| head.checked_mul(heads));
            (param.dtype, span, param.at)
        });
        // Of a quantized output, the scales, and the copy, which is dense.
        let beside = self.quantize.map_or(Some(0), |how| {
            let scales = how.scales(self.rows(), self.dim()).checked_mul(4)?;
            scales.checked_add(self.rows().checked_mul(self.dim())?.checked_mul(2)?)
        })?;
        tensors.chain(params).try_fold(beside, |bytes, (dtype, span, at)| {
            bytes.checked_add(span?.checked_add(at)?.checked_mul(dtype.size())?)
        })
    }

    /// Why no operation can run this case, or `None` if one can. Only cases parsed from text can be invalid.
    fn invalid_reason(&self) -> Option<String> {
        let rank = self.shape.len();
        let least = if self.heads { 2 } else { 1 };
        if !(least..=MAX_RANK).contains(&rank) {
            return Some(format!("shape needs {least} to {MAX_RANK} axes"));
        }
        if self.dim() == 0 {
            return Some("the last axis of shape is empty".to_owned());
        }
        if self.dim() > MAX_DIM as usize {
            let dim = self.dim();
            return Some(format!("the last axis of shape has {dim} elements, and a row at most {MAX_DIM}"));
        }
        if self.bytes().is_none_or(|bytes| bytes > MAX_BYTES) {
            return Some(format!("its tensors and gaps take more than {} MiB", MAX_BYTES >> 20));
        }
        if self.heads && self.residual != ResidualForm::None {
            return Some("residual needs over=rows".to_owned());
        }
        if self.residual == ResidualForm::None && self.addition != AdditionOptions::PLAIN {
            return Some("apart, wide, branch and scale need a residual".to_owned());
        }
        let may_be_gated =
            self.kind == NormKind::Rms && self.b.is_none() && self.residual == ResidualForm::None;
        if self.gate.is_some() && !(may_be_gated && self.shards == 1) {
            return Some("gate needs op=rms without b, residual and shards".to_owned());
        }
        let w = self.w.map(|w| w.dtype);
        if self.gate.is_some_and(|gate| !gate.fits(self.x.dtype, w, self.y.dtype)) {
            return Some("gate needs types that gated kernels have".to_owned());
        }
        let is_narrow = self.x.dtype != DType::F32 && self.y.dtype != DType::F32;
        if self.addition.wide && !(self.is_pre_norm() && is_narrow) {
            return Some("wide needs residual=before, x and y of 16 bits".to_owned());
        }
        if self.in_place && self.x.dtype != self.y.dtype {
            return Some("inplace needs x and y of one dtype".to_owned());
        }
        if !self.heads && [self.w, self.b].into_iter().flatten().any(|param| param.shared) {
            return Some("shared needs over=heads".to_owned());
        }
        if self.w.is_none() && self.weight_offset != 0.0 {
            return Some("offset needs w".to_owned());
        }
        if self.round_offset && self.weight_offset == 0.0 {
            return Some("roundoffset needs an offset other than 0".to_owned());
        }
        if self.w.is_none() && self.rounding == Rounding::T5 {
            return Some("rounding=t5 needs w".to_owned());
        }
        // Kernels have one type parameter for both.
        if self.w.zip(self.b).is_some_and(|(w, b)| w.dtype != b.dtype) {
            return Some("w and b need one dtype".to_owned());
        }
        if let Some(reason) = self.quantize.and_then(|quantize| quantize.invalid_reason(self)) {
            return Some(reason.to_owned());
        }
        if self.shards != 1 && !(self.may_be_split() && (2..=self.dim()).contains(&self.shards)) {
            return Some("shards needs op=rms over=rows of as many elements, without residual".to_owned());
        }
        if self.alone.is_some_and(|row| row >= self.rows()) {
            return Some("alone names a row that shape has not".to_owned());
        }
        None
    }
}

/// The text of a case: `key=value` words, and the flags `roundoffset`, `apart`, `wide` and `inplace`.
///
/// `op=rms|layer over=rows|heads shape=2x3x128 x=f16 y=f16 [w=f32] [b=f32] eps=1e-6 [offset=1
/// [roundoffset]] [rounding=before-weight|before-bias|t5] [residual=before|behind|between] [r=f16 next=rms,f32
/// nexteps=1e-6] [gate=silu,norm-first,f16 [ggap=…] [gat=…]] [apart] [wide] [branch=0.5] [scale=2|scale=@2] [quantize=fp8-token …]
/// [xgap=8,0,3] [ygap=…] [rgap=…] [sgap=…] [wgap=4] [bgap=…]
/// [shared=w,b] [at=x,y,w,b[,r[,s]]] data=normal seed=7 [shards=2] [inplace] [alone=2]`
impl fmt::Display for CheckCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = if self.heads { "heads" } else { "rows" };
        write!(f, "op={} over={over} shape={}", self.kind.name(), join(&self.shape, "x"))?;
        write!(f, " x={} y={}", self.x.dtype, self.y.dtype)?;
        for (name, param) in [("w", self.w), ("b", self.b)] {
            if let Some(param) = param {
                write!(f, " {name}={}", param.dtype)?;
            }
        }
        write!(f, " eps={:e}", self.eps)?;
        if self.weight_offset != 0.0 {
            write!(f, " offset={}", self.weight_offset)?;
        }
        if self.round_offset {
            write!(f, " roundoffset")?;
        }
        if self.rounding != Rounding::Single {
            write!(f, " rounding={}", self.rounding)?;
        }
        match self.residual {
            ResidualForm::None => {}
            ResidualForm::PreNorm { .. } => write!(f, " residual=before")?,
            ResidualForm::PostNorm => write!(f, " residual=behind")?,
            ResidualForm::Sandwich { r, next: SecondNorm { kind, w, eps } } => {
                let w = w.map_or(String::new(), |w| format!(",{w}"));
                write!(f, " residual=between r={} next={}{w} nexteps={eps:e}", r.dtype, kind.name())?;
            }
        }
        if let Some(gate) = self.gate {
            write!(f, "{}", gate.words())?;
        }
        let AdditionOptions { separate, wide, branch_scale, sum_scale, scale_in_memory } = self.addition;
        for (word, is_there) in [("apart", separate.is_some()), ("wide", wide)] {
            if is_there {
                write!(f, " {word}")?;
            }
        }
        if branch_scale != 1.0 {
            write!(f, " branch={branch_scale}")?;
        }
        if scale_in_memory {
            write!(f, " scale=@{sum_scale}")?;
        } else if sum_scale != 1.0 {
            write!(f, " scale={sum_scale}")?;
        }
        if let Some(quantize) = self.quantize {
            write!(f, "{quantize}")?;
        }
        let none = ([0; MAX_LEADING], 0);
        let (r_gaps, r_at) = match self.residual {
            ResidualForm::PreNorm { gaps, at } => (gaps, at),
            ResidualForm::Sandwich { r, .. } => (r.gaps, r.at),
            ResidualForm::None | ResidualForm::PostNorm => none,
        };
        let (s_gaps, s_at) = separate.unwrap_or(none);
        let gaps = [("xgap", self.x.gaps), ("ygap", self.y.gaps), ("rgap", r_gaps), ("sgap", s_gaps)];
        for (name, gaps) in gaps {
            if gaps != [0; MAX_LEADING] {
                write!(f, " {name}={}", join(&gaps, ","))?;
            }
        }
        for (name, param) in [("wgap", self.w), ("bgap", self.b)] {
            if let Some(ParamPlacement { gap: 1.., .. }) = param {
                write!(f, " {name}={}", param.map_or(0, |param| param.gap))?;
            }
        }
        let shared = |param: Option<ParamPlacement>| param.is_some_and(|param| param.shared);
        match [shared(self.w), shared(self.b)] {
            [false, false] => {}
            [true, false] => write!(f, " shared=w")?,
            [false, true] => write!(f, " shared=b")?,
            [true, true] => write!(f, " shared=w,b")?,
        }
        let param = |param: Option<ParamPlacement>| param.map_or(0, |param| param.at);
        let at = [self.x.at, self.y.at, param(self.w), param(self.b), r_at, s_at];
        if at != [0; 6] {
            let written = if s_at != 0 {
                6
            } else if r_at != 0 {
                5
            } else {
                4
            };
            write!(f, " at={}", join(&at[..written], ","))?;
        }
        write!(f, " data={} seed={}", self.data.name(), self.seed)?;
        if self.shards != 1 {
            write!(f, " shards={}", self.shards)?;
        }
        if self.in_place {
            write!(f, " inplace")?;
        }
        if let Some(row) = self.alone {
            write!(f, " alone={row}")?;
        }
        Ok(())
    }
}

fn join(numbers: &[usize], separator: &str) -> String {
    let words: Vec<String> = numbers.iter().map(usize::to_string).collect();
    words.join(separator)
}

/// Why a text is not a case.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum CaseError {
    #[error(
        "'{word}' is not a part of a case: expected KEY=VALUE with a known key, inplace, apart, wide, roundoffset, columns or copy"
    )]
    Word { word: String },
    #[error("'{value}' is no value of {key}: expected {expected}")]
    Value { key: String, value: String, expected: &'static str },
    #[error("{key} is there twice")]
    Twice { key: String },
    #[error("{key} is missing")]
    Missing { key: &'static str },
    #[error("there is no such case: {0}")]
    Impossible(String),
}

impl FromStr for CheckCase {
    type Err = CaseError;

    fn from_str(text: &str) -> Result<CheckCase, CaseError> {
        let mut words = Words::default();
        let mut keys = HashSet::new();
        for word in text.split_whitespace() {
            let key = word.split('=').next().unwrap_or(word);
            if !keys.insert(key) {
                return Err(CaseError::Twice { key: key.to_owned() });
            }
            words.take(word)?;
        }
        let case = words.case()?;
        case.invalid_reason().map_or(Ok(case), |reason| Err(CaseError::Impossible(reason)))
    }
}

/// The values of `residual=`.
enum ResidualWord {
    Before,
    Behind,
    Between,
}

/// What the words of a text have set so far. The fields have the names of the words' keys.
#[derive(Default)]
struct Words {
    kind: Option<NormKind>,
    heads: bool,
    shape: Option<Vec<usize>>,
    x: Option<DType>,
    y: Option<DType>,
    w: Option<DType>,
    b: Option<DType>,
    eps: Option<f32>,
    weight_offset: f32,
    round_offset: bool,
    rounding: Rounding,
    x_gaps: [usize; MAX_LEADING],
    y_gaps: [usize; MAX_LEADING],
    r_gaps: [usize; MAX_LEADING],
    w_gap: usize,
    b_gap: usize,
    /// Whether all heads share the weights, and whether they share the biases.
    shared: [bool; 2],
    at: [usize; 6],
    residual: Option<ResidualWord>,
    /// The dtype of a sandwich's residual.
    r: Option<DType>,
    /// The kind of a sandwich's second norm, and the dtype of its weights.
    next: Option<(NormKind, Option<DType>)>,
    next_eps: Option<f32>,
    /// What the gate does, and its dtype.
    gate: Option<(Gating, DType)>,
    g_gaps: [usize; MAX_LEADING],
    g_at: usize,
    s_gaps: [usize; MAX_LEADING],
    apart: bool,
    wide: bool,
    branch: Option<f32>,
    scale: Option<f32>,
    in_memory: bool,
    data: Option<ValuePattern>,
    seed: u64,
    in_place: bool,
    alone: Option<usize>,
    shards: Option<usize>,
    quantize: QuantizeWords,
}

impl Words {
    /// Reads one word.
    fn take(&mut self, word: &str) -> Result<(), CaseError> {
        let flag = match word {
            "inplace" => Some(&mut self.in_place),
            "roundoffset" => Some(&mut self.round_offset),
            "apart" => Some(&mut self.apart),
            "wide" => Some(&mut self.wide),
            "columns" => Some(&mut self.quantize.columns),
            "copy" => Some(&mut self.quantize.copies),
            _ => None,
        };
        if let Some(flag) = flag {
            *flag = true;
            return Ok(());
        }
        let unknown = || CaseError::Word { word: word.to_owned() };
        let (key, value) = word.split_once('=').ok_or_else(unknown)?;
        let no = |expected| CaseError::Value { key: key.to_owned(), value: value.to_owned(), expected };
        let whole = || value.parse::<usize>().map_err(|_| no("a whole number"));
        let gap = || numbers(value).map(|[gap]| gap).ok_or_else(|| no("a whole number below 2^24"));
        let gaps = || numbers(value).ok_or_else(|| no("three whole numbers below 2^24"));
        let finite_in = |text: &str| text.parse().ok().filter(|number: &f32| number.is_finite());
        let finite = || finite_in(value);
        let dtype = || {
            let found = DType::ALL.into_iter().find(|dtype| dtype.name() == value);
            found.ok_or_else(|| no("f16, bf16 or f32"))
        };
        match key {
            "op" => {
                let found = NormKind::ALL.into_iter().find(|kind| kind.name() == value);
                self.kind = Some(found.ok_or_else(|| no("rms or layer"))?);
            }
            "over" => {
                self.heads = match value {
                    "rows" => false,
                    "heads" => true,
                    _ => return Err(no("rows or heads")),
                }
            }
            "shape" => {
                let extents: Result<_, _> = value.split('x').map(str::parse).collect();
                self.shape = Some(extents.map_err(|_| no("extents such as 2x3x128"))?);
            }
            "x" => self.x = Some(dtype()?),
            "y" => self.y = Some(dtype()?),
            "w" => self.w = Some(dtype()?),
            "b" => self.b = Some(dtype()?),
            "eps" => self.eps = Some(finite().filter(|&eps| is_eps(value, eps)).ok_or_else(|| no(EPS))?),
            "offset" => self.weight_offset = finite().ok_or_else(|| no("a finite number"))?,
            "rounding" => {
                let found = Rounding::ALL.into_iter().find(|rounding| rounding.name() == value);
                self.rounding = found.ok_or_else(|| no("single, before-weight, before-bias or t5"))?;
            }
            "xgap" => self.x_gaps = gaps()?,
            "ygap" => self.y_gaps = gaps()?,
            "rgap" => self.r_gaps = gaps()?,
            "sgap" => self.s_gaps = gaps()?,
            "ggap" => self.g_gaps = gaps()?,
            "gat" => self.g_at = gap()?,
            "gate" => {
                let expected = "activation, order and type such as silu,norm-first,f16";
                self.gate = Some(GateForm::parse(value).ok_or_else(|| no(expected))?);
            }
            "r" => self.r = Some(dtype()?),
            "next" => {
                let (kind, w) = value.split_once(',').map_or((value, None), |(kind, w)| (kind, Some(w)));
                let kind = NormKind::ALL.into_iter().find(|known| known.name() == kind);
                let w = w.map(|w| DType::ALL.into_iter().find(|dtype| dtype.name() == w));
                self.next = match (kind, w) {
                    (Some(kind), None) => Some((kind, None)),
                    (Some(kind), Some(Some(w))) => Some((kind, Some(w))),
                    _ => return Err(no("rms or layer, and the type of its weights such as rms,f16")),
                }
            }
            "nexteps" => {
                self.next_eps = Some(finite().filter(|&eps| is_eps(value, eps)).ok_or_else(|| no(EPS))?)
            }
            "branch" => self.branch = Some(finite().ok_or_else(|| no("a finite number"))?),
            "scale" => {
                self.in_memory = value.starts_with('@');
                let number = finite_in(value.strip_prefix('@').unwrap_or(value));
                self.scale = Some(number.ok_or_else(|| no("a finite number, or @ and one"))?);
            }
            "residual" => {
                self.residual = Some(match value {
                    "before" => ResidualWord::Before,
                    "behind" => ResidualWord::Behind,
                    "between" => ResidualWord::Between,
                    _ => return Err(no("before, behind or between")),
                })
            }
            "wgap" => self.w_gap = gap()?,
            "bgap" => self.b_gap = gap()?,
            "shared" => {
                self.shared = match value {
                    "w" => [true, false],
                    "b" => [false, true],
                    "w,b" => [true, true],
                    _ => return Err(no("w, b or w,b")),
                }
            }
            "at" => {
                let four = || numbers(value).map(|[x, y, w, b]| [x, y, w, b, 0, 0]);
                let five = || numbers(value).map(|[x, y, w, b, r]| [x, y, w, b, r, 0]);
                self.at = numbers(value)
                    .or_else(five)
                    .or_else(four)
                    .ok_or_else(|| no("four to six whole numbers below 2^24"))?;
            }
            "data" => {
                let found = ValuePattern::ALL.into_iter().find(|data| data.name() == value);
                self.data = Some(found.ok_or_else(|| no("a manner of values, such as normal"))?);
            }
            "seed" => self.seed = value.parse().map_err(|_| no("a whole number"))?,
            "alone" => self.alone = Some(whole()?),
            "shards" => self.shards = Some(whole()?),
            "quantize" => {
                let form = QuantForm::named(value);
                self.quantize.form =
                    Some(form.ok_or_else(|| no("a form of norm rms --quantize, such as fp8-token"))?);
            }
            "preset" => {
                let found = QuantPreset::ALL.into_iter().find(|preset| preset.name() == value);
                self.quantize.preset = Some(found.ok_or_else(|| no("exact, vllm or flashinfer"))?);
            }
            "given" => self.quantize.given = Some(positive(value).ok_or_else(|| no("a positive number"))?),
            "bound" => {
                self.quantize.bound_in_memory = value.starts_with('@');
                let number = positive(value.strip_prefix('@').unwrap_or(value));
                self.quantize.bound = Some(number.ok_or_else(|| no("a positive number, or @ and one"))?);
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// The case that the words describe, which may still be invalid.
    fn case(self) -> Result<CheckCase, CaseError> {
        let missing = |key| CaseError::Missing { key };
        let [x_at, y_at, w_at, b_at, r_at, s_at] = self.at;
        let x = self.x.ok_or_else(|| missing("x"))?;
        let y = self.y.ok_or_else(|| missing("y"))?;
        for (name, param, shared) in [("w", self.w, self.shared[0]), ("b", self.b, self.shared[1])] {
            if shared && param.is_none() {
                return Err(CaseError::Impossible(format!("shared={name} needs {name}")));
            }
        }
        let [w_shared, b_shared] = self.shared;
        let residual = match self.residual {
            None => ResidualForm::None,
            Some(ResidualWord::Before) => ResidualForm::PreNorm { gaps: self.r_gaps, at: r_at },
            Some(ResidualWord::Behind) => ResidualForm::PostNorm,
            Some(ResidualWord::Between) => {
                let (kind, w) = self.next.ok_or_else(|| missing("next"))?;
                let dtype = self.r.ok_or_else(|| missing("r"))?;
                let eps = self.next_eps.ok_or_else(|| missing("nexteps"))?;
                let r = Placement { dtype, gaps: self.r_gaps, at: r_at };
                ResidualForm::Sandwich { r, next: SecondNorm { kind, w, eps } }
            }
        };
        if !matches!(residual, ResidualForm::Sandwich { .. }) && (self.next.is_some() || self.r.is_some()) {
            return Err(CaseError::Impossible("r and next need residual=between".to_owned()));
        }
        if self.gate.is_none() && (self.g_gaps, self.g_at) != ([0; MAX_LEADING], 0) {
            return Err(CaseError::Impossible("ggap and gat need a gate".to_owned()));
        }
        let gate = self.gate.map(|(gating, dtype)| GateForm {
            gating,
            g: Placement { dtype, gaps: self.g_gaps, at: self.g_at },
        });
        Ok(CheckCase {
            gate,
            kind: self.kind.ok_or_else(|| missing("op"))?,
            heads: self.heads,
            shape: self.shape.ok_or_else(|| missing("shape"))?,
            x: Placement { dtype: x, gaps: self.x_gaps, at: x_at },
            y: Placement { dtype: y, gaps: self.y_gaps, at: y_at },
            w: self.w.map(|dtype| ParamPlacement { dtype, gap: self.w_gap, at: w_at, shared: w_shared }),
            b: self.b.map(|dtype| ParamPlacement { dtype, gap: self.b_gap, at: b_at, shared: b_shared }),
            eps: self.eps.ok_or_else(|| missing("eps"))?,
            weight_offset: self.weight_offset,
            round_offset: self.round_offset,
            rounding: self.rounding,
            data: self.data.ok_or_else(|| missing("data"))?,
            seed: self.seed,
            in_place: self.in_place,
            alone: self.alone,
            residual,
            addition: AdditionOptions {
                separate: self.apart.then_some((self.s_gaps, s_at)),
                wide: self.wide,
                branch_scale: self.branch.unwrap_or(1.0),
                sum_scale: self.scale.unwrap_or(1.0),
                scale_in_memory: self.in_memory,
            },
            shards: self.shards.unwrap_or(1),
            quantize: self.quantize.quantized()?,
        })
    }
}

/// What the words of a text have set of a quantized output.
#[derive(Default)]
struct QuantizeWords {
    form: Option<QuantForm>,
    preset: Option<QuantPreset>,
    given: Option<f32>,
    bound: Option<f32>,
    bound_in_memory: bool,
    columns: bool,
    copies: bool,
}

impl QuantizeWords {
    fn quantized(self) -> Result<Option<Quantized>, CaseError> {
        let QuantizeWords { form, preset, given, bound, bound_in_memory, columns, copies } = self;
        let Some(form) = form else {
            let others = preset.is_some() || given.is_some() || bound.is_some() || columns || copies;
            let why = "preset, given, bound, columns and copy need quantize";
            return if others { Err(CaseError::Impossible(why.to_owned())) } else { Ok(None) };
        };
        if given.is_some() != (form.scaling == QuantScaling::Given) {
            return Err(CaseError::Impossible("given is the scale of a static form".to_owned()));
        }
        let plain = Quantized::plain(form);
        Ok(Some(Quantized {
            preset: preset.unwrap_or_default(),
            given: given.unwrap_or(plain.given),
            bound,
            bound_in_memory,
            columns,
            copies,
            ..plain
        }))
    }
}

/// A positive finite number.
fn positive(text: &str) -> Option<f32> {
    text.parse().ok().filter(|number: &f32| number.is_finite() && *number > 0.0)
}

/// What an eps must be, as errors say it.
const EPS: &str = "a number of 0 or more that f32 has: neither infinite there, nor 0 if it is not";

/// Whether an eps is valid: `text`, which parses to the f32 `eps`, is positive, or 0 itself and no underflow to it.
fn is_eps(text: &str, eps: f32) -> bool {
    eps > 0.0 || text.parse() == Ok(0.0_f64)
}

/// `N` whole numbers below [`LIMIT`].
fn numbers<const N: usize>(text: &str) -> Option<[usize; N]> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
    let numbers: [usize; N] = numbers.ok()?.try_into().ok()?;
    numbers.iter().all(|&number| number < LIMIT).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::generate;

    #[test]
    fn a_text_gives_back_the_case_it_was_made_of() {
        for index in 0..2000 {
            let case = generate::case(7, index);
            assert_eq!(case.to_string().parse(), Ok(case));
        }
    }

    #[test]
    fn a_text_that_is_no_case_says_which_part_of_it_is_not() {
        let good = "op=rms over=heads shape=2x3x5 x=f16 y=f16 eps=1e-6 data=normal seed=1";
        assert!(good.parse::<CheckCase>().is_ok());
        for (from, to, part) in [
            ("op=rms", "op=batch", "'batch' is no value of op"),
            ("op=rms", "", "op is missing"),
            ("seed=1", "sead=1", "'sead=1'"),
            ("shape=2x3x5", "shape=2x3x", "shape"),
            ("shape=2x3x5", "shape=5", "shape needs 2 to 4 axes"),
            ("shape=2x3x5", "shape=2x0", "last axis"),
            ("shape=2x3x5", "shape=2x16777217", "a row at most 16777216"),
            ("shape=2x3x5", "shape=2147483648x1x1", "more than 512 MiB"),
            ("shape=2x3x5", "shape=4294967296x4294967296x0x5", "more than 512 MiB"),
            ("shape=2x3x5", "shape=2x-3x5", "extents such as 2x3x128"),
            ("shape=2x3x5", "shape=8192x2x5 xgap=0,16777215,0", "more than 512 MiB"),
            ("y=f16", "y=f16 w=f16 wgap=16777216", "a whole number below 2^24"),
            ("shape=2x3x5", "shape=1024x64 b=f32 bgap=16777215", "more than 512 MiB"),
            ("seed=1", "seed=1 xgap=16777216,0,0", "three whole numbers below 2^24"),
            ("seed=1", "seed=-1", "'-1' is no value of seed"),
            ("seed=1", "seed=1 seed=2", "seed is there twice"),
            ("seed=1", "seed=1 inplace inplace", "inplace is there twice"),
            ("eps=1e-6", "eps=nan", "'nan' is no value of eps: expected a number of 0 or more"),
            ("eps=1e-6", "eps=inf", "'inf' is no value of eps"),
            ("eps=1e-6", "eps=-1e-6", "'-1e-6' is no value of eps"),
            ("eps=1e-6", "eps=1e39", "'1e39' is no value of eps"),
            ("eps=1e-6", "eps=1e-50", "'1e-50' is no value of eps"),
            ("seed=1", "seed=1 offset=nan", "'nan' is no value of offset: expected a finite number"),
            ("seed=1", "seed=1 offset=-inf", "'-inf' is no value of offset"),
            ("y=f16", "y=f32 inplace", "inplace needs"),
            ("y=f16", "y=f16 w=f16 b=f32", "w and b need one dtype"),
            ("seed=1", "seed=1 alone=6", "alone names a row"),
            ("seed=1", "seed=1 residual=after", "'after' is no value of residual"),
            ("seed=1", "seed=1 residual=before", "residual needs over=rows"),
            ("seed=1", "seed=1 apart", "apart, wide, branch and scale need a residual"),
            ("seed=1", "seed=1 scale=@1", "apart, wide, branch and scale need a residual"),
            ("over=heads", "residual=behind wide", "wide needs residual=before"),
            ("over=heads shape=2x3x5 x=f16", "residual=before wide shape=2x3x5 x=f32", "x and y of 16 bits"),
            ("over=heads", "residual=before branch=inf", "'inf' is no value of branch: expected a finite"),
            ("over=heads", "residual=before scale=@nan", "'@nan' is no value of scale: expected a finite"),
            ("over=heads", "residual=between r=f16 nexteps=0", "next is missing"),
            ("over=heads", "residual=between next=rms nexteps=0", "r is missing"),
            ("over=heads", "residual=between next=rms r=f16", "nexteps is missing"),
            ("over=heads", "residual=between r=f16 next=rms,f64 nexteps=0", "'rms,f64' is no value of next"),
            ("over=heads", "residual=before r=f16", "r and next need residual=between"),
            ("seed=1", "seed=1 gate=silu,norm-first", "activation, order and type"),
            ("seed=1", "seed=1 gat=1", "ggap and gat need a gate"),
            ("seed=1", "seed=1 gate=silu,norm-first,bf16", "gate needs types"),
            ("op=rms", "op=layer gate=silu,norm-first,f16", "gate needs op=rms"),
            ("seed=1", "seed=1 shards=2", "shards needs"),
            ("over=heads", "shards=6", "shards needs"),
            ("seed=1", "seed=1 at=1,2,3", "four to six"),
            ("seed=1", "seed=1 w=f16 shared=x", "'x' is no value of shared"),
            ("seed=1", "seed=1 w=f16 shared=w,b", "shared=b needs b"),
            ("over=heads", "w=f16 shared=w", "shared needs over=heads"),
            ("seed=1", "seed=1 offset=1", "offset needs w"),
            ("seed=1", "seed=1 roundoffset", "roundoffset needs an offset other than 0"),
            ("seed=1", "seed=1 w=f16 offset=0 roundoffset", "roundoffset needs an offset other than 0"),
            ("seed=1", "seed=1 roundoffset=1", "'roundoffset=1' is not a part of a case"),
            ("seed=1", "seed=1 rounding=t5", "rounding=t5 needs w"),
            (
                "seed=1",
                "seed=1 rounding=twice",
                "'twice' is no value of rounding: expected single, before-weight",
            ),
        ] {
            let error = good.replace(from, to).parse::<CheckCase>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_longest_row_is_a_case() {
        let text =
            "op=layer shape=16777216 x=f32 y=f32 w=f32 b=f32 eps=0 residual=before data=normal inplace";
        assert_eq!(text.parse::<CheckCase>().map(|case| case.dim()), Ok(MAX_DIM as usize));
    }

    #[test]
    fn strides_step_over_gaps() {
        let text = "op=rms shape=2x3x4x5 x=f16 y=f16 eps=0 xgap=7,2,1 data=normal";
        let case: CheckCase = text.parse().unwrap();
        let strides = case.strides(&case.x);
        assert_eq!(strides, [3 * (4 * 6 + 2) + 7, 4 * 6 + 2, 6, 1]);
        assert_eq!(case.row_start(23, &strides), strides[0] + 2 * strides[1] + 3 * strides[2]);
    }
}

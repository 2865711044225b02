//! One case: everything a call depends on, and its spelling on the command line.
//!
//! A case repeats from its text alone: shapes, dtypes, gaps, offsets, options, and the seed and
//! manner of its values.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use norm_host::{DType, MAX_DIM, NormKind, Rounding, Roundings};

/// The most axes a tensor may have.
pub const MAX_RANK: usize = 4;

/// Axes in front of the normalized one.
pub const MAX_LEADING: usize = MAX_RANK - 1;

/// The most bytes that the tensors of a case may take together, gaps included: enough for rows of the longest dim, of
/// which every thread may hold some copies, and elements in f64.
const MAX_BYTES: usize = 512 << 20;

/// What gaps and offsets are below.
const SMALL: usize = 1 << 24;

/// The manner of a case's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
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
    /// Now and then ±Inf.
    Inf,
    /// Now and then NaN.
    Nan,
    /// Large values of both signs whose sum all but vanishes.
    Cancel,
    /// One value throughout a row.
    Constant,
    /// A large common value with small differences.
    Shifted,
    /// Normal about a value of up to a few deviations, which is most of some rows' squares and little of others'.
    Near,
    /// Neighbours of one number, which is large beside what they differ by; of some rows all but a few the same.
    Far,
    /// Magnitudes spread over the exponents whose squares f32 can sum.
    Wide,
    /// So large that the squares of a row add up to about the largest f32, to more of some rows.
    Vast,
    /// So small that without eps the mean of a row's squares is about the least that is promised, of some rows less.
    Faint,
}

impl Data {
    pub const ALL: [Data; 15] = [
        Data::Normal,
        Data::Outliers,
        Data::Zeros,
        Data::Subnormal,
        Data::Largest,
        Data::Inf,
        Data::Nan,
        Data::Cancel,
        Data::Constant,
        Data::Shifted,
        Data::Near,
        Data::Far,
        Data::Wide,
        Data::Vast,
        Data::Faint,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Data::Normal => "normal",
            Data::Outliers => "outliers",
            Data::Zeros => "zeros",
            Data::Subnormal => "subnormal",
            Data::Largest => "largest",
            Data::Inf => "inf",
            Data::Nan => "nan",
            Data::Cancel => "cancel",
            Data::Constant => "constant",
            Data::Shifted => "shifted",
            Data::Near => "near",
            Data::Far => "far",
            Data::Wide => "wide",
            Data::Vast => "vast",
            Data::Faint => "faint",
        }
    }
}

/// Weights or biases: their dtype, and for head norms the gap between heads, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    pub dtype: DType,
    pub gap: usize,
    /// Elements between an aligned address and the first one.
    pub at: usize,
    /// Whether those of all heads are the same `(head_dim,)`.
    pub shared: bool,
}

/// Where `x` or `y` lies: how far from an aligned address, and what is left unused behind each
/// position of the leading axes, all in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    pub dtype: DType,
    pub gaps: [usize; MAX_LEADING],
    pub at: usize,
}

/// What is added, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// Nothing: `y = norm(x)`.
    None,
    /// The input to a residual of its type, which is then normalized: `r += x; y = norm(r)`. With
    /// the residual's gaps, and the elements between an aligned address and its first one.
    Before { gaps: [usize; MAX_LEADING], at: usize },
    /// The norm to what the output holds: `y += norm(x)`.
    Behind,
}

/// One case. Its `Display` is its text on the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub kind: NormKind,
    /// Whether weights and biases are `(heads, head_dim)` rather than `(dim,)`.
    pub heads: bool,
    pub shape: Vec<usize>,
    pub x: Placement,
    pub y: Placement,
    pub w: Option<Param>,
    pub b: Option<Param>,
    pub eps: f32,
    pub weight_offset: f32,
    /// Whether the sum of weight and offset is rounded to the weights' type.
    pub round_offset: bool,
    pub rounding: Rounding,
    pub data: Data,
    pub seed: u64,
    /// Whether the norm is done in place too, to give the same bits.
    pub in_place: bool,
    /// The row that is done alone too, to give the same bits.
    pub alone: Option<usize>,
    pub residual: Residual,
    /// In how many parts each row is, as if over so many devices; 1 for whole rows.
    pub shards: usize,
}

impl Case {
    /// Whether rows may be split: RMSNorm without a residual.
    pub fn may_be_split(&self) -> bool {
        let plain = !self.heads && self.residual == Residual::None;
        self.kind == NormKind::Rms && plain && self.dim() > 1
    }

    /// Where it rounds before the last time.
    pub fn roundings(&self) -> Roundings {
        let w = self.w.map(|w| w.dtype);
        Roundings::of(self.rounding, self.round_offset, self.x.dtype, w, self.y.dtype)
    }

    /// Elements in a row.
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

    /// The number of heads that have weights of their own; 1 where all rows share theirs.
    pub fn heads(&self) -> usize {
        if self.heads { self.leading().last().copied().unwrap_or(1) } else { 1 }
    }

    /// The head, and so the weights, of a row.
    pub fn head_of(&self, row: usize) -> usize {
        row % self.heads()
    }

    /// The strides that gaps make of a shape, one an axis, in elements.
    pub fn strides(&self, placement: &Placement) -> Vec<usize> {
        let mut strides = vec![1; self.shape.len()];
        for axis in (0..self.shape.len().saturating_sub(1)).rev() {
            strides[axis] = strides[axis + 1] * self.shape[axis + 1] + placement.gaps[axis];
        }
        strides
    }

    /// The element at which a row starts, counted from the tensor's first one.
    pub fn row_start(&self, row: usize, strides: &[usize]) -> usize {
        let mut rest = row;
        let mut start = 0;
        for (extent, stride) in self.leading().iter().zip(strides).rev() {
            start += rest % extent * stride;
            rest /= extent;
        }
        start
    }

    /// Where the residual in front of the norm lies, if there is one.
    pub fn r(&self) -> Option<Placement> {
        match self.residual {
            Residual::Before { gaps, at } => Some(Placement { dtype: self.x.dtype, gaps, at }),
            Residual::None | Residual::Behind => None,
        }
    }

    /// Elements, gaps included, that a tensor takes at most; `None` where they cannot be counted.
    fn span(&self, placement: &Placement) -> Option<usize> {
        let gaps = placement.gaps.iter().copied().take(self.leading().len());
        let mut axes = self.leading().iter().zip(gaps).rev();
        axes.try_fold(self.dim(), |inner, (&extent, gap)| inner.checked_add(gap)?.checked_mul(extent.max(1)))
    }

    /// Bytes that the tensors take together, gaps included; `None` where they cannot be counted.
    fn bytes(&self) -> Option<usize> {
        let placed = [Some(self.x), Some(self.y), self.r()].into_iter().flatten();
        let tensors = placed.map(|tensor| (tensor.dtype, self.span(&tensor), tensor.at));
        let params = [self.w, self.b].into_iter().flatten().map(|param| {
            let (heads, gap) =
                if self.heads && !param.shared { (self.heads().max(1), param.gap) } else { (1, 0) };
            let span = self.dim().checked_add(gap).and_then(|head| head.checked_mul(heads));
            (param.dtype, span, param.at)
        });
        tensors.chain(params).try_fold(0_usize, |bytes, (dtype, span, at)| {
            bytes.checked_add(span?.checked_add(at)?.checked_mul(dtype.size())?)
        })
    }

    /// What keeps it from being run, `None` where nothing does: only a text can be at fault.
    fn fault(&self) -> Option<String> {
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
        if self.heads && self.residual != Residual::None {
            return Some("residual needs over=rows".to_owned());
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
        // The kernels read both as one type.
        if self.w.zip(self.b).is_some_and(|(w, b)| w.dtype != b.dtype) {
            return Some("w and b need one dtype".to_owned());
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

/// The text of a case: `key=value` words, and `roundoffset` and `inplace` alone.
///
/// `op=rms|layer over=rows|heads shape=2x3x128 x=f16 y=f16 [w=f32] [b=f32] eps=1e-6 [offset=1
/// [roundoffset]] [rounding=before-weight|before-bias|t5] [residual=before|behind] [xgap=8,0,3] [ygap=…] [rgap=…] [wgap=4] [bgap=…] [shared=w,b]
/// [at=x,y,w,b[,r]] data=normal seed=7 [shards=2] [inplace] [alone=2]`
impl fmt::Display for Case {
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
            Residual::None => {}
            Residual::Before { .. } => write!(f, " residual=before")?,
            Residual::Behind => write!(f, " residual=behind")?,
        }
        let (r_gaps, r_at) = self.r().map_or(([0; MAX_LEADING], 0), |r| (r.gaps, r.at));
        for (name, gaps) in [("xgap", self.x.gaps), ("ygap", self.y.gaps), ("rgap", r_gaps)] {
            if gaps != [0; MAX_LEADING] {
                write!(f, " {name}={}", join(&gaps, ","))?;
            }
        }
        for (name, param) in [("wgap", self.w), ("bgap", self.b)] {
            if let Some(Param { gap: 1.., .. }) = param {
                write!(f, " {name}={}", param.map_or(0, |param| param.gap))?;
            }
        }
        let shared = |param: Option<Param>| param.is_some_and(|param| param.shared);
        match [shared(self.w), shared(self.b)] {
            [false, false] => {}
            [true, false] => write!(f, " shared=w")?,
            [false, true] => write!(f, " shared=b")?,
            [true, true] => write!(f, " shared=w,b")?,
        }
        let param = |param: Option<Param>| param.map_or(0, |param| param.at);
        let at = [self.x.at, self.y.at, param(self.w), param(self.b), r_at];
        if at != [0; 5] {
            write!(f, " at={}", join(if r_at == 0 { &at[..4] } else { &at }, ","))?;
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
    #[error("'{word}' is not a part of a case: expected KEY=VALUE with a known key, inplace or roundoffset")]
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

impl FromStr for Case {
    type Err = CaseError;

    fn from_str(text: &str) -> Result<Case, CaseError> {
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
        case.fault().map_or(Ok(case), |fault| Err(CaseError::Impossible(fault)))
    }
}

/// Where a residual stands.
enum Position {
    Before,
    Behind,
}

/// The words of a text, as far as they are read.
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
    at: [usize; 5],
    residual: Option<Position>,
    data: Option<Data>,
    seed: u64,
    in_place: bool,
    alone: Option<usize>,
    shards: Option<usize>,
}

impl Words {
    fn take(&mut self, word: &str) -> Result<(), CaseError> {
        let flag = match word {
            "inplace" => Some(&mut self.in_place),
            "roundoffset" => Some(&mut self.round_offset),
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
        let finite = || value.parse().ok().filter(|number: &f32| number.is_finite());
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
            "residual" => {
                self.residual = Some(match value {
                    "before" => Position::Before,
                    "behind" => Position::Behind,
                    _ => return Err(no("before or behind")),
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
                let four = || numbers(value).map(|[x, y, w, b]| [x, y, w, b, 0]);
                self.at = numbers(value)
                    .or_else(four)
                    .ok_or_else(|| no("four or five whole numbers below 2^24"))?;
            }
            "data" => {
                let found = Data::ALL.into_iter().find(|data| data.name() == value);
                self.data = Some(found.ok_or_else(|| no("a manner of values, such as normal"))?);
            }
            "seed" => self.seed = value.parse().map_err(|_| no("a whole number"))?,
            "alone" => self.alone = Some(whole()?),
            "shards" => self.shards = Some(whole()?),
            _ => return Err(unknown()),
        }
        Ok(())
    }

    fn case(self) -> Result<Case, CaseError> {
        let missing = |key| CaseError::Missing { key };
        let [x_at, y_at, w_at, b_at, r_at] = self.at;
        let x = self.x.ok_or_else(|| missing("x"))?;
        let y = self.y.ok_or_else(|| missing("y"))?;
        for (name, param, shared) in [("w", self.w, self.shared[0]), ("b", self.b, self.shared[1])] {
            if shared && param.is_none() {
                return Err(CaseError::Impossible(format!("shared={name} needs {name}")));
            }
        }
        let [w_shared, b_shared] = self.shared;
        Ok(Case {
            kind: self.kind.ok_or_else(|| missing("op"))?,
            heads: self.heads,
            shape: self.shape.ok_or_else(|| missing("shape"))?,
            x: Placement { dtype: x, gaps: self.x_gaps, at: x_at },
            y: Placement { dtype: y, gaps: self.y_gaps, at: y_at },
            w: self.w.map(|dtype| Param { dtype, gap: self.w_gap, at: w_at, shared: w_shared }),
            b: self.b.map(|dtype| Param { dtype, gap: self.b_gap, at: b_at, shared: b_shared }),
            eps: self.eps.ok_or_else(|| missing("eps"))?,
            weight_offset: self.weight_offset,
            round_offset: self.round_offset,
            rounding: self.rounding,
            data: self.data.ok_or_else(|| missing("data"))?,
            seed: self.seed,
            in_place: self.in_place,
            alone: self.alone,
            residual: match self.residual {
                None => Residual::None,
                Some(Position::Before) => Residual::Before { gaps: self.r_gaps, at: r_at },
                Some(Position::Behind) => Residual::Behind,
            },
            shards: self.shards.unwrap_or(1),
        })
    }
}

/// What an eps is expected to be.
const EPS: &str = "a number of 0 or more that f32 has: neither infinite there, nor 0 if it is not";

/// Whether `text`, which f32 has as `eps`, is one.
fn is_eps(text: &str, eps: f32) -> bool {
    eps > 0.0 || text.parse() == Ok(0.0_f64)
}

/// `N` whole numbers, small enough that no address made of them overflows.
fn numbers<const N: usize>(text: &str) -> Option<[usize; N]> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
    let numbers: [usize; N] = numbers.ok()?.try_into().ok()?;
    numbers.iter().all(|&number| number < SMALL).then_some(numbers)
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
        assert!(good.parse::<Case>().is_ok());
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
            ("seed=1", "seed=1 shards=2", "shards needs"),
            ("over=heads", "shards=6", "shards needs"),
            ("seed=1", "seed=1 at=1,2,3", "four or five"),
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
            let error = good.replace(from, to).parse::<Case>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_longest_row_is_a_case() {
        let text =
            "op=layer shape=16777216 x=f32 y=f32 w=f32 b=f32 eps=0 residual=before data=normal inplace";
        assert_eq!(text.parse::<Case>().map(|case| case.dim()), Ok(MAX_DIM as usize));
    }

    #[test]
    fn strides_step_over_gaps() {
        let text = "op=rms shape=2x3x4x5 x=f16 y=f16 eps=0 xgap=7,2,1 data=normal";
        let case: Case = text.parse().unwrap();
        let strides = case.strides(&case.x);
        assert_eq!(strides, [3 * (4 * 6 + 2) + 7, 4 * 6 + 2, 6, 1]);
        assert_eq!(case.row_start(23, &strides), strides[0] + 2 * strides[1] + 3 * strides[2]);
    }
}

//! The promise for quantized outputs: which codes, scales and copied values a row may have.

use norm_kernels::abi::QuantFormat;

use super::{
    promise::{Promise, Terms},
    rounding::round,
};
use crate::{
    DType,
    quantize::{Factor, Formula, decode_e4m3},
    reference::{Parameters, Statistics},
};

/// What an operation made of one row.
#[derive(Clone, Copy, Debug)]
pub struct QuantizedRow<'a> {
    /// The codes: of Int8 the bytes.
    pub codes: &'a [u8],
    /// The scales that were written, one for each block: none where the scale was given.
    pub scales: &'a [f32],
    /// The copy of the norm's values, as numbers, if there is one.
    pub normed: Option<&'a [f64]>,
}

/// How a row's values become codes.
#[derive(Clone, Copy, Debug)]
pub struct RowQuantization {
    /// The formula.
    pub formula: Formula,
    /// The type that values are rounded to where the recipe rounds them, and that of their copy.
    pub dtype: DType,
    /// The scale, where it is given.
    pub scale: Option<f32>,
    /// Elements that share a scale that is not given.
    pub block: usize,
}

/// What of a quantized row is not as promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantizedPart {
    /// A scale.
    Scale,
    /// An element of the copy of the norm's values.
    Normed,
    /// A code.
    Code,
}

/// An element that breaks the promise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WrongElement {
    /// What it is.
    pub part: QuantizedPart,
    /// Its index in the row: of a scale the block's.
    pub index: usize,
    /// The least number that it may be; of a code, that code's.
    pub low: f64,
    /// The largest number that it may be.
    pub high: f64,
    /// The number that it is.
    pub given: f64,
}

/// The verdict for a quantized row.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct QuantizedVerdict {
    /// Whether the promise covers this row.
    pub promised: bool,
    /// The first element that breaks it: of scales, then of the copy, then of codes.
    pub wrong: Option<WrongElement>,
    /// Codes for which more than one is allowed.
    pub open: usize,
}

impl QuantizedVerdict {
    /// Whether the promise is kept; true where it does not cover the row.
    pub fn is_kept(&self) -> bool {
        !self.promised || self.wrong.is_none()
    }
}

/// Numbers from `low` to `high`, or NaN where both are.
#[derive(Clone, Copy, Debug)]
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// The number, and whether it is one of these.
    fn with(self, given: f64) -> (f64, bool) {
        let is_kept = self.low <= given && given <= self.high || self.low.is_nan() && given.is_nan();
        (given, is_kept)
    }
}

/// Judges what became of the row `v`, the numbers that are normalized, whose norm has these parameters.
///
/// # What is promised
///
/// - **Values**: a value `n` is one of `T[n ± e]`, the numbers of the type T that values are rounded to, from that next to
///   `n - e` to that next to `n + e`: of `f32` where the recipe does not round them. `e` is the bound of
///   [`Promise`](super::Promise) for an output of `f32`, with the recipe's rounding in between. That is what the order of a
///   reduction decides. Of 16 bits nearly always a single number is left.
/// - **The copy** is such a value, rounded to T.
/// - **A scale** is the formula's, bit for bit, of a largest magnitude between those that the lowest and the highest values
///   have.
/// - **A code** is the formula's, bit for bit, with the scale that was given or that the output itself has, of a value of the
///   range; or lies between the codes of the lowest and the highest.
///
/// So where a preset rounds values to 16 bits, and a single one is possible, codes are bit for bit its source's. For
/// [`Exact`](crate::QuantRecipe::Exact) this means that a code's number is within half a step of `n / scale`, `n` in f64, and
/// `(e + 2⁻²² · |n|) / scale` more.
///
/// # Panics
///
/// If `v` is empty, or codes, the copy or scales are fewer than the row has.
pub fn judge_quantized_row(
    v: &[f64],
    parameters: &Parameters<'_>,
    how: &RowQuantization,
    given: &QuantizedRow<'_>,
) -> QuantizedVerdict {
    let RowQuantization { formula, dtype, scale, block } = *how;
    let promise = Promise::new(Statistics::of(v, parameters.kind, parameters.eps), parameters, DType::F32);
    let value_type = if formula.recipe.rounds_value() { dtype } else { DType::F32 };
    let values: Vec<Range> = (0..v.len())
        .map(|index| {
            let (low, high) = promise.range(Terms::of(v, parameters, index), parameters.bias.is_some());
            Range { low: round(value_type, low), high: round(value_type, high) }
        })
        .collect();
    let mut wrong = None;
    let mut consider = |part, index, range: Range, (given, is_kept): (f64, bool)| {
        if wrong.is_none() && !is_kept {
            wrong = Some(WrongElement { part, index, low: range.low, high: range.high, given });
        }
    };
    let blocks: Vec<&[Range]> = values.chunks(if scale.is_some() { v.len() } else { block }).collect();
    if scale.is_none() {
        for (index, values) in blocks.iter().enumerate() {
            let (low, high) = absmax(formula, values);
            let range = Range { low: formula.scale(low).into(), high: formula.scale(high).into() };
            consider(QuantizedPart::Scale, index, range, range.with(given.scales[index].into()));
        }
    }
    if let Some(normed) = given.normed {
        for (index, range) in values.iter().enumerate() {
            let copied = Range { low: round(dtype, range.low), high: round(dtype, range.high) };
            consider(QuantizedPart::Normed, index, copied, copied.with(normed[index]));
        }
    }
    let mut open = 0;
    let mut first = 0;
    for (index, values) in blocks.iter().enumerate() {
        let factors = factors(formula, scale, values, given.scales.get(index).copied());
        for (at, range) in values.iter().enumerate() {
            let code = given.codes[first + at];
            let allowed = Codes::of(formula, *range, &factors);
            open += usize::from(allowed.low != allowed.high);
            // -0 and 0 are two codes of one number, so that it is codes that are compared.
            let [low, high, given] =
                [allowed.low, allowed.high, code].map(|code| number(formula.format, code));
            consider(QuantizedPart::Code, first + at, Range { low, high }, (given, allowed.hold(code)));
        }
        first += values.len();
    }
    QuantizedVerdict { promised: promise.holds(), wrong, open }
}

/// The largest magnitudes of the lowest and of the highest values.
fn absmax(formula: Formula, values: &[Range]) -> (f32, f32) {
    let magnitude = |range: &Range| {
        let (a, b) = (range.low.abs(), range.high.abs());
        let least = if range.low <= 0.0 && range.high >= 0.0 { 0.0 } else { a.min(b) };
        // NaN stays NaN in both.
        if a.is_nan() { (f32::NAN, f32::NAN) } else { (least as f32, a.max(b) as f32) }
    };
    let (least, largest): (Vec<f32>, Vec<f32>) = values.iter().map(magnitude).unzip();
    (formula.absmax(&least), formula.absmax(&largest))
}

/// By what values become quotients: once, or where the largest magnitude itself is the divisor, for the least and the
/// largest that it may be.
fn factors(formula: Formula, scale: Option<f32>, values: &[Range], written: Option<f32>) -> Vec<Factor> {
    if let Some(scale) = scale {
        return vec![formula.factor(scale)];
    }
    match (formula.is_of_absmax(), written) {
        (false, Some(written)) => vec![formula.factor(written)],
        _ => {
            let (low, high) = absmax(formula, values);
            vec![formula.factor_of(low), formula.factor_of(high)]
        }
    }
}

/// Codes in the order of their numbers, from `low` to `high`.
struct Codes {
    format: QuantFormat,
    low: u8,
    high: u8,
    /// Whether NaN's code is allowed too.
    nan: bool,
}

impl Codes {
    /// Those of the values of a range, with one of the factors.
    fn of(formula: Formula, range: Range, factors: &[Factor]) -> Codes {
        let format = formula.format;
        let ends = [range.low, range.high].map(|value| value as f32);
        let codes = factors.iter().flat_map(|factor| ends.map(|value| formula.code(value, *factor)));
        let mut codes: Vec<u8> = codes.collect();
        let is_nan = |code: &u8| number(format, *code).is_nan();
        let nan = codes.iter().any(is_nan);
        if codes.iter().any(|code| !is_nan(code)) {
            codes.retain(|code| !is_nan(code));
        }
        codes.sort_by_key(|code| order(format, *code));
        Codes { format, low: codes[0], high: codes[codes.len() - 1], nan }
    }

    fn hold(&self, code: u8) -> bool {
        let place = |code| order(self.format, code);
        if number(self.format, code).is_nan() {
            return self.nan;
        }
        place(self.low) <= place(code) && place(code) <= place(self.high)
    }
}

/// The number with that code.
fn number(format: QuantFormat, code: u8) -> f64 {
    match format {
        QuantFormat::E4m3 => decode_e4m3(code).into(),
        QuantFormat::Int8 => (code as i8).into(),
    }
}

/// Codes as their numbers are ordered, -0 in front of 0.
fn order(format: QuantFormat, code: u8) -> i32 {
    match format {
        QuantFormat::E4m3 if code & 0x80 != 0 => -1 - i32::from(code & 0x7f),
        QuantFormat::E4m3 => code.into(),
        QuantFormat::Int8 => (code as i8).into(),
    }
}

//! The accuracy promise, in one place.

#[cfg(test)]
mod tests;

use super::rounding::{largest, round, ulp, ulp_distance};
use crate::{
    DType, NormKind,
    reference::{Parameters, Statistics},
};

/// The relative part of the bound: about eight roundings to `f32`, of which an output sees the
/// square root, the division, two products, the weight offset and the sums.
pub const RELATIVE: f64 = 1e-6;

/// The promise needs `mean_square + eps` to be at least this, so that its terms are normal
/// numbers in `f32` with room to spare.
pub const MIN_MEAN_SQUARE: f64 = 1e-30;

/// How far a mean that is summed in `f64`, and taken away in two `f32`, may be off, relative to the mean of
/// magnitudes: 2⁻⁴³, more than sums of the longest rows lose.
const MEAN: f64 = 1.0 / (1_u64 << 43) as f64;

/// The smallest `f32`, which any intermediate result may lose near 0.
const SMALLEST_F32: f64 = f32::from_bits(1) as f64;

/// What every backend keeps to for the outputs of one row, against the f64
/// [`reference`](crate::reference) on inputs as the operation sees them.
///
/// - RMSNorm without a bias: `f16` and `bf16` outputs are within 1 ULP of the rounded reference;
///   `f32` outputs within [`RELATIVE`] of it.
/// - LayerNorm, and RMSNorm with a bias, where what is subtracted or added may cancel:
///   `|error| ≤ ulp(y) / 2 + 1e-6 · (|x - mean| · rstd · |w| + |b|)`, and, for LayerNorm,
///   `+ 2⁻⁴³ · mean(|x|) · rstd · |w|` for rows that cancel in the mean itself. However far a row is from 0,
///   its mean takes no more than that.
/// - Either norm added to what the output holds, `y_old`: the bound of LayerNorm with
///   `1e-6 · |y_old|` more. The norm is in error by as much as ever before it is rounded; the sum
///   with `y_old` is one addition in `f32`, off by at most 2⁻²⁴ · (|norm| + |y_old|); then comes the
///   one rounding to `y`. As the two may cancel, nothing relative to the sum can be promised.
/// - Of a residual that the input is added to first, nothing is left open: it is
///   [`add`](crate::reference::add) of the two, and `x` below is what that gives.
/// - In each case the smallest `f32` may be lost in the output, before the weight multiplies, and,
///   for LayerNorm, in the mean: `+ 2⁻¹⁴⁹ · (1 + |w| · (1 + rstd))`, the inner `rstd` for LayerNorm
///   alone. It matters only where something is subnormal.
///
/// `w` is the factor with the offset added. Outputs beyond the largest finite number become
/// infinite; for the bound infinity counts as the next power of two. An output is NaN exactly
/// where the reference is, and equal to it where the reference itself is infinite.
///
/// It holds at every `dim` up to 2²⁰ if the sum of `x²`, for LayerNorm that of `(x - mean)²`, is finite in
/// `f32` (magnitudes up to 1.8e19 / sqrt(dim): 2.8e17 at 4096) and `mean_square + eps` is at least
/// [`MIN_MEAN_SQUARE`], which it is with any `eps` of 1e-30 or more; or else for inputs that are not finite
/// themselves. Kernels sum squares in `f32`, so beyond that they give 0, infinities or NaN. The CPU backend sums
/// them in `f64`, and keeps to it as far as `rstd` is a normal `f32`.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    kind: NormKind,
    y: DType,
    may_cancel: bool,
    statistics: Statistics,
    holds: bool,
}

/// What an output is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// The input, as the operation sees it.
    pub x: f64,
    /// What multiplies it: the weight with the offset added, 1 without weights.
    pub w: f64,
    /// The bias, 0 without.
    pub b: f64,
    /// What the output held before, where the norm is added to it; else 0.
    pub onto: f64,
}

impl Terms {
    /// That of a row at `index`.
    fn of(x: &[f64], parameters: &Parameters<'_>, index: usize) -> Terms {
        let (w, b, onto) = (parameters.factor(index), parameters.bias(index), parameters.onto(index));
        Terms { x: x[index], w, b, onto }
    }
}

/// One output, judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The reference, not rounded.
    pub expected: f64,
    /// The output.
    pub given: f64,
    /// The distance between the two in ULP of the output's type around the reference; for an
    /// `f16` or `bf16` RMSNorm without bias, in whole steps from the rounded reference.
    /// Infinite where one alone is NaN or infinite and must not be.
    pub error_ulp: f64,
    /// What is allowed, in the same unit.
    pub allowed_ulp: f64,
}

impl Verdict {
    /// The part of what is allowed that was used: at most 1 where the promise is kept.
    pub fn ratio(&self) -> f64 {
        if self.error_ulp == 0.0 { 0.0 } else { self.error_ulp / self.allowed_ulp }
    }

    /// Whether the promise is kept.
    pub fn is_kept(&self) -> bool {
        self.ratio() <= 1.0
    }
}

impl Promise {
    /// The promise for a row of these statistics, normalized with these parameters into type `y`.
    pub fn new(statistics: Statistics, parameters: &Parameters<'_>, y: DType) -> Promise {
        let in_range = statistics.sum_of_squares <= f64::from(f32::MAX)
            && statistics.mean_square + parameters.eps >= MIN_MEAN_SQUARE;
        // Squares of finite f32 values add up to far less than f64 holds, so only an input that
        // is NaN or infinite itself makes the sum so.
        let holds = in_range || !statistics.sum_of_squares.is_finite();
        let may_cancel =
            parameters.kind == NormKind::Layer || parameters.bias.is_some() || parameters.onto.is_some();
        Promise { kind: parameters.kind, y, may_cancel, statistics, holds }
    }

    /// Whether anything is promised for this row.
    pub fn holds(&self) -> bool {
        self.holds
    }

    /// Judges the output `given` for one element, whether or not the promise
    /// [`holds`](Self::holds).
    pub fn judge(&self, terms: Terms, given: f64) -> Verdict {
        let Statistics { mean, rstd, .. } = self.statistics;
        let Terms { x, w, b, onto } = terms;
        let expected = (x - mean) * rstd * w + b + onto;
        let (error_ulp, allowed_ulp) = self.measure(terms, expected, given);
        Verdict { expected, given, error_ulp, allowed_ulp }
    }

    /// The error and what is allowed, in ULP.
    fn measure(&self, Terms { x, w, b, onto }: Terms, expected: f64, given: f64) -> (f64, f64) {
        if !expected.is_finite() || given.is_nan() {
            let equal = expected == given || (expected.is_nan() && given.is_nan());
            return (if equal { 0.0 } else { f64::INFINITY }, 0.0);
        }
        let Statistics { mean, rstd, mean_magnitude, .. } = self.statistics;
        let (mean_error, mean_underflow) = match self.kind {
            NormKind::Rms => (0.0, 0.0),
            NormKind::Layer => (MEAN * mean_magnitude, rstd),
        };
        let underflow = SMALLEST_F32 * (1.0 + w.abs() * (1.0 + mean_underflow));
        let ulp = ulp(self.y, expected);
        if !self.may_cancel && self.y != DType::F32 {
            let steps = ulp_distance(self.y, given, round(self.y, expected));
            return (steps, 1.0 + underflow / ulp);
        }
        // Infinity stands one step beyond the largest, and the reference goes no further.
        let infinity = largest(self.y) + ulp_of_largest(self.y);
        let error = given.clamp(-infinity, infinity) - expected.clamp(-infinity, infinity);
        let bound = if self.may_cancel {
            let scale = RELATIVE * (x - mean).abs() + mean_error;
            ulp / 2.0 + scale * rstd * w.abs() + RELATIVE * (b.abs() + onto.abs())
        } else {
            RELATIVE * expected.abs()
        };
        (error.abs() / ulp, (bound + underflow) / ulp)
    }
}

fn ulp_of_largest(dtype: DType) -> f64 {
    ulp(dtype, largest(dtype))
}

/// The outcome for a whole row.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct WorstRow {
    /// Whether anything is promised for this row.
    pub promised: bool,
    /// The index of the element that used most of what is allowed.
    pub index: usize,
    /// Its verdict.
    pub worst: Verdict,
}

impl WorstRow {
    /// Whether the promise is kept, as it is where there is none.
    pub fn is_kept(&self) -> bool {
        !self.promised || self.worst.is_kept()
    }
}

/// Judges the outputs `given`, of type `y`, for the row `x` as the operation sees it
/// ([`widen_input`](crate::reference::widen_input)).
///
/// # Panics
///
/// If `x` is empty, or `given`, weights, biases or what the norm is added to are shorter than `x`.
pub fn judge_row(x: &[f64], parameters: &Parameters<'_>, y: DType, given: &[f64]) -> WorstRow {
    let promise = Promise::new(Statistics::of(x, parameters.kind, parameters.eps), parameters, y);
    let verdict = |index: usize| promise.judge(Terms::of(x, parameters, index), given[index]);
    let (index, worst) = (0..x.len())
        .map(|index| (index, verdict(index)))
        .reduce(|a, b| if b.1.ratio() > a.1.ratio() { b } else { a })
        .expect("a row has elements");
    WorstRow { promised: promise.holds(), index, worst }
}

//! The same formulas in f64, one row at a time, to measure everything else against.
//!
//! Readable first: slices of f64 in, a `Vec` out. Sums are compensated, so that they are good for
//! more digits than any bound needs, however the row cancels.

mod operation;
mod rows;
#[cfg(test)]
mod tests;

pub use operation::{Addition, Operation, Row, first_difference};
pub use rows::{row_start, strides};

use crate::{DType, Element, NormKind, Roundings, accuracy::round};

/// What a row is normalized with.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a> {
    /// Which normalization.
    pub kind: NormKind,
    /// Added to the mean of squares, or the variance, before the square root.
    pub eps: f64,
    /// The weights, as many as the row has elements: 1 where there are none.
    pub weight: Option<&'a [f64]>,
    /// Added to every weight; of no effect without weights.
    pub weight_offset: f64,
    /// The roundings before the last one, [`Roundings::NONE`] for a single one; those that [`Roundings::of`] gives for
    /// the types of the operation.
    pub roundings: Roundings,
    /// The biases, as many as the row has elements: 0 where there are none.
    pub bias: Option<&'a [f64]>,
    /// What the norm is added to, as many as the row has elements, be it what the output holds or another tensor;
    /// `None` where the output is the norm.
    pub onto: Option<&'a [f64]>,
    /// What that addition multiplies, [`Factors::NONE`] for nothing.
    pub factors: Factors,
}

/// What an addition to a residual multiplies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factors {
    /// What is added, `x` or the norm, by this.
    pub branch: f64,
    /// The sum, by this.
    pub sum: f64,
}

impl Factors {
    /// Nothing.
    pub const NONE: Factors = Factors { branch: 1.0, sum: 1.0 };
}

impl Parameters<'_> {
    /// What element `index` is multiplied by: `w + weight_offset`, or 1 without weights. Where the sum is rounded, it is
    /// made in `f32`, and rounded from there.
    pub fn factor(&self, index: usize) -> f64 {
        let Some(w) = self.weight else { return 1.0 };
        let sum = w[index] + self.weight_offset;
        self.roundings.factor.map_or(sum, |to| round(to, round(DType::F32, sum)))
    }

    /// The bias of element `index`.
    pub fn bias(&self, index: usize) -> f64 {
        self.bias.map_or(0.0, |b| b[index])
    }

    /// What element `index` of the norm is added to.
    pub fn onto(&self, index: usize) -> f64 {
        self.onto.map_or(0.0, |onto| onto[index])
    }
}

/// What is known of a row before its elements are scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// What is subtracted: the mean for LayerNorm, 0 for RMSNorm.
    pub mean: f64,
    /// The mean of squares (RMSNorm) or the biased variance (LayerNorm).
    pub mean_square: f64,
    /// `1 / sqrt(mean_square + eps)`.
    pub rstd: f64,
    /// The mean of the magnitudes: how large the terms were that made the mean.
    pub mean_magnitude: f64,
    /// The sum whose mean is [`mean_square`](Self::mean_square): of the squares about 0 (RMSNorm) or about the mean.
    pub sum_of_squares: f64,
}

impl Statistics {
    /// Those of one row, which has at least one element.
    pub fn of(x: &[f64], kind: NormKind, eps: f64) -> Statistics {
        let dim = x.len() as f64;
        let mean = match kind {
            NormKind::Rms => 0.0,
            NormKind::Layer => sum(x.iter().copied()) / dim,
        };
        let sum_of_squares = sum(x.iter().map(|x| (x - mean) * (x - mean)));
        let mean_square = sum_of_squares / dim;
        Statistics {
            mean,
            mean_square,
            rstd: 1.0 / (mean_square + eps).sqrt(),
            mean_magnitude: sum(x.iter().map(|x| x.abs())) / dim,
            sum_of_squares,
        }
    }
}

/// One row normalized: `(x - mean) * rstd * (w + weight_offset) + b`, added to what `onto` has, scaled by
/// [`factors`](Parameters::factors). What is to be rounded in
/// between is; of the last rounding, to the type of the output, nothing is done here.
///
/// RMSNorm is Zhang and Sennrich 2019 (arXiv:1910.07467), LayerNorm Ba, Kiros and Hinton 2016
/// (arXiv:1607.06450).
pub fn norm(x: &[f64], parameters: &Parameters<'_>) -> Vec<f64> {
    let Statistics { mean, rstd, .. } = Statistics::of(x, parameters.kind, parameters.eps);
    let Roundings { normalized, product, result, branch, sum, .. } =
        parameters.roundings.that_matter(parameters.bias.is_some(), parameters.onto.is_some());
    let Factors { branch: branch_by, sum: sum_by } = parameters.factors;
    let rounded = |to: Option<DType>, value: f64| to.map_or(value, |to| round(to, value));
    let one = |(i, x)| {
        let n = rounded(normalized, (x - mean) * rstd);
        let product = rounded(product, n * parameters.factor(i));
        let norm = product + parameters.bias(i);
        match parameters.onto {
            None => norm,
            Some(onto) => {
                let branch = rounded(branch, rounded(result, norm) * branch_by);
                rounded(sum, branch + onto[i]) * sum_by
            }
        }
    };
    x.iter().enumerate().map(one).collect()
}

/// The residual with a row added: each sum rounded once, to nearest even, to `dtype`, the type of
/// both. What is normalized next is [`input`] of these.
///
/// Every backend has these bits (any NaN for NaN). In `f64` two `f32` are added well enough for
/// the rounding that follows to be the only one, and in `f32` two of 16 bits: twice the digits and
/// two more are enough (Figueroa 1995, "When is double rounding innocuous?").
///
/// # Panics
///
/// If `r` is shorter than `x`.
pub fn add(dtype: DType, x: &[f64], r: &[f64]) -> Vec<f64> {
    x.iter().enumerate().map(|(index, x)| round(dtype, x + r[index])).collect()
}

/// [`add`] of a row and a residual of type `dtype` with `x` and the sum multiplied, and rounded in between as `roundings`
/// say of [`branch`](Roundings::branch) and [`sum`](Roundings::sum).
///
/// Every backend has these bits (any NaN for NaN). Both products and the sum are made in `f32`. In `f64` a product of two
/// `f32` is exact, and their sum good enough, as for [`add`].
///
/// # Panics
///
/// If `r` is shorter than `x`.
pub fn add_scaled(dtype: DType, x: &[f64], r: &[f64], factors: Factors, roundings: Roundings) -> Vec<f64> {
    let Roundings { branch, sum, .. } = roundings;
    // A value of f32, and then perhaps of 16 bits.
    let rounded = |to: Option<DType>, value: f64| {
        let value = round(DType::F32, value);
        to.map_or(value, |to| round(to, value))
    };
    let one = |(index, x): (usize, &f64)| {
        let branch = rounded(branch, x * factors.branch);
        round(dtype, rounded(None, rounded(sum, branch + r[index]) * factors.sum))
    };
    x.iter().enumerate().map(one).collect()
}

/// RMSNorm of one row: `x / sqrt(mean(x²) + eps) * w`.
pub fn rms_norm(x: &[f64], w: Option<&[f64]>, eps: f64) -> Vec<f64> {
    norm(x, &plain(NormKind::Rms, w, None, eps))
}

/// LayerNorm of one row: `(x - mean(x)) / sqrt(var(x) + eps) * w + b`, `var` the biased variance.
pub fn layer_norm(x: &[f64], w: Option<&[f64]>, b: Option<&[f64]>, eps: f64) -> Vec<f64> {
    norm(x, &plain(NormKind::Layer, w, b, eps))
}

fn plain<'a>(kind: NormKind, w: Option<&'a [f64]>, b: Option<&'a [f64]>, eps: f64) -> Parameters<'a> {
    let roundings = Roundings::NONE;
    let factors = Factors::NONE;
    Parameters { kind, eps, weight: w, weight_offset: 0.0, roundings, bias: b, onto: None, factors }
}

/// Elements of `x` as an operation sees them: infinite `f16` ones count as ±65504, NaN stays.
pub fn widen_input<E: Element>(x: &[E]) -> Vec<f64> {
    x.iter().map(|&x| input(E::DTYPE, x.into())).collect()
}

/// Weights, biases or outputs as they are.
pub fn widen<E: Element>(values: &[E]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// One element of an `x` of type `dtype` as an operation sees it.
pub fn input(dtype: DType, x: f64) -> f64 {
    match dtype {
        // `clamp` lets NaN through.
        DType::F16 => x.clamp(-65504.0, 65504.0),
        DType::BF16 | DType::F32 => x,
    }
}

/// Neumaier's compensated sum (1974): what rounding takes from the sum is summed beside it.
fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut rest) = (0.0_f64, 0.0_f64);
    for term in terms {
        let next = sum + term;
        rest += if sum.abs() >= term.abs() { (sum - next) + term } else { (term - next) + sum };
        sum = next;
    }
    // Infinities have no rest: infinity less infinity.
    if sum.is_finite() { sum + rest } else { sum }
}

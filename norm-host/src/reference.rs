//! The norms in f64, one row at a time: the reference that results are measured against.
//!
//! The code favours readability: slices of f64 in, a `Vec` out. Sums are compensated, so that they have
//! more correct digits than any bound needs, even where a row cancels.

mod gated;
mod operation;
mod qk_rope;
mod quantized;
mod rows;
#[cfg(test)]
mod tests;

pub use gated::{activate, gated};
pub use operation::{Addition, Operation, Row, first_difference};
pub use qk_rope::{Head, HeadOperation, HeadParameters};
pub use quantized::{QuantizedOperation, quotients};
pub use rows::{row_start, strides};

use crate::{DType, Element, NormKind, accuracy::round, problem::Roundings};

/// The parameters of a row's normalization.
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
    /// The roundings before the last one: [`Roundings::NONE`] for a single one, otherwise [`Roundings::of`] the types of the
    /// operation.
    pub roundings: Roundings,
    /// The biases, as many as the row has elements: 0 where there are none.
    pub bias: Option<&'a [f64]>,
    /// The residual that the norm is added to (the previous output or another tensor), as many as the row has elements;
    /// `None` where there is none.
    pub onto: Option<&'a [f64]>,
    /// The factors of that addition, [`Factors::NONE`] for none.
    pub factors: Factors,
}

/// The factors in an addition to a residual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factors {
    /// Multiplies what is added, `x` or the norm.
    pub branch: f64,
    /// Multiplies the sum.
    pub sum: f64,
}

impl Factors {
    /// No factors: both are 1.
    pub const NONE: Factors = Factors { branch: 1.0, sum: 1.0 };
}

impl Parameters<'_> {
    /// The factor of element `index`: `w + weight_offset`, or 1 without weights. Where that sum is rounded, it is computed
    /// in `f32`, and rounded from there.
    pub fn factor(&self, index: usize) -> f64 {
        let Some(w) = self.weight else { return 1.0 };
        let sum = w[index] + self.weight_offset;
        self.roundings.factor.map_or(sum, |to| round(to, round(DType::F32, sum)))
    }

    /// The bias of element `index`, 0 without biases.
    pub fn bias(&self, index: usize) -> f64 {
        self.bias.map_or(0.0, |b| b[index])
    }

    /// The residual of element `index`, 0 without one.
    pub fn onto(&self, index: usize) -> f64 {
        self.onto.map_or(0.0, |onto| onto[index])
    }
}

/// The statistics of a row, from which its elements are normalized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// The value that is subtracted: the mean for LayerNorm, 0 for RMSNorm.
    pub mean: f64,
    /// The mean of squares (RMSNorm) or the biased variance (LayerNorm).
    pub mean_square: f64,
    /// `1 / sqrt(mean_square + eps)`.
    pub rstd: f64,
    /// The mean of the magnitudes, to which the error of the mean is proportional.
    pub mean_magnitude: f64,
    /// The sum of squares, about 0 (RMSNorm) or about the mean (LayerNorm): `dim` times
    /// [`mean_square`](Self::mean_square).
    pub sum_of_squares: f64,
}

impl Statistics {
    /// The statistics of one row, which has at least one element.
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

/// One row normalized: `(x - mean) * rstd * (w + weight_offset) + b`, added to the residual `onto`, with the
/// [`factors`](Parameters::factors) of that addition. The roundings in between are applied; the last one, to the type of
/// the output, is not.
///
/// RMSNorm is Zhang and Sennrich 2019 (arXiv:1910.07467), LayerNorm Ba, Kiros and Hinton 2016
/// (arXiv:1607.06450).
///
/// ```
/// use norm_host::{
///     NormKind,
///     problem::Roundings,
///     reference::{Factors, Parameters, norm},
/// };
///
/// let parameters = Parameters {
///     kind: NormKind::Layer,
///     eps: 0.0,
///     weight: None,
///     weight_offset: 0.0,
///     roundings: Roundings::NONE,
///     bias: Some(&[0.5, 0.5]),
///     onto: None,
///     factors: Factors::NONE,
/// };
/// assert_eq!(norm(&[1.0, 5.0], &parameters), [-0.5, 1.5]);
/// ```
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
/// both. [`input`] of these sums is what is normalized next.
///
/// Every backend has these bits (any NaN for NaN). A sum of two `f32` that is computed in `f64` and then rounded to `f32`
/// equals the correctly rounded sum, and so does one of two 16-bit numbers in `f32`: twice the digits plus two are enough
/// (Figueroa 1995, "When is double rounding innocuous?").
///
/// ```
/// use norm_host::{DType, reference::add};
///
/// // Neighbours around 2048 are 2 apart in f16: 2049 lies between two, and goes to the even one.
/// assert_eq!(add(DType::F16, &[1.0], &[2048.0]), [2048.0]);
/// ```
///
/// # Panics
///
/// If `r` is shorter than `x`.
pub fn add(dtype: DType, x: &[f64], r: &[f64]) -> Vec<f64> {
    x.iter().enumerate().map(|(index, x)| round(dtype, x + r[index])).collect()
}

/// [`add`] of a row and a residual of type `dtype` with factors of `x` and of the sum, and with the roundings
/// [`branch`](Roundings::branch) and [`sum`](Roundings::sum) in between.
///
/// Every backend has these bits (any NaN for NaN). Both products and the sum are computed in `f32`. In `f64` a product of
/// two `f32` is exact, and their sum rounds correctly, as for [`add`].
///
/// ```
/// use norm_host::{
///     DType,
///     problem::Roundings,
///     reference::{Factors, add_scaled},
/// };
///
/// let factors = Factors { branch: 0.5, sum: 2.0 };
/// assert_eq!(add_scaled(DType::F32, &[2.0], &[3.0], factors, Roundings::NONE), [8.0]);
/// ```
///
/// # Panics
///
/// If `r` is shorter than `x`.
pub fn add_scaled(dtype: DType, x: &[f64], r: &[f64], factors: Factors, roundings: Roundings) -> Vec<f64> {
    let Roundings { branch, sum, .. } = roundings;
    // Rounds to f32, and then perhaps to 16 bits.
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
///
/// ```
/// let y = norm_host::reference::rms_norm(&[1.0, 7.0], None, 0.0);
/// assert!((y[1] - 1.4).abs() < 1e-12); // 7 / sqrt((1 + 49) / 2)
/// ```
pub fn rms_norm(x: &[f64], w: Option<&[f64]>, eps: f64) -> Vec<f64> {
    norm(x, &plain(NormKind::Rms, w, None, eps))
}

/// LayerNorm of one row: `(x - mean(x)) / sqrt(var(x) + eps) * w + b`, `var` the biased variance.
///
/// ```
/// let y = norm_host::reference::layer_norm(&[1.0, 5.0], Some(&[1.0, 2.0]), None, 0.0);
/// assert_eq!(y, [-1.0, 2.0]);
/// ```
pub fn layer_norm(x: &[f64], w: Option<&[f64]>, b: Option<&[f64]>, eps: f64) -> Vec<f64> {
    norm(x, &plain(NormKind::Layer, w, b, eps))
}

fn plain<'a>(kind: NormKind, w: Option<&'a [f64]>, b: Option<&'a [f64]>, eps: f64) -> Parameters<'a> {
    let roundings = Roundings::NONE;
    let factors = Factors::NONE;
    Parameters { kind, eps, weight: w, weight_offset: 0.0, roundings, bias: b, onto: None, factors }
}

/// Elements of `x` as an operation sees them: infinite `f16` count as ±65504, NaN stays NaN.
///
/// ```
/// use half::f16;
/// use norm_host::reference::widen_input;
///
/// assert_eq!(widen_input(&[f16::ONE, f16::INFINITY]), [1.0, 65504.0]);
/// ```
pub fn widen_input<E: Element>(x: &[E]) -> Vec<f64> {
    x.iter().map(|&x| input(E::DTYPE, x.into())).collect()
}

/// Weights, biases or outputs as `f64`, unchanged.
///
/// ```
/// use half::f16;
/// use norm_host::reference::widen;
///
/// assert_eq!(widen(&[f16::ONE, f16::INFINITY]), [1.0, f64::INFINITY]);
/// ```
pub fn widen<E: Element>(values: &[E]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// One element of an `x` of type `dtype` as an operation sees it.
///
/// ```
/// use norm_host::{DType, reference::input};
///
/// assert_eq!(input(DType::F16, f64::INFINITY), 65504.0);
/// assert_eq!(input(DType::BF16, f64::INFINITY), f64::INFINITY);
/// ```
pub fn input(dtype: DType, x: f64) -> f64 {
    match dtype {
        // `clamp` lets NaN through.
        DType::F16 => x.clamp(-65504.0, 65504.0),
        DType::BF16 | DType::F32 => x,
    }
}

/// Neumaier's compensated sum (1974): the rounding errors of the sum are summed separately.
fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut rest) = (0.0_f64, 0.0_f64);
    for term in terms {
        let next = sum + term;
        rest += if sum.abs() >= term.abs() { (sum - next) + term } else { (term - next) + sum };
        sum = next;
    }
    // Of an infinite sum the rest is NaN, infinity minus infinity.
    if sum.is_finite() { sum + rest } else { sum }
}

//! Gated norms in f64.

use norm_kernels::abi::{Activation, Gating};

use super::{Parameters, Statistics};
use crate::{DType, accuracy::round, problem::Roundings};

/// `g / (1 + exp(-g))`, or `1 / (1 + exp(-g))`.
///
/// ```
/// use norm_host::{Activation, reference::activate};
///
/// assert_eq!(activate(Activation::Sigmoid, 0.0), 0.5);
/// assert_eq!(activate(Activation::Silu, 0.0), 0.0);
/// ```
pub fn activate(activation: Activation, g: f64) -> f64 {
    let numerator = match activation {
        Activation::Silu => g,
        Activation::Sigmoid => 1.0,
    };
    numerator / (1.0 + (-g).exp())
}

/// One row `x` normalized by RMSNorm and multiplied by a gate `g`, before or after: `x * rstd * (w + weight_offset) *
/// act(g)`, or the same without `act(g)` for `x * act(g)` in place of `x`. The roundings in between are applied; the last
/// one, to the type of the output, is not. Biases, a residual and its factors do not count.
///
/// ```
/// use norm_host::{
///     Activation, GateOrder, Gating, NormKind,
///     problem::Roundings,
///     reference::{Factors, Parameters, gated},
/// };
///
/// let parameters = Parameters {
///     kind: NormKind::Rms,
///     eps: 0.0,
///     weight: None,
///     weight_offset: 0.0,
///     roundings: Roundings::NONE,
///     bias: None,
///     onto: None,
///     factors: Factors::NONE,
/// };
/// let gating = Gating { activation: Activation::Sigmoid, order: GateOrder::NormFirst };
/// assert_eq!(gated(&[3.0, -3.0], &[0.0, 0.0], gating, &parameters), [0.5, -0.5]);
/// ```
///
/// # Panics
///
/// If `g` or the weights are shorter than `x`.
pub fn gated(x: &[f64], g: &[f64], gating: Gating, parameters: &Parameters<'_>) -> Vec<f64> {
    let first = gating.gates_first();
    let activated: Vec<f64> = g[..x.len()].iter().map(|&g| activate(gating.activation, g)).collect();
    let values: Vec<f64> = match first {
        true => x.iter().zip(&activated).map(|(x, a)| x * a).collect(),
        false => x.to_vec(),
    };
    let Statistics { rstd, .. } = Statistics::of(&values, parameters.kind, parameters.eps);
    let Roundings { normalized, result, .. } = parameters.roundings.that_matter(false, !first);
    let rounded = |to: Option<DType>, value: f64| to.map_or(value, |to| round(to, value));
    let one = |(index, value): (usize, f64)| {
        let norm = rounded(normalized, value * rstd) * parameters.factor(index);
        if first { norm } else { rounded(result, norm) * activated[index] }
    };
    values.into_iter().enumerate().map(one).collect()
}

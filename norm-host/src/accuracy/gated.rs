//! The accuracy promise of gated norms.

use norm_kernels::abi::{Activation, Gating};

use super::{
    promise::{Promise, Terms, Verdict, WorstRow, measure, nearest},
    value::{SMALLEST_F32, Value},
};
use crate::{
    DType,
    problem::Roundings,
    reference::{Parameters, Statistics, activate},
};

/// The relative part of an activation's error, with the product that it is a factor of.
const ACTIVATION: f64 = 6e-7;

/// What that grows by for each unit that a gate is below 0.
const BELOW_ZERO: f64 = 1e-7;

/// The smallest normal `f32`: a smaller sigmoid may be lost.
const SMALLEST_NORMAL: f64 = f32::MIN_POSITIVE as f64;

/// The error that `act(g)` may have, with that of the product that it is a factor of.
///
/// It is at most `(6e-7 + 1e-7 · max(-g, 0)) · |act(g)| + 2⁻¹²⁶ · f + 2⁻¹⁴⁹`, where `f` is 1 for the sigmoid and `|g|` for
/// SiLU.
/// Kernels compute `1 / (1 + 2^(-g · log2 e))` in `f32`. The product in the exponent has an error of `2⁻²⁴ + 2⁻²⁶` of it, by
/// which the power is off by as much times `|g|`. `ex2.approx` is off by 2⁻²² and `rcp.approx` by 2⁻²³ at most (PTX ISA);
/// the sum and two products are rounded, by 2⁻²⁴ each. Above 0 the power is so small beside 1 that its error vanishes. A
/// sigmoid that is no normal number becomes 0. The CPU backend is closer.
///
/// ```
/// use norm_host::{Activation, accuracy::activation_error};
///
/// assert!(activation_error(Activation::Sigmoid, 0.0) < 3.1e-7); // of 1/2
/// ```
pub fn activation_error(activation: Activation, g: f64) -> f64 {
    let lost = match activation {
        Activation::Silu => SMALLEST_NORMAL * g.abs(),
        Activation::Sigmoid => SMALLEST_NORMAL,
    };
    relative_error(g) * activate(activation, g).abs() + lost + SMALLEST_F32
}

/// The same relative to the activation, where that is a normal number.
fn relative_error(g: f64) -> f64 {
    ACTIVATION + BELOW_ZERO * f64::max(-g, 0.0)
}

/// Judges the outputs `given`, of type `y`, of a gated RMSNorm for the row `x`, as the operation sees it
/// ([`widen_input`](crate::reference::widen_input)), and the gate `g`. Biases, residuals and factors of the parameters do not
/// count; their roundings are those that matter.
///
/// The bounds are those of [`Promise`] for an RMSNorm without a bias, and:
///
/// - Where the gate is behind the norm, the output is `v · act(g)`, where `v` is the norm, rounded to the type of `y` where the
///   order rounds there. Its error is that of `v` times `|act(g)|`, plus `|v|` times [`activation_error`].
/// - Where it is in front, `u = x · act(g)` is normalized. The error of `n = u · rstd` is that of the promise, plus
///   `|x| · rstd` times the activation's and `2⁻¹⁴⁹ · rstd`, which the product may lose, plus `|n|` times the mean of the activations' relative errors, each weighted by
///   `u²`: that of `rstd`.
///
/// # Panics
///
/// If `x` is empty, or if `g`, `given` or the weights are shorter than `x`.
pub fn judge_gated_row(
    x: &[f64],
    g: &[f64],
    gating: Gating,
    parameters: &Parameters<'_>,
    y: DType,
    given: &[f64],
) -> WorstRow {
    let Gating { activation, .. } = gating;
    let first = gating.gates_first();
    let activated: Vec<f64> = g[..x.len()].iter().map(|&g| activate(activation, g)).collect();
    let normalized = match first {
        true => x.iter().zip(&activated).map(|(x, a)| x * a).collect(),
        false => x.to_vec(),
    };
    let statistics = Statistics::of(&normalized, parameters.kind, parameters.eps);
    let of_rstd = match first {
        true => error_of_rstd(&normalized, g, statistics.sum_of_squares),
        false => 0.0,
    };
    let plain = Parameters { bias: None, onto: None, ..*parameters };
    let promise = Promise::new(statistics, &plain, y);
    let Roundings { normalized: rounded_n, result, .. } = parameters.roundings.that_matter(false, !first);
    let verdict = |index: usize| {
        let n = normalized[index] * statistics.rstd;
        let error = activation_error(activation, g[index]);
        let of_n = match first {
            true => (x[index].abs() * error + SMALLEST_F32) * statistics.rstd + n.abs() * of_rstd,
            false => 0.0,
        };
        // NaN and infinity are equal or not, whatever the bound.
        let of_n = if of_n.is_finite() { of_n } else { 0.0 };
        let w = Terms::of(x, &plain, index).w;
        nearest(|consider: &mut dyn FnMut(Verdict)| {
            let mut last = |value: Value| {
                let (error_ulp, allowed_ulp) = measure(y, y != DType::F32, value, given[index]);
                consider(Verdict { expected: value.exact, given: given[index], error_ulp, allowed_ulp });
            };
            Value::normalized(n, SMALLEST_F32 + of_n).each_rounded(rounded_n, |n| match first {
                true => last(n.times(w)),
                false => {
                    n.times(w).each_rounded(result, |norm| last(norm.times_inexact(activated[index], error)));
                }
            });
        })
    };
    let worst = |a: (usize, Verdict), b: (usize, Verdict)| if b.1.ratio() > a.1.ratio() { b } else { a };
    let (index, worst) =
        (0..x.len()).map(|index| (index, verdict(index))).reduce(worst).expect("a row has elements");
    WorstRow { promised: promise.holds(), index, worst }
}

/// The relative error of `rstd`, half of that of the mean of squares, by those of the activations.
fn error_of_rstd(gated: &[f64], g: &[f64], sum_of_squares: f64) -> f64 {
    let error = |(u, g): (&f64, &f64)| if *u == 0.0 { 0.0 } else { u * u * relative_error(*g) };
    let error = gated.iter().zip(g).map(error).sum::<f64>() / sum_of_squares;
    if error.is_finite() { error } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use norm_kernels::abi::{GateOrder, Rounding};

    use super::*;
    use crate::{
        NormKind,
        reference::{Factors, gated},
    };

    fn parameters(roundings: Roundings) -> Parameters<'static> {
        Parameters {
            kind: NormKind::Rms,
            eps: 1e-6,
            weight: Some(&[1.0, 0.5, -2.0, 1.5]),
            weight_offset: 0.0,
            roundings,
            bias: None,
            onto: None,
            factors: Factors::NONE,
        }
    }

    const X: [f64; 4] = [1.0, -2.0, 0.25, 3.0];
    const G: [f64; 4] = [0.5, -3.0, 2.0, -20.0];

    #[test]
    fn the_reference_keeps_its_promise_and_what_is_far_from_it_does_not() {
        for gating in Gating::ALL {
            let parameters = parameters(Roundings::NONE);
            let exact = gated(&X, &G, gating, &parameters);
            let judge = |given: &[f64]| judge_gated_row(&X, &G, gating, &parameters, DType::F32, given);
            assert!(judge(&exact).is_kept(), "{gating:?}");
            for index in 0..X.len() {
                let mut off = exact.clone();
                off[index] *= 1.0 + 1e-5;
                let verdict = judge(&off);
                assert!(!verdict.is_kept() && verdict.index == index, "{gating:?}, {index}");
            }
        }
    }

    /// From both sides: just inside the bound that the documentation has is kept, just outside is refused.
    #[test]
    fn each_form_is_held_to_its_bound() {
        for gating in Gating::ALL {
            let parameters = parameters(Roundings::NONE);
            let weight = parameters.weight.expect("there are some");
            let exact = gated(&X, &G, gating, &parameters);
            let of_gate = |index: usize| {
                let (g, smallest) = (G[index], 2_f64.powi(-126));
                let lost = if gating.activation == Activation::Silu { smallest * g.abs() } else { smallest };
                let relative = 6e-7 + 1e-7 * f64::max(-g, 0.0);
                (relative, relative * activate(gating.activation, g).abs() + lost + 2_f64.powi(-149))
            };
            let a = G.map(|g| activate(gating.activation, g));
            let u: Vec<f64> =
                X.iter().zip(a).map(|(x, a)| if gating.gates_first() { x * a } else { *x }).collect();
            let Statistics { rstd, sum_of_squares, .. } = Statistics::of(&u, NormKind::Rms, 1e-6);
            let of_rstd =
                (0..4).map(|index| u[index] * u[index] * of_gate(index).0).sum::<f64>() / sum_of_squares;
            for index in 0..4 {
                let (n, error) = (u[index] * rstd, of_gate(index).1);
                let bound = if gating.gates_first() {
                    let of_u = (X[index].abs() * error + 2_f64.powi(-149)) * rstd;
                    (1e-6 * n.abs() + of_u + n.abs() * of_rstd) * weight[index].abs()
                } else {
                    let v = n * weight[index];
                    1e-6 * v.abs() * a[index].abs() + v.abs() * error
                };
                for (part, kept) in [(0.999, true), (-0.999, true), (1.001, false), (-1.001, false)] {
                    let mut given = exact.clone();
                    given[index] += part * bound;
                    let row = judge_gated_row(&X, &G, gating, &parameters, DType::F32, &given);
                    assert!(row.promised);
                    assert_eq!(
                        row.is_kept(),
                        kept,
                        "{gating:?}, element {index}, {part} of its bound: {row:?}"
                    );
                }
            }
        }
    }

    /// In front of a gate the reference rounds a norm where its order does.
    #[test]
    fn a_norm_in_front_of_its_gate_is_a_number_of_its_type() {
        let gating = Gating { activation: Activation::Sigmoid, order: GateOrder::NormFirst };
        let is_number = |rounding| {
            let of = Roundings::of(rounding, false, DType::BF16, Some(DType::BF16), DType::BF16);
            let norms = gated(&X, &G, gating, &parameters(of));
            norms.iter().zip(G).all(|(y, g)| {
                let norm = y / activate(Activation::Sigmoid, g);
                (norm - super::super::round(DType::BF16, norm)).abs() < 1e-12 * norm.abs()
            })
        };
        assert!(is_number(Rounding::BeforeWeight) && !is_number(Rounding::Single));
    }

    /// In another order of roundings, or of gate and norm, some element breaks the promise.
    #[test]
    fn each_order_is_told_from_the_others() {
        let of = |rounding| Roundings::of(rounding, false, DType::BF16, Some(DType::BF16), DType::BF16);
        let last =
            |row: Vec<f64>| row.into_iter().map(|y| super::super::round(DType::BF16, y)).collect::<Vec<_>>();
        let x: Vec<f64> =
            (0..64).map(|i| super::super::round(DType::BF16, f64::from(i * 37 % 64) / 9.0 - 3.3)).collect();
        let g: Vec<f64> =
            (0..64).map(|i| super::super::round(DType::BF16, f64::from(i * 23 % 64) / 8.0 - 4.1)).collect();
        let w: Vec<f64> =
            (0..64).map(|i| super::super::round(DType::BF16, 0.7 + f64::from(i) / 100.0)).collect();
        let forms: Vec<_> = Gating::ALL
            .into_iter()
            .flat_map(|gating| [Rounding::Single, Rounding::BeforeWeight].map(|rounding| (gating, rounding)))
            .collect();
        for &(gating, rounding) in &forms {
            let parameters = Parameters { weight: Some(&w), ..parameters(of(rounding)) };
            let given = last(gated(&x, &g, gating, &parameters));
            for &(other, order) in &forms {
                let parameters = Parameters { weight: Some(&w), ..self::parameters(of(order)) };
                let parameters = Parameters { weight: parameters.weight, ..parameters };
                let kept = judge_gated_row(&x, &g, other, &parameters, DType::BF16, &given).is_kept();
                assert_eq!(
                    kept,
                    (other, order) == (gating, rounding),
                    "{gating:?} {rounding:?} as {other:?} {order:?}"
                );
            }
        }
        assert!(forms.iter().any(|(gating, _)| gating.order == GateOrder::GateFirst));
    }
}

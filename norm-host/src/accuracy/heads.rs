//! The accuracy promise for heads that are normed and rotated.

#[cfg(test)]
mod tests;

use super::{
    MIN_MEAN_SQUARE, Verdict, WorstRow,
    promise::measure,
    value::{SMALLEST_F32, Value},
};
use crate::{
    DType, NormKind,
    reference::{Head, HeadOperation, HeadParameters, Statistics},
};

/// The error of a mean that is summed and subtracted twice in `f32`, the second time what the first left of it: 2⁻³⁸ of the
/// mean of magnitudes, and 2⁻²⁰ of the mean distance from the mean.
const MEAN: f64 = 1.0 / (1_u64 << 38) as f64;
const DISTANCE: f64 = 1.0 / (1_u64 << 20) as f64;

/// Judges the outputs `given` for a head: the error bound that every backend keeps, against the f64
/// [`reference`](crate::reference).
///
/// # A single rounding
///
/// - A head that is normed and not rotated, or rotated before it is normed: the bound of [`Promise`](super::Promise) for
///   RMSNorm, half an ULP plus 1e-6 of the output for 16 bits, 1e-6 of it for `f32`. What is rotated first has no error: it
///   is [`HeadOperation::rotated`], in `f32`.
/// - An element `a` that is rotated with `b` behind the norm: `|error| ≤ ulp(y) / 2 + 1e-6 · (|a · cos| + |b · sin|)`, `a` and
///   `b` the normed values. The two products may cancel, so that nothing relative to their sum can be promised.
/// - LayerNorm has `(2⁻³⁸ · mean(|x|) + 2⁻²⁰ · mean(|x - mean|)) · rstd · |w|` more for each normed value.
/// - Heads that are not normed: half an ULP plus `2⁻²² · (|a · cos| + |b · sin|)`; where they are not rotated either, they
///   are as they were.
///
/// In each case the smallest `f32` may be lost on the way.
///
/// # Roundings in between
///
/// Each step that is rounded to 16 bits is held to its own formula, as [`Promise`](super::Promise) explains: the normalized
/// value, its product with the weight, and the products of the rotation are each one of the numbers that the value with
/// its error may be rounded to.
///
/// # Where it holds
///
/// As [`Promise`](super::Promise): the sum of squares finite in `f32`, and `mean_square + eps` at least
/// [`MIN_MEAN_SQUARE`]. Heads that are not normed: everywhere.
///
/// # Panics
///
/// If the head is empty, or anything given is shorter than it.
pub fn judge_head(operation: &HeadOperation, head: &Head<'_>, given: &[f64]) -> WorstRow {
    let mut x = operation.inputs(head);
    let is_behind = operation.is_behind(head);
    if let (true, Some(turn)) = (is_behind, head.turn) {
        x = operation.rotated(&x, turn);
        if let Some(to) = operation.between() {
            x.iter_mut().for_each(|x| *x = super::round(to, *x));
        }
    }
    let normed = Normed::of(&x, head.norm.as_ref());
    let turn = head.turn.filter(|_| !is_behind);
    let judge = Judge { operation, normed: &normed };
    let mut verdicts: Vec<Option<Verdict>> = vec![None; x.len()];
    if let Some([cos, sin]) = turn {
        for p in 0..cos.len() {
            let [i, j] = operation.pair(p, cos.len());
            let [a, b] = judge.pair([i, j], cos[p], sin[p], [given[i], given[j]]);
            (verdicts[i], verdicts[j]) = (Some(a), Some(b));
        }
    }
    let verdict = |(index, verdict): (usize, Option<Verdict>)| {
        (index, verdict.unwrap_or_else(|| judge.alone(index, given[index])))
    };
    let verdicts = verdicts.into_iter().enumerate().map(verdict);
    let worst = verdicts.reduce(|a, b| if b.1.ratio() > a.1.ratio() { b } else { a });
    let (index, worst) = worst.expect("a head has elements");
    WorstRow { promised: normed.promised, index, worst }
}

/// A head's normalized values and factors.
struct Normed<'a> {
    values: Vec<Value>,
    norm: Option<&'a HeadParameters<'a>>,
    /// Whether the mean may cancel.
    centers: bool,
    promised: bool,
}

impl<'a> Normed<'a> {
    fn of(x: &[f64], norm: Option<&'a HeadParameters<'a>>) -> Normed<'a> {
        let Some(parameters) = norm else {
            let values = x.iter().map(|&x| Value::rounded(x)).collect();
            return Normed { values, norm, centers: false, promised: true };
        };
        let statistics = Statistics::of(x, parameters.kind, parameters.eps);
        let Statistics { mean, rstd, mean_magnitude, mean_square, sum_of_squares, .. } = statistics;
        let centers = parameters.kind == NormKind::Layer;
        let error = if centers {
            let distance = x.iter().map(|x| (x - mean).abs()).sum::<f64>() / x.len() as f64;
            (MEAN * mean_magnitude + DISTANCE * distance) * rstd + SMALLEST_F32 * (1.0 + rstd)
        } else {
            SMALLEST_F32
        };
        let in_range =
            sum_of_squares <= f64::from(f32::MAX) && mean_square + parameters.eps >= MIN_MEAN_SQUARE;
        Normed {
            values: x.iter().map(|x| Value::normalized((x - mean) * rstd, error)).collect(),
            norm,
            centers,
            promised: in_range || !sum_of_squares.is_finite(),
        }
    }

    fn factor(&self, index: usize) -> f64 {
        self.norm.map_or(1.0, |norm| norm.factor(index))
    }
}

struct Judge<'a> {
    operation: &'a HeadOperation,
    normed: &'a Normed<'a>,
}

impl Judge<'_> {
    /// Calls `f` with each value that the norm of an element may have, before it is rotated or rounded for the last time.
    fn each_normed(&self, index: usize, between: Option<DType>, mut f: impl FnMut(Value)) {
        let normed = self.normed;
        if normed.norm.is_none() {
            return f(normed.values[index]);
        }
        normed.values[index].each_rounded(self.operation.normalized(), |n| {
            n.times(normed.factor(index)).each_rounded(between, &mut f);
        });
    }

    /// The verdict on an element that is not rotated behind the norm.
    fn alone(&self, index: usize, given: f64) -> Verdict {
        let dtype = self.operation.dtype;
        let last = self.normed.centers || dtype != DType::F32;
        let mut nearest = Nearest { given, verdict: None };
        if self.normed.norm.is_none() {
            // It is as it was.
            let value = Value::known(self.normed.values[index].exact);
            nearest.consider(measure(dtype, false, value, given), value.exact);
        } else {
            self.each_normed(index, None, |value| {
                nearest.consider(measure(dtype, last, value, given), value.exact);
            });
        }
        nearest.verdict()
    }

    /// The verdicts on two elements that are rotated together.
    fn pair(&self, [i, j]: [usize; 2], cos: f64, sin: f64, given: [f64; 2]) -> [Verdict; 2] {
        let (between, products) = (self.operation.between(), self.operation.products());
        let mut nearest = given.map(|given| Nearest { given, verdict: None });
        let mut consider = |at: usize, first: Value, second: Value, sign: f64| {
            let sum = first.plus_value(second.times(sign));
            let measured = measure(self.operation.dtype, true, sum, given[at]);
            nearest[at].consider(measured, sum.exact);
        };
        self.each_normed(i, between, |a| {
            self.each_normed(j, between, |b| {
                a.times(cos).each_rounded(products, |first| {
                    b.times(sin).each_rounded(products, |second| consider(0, first, second, -1.0));
                });
                b.times(cos).each_rounded(products, |first| {
                    a.times(sin).each_rounded(products, |second| consider(1, first, second, 1.0));
                });
            });
        });
        nearest.map(Nearest::verdict)
    }
}

/// The verdict by the nearest of several values that roundings in between allow.
struct Nearest {
    given: f64,
    verdict: Option<Verdict>,
}

impl Nearest {
    fn consider(&mut self, (error_ulp, allowed_ulp): (f64, f64), expected: f64) {
        let verdict = Verdict { expected, given: self.given, error_ulp, allowed_ulp };
        if self.verdict.is_none_or(|nearest| verdict.ratio() < nearest.ratio()) {
            self.verdict = Some(verdict);
        }
    }

    fn verdict(self) -> Verdict {
        self.verdict.expect("every rounding leads to a number")
    }
}

//! The accuracy promise: an error bound for each output, which every backend keeps.

#[cfg(test)]
mod tests;

use super::{
    rounding::{largest, round, ulp},
    value::{SMALLEST_F32, Value},
};
use crate::{
    DType, NormKind,
    problem::Roundings,
    reference::{Factors, Parameters, Statistics},
};

/// The promise requires `mean_square + eps` to be at least this, so that its terms are normal
/// numbers in `f32` by a wide margin.
pub const MIN_MEAN_SQUARE: f64 = 1e-30;

/// The error of a mean that is summed in `f64` and subtracted in two `f32`, relative to the mean of
/// magnitudes: 2⁻⁴³, more than the sums of the longest rows lose.
const MEAN: f64 = 1.0 / (1_u64 << 43) as f64;

/// The error bound that every backend keeps for the outputs of one row, against the f64
/// [`reference`](crate::reference) of the inputs as the operation sees them.
///
/// # A single rounding
///
/// - RMSNorm without a bias: the error of `f16` and `bf16` outputs is at most half an ULP plus 1e-6
///   ([`RELATIVE`](super::RELATIVE)) of the reference, that of `f32` outputs at most 1e-6 of it.
/// - LayerNorm, and RMSNorm with a bias, where what is subtracted or added may cancel:
///   `|error| ≤ ulp(y) / 2 + 1e-6 · (|x - mean| · rstd · |w| + |b|)`, and, for LayerNorm,
///   `+ 2⁻⁴³ · mean(|x|) · rstd · |w|` for rows that cancel in the mean itself. However far a row is from 0,
///   its mean adds no more than that.
/// - Either norm added to what the output holds, `y_old`: the bound of LayerNorm with
///   `1e-6 · |y_old|` more. Before it is rounded the norm has the same error as without the addition; the sum
///   with `y_old` is one addition in `f32` with an error of at most 2⁻²⁴ · (|norm| + |y_old|); then follows the
///   one rounding to `y`. As the two may cancel, nothing relative to the sum can be promised.
/// - With factors in that addition, `y = (norm · branch + r) · sum`: `|error| ≤ ulp(y) / 2 + |branch · sum| · e +
///   2⁻²² · |sum| · (|norm · branch| + |r|)`, where `e` is the bound of the norm by itself, without its `ulp(y) / 2`. The
///   error of the norm is multiplied by both factors. In the addition the first product is rounded to `f32` three times
///   (as product, in the sum and in the second product) and `r` twice, by 2⁻²⁴ each time, before the one rounding to `y`.
/// - A residual that the input is added to first has no error: it is exactly
///   [`add`](crate::reference::add) of the two, or [`add_scaled`](crate::reference::add_scaled), and `x` below is that
///   sum, in its type.
/// - In each case the smallest `f32` may be lost in the output, before the weight multiplies, and,
///   for LayerNorm, in the mean: `+ 2⁻¹⁴⁹ · (1 + |w| · (1 + rstd))`, the inner `rstd` for LayerNorm
///   alone. It matters only where something is subnormal.
///
/// # Roundings in between
///
/// In the other [orders](crate::Rounding) a value is rounded to 16 bits in between, and where it is very near the middle
/// of two neighbours, a tiny error in `f32` decides between them. So each step is held to its own exact formula, rather
/// than the whole to a loose bound. Let `T[v ± e]` be the numbers of type T from `T(v - e)` to `T(v + e)`: only `T(v)`,
/// unless the middle of two neighbours is within `e` of `v`, then both.
///
/// - The normalized value, where it is rounded: `h` is one of `T[n ± e]`, `n = (x - mean) · rstd` and `e` its bound with a
///   single rounding, `1e-6 · |n|` and, for LayerNorm, `2⁻⁴³ · mean(|x|) · rstd`.
/// - The product, where that is rounded: `h` is one of `T[n · w ± e · |w|]`.
/// - The output: of one such `h` by `|error| ≤ ulp(y) / 2 + 2⁻²² · (|h · w| + |b|)`
///   ([`RELATIVE_BETWEEN`](super::RELATIVE_BETWEEN)), or `|h| + |b|` where `h` is the product. A rounded value is
///   exact; the weight offset, product and sum that follow lose 2⁻²⁴ each. As above, outputs of `f32` without
///   an addition have no half ULP.
/// - Where that is added to what the output holds, it is itself first rounded to the type of `y`: to one of
///   `T_y[v ± 2⁻²² · …]`, of which the sum is held to `ulp(y) / 2 + 2⁻²² · (|h| + |y_old|)`.
/// - With factors in that addition the product is one of `T_y[h · branch ± 2⁻²² · |h · branch|]`, `h` a rounded norm; the sum
///   one of `T_y[p + r ± 2⁻²² · (|p| + |r|)]`, `p` such a product; and the output is such a sum times `sum`, by
///   `ulp(y) / 2 + 2⁻²² · |output|`.
///
/// Where `y` is of `f32`, of which nothing is rounded there, the bound of an addition is as for a single rounding.
///
/// Each step also allows 2⁻¹⁴⁹. Where the lowest and the highest of `T[v ± e]` are eight steps of the type apart or more,
/// as where nearly all of a row has cancelled, everything between them is allowed. An output in another order than
/// requested breaks the promise wherever the two differ by more than the errors above: in 16 bits at a quarter of the
/// elements of a row.
///
/// # Where it holds
///
/// `w` is the factor with the offset added, and rounded where the order says so. Outputs beyond the largest finite number become
/// infinite; for the bound infinity counts as the next power of two; in the addition to a residual with factors the products
/// and the sum must be finite in `f32`. An output is NaN exactly
/// where the reference is, and equal to it where the reference itself is infinite.
///
/// It holds at every `dim` up to 2²⁰ if the sum of `x²`, for LayerNorm that of `(x - mean)²`, is finite in
/// `f32` (magnitudes up to 1.8e19 / sqrt(dim): 2.8e17 at 4096) and `mean_square + eps` is at least
/// [`MIN_MEAN_SQUARE`], which it is with any `eps` of 1e-30 or more. It also holds for rows with inputs that are NaN or
/// infinite. Kernels sum squares in `f32`, so that beyond this range they produce 0, infinities or NaN. The CPU backend
/// sums them in `f64`, and keeps the promise as long as `rstd` is a normal `f32`.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    kind: NormKind,
    y: DType,
    roundings: Roundings,
    may_cancel: bool,
    factors: Factors,
    statistics: Statistics,
    holds: bool,
}

/// The terms of one output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// The input, as the operation sees it.
    pub x: f64,
    /// The factor: the weight with the offset added, 1 without weights.
    pub w: f64,
    /// The bias, 0 without.
    pub b: f64,
    /// The residual that the norm is added to, 0 without one.
    pub onto: f64,
}

impl Terms {
    /// The terms of a row's element `index`.
    pub(super) fn of(x: &[f64], parameters: &Parameters<'_>, index: usize) -> Terms {
        let (w, b, onto) = (parameters.factor(index), parameters.bias(index), parameters.onto(index));
        Terms { x: x[index], w, b, onto }
    }
}

/// An output compared with its bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The reference before the last rounding. Where a rounding in between may have gone to either of two
    /// neighbours, it is that of the neighbour which leads nearer to the output.
    pub expected: f64,
    /// The output.
    pub given: f64,
    /// The distance between the two in ULP of the output's type around the reference.
    /// Infinite where one of the two is NaN or infinite and the other must be too, but is not.
    pub error_ulp: f64,
    /// The bound, in the same unit.
    pub allowed_ulp: f64,
}

impl Verdict {
    /// The error relative to its bound: at most 1 where the promise is kept.
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
        // Squares of finite f32 values add up to far less than f64 can hold, so that the sum is NaN or infinite only if
        // an input is.
        let holds = in_range || !statistics.sum_of_squares.is_finite();
        let (biases, onto) = (parameters.bias.is_some(), parameters.onto.is_some());
        let may_cancel = parameters.kind == NormKind::Layer || biases || onto;
        let roundings = parameters.roundings.that_matter(biases, onto);
        let factors = parameters.factors;
        Promise { kind: parameters.kind, y, roundings, may_cancel, factors, statistics, holds }
    }

    /// Whether the promise covers this row.
    pub fn holds(&self) -> bool {
        self.holds
    }

    /// Judges the output `given` for one element, whether or not the promise
    /// [`holds`](Self::holds).
    pub fn judge(&self, terms: Terms, given: f64) -> Verdict {
        let Terms { w, b, onto, .. } = terms;
        let Roundings { normalized, product, result, branch, sum, .. } = self.roundings;
        let Factors { branch: branch_by, sum: sum_by } = self.factors;
        let is_scaled = self.factors != Factors::NONE;
        let verdict = |value: Value| {
            // For an f32 output without cancellation the relative bound of its value includes the last rounding.
            let last = self.may_cancel || self.y != DType::F32;
            let (error_ulp, allowed_ulp) = measure(self.y, last, value, given);
            Verdict { expected: value.exact, given, error_ulp, allowed_ulp }
        };
        let n = self.normalized(terms.x);
        if self.roundings == Roundings::NONE {
            let norm = n.times(w).plus(b);
            return verdict(match is_scaled {
                true => norm.scaled_sum(branch_by, onto, sum_by),
                false => norm.plus(onto),
            });
        }
        nearest(|consider| {
            let mut consider = |value: Value| consider(verdict(value));
            n.each_rounded(normalized, |n| {
                n.times(w).each_rounded(product, |product| {
                    product.plus(b).each_rounded(result, |norm| match (is_scaled, branch.and(sum)) {
                        (false, _) => consider(norm.plus(onto)),
                        (true, None) => consider(norm.scaled_sum(branch_by, onto, sum_by)),
                        (true, Some(_)) => norm.times(branch_by).each_rounded(branch, |branch| {
                            branch.plus(onto).each_rounded(sum, |sum| consider(sum.times(sum_by)));
                        }),
                    });
                });
            });
        })
    }

    /// The lowest and the highest number that a norm computed in `f32` may be before its last rounding to fewer bits, where it is
    /// added to nothing; with `biased` there are biases. A normalized value that is rounded to 16 bits is exact, and so is what
    /// follows from it: a product, or a product and a sum that are rounded once.
    pub(super) fn range(&self, Terms { x, w, b, .. }: Terms, biased: bool) -> (f64, f64) {
        let n = self.normalized(x);
        // Nothing is lost of a zero that is a zero without the mean, of infinite values and of NaN.
        let of_zero = self.kind == NormKind::Rms && x == 0.0;
        let is_exact = |value: f64| of_zero || !value.is_finite();
        if let Some(to) = self.roundings.normalized {
            let (w, b) = (w as f32, b as f32);
            let error = n.error + SMALLEST_F32;
            let ends = if is_exact(n.exact) { [n.exact; 2] } else { [n.exact - error, n.exact + error] };
            let [one, other] = ends.map(|end| {
                let h = round(to, end) as f32;
                f64::from(if biased { h.mul_add(w, b) } else { h * w })
            });
            // -0 in front of 0.
            return if one.total_cmp(&other).is_le() { (one, other) } else { (other, one) };
        }
        let product = n.times(w);
        let Value { exact, error, .. } = if biased { product.plus(b) } else { product };
        let error = error + ulp(DType::F32, exact) / 2.0 + SMALLEST_F32;
        if is_exact(exact) { (exact, exact) } else { (exact - error, exact + error) }
    }

    /// The normalized value of an input, before it is rounded.
    fn normalized(&self, x: f64) -> Value {
        let Statistics { mean, rstd, mean_magnitude, .. } = self.statistics;
        let error = match self.kind {
            NormKind::Rms => SMALLEST_F32,
            NormKind::Layer => MEAN * mean_magnitude * rstd + SMALLEST_F32 * (1.0 + rstd),
        };
        Value::normalized((x - mean) * rstd, error)
    }
}

/// The nearest of the values that the roundings in between allow: the best of the verdicts that `each` considers.
pub(super) fn nearest(each: impl FnOnce(&mut dyn FnMut(Verdict))) -> Verdict {
    let mut nearest: Option<Verdict> = None;
    each(&mut |verdict| {
        if nearest.is_none_or(|nearest| verdict.ratio() < nearest.ratio()) {
            nearest = Some(verdict);
        }
    });
    nearest.expect("every rounding leads to a number")
}

/// The error of an output of type `y` that should be `value` rounded, and its bound, in ULP. If `last`, the bound has half
/// an ULP for the last rounding.
pub(super) fn measure(y: DType, last: bool, Value { exact, error, .. }: Value, given: f64) -> (f64, f64) {
    if !exact.is_finite() || given.is_nan() {
        let equal = exact == given || (exact.is_nan() && given.is_nan());
        return (if equal { 0.0 } else { f64::INFINITY }, 0.0);
    }
    let ulp = ulp(y, exact);
    let last = if last { ulp / 2.0 } else { 0.0 };
    // Infinity counts as one step beyond the largest number; a larger reference counts as infinity.
    let infinity = largest(y) + ulp_of_largest(y);
    let off = given.clamp(-infinity, infinity) - exact.clamp(-infinity, infinity);
    (off.abs() / ulp, (last + error + SMALLEST_F32) / ulp)
}

fn ulp_of_largest(dtype: DType) -> f64 {
    ulp(dtype, largest(dtype))
}

/// The verdict for a whole row.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct WorstRow {
    /// Whether the promise covers this row.
    pub promised: bool,
    /// The index of the element whose error is the largest relative to its bound.
    pub index: usize,
    /// The verdict of that element.
    pub worst: Verdict,
}

impl WorstRow {
    /// Whether the promise is kept; true where it does not cover the row.
    pub fn is_kept(&self) -> bool {
        !self.promised || self.worst.is_kept()
    }
}

/// Judges the outputs `given`, of type `y`, for the row `x` as the operation sees it
/// ([`widen_input`](crate::reference::widen_input)).
///
/// ```
/// use norm_host::{
///     Cpu, DType, NormKind, View, ViewMut,
///     accuracy::judge_row,
///     problem::Roundings,
///     reference::{Factors, Parameters, widen, widen_input},
///     rms_norm,
/// };
///
/// let (x, mut y) = ([1.0_f32, 7.0], [0.0_f32; 2]);
/// rms_norm(View::from_slice(&x, &[2])?, None, &mut ViewMut::from_slice(&mut y, &[2])?, 1e-6, &Cpu)?;
/// let parameters = Parameters {
///     kind: NormKind::Rms,
///     eps: 1e-6,
///     weight: None,
///     weight_offset: 0.0,
///     roundings: Roundings::NONE,
///     bias: None,
///     onto: None,
///     factors: Factors::NONE,
/// };
/// assert!(judge_row(&widen_input(&x), &parameters, DType::F32, &widen(&y)).is_kept());
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Panics
///
/// If `x` is empty, or if `given`, the weights, the biases or the residual are shorter than `x`.
pub fn judge_row(x: &[f64], parameters: &Parameters<'_>, y: DType, given: &[f64]) -> WorstRow {
    let promise = Promise::new(Statistics::of(x, parameters.kind, parameters.eps), parameters, y);
    let verdict = |index: usize| promise.judge(Terms::of(x, parameters, index), given[index]);
    let (index, worst) = (0..x.len())
        .map(|index| (index, verdict(index)))
        .reduce(|a, b| if b.1.ratio() > a.1.ratio() { b } else { a })
        .expect("a row has elements");
    WorstRow { promised: promise.holds(), index, worst }
}

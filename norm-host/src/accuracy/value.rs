//! A value that was computed in f32, perhaps with roundings in between, and the error that it may have.

#[cfg(test)]
mod tests;

use super::rounding::{next_up, round, ulp_distance};
use crate::DType;

/// The relative part of the bound as long as no value is rounded in between: 16.7 times `u`, which is 2⁻²⁴, the largest
/// relative error of one rounding to `f32` (Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 2.2).
///
/// ```text
/// what rounds                                   its error, in u       of it in y = (x - mean) · rstd · (w + offset)
/// the sum of squares, s roundings in a row      s                     s / 2, as the root halves it
/// times the rounded 1 / dim                     2                     1
/// plus eps, neither of which is negative        1                     1 / 2
/// rsqrt.approx                                  2.15 (2⁻²²·⁹)         2.15
/// x - mean, in LayerNorm alone                  1                     1
/// times rstd                                    1                     1
/// w + offset                                    1                     1
/// the product with w, or the output in f32      1                     1
/// plus the bias                                 1                     1, of |product| + |b|
/// ```
///
/// The sum apart these are 8.65, so that s may be 16: a vector of 8, the vectors of a thread, five steps in a warp, and
/// the warps. That is certain for rows of which a thread has few vectors. On the CPU, whose sums are in f64, s is 1.
///
/// The longest rows in the kernels have up to some 150 additions in a row. In the worst case their error would be beyond the
/// bound; but roundings go up and down, so that errors add up as √s does (Higham and Mary 2019, "A New Approach to
/// Probabilistic Rounding Error Analysis", SIAM J. Sci. Comput. 41): of 150 roundings, each uniform in its last bit and of a
/// partial sum that grows, about 3 u, against the 16 that are left. So for long rows the promise rests on this, and on
/// measurements: `norm check` reports the largest error as a part of the bound, a third of it in f32.
///
/// The error of `rsqrt.approx` is that of the PTX ISA. Errors of second order, below 10⁻⁴ of these, are left out.
pub const RELATIVE: f64 = 1e-6;

/// The relative part of the bound after a rounding in between: four roundings to `f32`, 2⁻²⁴ each, by the weight offset,
/// the product and two sums.
pub const RELATIVE_BETWEEN: f64 = 1.0 / (1_u64 << 22) as f64;

/// The smallest `f32`, which any intermediate result near 0 may lose.
pub(super) const SMALLEST_F32: f64 = f32::from_bits(1) as f64;

/// A value according to the formula, and the error that the computed one may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) exact: f64,
    pub(super) error: f64,
    /// The error of operations on it, relative to their terms.
    relative: f64,
}

/// The number of steps between the lowest and the highest possible result of a rounding from which on all numbers between
/// them are allowed. More than one step is possible where a subtraction cancelled.
const RANGE: f64 = 8.0;

impl Value {
    /// The normalized value; `error` is the error of operations on terms that cancel.
    pub(super) fn normalized(exact: f64, error: f64) -> Value {
        Value { exact, error: RELATIVE * exact.abs() + error, relative: RELATIVE }
    }

    /// A number that no operation is to change.
    pub(super) fn known(exact: f64) -> Value {
        Value { exact, error: 0.0, relative: RELATIVE_BETWEEN }
    }

    /// A rounded value, which is exact.
    pub(super) fn rounded(exact: f64) -> Value {
        let error = if exact.is_finite() { RELATIVE_BETWEEN * exact.abs() } else { 0.0 };
        Value { exact, error, relative: RELATIVE_BETWEEN }
    }

    /// Its product with an exact factor. The error of the multiplication is already part of the value's.
    pub(super) fn times(self, factor: f64) -> Value {
        Value { exact: self.exact * factor, error: self.error * factor.abs(), ..self }
    }

    /// Its product with a factor that may be off by `error`, which includes the error of the multiplication.
    pub(super) fn times_inexact(self, factor: f64, error: f64) -> Value {
        let lost = self.exact.abs() * error;
        // Where one is infinite, the product is exact or NaN.
        let lost = if lost.is_finite() { lost } else { 0.0 };
        Value { exact: self.exact * factor, error: self.error * (factor.abs() + error) + lost, ..self }
    }

    /// Its sum with an exact term.
    pub(super) fn plus(self, term: f64) -> Value {
        Value { exact: self.exact + term, error: self.error + self.relative * term.abs(), ..self }
    }

    /// Its sum with another value, whose own errors include what the addition rounds.
    pub(super) fn plus_value(self, other: Value) -> Value {
        Value {
            exact: self.exact + other.exact,
            error: self.error + other.error,
            relative: self.relative.max(other.relative),
        }
    }

    /// `(v · branch + term) · sum`, with exact factors and an exact term, computed in `f32` without a rounding to fewer
    /// bits. The first product is rounded three times and the term twice, by 2⁻²⁴ each, which is less than
    /// [`RELATIVE_BETWEEN`] of both; where the product is near 0, the smallest `f32` may be lost.
    pub(super) fn scaled_sum(self, branch: f64, term: f64, sum: f64) -> Value {
        let product = self.exact * branch;
        let lost = RELATIVE_BETWEEN * (product.abs() + term.abs()) + SMALLEST_F32;
        Value {
            exact: (product + term) * sum,
            error: (self.error * branch.abs() + lost) * sum.abs(),
            relative: RELATIVE_BETWEEN,
        }
    }

    /// Calls `f` with each number of type `to` that the computed value may have been rounded to: all from the rounded lowest
    /// to the rounded highest value, which is a single number unless the middle of two neighbours is within the error.
    /// Without a type, calls `f` with the value itself.
    pub(super) fn each_rounded(self, to: Option<DType>, mut f: impl FnMut(Value)) {
        let Some(to) = to else { return f(self) };
        // An infinite value is infinite whatever the errors of its factors; NaN stays NaN.
        if !self.exact.is_finite() {
            return f(Value::rounded(self.exact));
        }
        // A result below the smallest number may be lost entirely.
        let error = self.error + SMALLEST_F32;
        let (low, high) = (round(to, self.exact - error), round(to, self.exact + error));
        if low == high {
            return f(Value::rounded(low));
        }
        let steps = ulp_distance(to, low, high);
        if steps < RANGE {
            let mut number = low;
            f(Value::rounded(number));
            while number < high {
                number = next_up(to, number);
                f(Value::rounded(number));
            }
        } else {
            let lost = Value::rounded(f64::max(low.abs(), high.abs())).error;
            f(Value { error: (high - low) + lost, ..Value::rounded(self.exact) });
        }
    }
}

//! What a value may have become that was computed in f32, and rounded on the way.

#[cfg(test)]
mod tests;

use super::rounding::{next_up, round, ulp_distance};
use crate::DType;

/// The relative part of the bound until a value is rounded in between: about eight roundings to `f32`, of which an
/// output sees the square root, the division, two products, the weight offset and the sums.
pub const RELATIVE: f64 = 1e-6;

/// The relative part of the bound from there on: four roundings to `f32`, 2⁻²⁴ each, of which an output sees those of the
/// weight offset, the product and two sums.
pub const RELATIVE_BETWEEN: f64 = 1.0 / (1_u64 << 22) as f64;

/// The smallest `f32`, which any intermediate result may lose near 0.
pub(super) const SMALLEST_F32: f64 = f32::from_bits(1) as f64;

/// A value by the formula, and how far from it the computed one may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) exact: f64,
    pub(super) error: f64,
    /// What the operations on it may be off by, relative to their terms.
    relative: f64,
}

/// Steps between the numbers that a rounding may choose from at which they count as a range. More than one is possible
/// where what was subtracted left little.
const RANGE: f64 = 8.0;

impl Value {
    /// The normalized value, of which `error` is what may be lost by operations on terms that cancel.
    pub(super) fn normalized(exact: f64, error: f64) -> Value {
        Value { exact, error: RELATIVE * exact.abs() + error, relative: RELATIVE }
    }

    /// One that is known, apart from what operations on it lose.
    fn rounded(exact: f64) -> Value {
        let error = if exact.is_finite() { RELATIVE_BETWEEN * exact.abs() } else { 0.0 };
        Value { exact, error, relative: RELATIVE_BETWEEN }
    }

    /// Its product with a factor that is known. What the multiplication loses has been counted with the value.
    pub(super) fn times(self, factor: f64) -> Value {
        Value { exact: self.exact * factor, error: self.error * factor.abs(), ..self }
    }

    /// Its sum with a term that is known.
    pub(super) fn plus(self, term: f64) -> Value {
        Value { exact: self.exact + term, error: self.error + self.relative * term.abs(), ..self }
    }

    /// Its product with a factor, added to a term, times a factor, all of them known, made in `f32` without a rounding to
    /// fewer bits: of `(v · branch + term) · sum` the first product is rounded three times and the term twice, by 2⁻²⁴
    /// each, which is less than [`RELATIVE_BETWEEN`] of both; and where the product is near 0 the smallest `f32` is lost.
    pub(super) fn scaled_sum(self, branch: f64, term: f64, sum: f64) -> Value {
        let product = self.exact * branch;
        let lost = RELATIVE_BETWEEN * (product.abs() + term.abs()) + SMALLEST_F32;
        Value {
            exact: (product + term) * sum,
            error: (self.error * branch.abs() + lost) * sum.abs(),
            relative: RELATIVE_BETWEEN,
        }
    }

    /// Calls `f` with each number of type `to` that the computed value may have been rounded to: all from the lowest
    /// value rounded to the highest one rounded, which are a single one unless the middle of two neighbours is within
    /// the error. Without a type with the value itself.
    pub(super) fn each_rounded(self, to: Option<DType>, mut f: impl FnMut(Value)) {
        let Some(to) = to else { return f(self) };
        // An infinite value is one, however its factors were computed; NaN stays.
        if !self.exact.is_finite() {
            return f(Value::rounded(self.exact));
        }
        // Anything may be lost where the result is below the smallest number.
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

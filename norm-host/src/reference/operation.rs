//! An operation as plain data, and a row of it judged.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::{Factors, Parameters, add, add_scaled, input};
use crate::{
    DType, Norm, NormKind, Rounding,
    accuracy::{WorstRow, judge_row},
    problem::{ResidualPlace, Roundings},
};

/// What the results of a row follow from besides its elements and parameters: not where tensors lie, nor how many rows
/// there are. Whoever makes cases for an operation, be it a test, a check or a benchmark, states this of each, and has
/// the call ([`norm`](Self::norm)), the types and roundings, and the judgement ([`judge`](Self::judge)) from it. Two norms
/// with a residual between them are two operations: the second's `x` is the first's sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operation {
    /// Which normalization.
    pub kind: NormKind,
    /// The type of `x`.
    pub x: DType,
    /// The type of the weights, `None` where there are none.
    pub w: Option<DType>,
    /// The type of the output, be it the norm or, of a residual behind it, the sum.
    pub y: DType,
    /// Added to the mean of squares, or the variance, before the square root.
    pub eps: f32,
    /// Added to every weight.
    pub weight_offset: f32,
    /// Whether that sum is rounded to the weights' type.
    pub round_offset: bool,
    /// Where it rounds before the last time.
    pub rounding: Rounding,
    /// What is added to a residual, if anything is.
    pub addition: Option<Addition>,
}

/// What an operation adds to a residual, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Addition {
    /// In front, `s = r + x; y = norm(s)`; or behind, `y = r + norm(x)`.
    pub place: ResidualPlace,
    /// Whether a residual in front is `f32`, beside `x` and `y` of 16 bits. Behind it has the type of `y`.
    pub wide: bool,
    /// What is added, `x` or the norm, is multiplied by this.
    pub branch_scale: f32,
    /// The sum is multiplied by this.
    pub sum_scale: f32,
    /// Whether the latter is read from memory: then it is a multiplication even by 1.
    pub scale_in_memory: bool,
}

/// One row of the tensors that an operation reads, as numbers: each as many as the row has elements.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The input, as its type has it.
    pub x: &'a [f64],
    /// The weights of this row.
    pub w: Option<&'a [f64]>,
    /// The biases of this row.
    pub b: Option<&'a [f64]>,
    /// The residual before the operation; where the norm is added to what the output holds, that. Not looked at where
    /// nothing is added.
    pub r: Option<&'a [f64]>,
}

impl Addition {
    /// At that place, of the type that is usual there, nothing multiplied.
    pub fn plain(place: ResidualPlace) -> Addition {
        Addition { place, wide: false, branch_scale: 1.0, sum_scale: 1.0, scale_in_memory: false }
    }

    /// Whether anything is multiplied, if by 1.
    pub fn is_scaled(&self) -> bool {
        self.scale_in_memory || self.branch_scale != 1.0 || self.sum_scale != 1.0
    }

    /// What is multiplied by what.
    pub fn factors(&self) -> Factors {
        Factors { branch: self.branch_scale.into(), sum: self.sum_scale.into() }
    }
}

impl Operation {
    /// The norm as a call begins it: without weights, biases, and a scale in memory, which are views.
    pub fn norm<'a>(&self) -> Norm<'a> {
        let norm = Norm::new(self.kind, self.eps)
            .weight_offset(self.weight_offset)
            .round_offset(self.round_offset)
            .rounding(self.rounding);
        match self.addition {
            Some(addition) => norm.branch_scale(addition.branch_scale).sum_scale(addition.sum_scale),
            None => norm,
        }
    }

    /// The addition, where it is in front of the norm.
    fn in_front(&self) -> Option<Addition> {
        self.addition.filter(|addition| addition.place == ResidualPlace::InFront)
    }

    /// The addition, where it is behind the norm.
    fn behind(&self) -> Option<Addition> {
        self.addition.filter(|addition| addition.place == ResidualPlace::Behind)
    }

    /// The type of a residual and of the sum with it; without one that of `x`, which is what is normalized.
    pub fn sum_dtype(&self) -> DType {
        match self.addition {
            Some(Addition { place: ResidualPlace::Behind, .. }) => self.y,
            Some(Addition { place: ResidualPlace::InFront, wide: true, .. }) => DType::F32,
            Some(Addition { place: ResidualPlace::InFront, wide: false, .. }) | None => self.x,
        }
    }

    /// Where it rounds before the last time, for its types.
    pub fn roundings(&self) -> Roundings {
        let roundings = Roundings::of(self.rounding, self.round_offset, self.x, self.w, self.y);
        match self.addition {
            Some(addition) if addition.is_scaled() => {
                let branch = if self.in_front().is_some() { self.x } else { self.y };
                roundings.with_scales(self.rounding, branch, self.sum_dtype())
            }
            _ => roundings,
        }
    }

    /// What a row is normalized with.
    pub fn parameters<'a>(&self, row: &Row<'a>) -> Parameters<'a> {
        let behind = self.behind();
        Parameters {
            kind: self.kind,
            eps: self.eps.into(),
            weight: row.w,
            weight_offset: self.weight_offset.into(),
            roundings: self.roundings(),
            bias: row.b,
            onto: row.r.filter(|_| behind.is_some()),
            factors: behind.map_or(Factors::NONE, |addition| addition.factors()),
        }
    }

    /// What is normalized of a row: the sum with a residual in front, which every backend stores with these bits (any NaN
    /// for NaN); or `x`.
    ///
    /// # Panics
    ///
    /// If there is a residual in front, and the row's is not there or shorter than `x`.
    pub fn normalized<'a>(&self, row: &Row<'a>) -> Cow<'a, [f64]> {
        let Some(addition) = self.in_front() else { return Cow::Borrowed(row.x) };
        let r = row.r.expect("the row of a residual in front");
        let dtype = self.sum_dtype();
        Cow::Owned(match addition.is_scaled() {
            true => add_scaled(dtype, row.x, r, addition.factors(), self.roundings()),
            false => add(dtype, row.x, r),
        })
    }

    /// Judges the outputs `given`, of type `y`, for a row.
    ///
    /// # Panics
    ///
    /// As [`normalized`](Self::normalized) and [`judge_row`] do.
    pub fn judge(&self, row: &Row<'_>, given: &[f64]) -> WorstRow {
        self.judge_normalized(&self.normalized(row), row, given)
    }

    /// The same where [`normalized`](Self::normalized) is at hand.
    ///
    /// # Panics
    ///
    /// As [`judge_row`] does.
    pub fn judge_normalized(&self, normalized: &[f64], row: &Row<'_>, given: &[f64]) -> WorstRow {
        let dtype = if self.in_front().is_some() { self.sum_dtype() } else { self.x };
        let x: Vec<f64> = normalized.iter().map(|&x| input(dtype, x)).collect();
        judge_row(&x, &self.parameters(row), self.y, given)
    }
}

/// The index of the first element in which two rows have other bits; any NaN counts as any other.
pub fn first_difference(expected: &[f64], given: &[f64]) -> Option<usize> {
    let differ = |(e, g): (&f64, &f64)| e.to_bits() != g.to_bits() && !(e.is_nan() && g.is_nan());
    expected.iter().zip(given).position(differ)
}

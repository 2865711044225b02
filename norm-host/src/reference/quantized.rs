//! A norm whose output is quantized as plain data, and a row of it judged.

use super::{Factors, Parameters, Row, add, input};
use crate::{
    DType, Norm, NormKind, QuantFormat, QuantRecipe,
    accuracy::{QuantizedRow, QuantizedVerdict, RowQuantization, judge_quantized_row, round},
    problem::Roundings,
    quantize::Formula,
};

/// What the results of a row follow from besides its elements and parameters, of a norm whose output is quantized: as
/// [`Operation`](super::Operation) is for a norm whose output is not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantizedOperation {
    /// Which normalization.
    pub kind: NormKind,
    /// The type of `x`, of the residual and of the copy of the norm's values.
    pub x: DType,
    /// Added to the mean of squares, or the variance, before the square root.
    pub eps: f32,
    /// Added to every weight.
    pub weight_offset: f32,
    /// Whether `x` is added to a residual first.
    pub adds: bool,
    /// What a code is.
    pub format: QuantFormat,
    /// The formula.
    pub recipe: QuantRecipe,
    /// The scale, where it is given.
    pub scale: Option<f32>,
    /// Elements that share a scale that is not given: the row's, or 64 or 128.
    pub block: usize,
    /// The largest magnitude that counts for such a scale.
    pub bound: Option<f32>,
}

impl QuantizedOperation {
    /// The norm as a call begins it: without weights and biases, which are views.
    pub fn norm<'a>(&self) -> Norm<'a> {
        Norm::new(self.kind, self.eps).weight_offset(self.weight_offset)
    }

    /// The sum with the residual as it is stored, which every backend has bit for bit.
    ///
    /// # Panics
    ///
    /// If something is added, and the row's residual is not there or shorter than `x`.
    pub fn sum(&self, row: &Row<'_>) -> Option<Vec<f64>> {
        self.adds.then(|| add(self.x, row.x, row.r.expect("the row of a residual")))
    }

    /// What is normalized: `x`, or its sum with the residual, rounded or not.
    ///
    /// # Panics
    ///
    /// As [`sum`](Self::sum).
    pub fn normalized(&self, row: &Row<'_>) -> Vec<f64> {
        let v = match self.sum(row) {
            None => row.x.to_vec(),
            Some(sum) if self.recipe.rounds_sum() => sum,
            Some(_) => add(DType::F32, row.x, row.r.unwrap_or_default()),
        };
        match self.recipe.clamps() {
            true => v.into_iter().map(|v| input(self.x, v)).collect(),
            false => v,
        }
    }

    /// What a row is normalized with.
    pub fn parameters<'a>(&self, row: &Row<'a>) -> Parameters<'a> {
        let normalized = self.recipe.rounds_before_weight().then_some(self.x);
        Parameters {
            kind: self.kind,
            eps: self.eps.into(),
            weight: row.w,
            weight_offset: self.weight_offset.into(),
            roundings: Roundings { normalized, ..Roundings::NONE },
            bias: row.b,
            onto: None,
            factors: Factors::NONE,
        }
    }

    /// The formula from the norm's values on.
    pub fn formula(&self) -> Formula {
        let formula = Formula::new(self.format, self.recipe);
        self.bound.map_or(formula, |bound| formula.bounded(bound))
    }

    /// Judges what became of a row.
    ///
    /// # Panics
    ///
    /// As [`sum`](Self::sum) and [`judge_quantized_row`] do.
    pub fn judge(&self, row: &Row<'_>, given: &QuantizedRow<'_>) -> QuantizedVerdict {
        let how =
            RowQuantization { formula: self.formula(), dtype: self.x, scale: self.scale, block: self.block };
        judge_quantized_row(&self.normalized(row), &self.parameters(row), &how, given)
    }
}

/// One row quantized in f64, but for the formula's own roundings to 16 bits: the quotients of its values and their scales,
/// before they become codes.
///
/// # Panics
///
/// As [`QuantizedOperation::sum`].
pub fn quotients(operation: &QuantizedOperation, row: &Row<'_>) -> Vec<f64> {
    let v = operation.normalized(row);
    let mut n = super::norm(&v, &operation.parameters(row));
    if operation.recipe.rounds_value() {
        n.iter_mut().for_each(|n| *n = round(operation.x, *n));
    }
    let limits = operation.formula().limits;
    let of_block = |n: &[f64]| -> Vec<f64> {
        let absmax = n.iter().filter(|n| !n.is_nan()).fold(0.0, |a, n| f64::max(a, n.abs()));
        let limited = absmax.min(limits.bound.into()).max(limits.floor.into());
        let scale =
            operation.scale.map_or((limited / f64::from(limits.max)).max(limits.least.into()), f64::from);
        n.iter().map(|n| n / scale).collect()
    };
    n.chunks(operation.block).flat_map(of_block).collect()
}

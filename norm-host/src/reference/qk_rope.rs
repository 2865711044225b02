//! Norm and rotation of a head.

use super::{Statistics, input};
use crate::{
    DType, NormKind, Pairing, RopeRounding,
    accuracy::{WorstRow, judge_head, round},
};

/// What the results of a head follow from besides its elements, parameters and position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadOperation {
    /// The type of the head, read and written.
    pub dtype: DType,
    /// Which elements are rotated together.
    pub pairing: Pairing,
    /// Whether it is rotated before it is normed.
    pub norm_behind: bool,
    /// Whether normalized values are rounded to the head's type before the weights multiply them.
    pub before_weight: bool,
    /// Where it rounds between norm and rotation, and in the rotation.
    pub rounding: RopeRounding,
}

/// A head as numbers.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Its elements, as their type has them.
    pub x: &'a [f64],
    /// Its norm, if it is normed.
    pub norm: Option<HeadParameters<'a>>,
    /// The cosines and the sines of its position, one for each pair, if it is rotated.
    pub turn: Option<[&'a [f64]; 2]>,
}

/// The parameters of a head's norm.
#[derive(Clone, Copy, Debug)]
pub struct HeadParameters<'a> {
    /// Which normalization.
    pub kind: NormKind,
    /// Added to the mean of squares, or the variance, before the square root.
    pub eps: f64,
    /// The weights: 1 where there are none.
    pub weight: Option<&'a [f64]>,
    /// Added to every weight; of no effect without weights.
    pub weight_offset: f64,
}

impl HeadParameters<'_> {
    /// The factor of an element.
    pub fn factor(&self, index: usize) -> f64 {
        self.weight.map_or(1.0, |w| w[index] + self.weight_offset)
    }
}

impl HeadOperation {
    /// The elements of pair number `p` of `pairs`.
    pub fn pair(&self, p: usize, pairs: usize) -> [usize; 2] {
        match self.pairing {
            Pairing::Halves => [p, p + pairs],
            Pairing::Neighbours => [2 * p, 2 * p + 1],
        }
    }

    /// The type to which what goes between norm and rotation is rounded.
    pub fn between(&self) -> Option<DType> {
        (self.rounding != RopeRounding::Single).then_some(self.dtype)
    }

    /// The type to which products of the rotation are rounded.
    pub fn products(&self) -> Option<DType> {
        (self.rounding == RopeRounding::Products).then_some(self.dtype)
    }

    /// The type to which a normalized value is rounded before the weight multiplies it.
    pub fn normalized(&self) -> Option<DType> {
        self.before_weight.then_some(self.dtype)
    }

    /// Whether a head is rotated first, as far as it is both rotated and normed.
    pub fn is_behind(&self, head: &Head<'_>) -> bool {
        self.norm_behind && head.norm.is_some() && head.turn.is_some()
    }

    /// The elements as the operation sees them: infinite `f16` count as ±65504.
    pub fn inputs(&self, head: &Head<'_>) -> Vec<f64> {
        head.x.iter().map(|&x| input(self.dtype, x)).collect()
    }

    /// Elements rotated in `f32`, of which each step rounds once. Every backend has these bits (any NaN for NaN), where what
    /// it rotates has them: an `f64` holds the product of two `f32` exactly, and their sum rounds correctly, as for
    /// [`add`](super::add). With another rounding than to `f32` in between, each product is rounded twice, to `f32` and from
    /// there.
    pub fn rotated(&self, x: &[f64], [cos, sin]: [&[f64]; 2]) -> Vec<f64> {
        let product = |a: f64, b: f64| {
            let product = round(DType::F32, a * b);
            self.products().map_or(product, |dtype| round(dtype, product))
        };
        let mut rotated = x.to_vec();
        let pairs = cos.len();
        for (p, (&cos, &sin)) in cos.iter().zip(sin).enumerate() {
            let [i, j] = self.pair(p, pairs);
            let (a, b) = (x[i], x[j]);
            rotated[i] = round(DType::F32, product(a, cos) - product(b, sin));
            rotated[j] = round(DType::F32, product(b, cos) + product(a, sin));
        }
        rotated
    }

    /// The head normed and rotated, with the roundings in between, and without the last, to its type.
    ///
    /// ```
    /// use norm_host::{DType, Pairing, RopeRounding, reference::{Head, HeadOperation}};
    ///
    /// let operation = HeadOperation {
    ///     dtype: DType::F32,
    ///     pairing: Pairing::Halves,
    ///     norm_behind: false,
    ///     before_weight: false,
    ///     rounding: RopeRounding::Single,
    /// };
    /// // A quarter turn of the first and the third element.
    /// let head = Head { x: &[3.0, 1.0, 4.0, 2.0], norm: None, turn: Some([&[0.0, 1.0], &[1.0, 0.0]]) };
    /// assert_eq!(operation.apply(&head), [-4.0, 1.0, 3.0, 2.0]);
    /// ```
    pub fn apply(&self, head: &Head<'_>) -> Vec<f64> {
        let rounded = |to: Option<DType>, values: Vec<f64>| match to {
            Some(to) => values.into_iter().map(|value| round(to, value)).collect(),
            None => values,
        };
        let mut values = self.inputs(head);
        let turn = |values: &[f64], [cos, sin]: [&[f64]; 2]| {
            let mut turned = values.to_vec();
            for p in 0..cos.len() {
                let [i, j] = self.pair(p, cos.len());
                let product = |a: f64, b: f64| self.products().map_or(a * b, |to| round(to, a * b));
                turned[i] = product(values[i], cos[p]) - product(values[j], sin[p]);
                turned[j] = product(values[j], cos[p]) + product(values[i], sin[p]);
            }
            turned
        };
        let is_behind = self.is_behind(head);
        if let (true, Some(tables)) = (is_behind, head.turn) {
            values = rounded(self.between(), self.rotated(&values, tables));
        }
        if let Some(norm) = &head.norm {
            let Statistics { mean, rstd, .. } = Statistics::of(&values, norm.kind, norm.eps);
            let normalized = values.iter().map(|x| (x - mean) * rstd).collect();
            let normalized = rounded(self.normalized(), normalized);
            values = normalized.iter().enumerate().map(|(i, n)| n * norm.factor(i)).collect();
        }
        if let (false, Some(tables)) = (is_behind, head.turn) {
            let between = if head.norm.is_some() { rounded(self.between(), values) } else { values };
            values = turn(&between, tables);
        }
        values
    }

    /// Judges the outputs `given`: the promise of [`judge_head`].
    ///
    /// # Panics
    ///
    /// As [`judge_head`] does.
    pub fn judge(&self, head: &Head<'_>, given: &[f64]) -> WorstRow {
        judge_head(self, head, given)
    }
}

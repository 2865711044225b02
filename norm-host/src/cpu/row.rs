//! One row of a problem: where its elements are, and what to do with them.

#[cfg(test)]
mod tests;

use std::{marker::PhantomData, ops::Range};

use norm_kernels::abi::{Axis, NormKind};

use super::{
    form::Form,
    loops::MIN_SHARED,
    residual::Scaling,
    simd::STREAM_ALIGN,
    sum::{Mean, Moments},
};
use crate::{
    DType,
    problem::{Operand, Param, Problem, Residual, Roundings, Scales},
};

/// Neighbouring elements from an address on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) address: u64,
    pub(super) dtype: DType,
}

impl Span {
    /// The span from `offset` elements past `address` on.
    #[inline(always)]
    fn new(address: u64, dtype: DType, offset: u64) -> Span {
        Span { address: address + offset * dtype.size() as u64, dtype }
    }

    /// The address of element `index`.
    #[inline(always)]
    pub(super) fn at(self, index: usize) -> usize {
        // The host's addresses fit its `usize`.
        self.address as usize + index * self.dtype.size()
    }
}

/// The terms of a sum with a residual in front of the norm.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResidualSum {
    /// The input.
    pub(super) branch: Span,
    pub(super) r: Span,
}

/// One row of a [`Problem`].
///
/// A row is a witness, too: the elements of its spans are there, as [`RowRange::new`] demands, for as long as it exists. And
/// while it does, its range is borrowed mutably, so that nobody else has the same row.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) kind: NormKind,
    /// What is normalized: the input, or its sum with a residual.
    pub(super) x: Span,
    /// The terms of `x`, where it is such a sum.
    pub(super) in_front: Option<ResidualSum>,
    pub(super) y: Span,
    /// The residual that the norm is added to.
    pub(super) behind: Option<Span>,
    /// What an addition to a residual multiplies.
    pub(super) scaling: Option<Scaling>,
    pub(super) w: Option<Span>,
    pub(super) b: Option<Span>,
    pub(super) dim: usize,
    /// `1 / dim`, rounded: a product with it takes less time than a division.
    inv_dim: f64,
    eps: f32,
    pub(super) weight_offset: f32,
    /// The roundings before the last one, as far as they make a difference.
    pub(super) roundings: Roundings,
    /// Whether the output goes past the caches.
    pub(super) stream: bool,
    range: PhantomData<&'a RowRange<'a>>,
}

impl Row<'_> {
    /// The mean, given the sum.
    #[inline(always)]
    pub(super) fn mean(&self, sum: f64) -> Mean {
        Mean::of_sum(sum, self.dim as f64, self.inv_dim)
    }

    /// The sum of squares about the mean, unless it is so small a part of the sum of squares about zero that only a pass of
    /// its own tells it.
    ///
    /// Both sums are within 2⁻⁴³ of their magnitudes, so that what is left, where it is at least 2⁻¹⁶ of the second, is
    /// within 2⁻²⁵ of itself. Where there are infinities or NaN a pass is needed, too.
    #[inline(always)]
    pub(super) fn sum_sq_centered(&self, Moments { sum, sum_sq }: Moments) -> Option<f64> {
        const MIN_RESIDUAL_FRACTION: f64 = 1.0 / 65536.0;
        let centered = sum_sq - sum * sum * self.inv_dim;
        let well_conditioned = centered >= MIN_RESIDUAL_FRACTION * sum_sq && centered < f64::INFINITY;
        well_conditioned.then_some(centered)
    }

    /// The elements in front of the first cache line, where the output goes past the caches from there on.
    pub(super) fn head(&self) -> usize {
        let bytes = self.y.at(0).wrapping_neg() % STREAM_ALIGN;
        if self.stream && self.dim >= MIN_SHARED { bytes / self.y.dtype.size() } else { 0 }
    }

    /// What the elements are multiplied by, given the sum of their squares, measured from the center.
    #[inline(always)]
    pub(super) fn rstd(&self, sum_sq: f64) -> f32 {
        rstd(sum_sq * self.inv_dim, self.eps)
    }
}

/// `1 / sqrt(mean_sq + eps)`
#[inline(always)]
pub(super) fn rstd(mean_sq: f64, eps: f32) -> f32 {
    (1.0 / (mean_sq + f64::from(eps)).sqrt()) as f32
}

/// Consecutive rows of a [`Problem`], and the right to work on them.
pub(super) struct RowRange<'a> {
    problem: &'a Problem,
    roundings: &'a Roundings,
    range: Range<u64>,
}

impl<'a> RowRange<'a> {
    /// The rows `range` of `problem`, whose roundings are `roundings`.
    ///
    /// # Safety
    ///
    /// While this or one of these rows exists, the elements of its `x`, `w`, `b` and residuals may be read and those of its `y`,
    /// and of the sum with a residual, may be written; nobody else writes the former or accesses the latter.
    #[inline(always)]
    pub(super) unsafe fn new(
        problem: &'a Problem,
        roundings: &'a Roundings,
        range: Range<u64>,
    ) -> RowRange<'a> {
        RowRange { problem, roundings, range }
    }

    /// Elements of a row.
    #[inline(always)]
    pub(super) fn dim(&self) -> usize {
        self.problem.dim as usize
    }

    /// Goes over the rows of a problem of this form.
    #[inline(always)]
    pub(super) fn iter<F: Form>(&mut self) -> Rows<'_, F> {
        let RowRange { problem, roundings, range } = self;
        let roundings = if F::ROUNDS { **roundings } else { Roundings::NONE };
        let mut position = [0; 3];
        // Most calls are for the first rows, and a division takes as long as a few vectors do.
        if range.start != 0 {
            let mut rest = range.start;
            for (position, axis) in position.iter_mut().zip(&problem.axes).rev() {
                *position = rest % axis.extent;
                rest /= axis.extent;
            }
        }
        Rows {
            problem,
            left: range.end - range.start,
            inv_dim: 1.0 / f64::from(problem.dim),
            roundings,
            scaling: match problem.residual {
                Some(residual) if F::UNIFORM.is_none() => scaling(residual.scales, roundings),
                _ => None,
            },
            // From the workspace, elements of 16 bits are stored by conversions that use the caches.
            stream: (F::UNIFORM.is_some() || problem.y.dtype == DType::F32) && streams(problem),
            position,
            form: PhantomData,
        }
    }
}

/// Goes over the rows of a [`RowRange`], the last axis varying fastest.
pub(super) struct Rows<'a, F> {
    problem: &'a Problem,
    left: u64,
    inv_dim: f64,
    roundings: Roundings,
    scaling: Option<Scaling>,
    /// Whether the output goes past the caches.
    pub(super) stream: bool,
    /// The next row's position on each axis.
    position: [u64; 3],
    form: PhantomData<F>,
}

impl<'a, F: Form> Rows<'a, F> {
    /// Where the row at the current position begins in an operand with these strides.
    #[inline(always)]
    fn offset(&self, stride: impl Fn(&Axis) -> u64) -> u64 {
        let [a, b, c] = &self.problem.axes;
        self.position[0] * stride(a) + self.position[1] * stride(b) + self.position[2] * stride(c)
    }

    /// The row at the current position.
    #[inline(always)]
    fn row(&self) -> Row<'a> {
        let Rows { problem, position, .. } = self;
        let operand = |operand: Operand, offset: u64| {
            Span::new(operand.address, F::UNIFORM.unwrap_or(operand.dtype), offset)
        };
        let param = |param: Param| Span::new(param.address, param.dtype, position[2] * param.stride);
        let input = operand(problem.x, self.offset(|axis| axis.x_stride));
        let r = |residual: Residual| operand(residual.r, self.offset(|axis| axis.r_stride));
        let in_front = problem.residual_in_front();
        Row {
            kind: problem.kind,
            x: in_front.map_or(input, |residual| operand(residual.sum, self.offset(|axis| axis.s_stride))),
            in_front: in_front.map(|residual| ResidualSum { branch: input, r: r(residual) }),
            y: operand(problem.y, self.offset(|axis| axis.y_stride)),
            behind: if F::UNIFORM.is_none() { problem.residual_behind().map(r) } else { None },
            scaling: self.scaling,
            w: problem.w.map(param),
            b: problem.b.map(param),
            dim: problem.dim as usize,
            inv_dim: self.inv_dim,
            eps: problem.eps,
            weight_offset: problem.weight_offset,
            roundings: self.roundings,
            stream: self.stream,
            range: PhantomData,
        }
    }
}

impl<'a, F: Form> Iterator for Rows<'a, F> {
    type Item = Row<'a>;

    // Counts the position up instead of dividing: a row of 64 elements takes no longer than a few divisions.
    #[inline(always)]
    fn next(&mut self) -> Option<Row<'a>> {
        self.left = self.left.checked_sub(1)?;
        let row = self.row();
        for (position, axis) in self.position.iter_mut().zip(&self.problem.axes).rev() {
            *position += 1;
            if *position < axis.extent {
                break;
            }
            *position = 0;
        }
        Some(row)
    }
}

/// Bytes of an output from which on it goes past the caches: its first rows have left most last-level caches before the last
/// row is written, so that whoever reads it next loses nothing (docs/TUNING.md).
const MIN_STREAMED_BYTES: u64 = 32 << 20;

/// Whether the output goes past the caches: if it is large, and its memory is not in them already, as it is where the output
/// takes the place of the input or is added to.
fn streams(problem: &Problem) -> bool {
    let bytes = problem.rows.saturating_mul(u64::from(problem.dim) * problem.y.dtype.size() as u64);
    let onto_itself = problem.residual_behind().is_some_and(|residual| residual.r == problem.y);
    let cached = onto_itself || problem.y.address == problem.x.address;
    !cached && bytes >= MIN_STREAMED_BYTES
}

/// What is multiplied, and rounded on the way; `None` where nothing is. A scale in memory has been read before.
fn scaling(scales: Scales, roundings: Roundings) -> Option<Scaling> {
    let Scales { branch, sum, .. } = scales;
    let Roundings { branch: rounded_branch, sum: rounded_sum, .. } = roundings;
    (scales != Scales::NONE).then_some(Scaling { branch, sum, rounded_branch, rounded_sum })
}

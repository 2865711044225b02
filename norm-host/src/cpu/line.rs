//! One row of a problem: where it is, and what to do with it.

#[cfg(test)]
mod tests;

use std::ops::Range;

use norm_kernels::abi::NormKind;

use super::{residual::Scaling, sum::Mean};
use crate::{
    DType,
    problem::{Operand, Param, Problem, Residual, Roundings, Scales},
};

/// Neighbouring elements from an address on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) address: u64,
    pub(super) dtype: DType,
}

impl Run {
    /// The address of element `index`.
    #[inline(always)]
    pub(super) fn at(self, index: usize) -> usize {
        // The host's addresses fit its `usize`.
        self.address as usize + index * self.dtype.size()
    }
}

/// The terms of a sum with a residual in front of the norm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The input.
    pub(super) branch: Run,
    pub(super) r: Run,
}

/// One row of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) kind: NormKind,
    /// What is normalized: the input, or its sum with a residual.
    pub(super) x: Run,
    /// What is added to make `x`, where it is such a sum.
    pub(super) in_front: Option<Terms>,
    pub(super) y: Run,
    /// What the norm is added to.
    pub(super) behind: Option<Run>,
    /// What either addition multiplies.
    pub(super) scaling: Option<Scaling>,
    pub(super) w: Option<Run>,
    pub(super) b: Option<Run>,
    pub(super) dim: usize,
    /// `1 / dim`: a division less on the way from a sum to an output.
    pub(super) share: f64,
    pub(super) eps: f32,
    pub(super) weight_offset: f32,
    /// Those before the last, as far as they make a difference.
    pub(super) roundings: Roundings,
    /// Whether the output goes past the caches.
    pub(super) stream: bool,
}

impl Line {
    /// The mean, given the sum.
    #[inline(always)]
    pub(super) fn mean(&self, sum: f64) -> Mean {
        Mean::of_sum(sum, self.dim as f64, self.share)
    }

    /// The sum of the squares about the mean, given the sum and the sum of the squares about zero, unless it
    /// is so little of these that a pass of its own has to tell: each of the two sums is within 2⁻⁴³ of its
    /// magnitudes, what is left then within 2⁻²⁵ of itself.
    #[inline(always)]
    pub(super) fn squares_about_mean(&self, sum: f64, about_zero: f64) -> Option<f64> {
        const LEFT: f64 = 1.0 / 65536.0;
        let squares = about_zero - sum * sum * self.share;
        // Not where there are infinities or NaN, either.
        (squares >= LEFT * about_zero && squares < f64::INFINITY).then_some(squares)
    }

    /// What its elements are multiplied by, given the sum of their squares:
    /// `1 / sqrt(mean(x²) + eps)`.
    #[inline(always)]
    pub(super) fn rstd(&self, squares: f64) -> f32 {
        (1.0 / (squares * self.share + f64::from(self.eps)).sqrt()) as f32
    }
}

/// Consecutive rows of a [`Problem`], the last axis varying fastest.
pub(super) struct Lines<'a> {
    problem: &'a Problem,
    left: u64,
    share: f64,
    pub(super) roundings: Roundings,
    scaling: Option<Scaling>,
    stream: bool,
    /// The next row's position on each axis.
    position: [u64; 3],
}

impl Lines<'_> {
    /// The rows `rows` of `problem`.
    #[inline(always)]
    pub(super) fn of(problem: &Problem, rows: Range<u64>) -> Lines<'_> {
        let mut rest = rows.start;
        let mut position = [0; 3];
        for (position, axis) in position.iter_mut().zip(&problem.axes).rev() {
            *position = rest % axis.extent;
            rest /= axis.extent;
        }
        let share = 1.0 / f64::from(problem.dim);
        let (roundings, stream) = (problem.roundings(), streams(problem));
        let scaling = problem.residual.and_then(|residual| scaling(residual.scales, roundings));
        Lines { problem, left: rows.end - rows.start, share, roundings, scaling, stream, position }
    }

    #[inline(always)]
    fn line(&self) -> Line {
        let Lines { problem, position, .. } = self;
        let (mut x_offset, mut y_offset, mut r_offset, mut s_offset) = (0, 0, 0, 0);
        for (position, axis) in position.iter().zip(&problem.axes) {
            x_offset += position * axis.x_stride;
            y_offset += position * axis.y_stride;
            r_offset += position * axis.r_stride;
            s_offset += position * axis.s_stride;
        }
        let operand = |operand: Operand, offset: u64| run(operand.address, operand.dtype, offset);
        let param = |param: Param| run(param.address, param.dtype, position[2] * param.stride);
        let input = operand(problem.x, x_offset);
        let r = |residual: Residual| operand(residual.r, r_offset);
        let in_front = problem.residual_in_front();
        Line {
            kind: problem.kind,
            x: in_front.map_or(input, |residual| operand(residual.sum, s_offset)),
            in_front: in_front.map(|residual| Terms { branch: input, r: r(residual) }),
            y: operand(problem.y, y_offset),
            behind: problem.residual_behind().map(r),
            scaling: self.scaling,
            w: problem.w.map(param),
            b: problem.b.map(param),
            dim: problem.dim as usize,
            share: self.share,
            eps: problem.eps,
            weight_offset: problem.weight_offset,
            roundings: self.roundings,
            stream: self.stream,
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    // Counts up instead of dividing: a row of 64 elements takes no longer than a few divisions.
    #[inline(always)]
    fn next(&mut self) -> Option<Line> {
        self.left = self.left.checked_sub(1)?;
        let line = self.line();
        for (position, axis) in self.position.iter_mut().zip(&self.problem.axes).rev() {
            *position += 1;
            if *position < axis.extent {
                break;
            }
            *position = 0;
        }
        Some(line)
    }
}

/// Bytes of an output of which the first rows have left most last-level caches before the last is
/// written, so that whoever reads it next loses nothing when it goes past them (docs/TUNING.md).
const STREAMED: u64 = 32 << 20;

/// Whether the output goes past the caches: where it is large, and its memory is not in them
/// already, as it is in place or where it is added to. 16-bit outputs are written by the conversions, which do not.
fn streams(problem: &Problem) -> bool {
    let bytes = problem.rows.saturating_mul(u64::from(problem.dim) * size_of::<f32>() as u64);
    let onto_itself = problem.residual_behind().is_some_and(|residual| residual.r == problem.y);
    let cached = onto_itself || problem.y.address == problem.x.address;
    problem.y.dtype == DType::F32 && !cached && bytes >= STREAMED
}

/// What is multiplied, and rounded in between; `None` for nothing. A scale in memory has been read.
fn scaling(scales: Scales, roundings: Roundings) -> Option<Scaling> {
    let Scales { branch, sum, .. } = scales;
    let Roundings { branch: rounded_branch, sum: rounded_sum, .. } = roundings;
    (scales != Scales::NONE).then_some(Scaling { branch, sum, rounded_branch, rounded_sum })
}

/// The elements of type `dtype` from `offset` elements past `address` on.
#[inline(always)]
fn run(address: u64, dtype: DType, offset: u64) -> Run {
    Run { address: address + offset * dtype.size() as u64, dtype }
}

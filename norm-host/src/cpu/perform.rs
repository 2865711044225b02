//! What a thread is given to do, compiled for each instruction set that is worth it.

#[cfg(test)]
mod tests;

use std::ops::Range;

use norm_kernels::abi::NormKind;

#[cfg(target_arch = "x86_64")]
use super::vector::Avx2;
use super::{
    line::{Line, Lines, Terms},
    part, row,
    sum::{Mean, Moments, Origin, Square},
    vector::{Portable, Vector},
    workspace::Workspace,
};
use crate::problem::{Problem, Roundings};

/// A thread's piece of work.
pub(super) enum Step<'a> {
    /// These rows, from their sums to their output.
    Rows(&'a Problem, Range<u64>),
    /// One pass over one part of a row.
    Part(&'a Line, Pass, usize),
}

/// The passes over a row. LayerNorm's have its mean, once it is known.
#[derive(Clone, Copy)]
pub(super) enum Pass {
    /// The sum of these, where it is one with a residual.
    Add(Terms),
    /// Its sum and the sum of its squares, which are the result.
    Moments,
    /// The sum of squares, measured from the mean, which is the first of the result.
    Squares(Option<Mean>),
    /// The output, given what the elements are multiplied by.
    Write(Option<Mean>, f32),
}

/// Carries a step out. [`Pass::Moments`] and [`Pass::Squares`] alone have a result to look at.
///
/// # Safety
///
/// The elements of the step's `x`, `w` and `b`, and of what is added to a residual, are there to be
/// read and those of `y`, and of a residual, to be written, and no other thread writes any of the
/// former or touches any of the latter meanwhile.
/// What the workspace remembers is still in memory.
pub(super) type Perform = unsafe fn(&Step<'_>, &mut Workspace) -> [f64; 2];

/// Normalizes a row pass by pass, with the bits that it has from [`row`]: `pass` carries one out over all
/// parts of the row, and gives the sums of what comes of it.
pub(super) fn in_passes(line: &Line, mut pass: impl FnMut(Pass) -> [f64; 2]) {
    if let Some(terms) = line.in_front {
        pass(Pass::Add(terms));
    }
    let mut mean = None;
    let mut squares = None;
    if line.kind == NormKind::Layer {
        let [sum, about_zero] = pass(Pass::Moments);
        mean = Some(line.mean(sum));
        squares = line.squares_about_mean(sum, about_zero);
    }
    let squares = squares.unwrap_or_else(|| {
        let [squares, _] = pass(Pass::Squares(mean));
        squares
    });
    pass(Pass::Write(mean, line.rstd(squares)));
}

/// What comes of a pass over a row, from what comes of each part, in their order.
pub(super) fn add_up(parts: impl Iterator<Item = [f64; 2]>) -> [f64; 2] {
    parts.fold([0.0; 2], |[a, b], [c, d]| [a + c, b + d])
}

/// The fastest for this machine, of the rows of problems with these roundings. All give the same bits.
///
/// Without roundings in between it is code of its own: beside that for the others a row of 64 elements took a third
/// longer (2026-11-29).
pub(super) fn fastest(roundings: Roundings) -> Perform {
    let rounds = roundings != Roundings::NONE;
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
    {
        return if rounds { avx2::<true> } else { avx2::<false> };
    }
    plainest(rounds)
}

/// What every machine can do.
fn plainest(rounds: bool) -> Perform {
    if rounds { portable::<true> } else { portable::<false> }
}

/// # Safety
///
/// As [`Perform`], on a machine with AVX2, FMA and F16C.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2<const ROUNDS: bool>(step: &Step<'_>, space: &mut Workspace) -> [f64; 2] {
    // SAFETY: handed on.
    unsafe { perform::<Avx2, ROUNDS>(step, space) }
}

/// # Safety
///
/// As [`Perform`].
unsafe fn portable<const ROUNDS: bool>(step: &Step<'_>, space: &mut Workspace) -> [f64; 2] {
    // SAFETY: handed on; every machine has these.
    unsafe { perform::<Portable<f32>, ROUNDS>(step, space) }
}

/// `ROUNDS`: whether there are roundings in between.
///
/// # Safety
///
/// As [`Perform`], on a machine with the instructions of `V`.
#[inline(always)]
unsafe fn perform<V: Vector, const ROUNDS: bool>(step: &Step<'_>, space: &mut Workspace) -> [f64; 2] {
    // SAFETY: handed on, to each.
    unsafe {
        match step {
            Step::Rows(problem, rows) => {
                let lines = Lines::of(problem, rows.clone());
                // Rows of one part have a version of their own, without loops over parts: in short
                // rows each instruction tells. Those with roundings in between are not worth it.
                match (problem.kind, part::parts(problem.dim as usize)) {
                    (NormKind::Rms, 1) if !ROUNDS => {
                        for line in lines {
                            row::rms_norm::<V, ROUNDS>(&line, 1, space);
                        }
                    }
                    (NormKind::Rms, parts) => {
                        for line in lines {
                            row::rms_norm::<V, ROUNDS>(&line, parts, space);
                        }
                    }
                    (NormKind::Layer, 1) if !ROUNDS => {
                        for line in lines {
                            row::layer_norm::<V, ROUNDS>(&line, 1, space);
                        }
                    }
                    (NormKind::Layer, parts) => {
                        for line in lines {
                            row::layer_norm::<V, ROUNDS>(&line, parts, space);
                        }
                    }
                }
                V::fence();
                [0.0; 2]
            }
            Step::Part(line, pass, index) => {
                match *pass {
                    Pass::Add(terms) => part::add_residual::<V>(line, terms, *index, space),
                    Pass::Moments => return part::totals::<V, 2>(line, Moments, *index, space),
                    Pass::Squares(mean) => {
                        let [squares] = match mean {
                            None => part::totals::<V, 1>(line, Square(Origin), *index, space),
                            Some(mean) => part::totals::<V, 1>(line, Square(mean), *index, space),
                        };
                        return [squares, 0.0];
                    }
                    Pass::Write(None, rstd) => part::write::<V, _, ROUNDS>(line, Origin, rstd, *index, space),
                    Pass::Write(Some(mean), rstd) => {
                        part::write::<V, _, ROUNDS>(line, mean, rstd, *index, space)
                    }
                }
                V::fence();
                [0.0; 2]
            }
        }
    }
}

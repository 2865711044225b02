//! One row worked on by several threads.

use norm_kernels::abi::NormKind;
use rayon::prelude::*;

use super::{
    in_own_space,
    line::Line,
    part::{PART, parts},
    perform::{Pass, Perform, Step},
};
use crate::MAX_DIM;

/// Parts that make a task, as many elements as tasks of whole rows have.
const PARTS: usize = super::TASK / PART;

/// Parts of the longest row.
const MAX_PARTS: usize = (MAX_DIM as usize).div_ceil(PART);

/// Normalizes a row, with the bits that it has from [`row`](super::row).
///
/// # Safety
///
/// As [`Perform`] for the whole row.
pub(super) unsafe fn normalize(line: &Line, perform: Perform) {
    let pass = |pass: Pass| -> f64 {
        let mut totals = [0.0; MAX_PARTS];
        let totals = &mut totals[..parts(line.dim)];
        totals.par_iter_mut().enumerate().with_min_len(PARTS).for_each(|(index, total)| {
            // SAFETY: handed on; each part writes its own elements of the row.
            *total = unsafe { in_own_space(perform, &Step::Part(line, pass, index)) };
        });
        totals.iter().sum()
    };
    let mean = match line.kind {
        NormKind::Rms => None,
        NormKind::Layer => Some(line.mean(pass(Pass::Sum))),
    };
    let rstd = line.rstd(pass(Pass::Squares(mean)));
    pass(Pass::Write(mean, rstd));
}

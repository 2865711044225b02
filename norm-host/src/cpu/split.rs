//! One row worked on by several threads.

use rayon::prelude::*;

use super::{
    in_own_space,
    line::Line,
    part::{PART, parts},
    perform::{Perform, Step, add_up, in_passes},
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
    in_passes(line, |pass| {
        let mut totals = [[0.0; 2]; MAX_PARTS];
        let totals = &mut totals[..parts(line.dim)];
        totals.par_iter_mut().enumerate().with_min_len(PARTS).for_each(|(index, total)| {
            // SAFETY: handed on; each part writes its own elements of the row.
            *total = unsafe { in_own_space(perform, &Step::Part(line, pass, index)) };
        });
        add_up(totals.iter().copied())
    });
}

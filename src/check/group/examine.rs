//! Examines one case: the sum of ranks, and every row of the norm against the f64 reference; the same bits on all ranks, in place
//! and out of place; and what must not change.

use std::hash::Hash;

use norm_host::{GroupFailure, Stray, reference};

use super::super::call::{Call, Executor, ImageTensor};
use super::super::examine::{CaseFault, CaseStats, ImageBuffers, judge};
use super::super::outputs::{Outputs, difference, first_change, row_bytes, take, touched};
use super::{GroupCase, GroupImage};
use crate::bytes::AlignedBytes;
use crate::element;

/// Examines one case, and returns its statistics or the first fault. Rows count from those of the first call on.
pub fn examine(
    case: &GroupCase,
    executor: &mut impl Executor,
    memory: &mut ImageBuffers,
) -> Result<CaseStats, CaseFault> {
    let group = GroupImage::of(case);
    let ImageBuffers { before, image, digest } = memory;
    group.fill(before);
    let outputs = execute(&group, before, image, executor)?;
    for part in &outputs {
        (&part.y, &part.sum).hash(digest);
    }
    let rows = &case.rows;
    let mut stats = CaseStats::default();
    for (call, of_ranks) in outputs.chunks(case.ranks).enumerate() {
        let later = |row: usize| call * rows.rows() + row;
        let [first, others @ ..] = of_ranks else { continue };
        for (rank, other) in others.iter().enumerate() {
            if let Some((row, column)) = difference(rows, first, other) {
                return Err(CaseFault::Rank { rank: rank + 1, row: later(row), column });
            }
        }
        let summed = summed(&group, call, before);
        stats = stats.merged(match case.sum {
            true => judge_sum(&group, &summed, first),
            false => judge(rows, &group.call, &summed, first),
        }?);
    }
    if rows.in_place {
        let in_place = GroupImage { call: Call { y: None, ..group.call.clone() }, ..group.clone() };
        let in_place = execute(&in_place, before, image, executor)?;
        for (number, (apart, in_place)) in outputs.iter().zip(&in_place).enumerate() {
            if let Some((row, column)) = difference(rows, apart, in_place) {
                let row = number / case.ranks * rows.rows() + row;
                return Err(CaseFault::InPlace { row, column });
            }
        }
    }
    if let Some(stray) = case.stray {
        image.clone_from(before);
        let told = executor.told_of_stray(&group, stray, image).map_err(CaseFault::Refused)?;
        let last = case.ranks - 1;
        // Of two that make different calls, each may tell of the other.
        let is_right = |failure: &GroupFailure| match stray {
            Stray::Absent => *failure == GroupFailure::Absent { rank: last },
            Stray::OtherEpoch => *failure == GroupFailure::OtherEpoch { rank: last },
            Stray::OtherCall => matches!(failure, GroupFailure::OtherCall { .. }),
        };
        // Nothing is done where there are no rows.
        let told = told.unwrap_or_default();
        if let Some(rank) = told.iter().position(|told| !told.as_ref().is_some_and(is_right)) {
            return Err(CaseFault::Told { rank, told: told[rank], stray });
        }
    }
    Ok(stats)
}

/// The outputs of every rank in every call.
fn execute(
    group: &GroupImage,
    before: &AlignedBytes,
    image: &mut AlignedBytes,
    executor: &mut impl Executor,
) -> Result<Vec<Outputs>, CaseFault> {
    image.clone_from(before);
    executor.execute_group(group, image).map_err(CaseFault::Refused)?;
    let rows = &group.case.rows;
    let outputs = (0..group.parts())
        .map(|number| take(rows, &group.call, |tensor| group.of_part(tensor, number), before, image))
        .collect();
    match first_change(image, before) {
        None => Ok(outputs),
        Some(byte) => Err(touched(&group.call, byte % group.part)),
    }
}

/// A rank's part of a call, with the sum of all ranks in place of `x`: added in f32 in their order, and rounded once.
fn summed(group: &GroupImage, call: usize, before: &AlignedBytes) -> AlignedBytes {
    let GroupCase { rows, ranks, .. } = &group.case;
    let dtype = rows.x.dtype;
    let first = call * ranks;
    let mut part = AlignedBytes::copy_of(&before[first * group.part..][..group.part]);
    for row in 0..rows.rows() {
        let mut sum = vec![-0.0_f32; rows.dim()];
        for rank in 0..*ranks {
            let x: ImageTensor = group.of_part(&group.call.x, first + rank);
            let x = element::read(dtype, &before[row_bytes(rows, &x, row)]);
            sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x as f32);
        }
        let range = row_bytes(rows, &group.call.x, row);
        element::write(dtype, &mut part[range], sum.into_iter().map(f64::from));
    }
    part
}

/// Every element of the sum is exactly that of the ranks in their order.
fn judge_sum(group: &GroupImage, summed: &AlignedBytes, outputs: &Outputs) -> Result<CaseStats, CaseFault> {
    let rows = &group.case.rows;
    let dtype = rows.x.dtype;
    for row in 0..rows.rows() {
        let expected = element::read(dtype, &summed[row_bytes(rows, &group.call.x, row)]);
        let given = element::read(dtype, &outputs.row(rows, row).y);
        if let Some(column) = reference::first_difference(&expected, &given) {
            let (expected, given) = (expected[column], given[column]);
            return Err(CaseFault::Sum { row, column, expected, given });
        }
    }
    Ok(CaseStats { outputs: (rows.rows() * rows.dim()) as u64, f32_ratio: 0.0 })
}

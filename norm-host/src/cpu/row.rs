//! One row normalized, part by part: the sums, then the output. The number of parts is handed down,
//! so that it may be a constant.

use super::{
    line::Line,
    part,
    sum::{Center, Origin, Plain, Square, Term},
    vector::Vector,
    workspace::Workspace,
};

/// RMSNorm of a row.
///
/// # Safety
///
/// As [`Perform`](super::perform::Perform), for the row, on a machine with the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn rms_norm<V: Vector>(line: &Line, parts: usize, space: &mut Workspace) {
    // SAFETY: handed on.
    unsafe { scale::<V>(line, parts, Origin, space) }
}

/// LayerNorm of a row.
///
/// # Safety
///
/// As [`rms_norm`].
#[inline(always)]
pub(super) unsafe fn layer_norm<V: Vector>(line: &Line, parts: usize, space: &mut Workspace) {
    // SAFETY: handed on.
    unsafe {
        let mean = line.mean(total::<V>(line, parts, Plain, space));
        scale::<V>(line, parts, mean, space);
    }
}

/// What the norms share once the center is known.
///
/// # Safety
///
/// As [`rms_norm`].
#[inline(always)]
unsafe fn scale<V: Vector>(line: &Line, parts: usize, center: impl Center, space: &mut Workspace) {
    // SAFETY: handed on.
    unsafe {
        let rstd = line.rstd(total::<V>(line, parts, Square(center), space));
        for index in 0..parts {
            part::write::<V, _>(line, center, rstd, index, space);
        }
    }
}

/// A total over the row.
///
/// # Safety
///
/// As [`rms_norm`].
#[inline(always)]
unsafe fn total<V: Vector>(line: &Line, parts: usize, term: impl Term, space: &mut Workspace) -> f64 {
    let mut sum = 0.0;
    for index in 0..parts {
        // SAFETY: handed on.
        sum += unsafe { part::total::<V>(line, term, index, space) };
    }
    sum
}

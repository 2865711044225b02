//! One row normalized, part by part: the residual, the sums, then the output. The number of parts is handed down,
//! so that it may be a constant; whether there are roundings before the last one (`ROUNDS`) is compiled in.

use super::{
    line::Line,
    part,
    sum::{Center, Moments, Origin, Square, Terms},
    vector::Vector,
    workspace::Workspace,
};

/// RMSNorm of a row.
///
/// # Safety
///
/// As [`Perform`](super::perform::Perform), for the row, on a machine with the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn rms_norm<V: Vector, const ROUNDS: bool>(
    line: &Line,
    parts: usize,
    space: &mut Workspace,
) {
    // SAFETY: handed on.
    unsafe {
        add_residual::<V>(line, parts, space);
        let [squares] = totals::<V, 1>(line, parts, Square(Origin), space);
        scale::<V, ROUNDS>(line, parts, Origin, squares, space);
    }
}

/// LayerNorm of a row.
///
/// # Safety
///
/// As [`rms_norm`].
#[inline(always)]
pub(super) unsafe fn layer_norm<V: Vector, const ROUNDS: bool>(
    line: &Line,
    parts: usize,
    space: &mut Workspace,
) {
    // SAFETY: handed on.
    unsafe {
        add_residual::<V>(line, parts, space);
        let [sum, about_zero] = totals::<V, 2>(line, parts, Moments, space);
        let mean = line.mean(sum);
        let squares = match line.squares_about_mean(sum, about_zero) {
            Some(squares) => squares,
            None => {
                let [squares] = totals::<V, 1>(line, parts, Square(mean), space);
                squares
            }
        };
        scale::<V, ROUNDS>(line, parts, mean, squares, space);
    }
}

/// Stores the row, where it is the sum with a residual.
///
/// # Safety
///
/// As [`rms_norm`].
#[inline(always)]
unsafe fn add_residual<V: Vector>(line: &Line, parts: usize, space: &mut Workspace) {
    let Some(terms) = line.in_front else { return };
    for index in 0..parts {
        // SAFETY: the caller keeps the row there, of which this is a part.
        unsafe { part::add_residual::<V>(line, terms, index, space) };
    }
}

/// What the norms share once the center is known, and the sum of the squares about it.
///
/// # Safety
///
/// As [`rms_norm`].
#[inline(always)]
unsafe fn scale<V: Vector, const ROUNDS: bool>(
    line: &Line,
    parts: usize,
    center: impl Center,
    squares: f64,
    space: &mut Workspace,
) {
    let rstd = line.rstd(squares);
    for index in 0..parts {
        // SAFETY: handed on.
        unsafe { part::write::<V, _, ROUNDS>(line, center, rstd, index, space) };
    }
}

/// Totals over the row.
///
/// # Safety
///
/// As [`rms_norm`].
#[inline(always)]
unsafe fn totals<V: Vector, const N: usize>(
    line: &Line,
    parts: usize,
    terms: impl Terms<N>,
    space: &mut Workspace,
) -> [f64; N] {
    let mut totals = [0.0; N];
    for index in 0..parts {
        // SAFETY: handed on.
        let part = unsafe { part::totals::<V, N>(line, terms, index, space) };
        totals = std::array::from_fn(|n| totals[n] + part[n]);
    }
    totals
}

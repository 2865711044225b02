//! The promise for heads from both sides: just inside each bound is kept, just outside is refused. Each bound is written out
//! here as the documentation has it.

use super::*;
use crate::{Pairing, RopeRounding, accuracy::ulp};

/// Just inside a bound and just outside, as parts of it.
const SIDES: [(f64, bool); 4] = [(0.999, true), (-0.999, true), (1.001, false), (-1.001, false)];

const OPERATION: HeadOperation = HeadOperation {
    dtype: DType::F32,
    pairing: Pairing::Halves,
    norm_behind: false,
    before_weight: false,
    rounding: RopeRounding::Single,
};

const X: [f64; 4] = [1.0, -2.0, 3.5, 0.25];
const WEIGHT: [f64; 4] = [0.5, -3.0, 1.5, 700.0];
/// Of angles without a pattern.
const TABLES: [&[f64]; 2] = [&[0.8, -0.28], &[0.6, 0.96]];

fn norm(kind: NormKind) -> HeadParameters<'static> {
    HeadParameters { kind, eps: 1e-6, weight: Some(&WEIGHT), weight_offset: 0.0 }
}

/// Holds that each output may be `bound(index)` off, in f32, and no more: to either side.
#[track_caller]
fn holds(operation: &HeadOperation, head: &Head<'_>, bound: impl Fn(usize) -> f64) {
    let exact = operation.apply(head);
    for index in 0..exact.len() {
        for (part, kept) in SIDES {
            let mut given = exact.clone();
            given[index] += part * bound(index);
            let row = judge_head(operation, head, &given);
            assert!(row.promised, "{row:?}");
            assert_eq!(row.is_kept(), kept, "element {index}, {part} of its bound: {row:?}");
        }
    }
}

fn half_ulp(value: f64) -> f64 {
    ulp(DType::F32, value) / 2.0
}

/// What each normed value may be off by, where its error may not cancel.
fn of_norm(x: &[f64], kind: NormKind) -> Vec<f64> {
    let Statistics { mean, rstd, .. } = Statistics::of(x, kind, 1e-6);
    let about = |of: &dyn Fn(f64) -> f64| x.iter().map(|&x| of(x)).sum::<f64>() / x.len() as f64;
    let of_mean = match kind {
        NormKind::Rms => 0.0,
        NormKind::Layer => {
            2_f64.powi(-38) * about(&f64::abs) + 2_f64.powi(-20) * about(&|x| (x - mean).abs())
        }
    };
    let error = |(x, w): (&f64, &f64)| (1e-6 * (x - mean).abs() + of_mean) * rstd * w.abs();
    x.iter().zip(&WEIGHT).map(error).collect()
}

#[test]
fn heads_that_are_normed_alone_are_held_to_the_bound_of_their_norm() {
    for kind in NormKind::ALL {
        let head = Head { x: &X, norm: Some(norm(kind)), turn: None };
        let (exact, error) = (OPERATION.apply(&head), of_norm(&X, kind));
        let last = |index: usize| if kind == NormKind::Layer { half_ulp(exact[index]) } else { 0.0 };
        holds(&OPERATION, &head, |index| error[index] + last(index));
    }
}

/// Of an element that is all but the mean nothing is left but the error of the mean, of which the distances from it are a
/// part that here is none.
#[test]
fn a_mean_far_from_0_is_held_to_2_to_the_minus_38_of_it() {
    let x = [1e6, 1e6, 1e6 + 1e-3, 1e6 - 1e-3];
    let head = Head { x: &x, norm: Some(norm(NormKind::Layer)), turn: None };
    let (exact, error) = (OPERATION.apply(&head), of_norm(&x, NormKind::Layer));
    assert!(2_f64.powi(-38) * 1e6 > 1000.0 * 2_f64.powi(-20) * 1e-3, "the mean is what there is to lose");
    holds(&OPERATION, &head, |index| error[index] + half_ulp(exact[index]));
}

#[test]
fn heads_that_are_rotated_behind_their_norm_are_held_to_both_of_a_pair() {
    for (kind, pairing) in
        NormKind::ALL.into_iter().flat_map(|kind| Pairing::ALL.map(|pairing| (kind, pairing)))
    {
        let operation = HeadOperation { pairing, ..OPERATION };
        let head = Head { x: &X, norm: Some(norm(kind)), turn: Some(TABLES) };
        let (exact, error) = (operation.apply(&head), of_norm(&X, kind));
        let mut bounds = [0.0; 4];
        for p in 0..2 {
            let ([i, j], [cos, sin]) = (operation.pair(p, 2), TABLES.map(|table| table[p].abs()));
            (bounds[i], bounds[j]) = (error[i] * cos + error[j] * sin, error[j] * cos + error[i] * sin);
        }
        holds(&operation, &head, |index| bounds[index] + half_ulp(exact[index]));
    }
}

#[test]
fn heads_that_are_not_normed_are_held_to_2_to_the_minus_22_or_as_they_were() {
    let head = Head { x: &X, norm: None, turn: Some(TABLES) };
    let exact = OPERATION.apply(&head);
    let mut terms = [0.0; 4];
    for p in 0..2 {
        let ([i, j], [cos, sin]) = (OPERATION.pair(p, 2), TABLES.map(|table| table[p]));
        terms[i] = (X[i] * cos).abs() + (X[j] * sin).abs();
        terms[j] = (X[j] * cos).abs() + (X[i] * sin).abs();
    }
    holds(&OPERATION, &head, |index| half_ulp(exact[index]) + 2_f64.powi(-22) * terms[index]);

    let head = Head { turn: None, ..head };
    for index in 0..X.len() {
        let mut given = X;
        assert!(judge_head(&OPERATION, &head, &given).is_kept());
        given[index] += 0.1 * half_ulp(X[index]);
        assert!(!judge_head(&OPERATION, &head, &given).is_kept(), "element {index}");
    }
}

/// What is rotated first has no error: what is normed are numbers of `f32`.
#[test]
fn heads_that_are_rotated_first_are_held_to_the_bound_of_the_norm() {
    let operation = HeadOperation { norm_behind: true, ..OPERATION };
    let head = Head { x: &X, norm: Some(norm(NormKind::Rms)), turn: Some(TABLES) };
    let error = of_norm(&operation.rotated(&X, TABLES), NormKind::Rms);
    holds(&operation, &head, |index| error[index]);
}

/// The least mean of squares of which anything is promised, and the largest sum; heads that are not normed are promised always.
#[test]
fn the_range_of_the_promise_ends_where_it_says() {
    let promised = |x: &[f64; 2], eps: f64, kind: NormKind| {
        let norm = HeadParameters { eps, weight: None, ..norm(kind) };
        let is_promised = |norm| judge_head(&OPERATION, &Head { x, norm, turn: None }, &[1.0; 2]).promised;
        assert!(is_promised(None));
        is_promised(Some(norm))
    };
    for kind in NormKind::ALL {
        for (mean_square, holds) in [(1.01e-30, true), (0.99e-30, false)] {
            let x = f64::sqrt(mean_square);
            assert_eq!(promised(&[x, -x], 0.0, kind), holds, "{kind:?} {mean_square}");
        }
        for (part, holds) in [(0.999, true), (1.001, false)] {
            let x = f64::sqrt(part * f64::from(f32::MAX) / 2.0);
            assert_eq!(promised(&[x, -x], 1e-6, kind), holds, "{kind:?} {part}");
        }
        assert!(promised(&[f64::NAN, 1.0], 1e-6, kind), "a NaN is promised");
    }
}

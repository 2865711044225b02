//! Operations against what they come to, worked out by hand.

use super::*;
use DType::{BF16, F16, F32};

const PLAIN: Operation = Operation {
    kind: NormKind::Rms,
    x: F16,
    w: Some(F16),
    y: BF16,
    eps: 0.0,
    weight_offset: 0.0,
    round_offset: false,
    rounding: Rounding::Single,
    addition: None,
};

fn adding(place: ResidualPlace) -> Operation {
    Operation { addition: Some(Addition::plain(place)), ..PLAIN }
}

fn scaled(place: ResidualPlace, rounding: Rounding) -> Operation {
    let addition = Addition { scale_in_memory: true, ..Addition::plain(place) };
    Operation { rounding, addition: Some(addition), ..PLAIN }
}

#[test]
fn the_sum_has_the_type_of_what_it_is_kept_in() {
    assert_eq!(PLAIN.sum_dtype(), F16);
    assert_eq!(adding(ResidualPlace::InFront).sum_dtype(), F16);
    assert_eq!(adding(ResidualPlace::Behind).sum_dtype(), BF16);
    let wide = Addition { wide: true, ..Addition::plain(ResidualPlace::InFront) };
    assert_eq!(Operation { addition: Some(wide), ..PLAIN }.sum_dtype(), F32);
}

#[test]
fn a_scale_in_memory_rounds_though_it_is_one() {
    let of = |place| scaled(place, Rounding::BeforeWeight).roundings();
    assert_eq!(adding(ResidualPlace::InFront).roundings(), Roundings::NONE);
    assert_eq!(of(ResidualPlace::InFront).branch, Some(F16));
    assert_eq!(of(ResidualPlace::InFront).sum, Some(F16));
    assert_eq!(of(ResidualPlace::Behind).branch, Some(BF16));
    assert_eq!(of(ResidualPlace::Behind).sum, Some(BF16));
    assert_eq!(scaled(ResidualPlace::InFront, Rounding::Single).roundings(), Roundings::NONE);
}

#[test]
fn a_residual_in_front_is_normalized_with_x() {
    let row = Row { x: &[1.0, 2.0], w: None, b: None, r: Some(&[2.0, 2.0]) };
    let operation = Operation { w: None, y: F32, ..adding(ResidualPlace::InFront) };
    assert_eq!(*operation.normalized(&row), [3.0, 4.0]);
    // The mean of 9 and 16 is 12.5.
    let rms = 12.5_f64.sqrt();
    assert!(operation.judge(&row, &[3.0 / rms, 4.0 / rms]).is_kept());
    assert!(!operation.judge(&row, &[1.0 / rms, 2.0 / rms]).is_kept());
}

#[test]
fn a_residual_behind_is_what_the_norm_is_added_to() {
    let row = Row { x: &[5.0, 5.0], w: Some(&[1.0, 2.0]), b: None, r: Some(&[0.5, 0.25]) };
    let operation = adding(ResidualPlace::Behind);
    assert_eq!(*operation.normalized(&row), [5.0, 5.0]);
    assert!(operation.judge(&row, &[1.5, 2.25]).is_kept());
    assert!(!operation.judge(&row, &[1.0, 2.0]).is_kept());
    // Where nothing is added it is not looked at.
    assert!(PLAIN.judge(&row, &[1.0, 2.0]).is_kept());
}

#[test]
fn rows_differ_where_their_bits_do_but_for_nan() {
    assert_eq!(first_difference(&[1.0, f64::NAN, 2.0], &[1.0, -f64::NAN, 2.0]), None);
    assert_eq!(first_difference(&[1.0, 0.0], &[1.0, -0.0]), Some(1));
    assert_eq!(first_difference(&[f64::NAN], &[1.0]), Some(0));
}

//! Which neighbours a rounding may go to.

use super::*;

/// What `value` may be rounded to in bf16, whose steps above 1 are 2⁻⁷.
fn neighbours(value: Value) -> Vec<f64> {
    let mut found = Vec::new();
    value.each_rounded(Some(DType::BF16), |value| found.push(value.exact));
    found
}

fn normalized(exact: f64) -> Value {
    Value::normalized(exact, 0.0)
}

const STEP: f64 = 1.0 / 128.0;

#[test]
fn both_neighbours_are_allowed_near_the_middle_alone() {
    let middle = 1.0 + 1.5 * STEP;
    let both = vec![1.0 + STEP, 1.0 + 2.0 * STEP];
    for near in [middle, middle * (1.0 + 0.9e-6), middle * (1.0 - 0.9e-6)] {
        assert_eq!(neighbours(normalized(near)), both);
        let mirrored: Vec<f64> = both.iter().rev().map(|number| -number).collect();
        assert_eq!(neighbours(normalized(-near)), mirrored);
    }
    assert_eq!(neighbours(normalized(middle * (1.0 + 1.1e-6))), both[1..]);
    assert_eq!(neighbours(normalized(middle * (1.0 - 1.1e-6))), both[..1]);
    // From the largest number on to infinity.
    let largest = (2.0 - STEP) * 2_f64.powi(127);
    let middle = largest + STEP / 2.0 * 2_f64.powi(127);
    assert_eq!(neighbours(normalized(middle)), [largest, f64::INFINITY]);
}

#[test]
fn a_rounded_value_has_lost_what_it_was_off_by() {
    Value { error: 1e-4, ..normalized(1.0) }.each_rounded(Some(DType::BF16), |value| {
        assert_eq!((value.exact, value.error), (1.0, RELATIVE_BETWEEN));
        let sum = value.times(-3.0).plus(2.0);
        assert_eq!((sum.exact, sum.error), (-1.0, 5.0 * RELATIVE_BETWEEN));
    });
    normalized(1.0).each_rounded(None, |value| assert_eq!(value, normalized(1.0)));
    let sum = normalized(1.0).times(-3.0).plus(2.0);
    assert_eq!((sum.exact, sum.error), (-1.0, 3.0 * RELATIVE + RELATIVE * 2.0));
}

#[test]
fn few_neighbours_are_told_apart_and_many_are_a_range() {
    let wide = |steps: f64| Value { error: steps * STEP, ..normalized(1.5) };
    assert_eq!(neighbours(wide(2.1)), [-2.0, -1.0, 0.0, 1.0, 2.0].map(|steps| 1.5 + steps * STEP));
    let mut ranges = Vec::new();
    wide(20.1).each_rounded(Some(DType::BF16), |value| ranges.push(value));
    let [Value { exact: 1.5, error, .. }] = ranges[..] else { panic!("{ranges:?}") };
    assert!((20.0 * STEP..41.0 * STEP).contains(&error), "{error}");
}

#[test]
fn infinite_values_stay_and_nan_does() {
    assert_eq!(neighbours(normalized(f64::NEG_INFINITY)), [f64::NEG_INFINITY]);
    let nan = neighbours(normalized(f64::NAN));
    assert!(nan.len() == 1 && nan[0].is_nan());
    // Nothing is known: everything is allowed.
    let mut ranges = Vec::new();
    Value { error: f64::INFINITY, ..normalized(1.0) }
        .each_rounded(Some(DType::F16), |value| ranges.push(value.error));
    assert_eq!(ranges, [f64::INFINITY]);
}

/// What the documentation of [`RELATIVE`] adds up: the bound covers a sum of 16 roundings in a row, and no more.
#[test]
fn the_relative_bound_is_what_its_steps_add_up_to() {
    let unit = 2_f64.powi(-24);
    let rsqrt = 2_f64.powf(-22.9) / unit;
    let [reciprocal, eps, mean, times_rstd, offset, product, bias] = [1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0];
    let steps = reciprocal + eps + rsqrt + mean + times_rstd + offset + product + bias;
    let with_sum = |roundings: f64| (steps + roundings / 2.0) * unit;
    assert!(with_sum(16.0) <= RELATIVE && with_sum(17.0) > RELATIVE, "{steps} and {}", with_sum(16.0));
}

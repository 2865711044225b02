//! Rounding against the types themselves.

use half::{bf16, f16};
use proptest::prelude::*;

use super::*;

/// Every finite number of the type that is not negative, in order, and infinity.
fn numbers(dtype: DType) -> Vec<f64> {
    match dtype {
        DType::F16 => (0..=0x7c00).map(|bits| f16::from_bits(bits).to_f64()).collect(),
        DType::BF16 => (0..=0x7f80).map(|bits| bf16::from_bits(bits).to_f64()).collect(),
        DType::F32 => unreachable!("too many"),
    }
}

#[test]
fn neighbours_are_one_ulp_and_one_step_apart() {
    for dtype in [DType::F16, DType::BF16] {
        let numbers = numbers(dtype);
        for (index, pair) in numbers.windows(2).enumerate() {
            assert_eq!(round(dtype, pair[0]), pair[0]);
            assert_eq!(ulp_distance(dtype, pair[0], pair[1]), 1.0);
            assert_eq!(ulp_distance(dtype, -pair[0], pair[1]), (2 * index + 1) as f64);
            if pair[1].is_finite() {
                assert_eq!(ulp(dtype, pair[0]), pair[1] - pair[0]);
                assert_eq!(ulp(dtype, -pair[0]), pair[1] - pair[0]);
            }
        }
        assert_eq!(largest(dtype), numbers[numbers.len() - 2]);
    }
}

#[test]
fn halfway_goes_to_the_even_neighbour_and_anything_more_to_the_nearest() {
    for dtype in [DType::F16, DType::BF16] {
        let mut numbers = numbers(dtype);
        // Infinity takes the place of the next number.
        let last = numbers.len() - 1;
        let beyond = 2.0 * numbers[last - 1] - numbers[last - 2];
        numbers[last] = beyond;
        let or_infinity = |value: f64| if value == beyond { f64::INFINITY } else { value };
        for (index, pair) in numbers.windows(2).enumerate() {
            let half = (pair[0] + pair[1]) / 2.0;
            let even = or_infinity(pair[index % 2]);
            assert_eq!(round(dtype, half), even);
            assert_eq!(round(dtype, -half), -even);
            assert_eq!(round(dtype, half.next_down()), pair[0]);
            assert_eq!(round(dtype, half.next_up()), or_infinity(pair[1]));
        }
    }
}

#[test]
fn nothing_is_near_nan() {
    assert!(round(DType::F16, f64::NAN).is_nan());
    assert_eq!(ulp_distance(DType::F32, f64::NAN, f64::NAN), 0.0);
    assert_eq!(ulp_distance(DType::F32, f64::NAN, 1.0), f64::INFINITY);
    assert_eq!(ulp_distance(DType::F32, 0.0, -0.0), 0.0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn f32_rounds_as_the_hardware_does(bits: u64) {
        let value = f64::from_bits(bits);
        let rounded = value as f32;
        prop_assert!(round(DType::F32, value) == f64::from(rounded) || value.is_nan());
    }

    #[test]
    fn f32_near_one_and_near_zero_rounds_as_the_hardware_does(mantissa in 1.0..2.0, exponent in -160_i32..130) {
        let value = mantissa * 2_f64.powi(exponent);
        prop_assert_eq!(round(DType::F32, value), f64::from(value as f32));
    }

    #[test]
    fn f32_steps_are_differences_of_bits(a in 0_u32..=0x7f80_0000, b in 0_u32..=0x7f80_0000) {
        let distance = ulp_distance(DType::F32, f32::from_bits(a).into(), f32::from_bits(b).into());
        prop_assert_eq!(distance, f64::from(a.abs_diff(b)));
    }
}

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
fn every_number_leads_to_the_next() {
    for dtype in [DType::F16, DType::BF16] {
        for pair in numbers(dtype).windows(2) {
            assert_eq!(next_up(dtype, pair[0]), pair[1]);
            assert_eq!(next_up(dtype, -pair[1]), -pair[0]);
        }
        assert_eq!(next_up(dtype, f64::INFINITY), f64::INFINITY);
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

/// Values that two roundings, or one of a part of the bits, take to another number than the nearest.
#[test]
fn sixteen_bits_are_rounded_to_once_and_from_all_bits() {
    let p = |exponent: i32| 2_f64.powi(exponent);
    let cases_of_f16 = [
        // Above the middle of two neighbours by less than an f32 shows, and by less than the upper 32 bits do.
        (1.0 + p(-11) + p(-40), 1.0 + p(-10)),
        (1.0 + p(-11) + p(-52), 1.0 + p(-10)),
        (1.0 + 3.0 * p(-11) - p(-40), 1.0 + p(-10)),
        (-(1.0 + p(-11) + p(-40)), -(1.0 + p(-10))),
        // The middle itself, to the even one of either side.
        (1.0 + p(-11), 1.0),
        (1.0 + 3.0 * p(-11), 1.0 + p(-9)),
        // Subnormals: the middles between 0, 1 and 2 of the smallest.
        (p(-25), 0.0),
        (p(-25) + p(-70), p(-24)),
        (-p(-25) - p(-70), -p(-24)),
        (1.5 * p(-24) - p(-70), p(-24)),
        (1.5 * p(-24), p(-23)),
        (p(-1074), 0.0),
        // The largest, and from half a step beyond it on infinity.
        (65520.0 - p(-36), 65504.0),
        (65520.0, f64::INFINITY),
        (-65520.0 + p(-36), -65504.0),
        (f64::MIN, f64::NEG_INFINITY),
        (f64::INFINITY, f64::INFINITY),
    ];
    for (value, nearest) in cases_of_f16 {
        assert_eq!(round_to_f16(value).to_f64(), nearest, "{value:e}");
    }
    let largest = (2.0 - p(-7)) * p(127);
    let cases_of_bf16 = [
        (1.0 + p(-8) + p(-40), 1.0 + p(-7)),
        (1.0 + p(-8) + p(-52), 1.0 + p(-7)),
        (-(1.0 + 3.0 * p(-8) - p(-40)), -(1.0 + p(-7))),
        (1.0 + p(-8), 1.0),
        (1.0 + 3.0 * p(-8), 1.0 + p(-6)),
        (p(-134), 0.0),
        (p(-134) + p(-180), p(-133)),
        (-1.5 * p(-133), -p(-132)),
        (largest + p(119) - p(80), largest),
        (largest + p(119), f64::INFINITY),
        (f64::MIN, f64::NEG_INFINITY),
    ];
    for (value, nearest) in cases_of_bf16 {
        assert_eq!(round_to_bf16(value).to_f64(), nearest, "{value:e}");
    }
}

#[test]
fn signs_of_zeros_stay_and_nan_is_one() {
    for zero in [0.0_f64, -0.0, 1e-300, -1e-300] {
        let sign = u16::from(zero.is_sign_negative()) << 15;
        assert_eq!((round_to_f16(zero).to_bits(), round_to_bf16(zero).to_bits()), (sign, sign), "{zero:e}");
    }
    for bits in [0x7ff8_0000_0000_0000, 0xfff8_0000_0000_0000, 0x7ff0_0000_0000_0001, u64::MAX] {
        let nan = f64::from_bits(bits);
        assert_eq!(round_to_f16(nan).to_bits(), f16::NAN.to_bits(), "{bits:x}");
        assert_eq!(round_to_bf16(nan).to_bits(), bf16::NAN.to_bits(), "{bits:x}");
    }
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
    fn sixteen_bits_are_the_number_that_was_rounded_to(mantissa in -2.0..2.0, exponent in -160_i32..130) {
        let value = mantissa * 2_f64.powi(exponent);
        prop_assert_eq!(round_to_f16(value).to_f64(), round(DType::F16, value));
        prop_assert_eq!(round_to_bf16(value).to_f64(), round(DType::BF16, value));
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

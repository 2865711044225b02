//! The promise must be able to fail.

mod bounds;
mod orders;

use super::*;
use crate::{
    accuracy::{RELATIVE, RELATIVE_BETWEEN, round},
    reference,
};
use norm_kernels::abi::Rounding;

fn parameters(kind: NormKind, bias: Option<&[f64]>) -> Parameters<'_> {
    Parameters {
        kind,
        eps: 1e-6,
        weight: None,
        weight_offset: 0.0,
        roundings: Roundings::NONE,
        bias,
        onto: None,
        factors: Factors::NONE,
    }
}

const X: [f64; 4] = [1.0, -2.0, 3.5, 0.25];

/// The rounded reference for `X`.
fn outputs(parameters: &Parameters<'_>, y: DType) -> Vec<f64> {
    reference::norm(&X, parameters).into_iter().map(|value| round(y, value)).collect()
}

#[test]
fn the_rounded_reference_is_within_half_a_ulp() {
    let bias = [0.5, -0.25, 1e-3, 7.0];
    for y in DType::ALL {
        for kind in NormKind::ALL {
            for bias in [None, Some(&bias[..])] {
                let parameters = parameters(kind, bias);
                let row = judge_row(&X, &parameters, y, &outputs(&parameters, y));
                assert!(row.promised && row.is_kept() && row.worst.error_ulp <= 0.5, "{row:?}");
            }
        }
    }
}

#[test]
fn a_neighbour_is_allowed_near_the_middle_alone() {
    // The mean of squares is 1, so that the outputs are the weights: one is all but halfway between two bf16.
    let (x, step) = ([1.0; 2], ulp(DType::BF16, 1.0));
    for (beside, kept) in [(0.9e-6, true), (1.1e-6, false)] {
        let weight = [1.0, (1.0 + step / 2.0) * (1.0 - beside)];
        let plain = parameters(NormKind::Rms, None);
        let parameters = Parameters { weight: Some(&weight), eps: 0.0, ..plain };
        assert!(judge_row(&x, &parameters, DType::BF16, &[1.0, 1.0]).is_kept());
        let row = judge_row(&x, &parameters, DType::BF16, &[1.0, 1.0 + step]);
        assert_eq!((row.index, row.is_kept()), (1, kept), "{row:?}");
        assert!(!judge_row(&x, &parameters, DType::BF16, &[1.0, 1.0 + 2.0 * step]).is_kept());
    }
}

#[test]
fn f32_is_held_to_its_relative_bound() {
    let parameters = parameters(NormKind::Rms, None);
    for (error, kept) in [(0.9e-6, true), (1.2e-6, false)] {
        let mut given = outputs(&parameters, DType::F32);
        given[1] *= 1.0 + error;
        assert_eq!(judge_row(&X, &parameters, DType::F32, &given).is_kept(), kept);
    }
}

#[test]
fn what_the_norm_is_added_to_takes_its_part_of_the_error() {
    let onto = [3.0, 100.0, -1.0, 0.5];
    for kind in NormKind::ALL {
        let parameters = Parameters { onto: Some(&onto), ..parameters(kind, None) };
        // 1e-6 of 100 and 1e-6 of the norm, of about 2, and half a ULP.
        for (error, kept) in [(1.0e-4, true), (1.2e-4, false)] {
            let mut given = outputs(&parameters, DType::F32);
            given[1] += error;
            assert_eq!(judge_row(&X, &parameters, DType::F32, &given).is_kept(), kept);
        }
        // Two roundings in 16 bits are not one.
        let mut given = outputs(&parameters, DType::BF16);
        given[0] += ulp(DType::BF16, given[0]);
        assert!(!judge_row(&X, &parameters, DType::BF16, &given).is_kept());
        // Nor is what was there left out, or added twice.
        for times in [0.0, 2.0] {
            let wrong = onto.map(|onto| onto * times);
            let given = outputs(&Parameters { onto: Some(&wrong), ..parameters }, DType::F32);
            assert!(!judge_row(&X, &parameters, DType::F32, &given).is_kept());
        }
    }
}

/// `y = (norm · branch + r) · sum`: the norm's error times both factors, and what the addition loses.
#[test]
fn factors_multiply_the_error_and_take_their_own_part() {
    let onto = [3.0, 100.0, -1.0, 0.5];
    for kind in NormKind::ALL {
        for factors in [Factors { branch: -0.5, sum: 3.0 }, Factors { branch: 40.0, sum: 0.01 }] {
            let alone = parameters(kind, None);
            let parameters = Parameters { onto: Some(&onto), factors, ..alone };
            let (norm, exact) = (reference::norm(&X, &alone), reference::norm(&X, &parameters));
            let Factors { branch, sum } = factors;
            for index in 0..X.len() {
                assert_eq!(exact[index], (norm[index] * branch + onto[index]) * sum);
                let of_norm = RELATIVE * norm[index].abs() * (branch * sum).abs();
                let of_addition =
                    RELATIVE_BETWEEN * sum.abs() * ((norm[index] * branch).abs() + onto[index].abs());
                let bound = ulp(DType::F32, exact[index]) / 2.0 + of_norm + of_addition;
                for (part, kept) in [(0.99, true), (-0.99, true), (1.01, false), (-1.01, false)] {
                    let mut given = exact.clone();
                    given[index] += part * bound;
                    let row = judge_row(&X, &parameters, DType::F32, &given);
                    assert!(row.promised);
                    assert_eq!(row.is_kept(), kept, "{factors:?}, {part} of what is allowed: {row:?}");
                }
            }
        }
    }
}

/// One ULP of 16 bits, and each operation in another place.
#[test]
fn what_is_multiplied_elsewhere_breaks_the_promise() {
    let onto = [3.0, 100.0, -1.0, 0.5];
    let factors = Factors { branch: 0.25, sum: 3.0 };
    for y in DType::ALL {
        for kind in NormKind::ALL {
            for rounding in [Rounding::Single, Rounding::BeforeWeight] {
                let roundings =
                    Roundings::of(rounding, false, DType::F32, None, y).with_scales(rounding, y, y);
                let parameters =
                    Parameters { onto: Some(&onto), factors, roundings, ..parameters(kind, None) };
                let kept = |given: &[f64]| judge_row(&X, &parameters, y, given).is_kept();
                let right = outputs(&parameters, y);
                assert!(kept(&right), "{y} {kind:?} {rounding}");
                if y != DType::F32 {
                    for step in [-1.0, 1.0] {
                        let given: Vec<f64> = right.iter().map(|v| v + step * ulp(y, *v)).collect();
                        assert!(!kept(&given), "{y} {kind:?} {rounding}, {step} ULP off");
                    }
                }
                let norm = reference::norm(&X, &Parameters { onto: None, ..parameters });
                let Factors { branch, sum } = factors;
                type Other = fn(f64, f64, f64, f64) -> f64;
                let others: [Other; 5] = [
                    |n, r, _, _| n + r,
                    |n, r, branch, sum| (n + r) * branch * sum,
                    |n, r, branch, sum| n * branch + r * sum,
                    |n, r, branch, sum| (n + r * branch) * sum,
                    |n, r, branch, sum| (n * sum + r) * branch,
                ];
                for (index, other) in others.into_iter().enumerate() {
                    let made = norm.iter().zip(onto).map(|(n, r)| round(y, other(*n, r, branch, sum)));
                    assert!(!kept(&made.collect::<Vec<_>>()), "{y} {kind:?} {rounding}, other {index}");
                }
            }
        }
    }
}

#[test]
fn a_second_rounding_of_f16_is_seen_where_half_a_ulp_is_promised() {
    let parameters = parameters(NormKind::Layer, None);
    let mut given = outputs(&parameters, DType::F16);
    given[0] += ulp(DType::F16, given[0]);
    assert!(!judge_row(&X, &parameters, DType::F16, &given).is_kept());
}

#[test]
fn nan_is_kept_only_where_the_reference_is_nan() {
    let parameters = parameters(NormKind::Rms, None);
    let mut given = outputs(&parameters, DType::F32);
    given[3] = f64::NAN;
    assert!(!judge_row(&X, &parameters, DType::F32, &given).is_kept());
    let with_nan = [1.0, f64::NAN];
    assert!(judge_row(&with_nan, &parameters, DType::F32, &[f64::NAN; 2]).is_kept());
    let hidden = judge_row(&with_nan, &parameters, DType::F32, &[0.0, f64::NAN]);
    assert!(hidden.promised && !hidden.is_kept());
}

#[test]
fn outputs_beyond_the_largest_become_infinite() {
    let weight = [1e6; 4];
    let parameters = Parameters { weight: Some(&weight), ..parameters(NormKind::Layer, None) };
    let given = outputs(&parameters, DType::F16);
    assert!(given.iter().all(|y| y.is_infinite()));
    assert!(judge_row(&X, &parameters, DType::F16, &given).is_kept());
    let clamped: Vec<f64> = given.iter().map(|y| 65504_f64.copysign(*y)).collect();
    assert!(!judge_row(&X, &parameters, DType::F16, &clamped).is_kept());
}

#[test]
fn nothing_is_promised_for_squares_beyond_f32() {
    let huge = [1e30, 1e30];
    let row = judge_row(&huge, &parameters(NormKind::Rms, None), DType::F32, &[0.0, 0.0]);
    assert!(!row.promised && row.is_kept());
}

#[test]
fn nothing_is_promised_where_the_root_is_of_almost_nothing() {
    let parameters = Parameters { eps: 0.0, ..parameters(NormKind::Rms, None) };
    assert!(!judge_row(&[0.0; 3], &parameters, DType::F32, &[0.0; 3]).promised);
    assert!(judge_row(&[1e-14; 3], &parameters, DType::F32, &[1.0; 3]).promised);
}

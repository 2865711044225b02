//! The promise from both sides: an output just inside each bound is kept and one just outside is refused, so that no
//! constant can be loosened. Each bound is written out here as the documentation has it.

use super::*;

/// Just inside a bound and just outside, as parts of it.
const SIDES: [(f64, bool); 4] = [(0.999, true), (-0.999, true), (1.001, false), (-1.001, false)];

/// Holds that outputs of `x` may be `bound(index)` off, in f32, and no more: to either side.
#[track_caller]
fn holds(x: &[f64], parameters: &Parameters<'_>, bound: impl Fn(usize) -> f64) {
    let exact = reference::norm(x, parameters);
    for index in 0..x.len() {
        for (part, kept) in SIDES {
            let mut given = exact.clone();
            given[index] += part * bound(index);
            let row = judge_row(x, parameters, DType::F32, &given);
            assert!(row.promised, "{row:?}");
            assert_eq!(row.is_kept(), kept, "element {index}, {part} of its bound: {row:?}");
        }
    }
}

fn half_ulp(value: f64) -> f64 {
    ulp(DType::F32, value) / 2.0
}

#[test]
fn rms_norm_in_f32_is_held_to_1e_6_of_the_value() {
    let weight = [0.5, -3.0, 1e-3, 700.0];
    let parameters = Parameters { weight: Some(&weight), ..parameters(NormKind::Rms, None) };
    let exact = reference::norm(&X, &parameters);
    holds(&X, &parameters, |index| 1e-6 * exact[index].abs());
}

/// In LayerNorm, and with a bias, where terms may cancel: `ulp / 2 + 1e-6 · (|n · w| + |b|)`, and nothing that tells of a
/// mean, for rows whose mean is near 0.
#[test]
fn terms_that_may_cancel_are_held_to_1e_6_of_each() {
    let (weight, bias) = ([0.5, -3.0, 1.5, 700.0], [-0.4, 3.0, -1.7, 100.0]);
    for kind in NormKind::ALL {
        for bias in [None, Some(&bias[..])] {
            if (kind, bias) == (NormKind::Rms, None) {
                continue;
            }
            let with = Parameters { weight: Some(&weight), ..parameters(kind, bias) };
            let product = reference::norm(&X, &Parameters { bias: None, ..with });
            let exact = reference::norm(&X, &with);
            let of_bias = |index: usize| bias.map_or(0.0, |bias: &[f64]| bias[index].abs());
            holds(&X, &with, |index| half_ulp(exact[index]) + 1e-6 * (product[index].abs() + of_bias(index)));
        }
    }
}

/// Of an element that is all but the mean nothing is left but the error of the mean itself: `2⁻⁴³ · mean(|x|) · rstd · |w|`.
/// In a row that is not far from 0 it is less than half an ULP, in one that is it is all there is.
#[test]
fn a_mean_far_from_0_is_held_to_2_to_the_minus_43_of_it() {
    let far = 2_f64.powi(23);
    let x = [far - 3.0, far + 3.0, far, far - 1.0, far + 1.0];
    for scale in [1.0, -40.0, 1e-3] {
        let weight = [scale; 5];
        let parameters = Parameters { weight: Some(&weight), ..parameters(NormKind::Layer, None) };
        let rstd = 1.0 / (4.0_f64 + 1e-6).sqrt();
        let exact = reference::norm(&x, &parameters);
        assert_eq!(exact[2], 0.0, "the mean itself");
        let of_mean = 2_f64.powi(-43) * far * rstd * scale.abs();
        holds(&x, &parameters, |index| half_ulp(exact[index]) + 1e-6 * exact[index].abs() + of_mean);
    }
}

/// Where results are subnormal the smallest `f32` may be lost in the output and before the weight multiplies; in LayerNorm
/// in the mean too, which rstd then multiplies.
#[test]
fn next_to_0_the_smallest_f32_may_be_lost_where_the_documentation_says() {
    let smallest = 2_f64.powi(-149);
    for scale in [1.0, 8.0] {
        // So small that the part of the mean is smaller yet, beside an eps of 1, which makes rstd 1.
        let tiny = 2_f64.powi(-120);
        let (x, weight) = ([0.0, tiny, -tiny], [scale; 3]);
        let rms = Parameters { weight: Some(&weight), eps: 1.0, ..parameters(NormKind::Rms, None) };
        let zero = |kept: &dyn Fn(f64) -> bool, bound: f64| {
            // Numbers of f32 next to 0 are all multiples of the smallest one; the promise is of any.
            assert!(
                kept(0.999 * bound) && kept(-0.999 * bound) && !kept(1.001 * bound) && !kept(-1.001 * bound)
            );
        };
        let kept = |parameters: &Parameters<'_>, first: f64| {
            let mut given = reference::norm(&x, parameters);
            given[0] = first;
            judge_row(&x, parameters, DType::F32, &given).is_kept()
        };
        zero(&|first| kept(&rms, first), smallest * (1.0 + scale));
        let layer = Parameters { kind: NormKind::Layer, ..rms };
        let kept_of_layer = |first| kept(&layer, first);
        zero(&kept_of_layer, smallest * (1.0 + scale * (1.0 + 1.0)) + smallest / 2.0);
    }
}

/// What is promised of sums with what the output holds, for terms that cancel in part: 1e-6 of each.
#[test]
fn sums_with_a_residual_are_held_to_1e_6_of_both_terms() {
    let onto = [-1.0, 100.0, 1e-3, -0.1];
    for kind in NormKind::ALL {
        let with = Parameters { onto: Some(&onto), ..parameters(kind, None) };
        let norm = reference::norm(&X, &Parameters { onto: None, ..with });
        let exact = reference::norm(&X, &with);
        holds(&X, &with, |index| half_ulp(exact[index]) + 1e-6 * (norm[index].abs() + onto[index].abs()));
    }
}

/// Behind a rounding to 16 bits on the way: `ulp / 2 + 2⁻²² · (|h · w| + |b|)`, where `h` is that number.
#[test]
fn what_follows_a_rounding_is_held_to_2_to_the_minus_22_of_its_terms() {
    let (weight, bias) = ([0.5, -3.0, 1.5, 700.0], [-0.4, 3.0, -1.7, 100.0]);
    let roundings = Roundings { normalized: Some(DType::BF16), ..Roundings::NONE };
    for kind in NormKind::ALL {
        let plain = Parameters { roundings, ..parameters(kind, Some(&bias)) };
        let with = Parameters { weight: Some(&weight), ..plain };
        let product = reference::norm(&X, &Parameters { bias: None, ..with });
        let exact = reference::norm(&X, &with);
        let of_terms = |index: usize| product[index].abs() + bias[index].abs();
        holds(&X, &with, |index| half_ulp(exact[index]) + 2_f64.powi(-22) * of_terms(index));
    }
}

/// In 16 bits the half ULP is all but everything: 0.5 and 1e-6 of the value, which is less than a thousandth of an ULP in
/// bf16 and two hundredths in f16.
#[test]
fn sixteen_bits_are_held_to_half_an_ulp_and_1e_6_of_the_value() {
    for y in [DType::F16, DType::BF16] {
        for kind in NormKind::ALL {
            let parameters = parameters(kind, None);
            let exact = reference::norm(&X, &parameters);
            for (index, value) in exact.iter().enumerate() {
                // Not a number of the type, but the promise is of the distance.
                let of_mean = if kind == NormKind::Layer { 2_f64.powi(-43) * 4.0 } else { 0.0 };
                let bound = ulp(y, *value) / 2.0 + 1e-6 * value.abs() + of_mean;
                for (part, kept) in [(1.0 - 1e-5, true), (1.0 + 1e-5, false), (-1.0 - 1e-5, false)] {
                    let mut given: Vec<f64> = exact.iter().map(|&value| round(y, value)).collect();
                    given[index] = value + part * bound;
                    assert_eq!(judge_row(&X, &parameters, y, &given).is_kept(), kept, "{y} {kind:?} {part}");
                }
            }
        }
    }
}

/// The least mean of squares of which anything is promised, and the largest sum.
#[test]
fn the_range_of_the_promise_ends_where_it_says() {
    let promised = |x: &[f64], eps: f64, kind: NormKind| {
        let parameters = Parameters { eps, ..parameters(kind, None) };
        judge_row(x, &parameters, DType::F32, &vec![1.0; x.len()]).promised
    };
    for (mean_square, holds) in [(1.01e-30, true), (0.99e-30, false)] {
        let x = f64::sqrt(mean_square);
        for kind in NormKind::ALL {
            assert_eq!(promised(&[x, -x], 0.0, kind), holds, "{kind:?} {mean_square}");
            assert_eq!(promised(&[0.0; 2], mean_square, kind), holds, "{kind:?}, eps {mean_square}");
        }
    }
    for (part, holds) in [(0.999, true), (1.001, false)] {
        let x = f64::sqrt(part * f64::from(f32::MAX) / 4.0);
        for kind in NormKind::ALL {
            assert_eq!(promised(&[x, -x, x, -x], 1e-6, kind), holds, "{kind:?} {part}");
        }
    }
}

/// What codes are made of: the bound of an output in f32, of which a half ULP is the rounding to `f32`; behind a rounding to
/// 16 bits the ends are exact.
#[test]
fn values_that_are_quantized_have_the_range_of_their_bound() {
    let (weight, bias) = ([0.5, -3.0, 1.5, 700.0], [-0.4, 3.0, -1.7, 100.0]);
    for (kind, biased) in NormKind::ALL.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        let parameters =
            Parameters { weight: Some(&weight), ..parameters(kind, biased.then_some(&bias[..])) };
        let product = reference::norm(&X, &Parameters { bias: None, ..parameters });
        let exact = reference::norm(&X, &parameters);
        let statistics = Statistics::of(&X, kind, 1e-6);
        let of_mean = match kind {
            NormKind::Rms => 0.0,
            NormKind::Layer => 2_f64.powi(-43) * statistics.mean_magnitude * statistics.rstd,
        };
        let promise = Promise::new(statistics, &parameters, DType::F32);
        for index in 0..X.len() {
            let of_bias = if biased { 1e-6 * bias[index].abs() } else { 0.0 };
            let error = 1e-6 * product[index].abs()
                + of_mean * weight[index].abs()
                + of_bias
                + half_ulp(exact[index]);
            let (low, high) = promise.range(Terms::of(&X, &parameters, index), biased);
            for (side, end) in [(-1.0, low), (1.0, high)] {
                let part = side * (end - exact[index]) / error;
                assert!((0.999..1.001).contains(&part), "{kind:?}, {biased}, element {index}: {part}");
            }
        }
    }
    // The ends of a normalized value that is rounded, here between the two neighbours of its middle, or to one number.
    let step = ulp(DType::BF16, 1.0);
    for (beside, expected) in [(0.0, [1.0, 1.0 + step]), (1.1e-6, [1.0 + step; 2]), (-1.1e-6, [1.0; 2])] {
        let first = (1.0 + step / 2.0) * (1.0 + beside);
        let x = [first, (2.0 - first * first).sqrt()];
        let roundings = Roundings { normalized: Some(DType::BF16), ..Roundings::NONE };
        let parameters = Parameters { eps: 0.0, roundings, ..parameters(NormKind::Rms, None) };
        let promise = Promise::new(Statistics::of(&x, NormKind::Rms, 0.0), &parameters, DType::F32);
        let (low, high) = promise.range(Terms::of(&x, &parameters, 0), false);
        assert_eq!([low, high], expected, "{beside}");
    }
}

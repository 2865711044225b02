//! The reference against numbers worked out by hand.

use half::f16;
use norm_kernels::abi::Rounding;

use super::*;

fn close(given: &[f64], expected: &[f64]) {
    assert_eq!(given.len(), expected.len());
    for (given, expected) in given.iter().zip(expected) {
        assert!((given - expected).abs() <= 4.0 * f64::EPSILON * expected.abs(), "{given} {expected}");
    }
}

#[test]
fn rms_norm_of_three_and_four() {
    // The mean of 9 and 16 is 12.5.
    let rms = 12.5_f64.sqrt();
    close(&rms_norm(&[3.0, 4.0], None, 0.0), &[3.0 / rms, 4.0 / rms]);
    close(&rms_norm(&[3.0, 4.0], Some(&[2.0, -1.0]), 12.5), &[6.0 / 5.0, -4.0 / 5.0]);
}

#[test]
fn layer_norm_of_one_to_four() {
    // The mean is 2.5, the biased variance (2.25 + 0.25) * 2 / 4 = 1.25; eps makes it 4.
    let x = [1.0, 2.0, 3.0, 4.0];
    close(&layer_norm(&x, None, None, 2.75), &[-0.75, -0.25, 0.25, 0.75]);
    let (w, b) = ([2.0, 2.0, 2.0, 0.0], [1.0, 0.0, 0.0, 5.0]);
    close(&layer_norm(&x, Some(&w), Some(&b), 2.75), &[-0.5, -0.5, 0.5, 5.0]);
}

#[test]
fn the_offset_is_added_to_weights_alone() {
    let weight = [1.0, 0.0];
    let with = Parameters {
        kind: NormKind::Rms,
        eps: 0.0,
        weight: Some(&weight),
        weight_offset: 1.0,
        roundings: Roundings::NONE,
        bias: None,
        onto: None,
        factors: Factors::NONE,
    };
    close(&norm(&[5.0, 5.0], &with), &[2.0, 1.0]);
    close(&norm(&[5.0, 5.0], &Parameters { weight: None, ..with }), &[1.0, 1.0]);
}

#[test]
fn a_norm_is_added_to_what_is_there() {
    let (weight, bias, onto) = ([1.0, 0.5], [0.0, 1.0], [10.0, 0.25]);
    let (weight, bias, onto) = (Some(&weight[..]), Some(&bias[..]), Some(&onto[..]));
    let roundings = Roundings::NONE;
    let parameters = Parameters {
        kind: NormKind::Rms,
        eps: 0.0,
        weight,
        weight_offset: 0.0,
        roundings,
        bias,
        onto,
        factors: Factors::NONE,
    };
    close(&norm(&[5.0, 5.0], &parameters), &[11.0, 1.75]);
}

#[test]
fn a_residual_is_rounded_once_to_its_own_type() {
    // Half a step above 1 goes to the even neighbour, a little more goes up.
    let step = 2_f64.powi(-10);
    let x = [step / 2.0, step / 2.0 + 2_f64.powi(-24), 65504.0, f64::INFINITY];
    let r = add(DType::F16, &x, &[1.0, 1.0, 65504.0, -65504.0]);
    assert_eq!(r, [1.0, 1.0 + step, f64::INFINITY, f64::INFINITY]);
    assert_eq!(add(DType::F32, &x[..1], &[1.0]), [1.0 + step / 2.0]);
    assert!(add(DType::BF16, &[f64::INFINITY], &[f64::NEG_INFINITY])[0].is_nan());
}

#[test]
fn a_sum_that_cancels_keeps_what_is_left() {
    let terms = [1e30, 1.0, -1e30, 1e-3];
    assert_eq!(sum(terms.into_iter()), 1.001);
    assert_eq!(Statistics::of(&terms, NormKind::Layer, 0.0).mean, 1.001 / 4.0);
}

#[test]
fn infinite_inputs_are_finite_in_f16_alone() {
    let inputs = widen_input(&[f16::INFINITY, f16::NEG_INFINITY, f16::NAN, f16::ONE]);
    assert_eq!((inputs[0], inputs[1], inputs[3]), (65504.0, -65504.0, 1.0));
    assert!(inputs[2].is_nan());
    assert_eq!(widen_input(&[f32::INFINITY]), [f64::INFINITY]);
    assert_eq!(widen(&[f16::INFINITY]), [f64::INFINITY]);
    // As the formula has it: all but the infinite element become 0.
    let y = rms_norm(&[f64::INFINITY, 1.0], None, 1e-6);
    assert!(y[0].is_nan() && y[1] == 0.0);
}

#[test]
fn an_addition_multiplies_what_is_added_and_the_sum() {
    let (weight, onto) = ([1.0, 0.5], [10.0, 0.25]);
    let parameters = Parameters {
        kind: NormKind::Rms,
        eps: 0.0,
        weight: Some(&weight),
        weight_offset: 0.0,
        roundings: Roundings::NONE,
        bias: None,
        onto: Some(&onto),
        factors: Factors { branch: -2.0, sum: 4.0 },
    };
    close(&norm(&[5.0, 5.0], &parameters), &[32.0, -3.0]);
    // Without anything to add to nothing is multiplied.
    close(&norm(&[5.0, 5.0], &Parameters { onto: None, ..parameters }), &[1.0, 0.5]);
    let factors = parameters.factors;
    assert_eq!(add_scaled(DType::F32, &[1.0, 3.0], &[0.5, 1.0], factors, Roundings::NONE), [-6.0, -20.0]);
}

/// Products and sums of f32, and of 16 bits where the order rounds there.
#[test]
fn a_scaled_sum_is_rounded_step_by_step() {
    let one = |dtype, x: f64, r: f64, [branch, sum]: [f64; 2], roundings| {
        add_scaled(dtype, &[x], &[r], Factors { branch, sum }, roundings)[0]
    };
    let (f32, bf16) = (DType::F32, DType::BF16);
    // 1 + 2⁻¹² squared is 1 + 2⁻¹¹ + 2⁻²⁴, of which f32 has no 2⁻²⁴: a tie, to even.
    let x = 1.0 + 2_f64.powi(-12);
    let square = 1.0 + 2_f64.powi(-11);
    assert_eq!(one(f32, x, 0.0, [x, 1.0], Roundings::NONE), square);
    assert_eq!(one(f32, x, 0.0, [1.0, x], Roundings::NONE), square);
    // The sum is made of the rounded product.
    assert_eq!(one(f32, x, -square, [x, 1.0], Roundings::NONE), 0.0);
    // A sum that f32 does not hold is rounded before it is multiplied.
    assert_eq!(one(f32, 1.0, 2_f64.powi(-24), [1.0, 2_f64.powi(24)], Roundings::NONE), 2_f64.powi(24));
    // bf16 has 8 bits: 1.5 · 1.0078125 is 1.51171875, between 1.5078125 and 1.515625.
    let step = 2_f64.powi(-7);
    let in_bf16 = Roundings { branch: Some(bf16), ..Roundings::NONE };
    assert_eq!(one(f32, 1.0 + step, 0.0, [1.5, 1.0], Roundings::NONE), 1.511_718_75);
    assert_eq!(one(f32, 1.0 + step, 0.0, [1.5, 1.0], in_bf16), 1.515_625);
    let in_bf16 = Roundings { sum: Some(bf16), ..Roundings::NONE };
    assert_eq!(one(f32, 1.0, step / 4.0, [1.0, 4.0], Roundings::NONE), 4.0 + step);
    assert_eq!(one(f32, 1.0, step / 4.0, [1.0, 4.0], in_bf16), 4.0);
    // What is stored is rounded in any case.
    assert_eq!(one(bf16, 1.0, step / 4.0, [1.0, 4.0], Roundings::NONE), 4.0);
}

/// Rows whose mean of squares is 1, so that the normalized values are the inputs; those are halfway between two bf16,
/// or between two f16.
#[test]
fn each_order_rounds_where_its_formula_says() {
    let step = 2_f64.powi(-8);
    let x = [1.0 + step, (2.0 - (1.0 + step) * (1.0 + step)).sqrt()];
    let (w, b, onto) = ([1.0 + 2.0 * step, 1.0], [2.0 * step, 0.0], [step / 2.0, 0.0]);
    let first = |rounding, bias: bool, added: bool| {
        let [f16, bf16] = [DType::F16, DType::BF16];
        let parameters = Parameters {
            kind: NormKind::Rms,
            eps: 0.0,
            weight: Some(&w),
            weight_offset: 0.0,
            // x and y bf16, weights f16.
            roundings: Roundings::of(rounding, false, bf16, Some(f16), bf16),
            bias: bias.then_some(&b[..]),
            onto: added.then_some(&onto[..]),
            factors: Factors::NONE,
        };
        norm(&x, &parameters)[0]
    };
    let close = |given: f64, expected: f64| assert!((given - expected).abs() < 1e-12, "{given} {expected}");
    let exact = (1.0 + step) * (1.0 + 2.0 * step);
    close(first(Rounding::Single, false, false), exact);
    close(first(Rounding::Single, true, true), exact + 2.5 * step);
    // A bf16 has steps of 2⁻⁷: 1 + 2⁻⁸ goes down to 1 or, as it is a tie only to within rounding, up.
    let before_weight = first(Rounding::BeforeWeight, false, false);
    let down = 1.0 + 2.0 * step;
    assert!([down, down * down].iter().any(|h| (before_weight - h).abs() < 1e-12), "{before_weight}");
    // An f16 has steps of 2⁻¹⁰, so that 1 + 2⁻⁸ stays.
    close(first(Rounding::T5, false, false), exact);
    // The product, 1 + 3 · 2⁻⁸ and a little, goes up to 1 + 4 · 2⁻⁸.
    close(first(Rounding::BeforeBias, true, false), 1.0 + 6.0 * step);
    close(first(Rounding::BeforeBias, false, false), exact);
    // What is added to y is rounded first.
    close(first(Rounding::BeforeBias, false, true), 1.0 + 4.5 * step);
    close(first(Rounding::T5, false, true), 1.0 + 4.5 * step);
}

#[test]
fn a_rounded_offset_is_one_of_the_weights_type() {
    // 1 + 2⁻⁹ is a tie between two bf16.
    let weight = [2_f64.powi(-9), 0.75];
    let factor = |round_offset, w, index| {
        let roundings = Roundings::of(Rounding::Single, round_offset, DType::F32, Some(w), DType::F32);
        let kind = NormKind::Rms;
        let parameters = Parameters {
            kind,
            eps: 0.0,
            weight: Some(&weight),
            weight_offset: 1.0,
            roundings,
            bias: None,
            onto: None,
            factors: Factors::NONE,
        };
        parameters.factor(index)
    };
    assert_eq!(factor(false, DType::BF16, 0), 1.0 + 2_f64.powi(-9));
    assert_eq!(factor(true, DType::BF16, 0), 1.0);
    assert_eq!(factor(true, DType::F16, 0), 1.0 + 2_f64.powi(-9));
    assert_eq!(factor(true, DType::F32, 0), 1.0 + 2_f64.powi(-9));
    assert_eq!(factor(true, DType::BF16, 1), 1.75);
}

//! Quantized outputs of the CPU backend: the promise, and what sources make of the same rows.

mod sources;

use norm_host::{
    Cpu, DType, QuantFormat, QuantPreset,
    accuracy::{QuantizedPart, QuantizedRow, QuantizedVerdict},
    quantize::decode_e4m3,
    reference::quotients,
};
use norm_testing::{
    config,
    quantized::{FORMS, QuantizedCase, QuantizedTensors, Scaling, plain, quantized},
    values::Values,
};
use proptest::prelude::*;

/// The tensors of a case before and after it ran.
fn run(case: &QuantizedCase) -> [QuantizedTensors; 2] {
    let before = case.tensors();
    let mut after = before.clone();
    case.run(&mut after, &Cpu).unwrap();
    [before, after]
}

/// Runs a case and judges every row; gives of how many codes there might have been another.
fn check(case: &QuantizedCase) -> Result<usize, TestCaseError> {
    let [before, after] = run(case);
    let mut open = 0;
    for row in 0..case.rows() {
        let wrong = case.wrong_residual(&before, &after, row);
        prop_assert!(wrong.is_none(), "row {row}: element {wrong:?} of the sum");
        let judged = case.judge(&before, &after, row);
        prop_assert!(judged.is_kept(), "row {row}: {judged:?}");
        let tiny = matches!(case.values, Values::Zero | Values::Subnormal | Values::Constant);
        prop_assert!(judged.promised || tiny, "row {row}: {judged:?}");
        open += judged.open;
    }
    prop_assert_eq!(case.strayed(&after), None);
    Ok(open)
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn any_quantized_case_keeps_the_promise(case in quantized(3000)) {
        check(&case)?;
    }
}

/// The order of a reduction decides few codes: of ordinary rows at most one in 4,000.
#[test]
fn few_codes_hang_on_the_order_of_a_reduction() {
    for form in FORMS {
        for x in [DType::F16, DType::BF16] {
            let case = QuantizedCase { adds: true, ..plain(form, x, 8, 4096) };
            let open = check(&case).unwrap_or_else(|error| panic!("{case:?}: {error}"));
            assert!(open <= 8, "{form:?} {x}: {open} of 32768");
        }
    }
}

/// What a row would be judged with another code, scale or copy in it.
fn judged_with(
    case: &QuantizedCase,
    [before, after]: &[QuantizedTensors; 2],
    change: impl FnOnce(&mut Vec<u8>, &mut Vec<f32>, &mut Vec<f64>),
) -> QuantizedVerdict {
    let mut codes = case.codes(after, 0).to_vec();
    let mut scales = case.scales(after, 0);
    let mut normed = case.copied(after, 0).unwrap();
    change(&mut codes, &mut scales, &mut normed);
    let given = QuantizedRow { codes: &codes, scales: &scales, normed: Some(&normed) };
    case.read(before, 0, |row| case.operation().judge(row, &given))
}

/// The neighbours of a code: one step up, one step down, and 0 of the other sign.
fn neighbours(format: QuantFormat, code: u8) -> Vec<u8> {
    match format {
        QuantFormat::Int8 => [code.wrapping_add(1), code.wrapping_sub(1)].into_iter().collect(),
        QuantFormat::E4m3 if code & 0x7f == 0 => vec![code ^ 0x80, code | 1],
        QuantFormat::E4m3 => vec![code + 1, code - 1],
    }
}

#[test]
fn outputs_just_outside_are_refused() {
    for form in FORMS {
        let case = QuantizedCase { normed: true, adds: true, ..plain(form, DType::BF16, 1, 128) };
        let tensors = run(&case);
        assert_eq!(judged_with(&case, &tensors, |_, _, _| {}).open, 0, "{form:?}");
        for index in [0, 1, 64, 127] {
            for neighbour in neighbours(case.format, case.codes(&tensors[1], 0)[index]) {
                let judged = judged_with(&case, &tensors, |codes, _, _| codes[index] = neighbour);
                let wrong =
                    judged.wrong.unwrap_or_else(|| panic!("{form:?}: {neighbour:#x} for element {index}"));
                assert_eq!((wrong.part, wrong.index), (QuantizedPart::Code, index));
            }
            let judged = judged_with(&case, &tensors, |_, _, normed| normed[index] *= 1.0 + 1.0 / 128.0);
            assert_eq!(
                judged.wrong.map(|wrong| (wrong.part, wrong.index)),
                Some((QuantizedPart::Normed, index))
            );
        }
        for scale in 0..case.scales(&tensors[1], 0).len() {
            // Values that a recipe rounds leave one scale; an f32 may be off by its error.
            let by = if case.recipe().rounds_value() { f32::EPSILON } else { 4e-6 };
            for factor in [1.0 + by, 1.0 - by] {
                let judged = judged_with(&case, &tensors, |_, scales, _| scales[scale] *= factor);
                let wrong = judged.wrong.unwrap_or_else(|| panic!("{form:?}: {factor} of scale {scale}"));
                assert_eq!((wrong.part, wrong.index), (QuantizedPart::Scale, scale));
            }
        }
    }
}

/// A code's number is within half a step of the f64 quotient, and 2e-6 of the quotient more.
#[test]
fn exact_is_within_half_a_step_of_the_f64_quotient() {
    for form in FORMS.into_iter().filter(|(preset, ..)| *preset == QuantPreset::Exact) {
        for (x, dim) in [(DType::F16, 128), (DType::BF16, 4096)] {
            let case = plain(form, x, 3, dim);
            let [before, after] = run(&case);
            for row in 0..3 {
                let expected = case.read(&before, row, |row| quotients(&case.operation(), row));
                for (&code, quotient) in case.codes(&after, row).iter().zip(expected) {
                    let (number, limits) = match case.format {
                        QuantFormat::E4m3 => (f64::from(decode_e4m3(code)), [-448.0, 448.0]),
                        QuantFormat::Int8 => (f64::from(code as i8), [-128.0, 127.0]),
                    };
                    let clamped = quotient.clamp(limits[0], limits[1]);
                    let exponent = clamped.abs().log2().floor().max(-6.0);
                    let step = if case.format == QuantFormat::Int8 { 1.0 } else { (exponent - 3.0).exp2() };
                    let allowed = step / 2.0 + 2e-6 * quotient.abs();
                    assert!((number - clamped).abs() <= allowed, "{form:?} {x}: {number} for {quotient}");
                }
            }
        }
    }
}

/// Rows of zeros have the least scale, or FlashInfer's least magnitude; nothing is divided by zero.
#[test]
fn rows_of_zeros_are_zeros() {
    for form in FORMS {
        let case = QuantizedCase { values: Values::Zero, ..plain(form, DType::F16, 2, 128) };
        let [_, after] = run(&case);
        assert!(after.codes.iter().all(|code| code & 0x7f == 0), "{form:?}");
        let least = match (case.preset, case.format) {
            (QuantPreset::Exact, _) => f32::MIN_POSITIVE,
            (QuantPreset::Vllm, QuantFormat::E4m3) => 1.0 / (448.0 * 512.0),
            (QuantPreset::Vllm, QuantFormat::Int8) => f32::EPSILON,
            (QuantPreset::FlashInfer, _) => 1e-4 / 448.0,
        };
        assert!(after.scales.iter().all(|&scale| scale == least), "{form:?} {:?}", after.scales);
    }
}

/// A NaN makes the whole norm NaN, and so does an infinity of bf16 where it stands, the rest being zeros. What of that becomes a
/// code of NaN, and what 448, is the source's.
#[test]
fn rows_with_nan_and_infinities_do_what_the_source_does() {
    for form in FORMS {
        let of = |values, x| {
            let case = QuantizedCase { values, w: None, ..plain(form, x, 1, 128) };
            let [before, after] = run(&case);
            let special = (0..128).find(|&at| !before.x.get(at).is_finite()).unwrap();
            (after.codes.clone(), case.scales(&after, 0), special)
        };
        let (nan, exact) = match form {
            (QuantPreset::Exact, QuantFormat::E4m3, _) => (0x7f, true),
            (_, QuantFormat::E4m3, _) => (0x7e, false),
            (preset, QuantFormat::Int8, _) => (0, preset == QuantPreset::Exact),
        };
        let (codes, scales, _) = of(Values::Nan, DType::BF16);
        assert_eq!(codes, [nan; 128], "{form:?}");
        assert!(scales.iter().all(|scale| scale.is_nan() == exact), "{form:?} {scales:?}");
        let (codes, scales, special) = of(Values::Infinite, DType::BF16);
        assert_eq!(codes[special], nan, "{form:?}");
        // With a NaN among them a scale that keeps it makes every code of its block NaN.
        let block = if let Scaling::Block(block) = form.2 { block } else { 128 };
        let is_wiped = |at: usize| exact && !scales.is_empty() && at / block == special / block;
        let expected = |at: usize| if is_wiped(at) { nan } else { 0 };
        assert!((0..128).filter(|&at| at != special).all(|at| codes[at] & 0x7f == expected(at)), "{form:?}");
        // For `exact` alone an infinity of f16 counts as the largest number: its norm is the root of `dim`, which saturates.
        let (codes, _, special) = of(Values::Infinite, DType::F16);
        let largest: [u8; 2] = match (form.0, form.1) {
            (QuantPreset::Exact, QuantFormat::E4m3) => [0x7e, 0xfe],
            (QuantPreset::Exact, QuantFormat::Int8) => [127, -127_i8 as u8],
            _ => [nan; 2],
        };
        let saturated = form.1 == QuantFormat::Int8 && codes[special] == 0x80;
        assert!(largest.contains(&codes[special]) || saturated, "{form:?} {:#x}", codes[special]);
    }
}

//! The formulas of vLLM and FlashInfer once more, element by element as their kernels have them, with sums in f64: what the presets
//! are held to bit for bit.

use half::{bf16, f16};
use norm_host::{Cpu, DType, QuantFormat, QuantPreset};
use norm_testing::{
    buffer::Buffer,
    quantized::{FORMS, QuantizedCase, Scaling, plain},
};

/// `value` rounded to `dtype`.
fn narrow(dtype: DType, value: f32) -> f32 {
    match dtype {
        DType::F16 => f16::from_f32(value).to_f32(),
        DType::BF16 => bf16::from_f32(value).to_f32(),
        DType::F32 => value,
    }
}

/// The nearest of all numbers of E4M3, as its definition lists them, the even one of two.
fn e4m3(value: f32) -> u8 {
    let number = |code: u8| match (i32::from(code >> 3), f64::from(code & 7)) {
        (0, fraction) => fraction / 8.0 * 2f64.powi(-6),
        (exponent, fraction) => (1.0 + fraction / 8.0) * 2f64.powi(exponent - 7),
    };
    let magnitude = f64::from(value.abs());
    let distance = |code: &u8| ((number(*code) - magnitude).abs(), code & 1);
    let nearest = (0..=0x7e_u8).min_by(|a, b| distance(a).partial_cmp(&distance(b)).unwrap()).unwrap();
    nearest | if value.is_sign_negative() { 0x80 } else { 0 }
}

/// The row's sum with the residual as stored, its values, scales and codes.
struct Row {
    sum: Vec<f32>,
    scales: Vec<f32>,
    codes: Vec<u8>,
}

fn row(case: &QuantizedCase, x: &[f32], r: &[f32], w: &[f32]) -> Row {
    let t = |value: f32| narrow(case.x, value);
    let unrounded: Vec<f32> = x.iter().zip(r).map(|(x, r)| x + r).collect();
    let sum: Vec<f32> = unrounded.iter().map(|&v| t(v)).collect();
    let rstd = |v: &[f32]| {
        let squares: f64 = v.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        (1.0 / (squares / v.len() as f64 + f64::from(case.eps)).sqrt()) as f32
    };
    let clamp = |quotient: f32| quotient.clamp(-448.0, 448.0);
    let largest = |n: &[f32]| n.iter().fold(0.0, |a: f32, n| a.max(n.abs()));
    let mut scales = Vec::new();
    let codes = match (case.preset, case.format, case.scaling) {
        // rms_norm_static_fp8_quant and fused_add_rms_norm_static_fp8_quant.
        (QuantPreset::Vllm, _, Scaling::Tensor(scale)) => {
            let (rstd, inverse) = (rstd(&sum), 1.0 / scale);
            sum.iter().zip(w).map(|(v, w)| e4m3(clamp(t(t(v * rstd) * w) * inverse))).collect()
        }
        // rms_norm_dynamic_per_token_quant and rms_norm_per_block_quant.
        (QuantPreset::Vllm, format, _) => {
            let rstd = rstd(&unrounded);
            let n: Vec<f32> = unrounded.iter().zip(w).map(|(v, w)| t(t(v * rstd) * w)).collect();
            let block = if let Scaling::Block(block) = case.scaling { block } else { case.dim };
            let mut codes = Vec::new();
            for n in n.chunks(block) {
                let bounded = case.bound.map_or(largest(n), |bound| largest(n).min(bound));
                if format == QuantFormat::E4m3 {
                    let scale = (bounded / 448.0).max(1.0 / (448.0 * 512.0));
                    codes.extend(n.iter().map(|n| e4m3(clamp(n / scale))));
                    scales.push(scale);
                } else {
                    let scale = (bounded / 127.0).max(f32::EPSILON);
                    let inverse = 1.0 / scale;
                    codes.extend(n.iter().map(|n| (n * inverse).round_ties_even() as i8 as u8));
                    scales.push(scale);
                }
            }
            codes
        }
        // rmsnorm_quant and fused_add_rmsnorm_quant.
        (QuantPreset::FlashInfer, _, Scaling::Tensor(scale)) => {
            let (rstd, inverse) = (rstd(&unrounded), 1.0 / scale);
            unrounded.iter().zip(w).map(|(v, w)| e4m3(clamp(v * rstd * w * inverse))).collect()
        }
        (QuantPreset::FlashInfer, ..) => {
            let rstd = rstd(&unrounded);
            let n: Vec<f32> = unrounded.iter().zip(w).map(|(v, w)| t(v * rstd * w)).collect();
            let mut codes = Vec::new();
            for n in n.chunks(128) {
                let absmax = largest(n).max(1e-4);
                let by = 448.0 / absmax;
                codes.extend(n.iter().map(|n| e4m3(clamp(n * by))));
                scales.push(absmax / 448.0);
            }
            codes
        }
        (QuantPreset::Exact, ..) => unreachable!("no source has it"),
    };
    Row { sum, scales, codes }
}

#[test]
fn presets_are_their_sources_formulas_bit_for_bit() {
    for form in FORMS.into_iter().filter(|(preset, ..)| *preset != QuantPreset::Exact) {
        for (x, dim) in [(DType::F16, 1024), (DType::BF16, 1024), (DType::BF16, 128)] {
            for bound in [None, Some(1.5)] {
                let takes_bound = form.0 == QuantPreset::Vllm
                    && form.1 == QuantFormat::E4m3
                    && !matches!(form.2, Scaling::Tensor(_));
                let bound = bound.filter(|_| takes_bound);
                let case = QuantizedCase { adds: true, apart: true, bound, ..plain(form, x, 4, dim) };
                let before = case.tensors();
                let mut after = before.clone();
                case.run(&mut after, &Cpu).unwrap();
                let all = |buffer: &Option<Buffer>| -> Vec<f32> {
                    let buffer = buffer.as_ref().unwrap();
                    (0..buffer.bits().len()).map(|at| buffer.get(at) as f32).collect()
                };
                let (xs, rs, w) = (all(&Some(before.x.clone())), all(&before.r), all(&before.w));
                let sums = all(&after.sum);
                for index in 0..4 {
                    let elements = index * dim..(index + 1) * dim;
                    let expected = row(&case, &xs[elements.clone()], &rs[elements.clone()], &w);
                    assert_eq!(expected.sum, sums[elements.clone()], "{case:?}");
                    assert_eq!(expected.scales, case.scales(&after, index), "{case:?}");
                    assert_eq!(expected.codes, after.codes[elements], "{case:?}");
                }
            }
        }
    }
}

//! Mistakes in the arguments of a quantizing norm, each with what is said of it.

use half::{bf16, f16};

use crate::{
    Cpu, DType, Norm, QuantFormat, QuantPreset, Quantization, QuantizedMut, Result, Rounding, Scale, View,
    ViewMut,
};

const SHAPE: [usize; 2] = [2, 128];

/// What a call has, before a mistake changes it.
struct Call<'a> {
    norm: Norm<'a>,
    quantization: Quantization<'a>,
    y: QuantizedMut<'a>,
}

/// The error of a call that a mistake has changed.
fn error(mistake: impl for<'a> FnOnce(Call<'a>, [View<'a>; 2], ViewMut<'a>) -> Result<Call<'a>>) -> String {
    let x = [f16::ONE; 256];
    let (mut codes, mut scales, mut other) = ([0_u8; 256], [0.0_f32; 16], [0.0_f32; 16]);
    let (half, one) = ([f16::ONE; 128], [1.0_f32]);
    let numbers = [View::from_slice(&half, &[128]).unwrap(), View::from_slice(&one, &[1]).unwrap()];
    let call = Call {
        norm: Norm::rms(1e-5),
        quantization: Quantization::per_token(QuantFormat::E4m3),
        y: QuantizedMut::from_e4m3(&mut codes, &SHAPE)
            .unwrap()
            .scales(ViewMut::from_slice(&mut scales, &[2, 1]).unwrap()),
    };
    let other = ViewMut::from_slice(&mut other, &[2, 1]).unwrap();
    let Call { norm, quantization, mut y } = mistake(call, numbers, other).unwrap();
    let x = View::from_slice(&x, &SHAPE).unwrap();
    norm.quantize_rows(&quantization, x, &mut y, &Cpu).unwrap_err().to_string()
}

#[test]
fn every_mistake_is_named() {
    let cases = [
        (
            error(|call, _, _| Ok(Call { quantization: Quantization::per_token(QuantFormat::Int8), ..call })),
            "y: expected codes of int8, given codes of e4m3",
        ),
        (
            error(|call, [_, one], _| {
                Ok(Call { quantization: Quantization::per_tensor(QuantFormat::E4m3, one), ..call })
            }),
            "scales: expected none, where the scale is given, given a tensor",
        ),
        (
            error(|call, [half, _], _| {
                let quantization = Quantization::per_tensor(QuantFormat::E4m3, half);
                Ok(Call { quantization, y: call.y.scales(None), ..call })
            }),
            "scale: expected shape (1,), given (128,)",
        ),
        (
            error(|call, _, _| Ok(Call { y: call.y.scales(None), ..call })),
            "scales: expected a tensor for them, given none",
        ),
        (
            error(|call, _, other| {
                let y = call.y.scales(other.with_strides(&[0, 1])?);
                Ok(Call { y, ..call })
            }),
            "scales: expected strides that keep elements apart, given (0, 1) for shape (2, 1)",
        ),
        (
            error(|call, _, _| {
                Ok(Call { quantization: Quantization::per_block(QuantFormat::E4m3, 32), ..call })
            }),
            "quantization: expected blocks of 64 or 128 elements, given 32",
        ),
        (
            error(|call, _, _| {
                Ok(Call { quantization: Quantization::per_block(QuantFormat::E4m3, 64), ..call })
            }),
            "scales: expected shape (2, 2), given (2, 1)",
        ),
        (
            error(|call, _, _| {
                Ok(Call { quantization: call.quantization.preset(QuantPreset::FlashInfer), ..call })
            }),
            "quantization: expected what flashinfer has a formula for, given a scale for each token",
        ),
        (
            error(|call, _, _| {
                let quantization =
                    Quantization::per_block(QuantFormat::Int8, 128).preset(QuantPreset::FlashInfer);
                Ok(Call { quantization, ..call })
            }),
            "quantization: expected what flashinfer has a formula for, given int8",
        ),
        (
            error(|call, _, _| {
                Ok(Call { quantization: call.quantization.upper_bound(Scale::Number(-1.0)), ..call })
            }),
            "upper_bound: expected a positive finite number, given -1",
        ),
        (
            error(|call, _, _| Ok(Call { norm: call.norm.rounding(Rounding::BeforeWeight), ..call })),
            "rounding: expected a norm without it, where the output is quantized, given one with it",
        ),
        (
            error(|call, _, _| Ok(Call { norm: call.norm.sum_scale(2.0), ..call })),
            "sum_scale: expected a norm without it, where the output is quantized, given one with it",
        ),
        (
            error(|call, [_, one], _| Ok(Call { norm: call.norm.weight(one), ..call })),
            "w: expected shape (128,), given (1,)",
        ),
    ];
    for (index, (given, expected)) in cases.iter().enumerate() {
        assert_eq!(given, expected, "{index}");
    }
}

#[test]
fn a_given_scale_that_the_host_can_read_is_positive_and_finite() {
    let x = [f16::ONE; 4];
    for (scale, said) in [(0.0, "0"), (-1.0, "-1"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let (scale, mut codes) = ([scale], [0_u8; 4]);
        let quantization =
            Quantization::per_tensor(QuantFormat::E4m3, View::from_slice(&scale, &[1]).unwrap());
        let y = &mut QuantizedMut::from_e4m3(&mut codes, &[1, 4]).unwrap();
        let x = View::from_slice(&x, &[1, 4]).unwrap();
        let error = Norm::rms(1e-5).quantize_rows(&quantization, x, y, &Cpu).unwrap_err();
        assert_eq!(error.to_string(), format!("scale: expected a positive finite number, given {said}"));
    }
}

/// x in f32, a residual or a copy of another type, blocks that do not divide a row, memory in common.
#[test]
fn tensors_that_do_not_fit_are_named() {
    let wide = [1.0_f32; 256];
    let (x, mut r) = ([f16::ONE; 256], [bf16::ONE; 256]);
    let (mut codes, mut scales, mut normed) = ([0_u8; 256], [0.0_f32; 8], [bf16::ONE; 256]);
    let token = Quantization::per_token(QuantFormat::E4m3);
    let norm = Norm::rms(1e-5);
    let mut y = QuantizedMut::from_e4m3(&mut codes, &SHAPE)
        .unwrap()
        .scales(ViewMut::from_slice(&mut scales, &[2, 1]).unwrap());
    let error =
        norm.quantize_rows(&token, View::from_slice(&wide, &SHAPE).unwrap(), &mut y, &Cpu).unwrap_err();
    assert_eq!(error.to_string(), "x: expected f16 or bf16, where the output is quantized, given f32");
    let half = View::from_slice(&x, &SHAPE).unwrap();
    let r = &mut ViewMut::from_slice(&mut r, &SHAPE).unwrap();
    let error = norm.add_then_quantize(&token, half, r, &mut y, &Cpu).unwrap_err();
    assert_eq!(error.to_string(), "r: expected dtype f16, given bf16");
    let mut y = y.normed(ViewMut::from_slice(&mut normed, &SHAPE).unwrap());
    let error = norm.quantize_rows(&token, half, &mut y, &Cpu).unwrap_err();
    assert_eq!(error.to_string(), "normed: expected dtype f16, given bf16");
    let block = Quantization::per_block(QuantFormat::E4m3, 64);
    let rows = View::from_slice(&x, &[2, 100]).unwrap();
    let mut odd = [0_u8; 200];
    let mut y = QuantizedMut::from_e4m3(&mut odd, &[2, 100])
        .unwrap()
        .scales(ViewMut::from_slice(&mut scales, &[2, 1]).unwrap());
    let error = norm.quantize_rows(&block, rows, &mut y, &Cpu).unwrap_err();
    assert_eq!(error.to_string(), "x: expected rows of whole blocks of 64 elements, given dim 100");
    // The scales in the middle of the codes.
    let mut memory = [0.0_f32; 64];
    let address = memory.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: both lie in the array, and nothing is written before the call fails.
    let (y, scales) = unsafe {
        let place = crate::Place::Host;
        (
            QuantizedMut::from_raw_parts(place, address, QuantFormat::E4m3, &SHAPE).unwrap(),
            ViewMut::from_raw_parts_strided(place, address + 100, DType::F32, &[2, 1], &[3, 1]).unwrap(),
        )
    };
    let error = norm.quantize_rows(&token, half, &mut y.scales(scales), &Cpu).unwrap_err();
    assert_eq!(error.to_string(), "scales and y: expected no common memory, given tensors that overlap");
}

//! Residuals in f32 beside 16 bits, scaled ones, what is the same whether candle records it or not; and quantized outputs.

use candle_core::{DType, Device, IndexOp, Result, Tensor, Var};
use norm_host::{
    Rounding,
    for_candle::{Norm, ops},
};

const EPS: f32 = 1e-5;
const SHAPE: [usize; 2] = [5, 96];
const ORDERS: [Rounding; 4] = [Rounding::Single, Rounding::BeforeWeight, Rounding::BeforeBias, Rounding::T5];

fn random(shape: &[usize], dtype: DType) -> Result<Tensor> {
    Tensor::randn(0.2_f32, 1.5, shape, &Device::Cpu)?.to_dtype(dtype)
}

fn bits(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

#[track_caller]
fn same(given: &Tensor, expected: &Tensor) -> Result<()> {
    assert_eq!((given.dims(), given.dtype()), (expected.dims(), expected.dtype()));
    assert_eq!(bits(given)?, bits(expected)?);
    Ok(())
}

#[track_caller]
fn error<T>(result: Result<T>) -> String {
    let message = result.err().expect("an error").to_string();
    // Behind it there may be a backtrace.
    message.lines().next().unwrap_or_default().to_owned()
}

fn one(value: f32) -> Result<Tensor> {
    Tensor::new(&[value], &Device::Cpu)
}

#[test]
fn a_residual_of_f32_is_not_rounded() -> Result<()> {
    for dtype in [DType::F16, DType::BF16] {
        let (x, r) = (random(&SHAPE, dtype)?, random(&SHAPE, DType::F32)?);
        let norm = Norm::rms(EPS).weight(random(&SHAPE[1..], dtype)?);
        let (sum, y) = norm.add_then_norm(&x, &r)?;
        same(&sum, &(x.to_dtype(DType::F32)? + &r)?)?;
        // One rounding of it all, where the norm of an f32 tensor is rounded once more.
        let twice = norm.rows(&sum)?.to_dtype(dtype)?;
        let apart = (y.to_dtype(DType::F32)? - twice.to_dtype(DType::F32)?)?.abs()?.flatten_all()?.max(0)?;
        let ulp = if dtype == DType::F16 { 2_f32.powi(-8) } else { 2_f32.powi(-5) };
        assert!(apart.to_vec0::<f32>()? <= ulp);
        assert_eq!(y.dtype(), dtype);

        let in_place = r.copy()?;
        same(&norm.add_then_norm_in_place(&x, &in_place)?, &y)?;
        same(&in_place, &sum)?;
    }
    Ok(())
}

/// By candle's operations where a tensor is recorded, in one where none is.
#[test]
fn what_is_recorded_has_the_same_bits() -> Result<()> {
    let w = random(&SHAPE[1..], DType::F32)?;
    for (dtype, r_dtype) in [
        (DType::F32, DType::F32),
        (DType::F16, DType::F16),
        (DType::BF16, DType::BF16),
        (DType::BF16, DType::F32),
    ] {
        let (x, r) = (random(&SHAPE, dtype)?, random(&SHAPE, r_dtype)?);
        let recorded = Var::from_tensor(&x)?;
        for rounding in ORDERS {
            let plain = Norm::rms(EPS).weight(w.clone()).rounding(rounding);
            for norm in [
                plain.clone(),
                plain.clone().branch_scale(0.22),
                plain.clone().sum_scale(1.7),
                plain.clone().branch_scale(-0.3).sum_scale(one(0.7)?),
            ] {
                let (sum, y) = norm.add_then_norm(&x, &r)?;
                let (of_steps, y_of_steps) = norm.add_then_norm(&recorded, &r)?;
                assert!(!sum.track_op() && of_steps.track_op() && y_of_steps.track_op());
                same(&sum, &of_steps)?;
                assert_eq!(y.dtype(), y_of_steps.dtype());
                if r_dtype == dtype {
                    same(&y, &y_of_steps)?;
                    // The norm is rounded before it is added but in one order.
                    if rounding != Rounding::Single || dtype == DType::F32 {
                        same(&norm.norm_then_add(&x, &r)?, &norm.norm_then_add(&recorded, &r)?)?;
                        let (sum, y) = norm.sandwich_rows(&plain, &x, &r)?;
                        let (of_steps, y_of_steps) = norm.sandwich_rows(&plain, &recorded, &r)?;
                        same(&sum, &of_steps)?;
                        same(&y, &y_of_steps)?;
                    }
                }
                let in_place = r.copy()?;
                same(&norm.add_then_norm_in_place(&x, &in_place)?, &y)?;
                same(&in_place, &sum)?;
                let in_place = r.copy()?;
                norm.norm_then_add_in_place(&x, &in_place)?;
                same(&norm.norm_then_add(&x, &r)?, &in_place)?;
            }
        }
    }
    Ok(())
}

#[test]
fn scales_are_factors() -> Result<()> {
    let (x, r) = (Tensor::new(&[2_f32, 8.0], &Device::Cpu)?, Tensor::new(&[2_f32, -1.0], &Device::Cpu)?);
    for norm in [Norm::rms(0.0).sum_scale(2.0), Norm::rms(0.0).sum_scale(one(2.0)?)] {
        let (sum, y) = norm.branch_scale(0.5).add_then_norm(&x, &r)?;
        assert_eq!((bits(&sum)?, bits(&y)?), (vec![6.0, 6.0], vec![1.0, 1.0]));
    }
    Ok(())
}

#[test]
fn a_sandwich_by_its_usual_name_is_one_of_norms() -> Result<()> {
    let (x, r) = (random(&SHAPE, DType::F16)?, random(&SHAPE, DType::F16)?);
    let (w, next) = (random(&SHAPE[1..], DType::F16)?, random(&SHAPE[1..], DType::F16)?);
    let (sum, y) = ops::sandwich_rms_norm(&x, &r, &w, &next, EPS)?;
    let second = Norm::rms(EPS).weight(next.clone());
    let expected = Norm::rms(EPS).weight(w.clone()).sandwich_rows(&second, &x, &r)?;
    same(&sum, &expected.0)?;
    same(&y, &expected.1)?;
    same(&y, &ops::rms_norm(&sum, &next, EPS)?)?;
    // Both norms' weights count, and are not taken for each other.
    let swapped = ops::sandwich_rms_norm(&x, &r, &next, &w, EPS)?;
    assert_ne!(bits(&swapped.0)?, bits(&sum)?);
    Ok(())
}

#[test]
fn gradients_reach_all_that_a_sandwich_is_made_of() -> Result<()> {
    let variable = |shape: &[usize]| Var::from_tensor(&random(shape, DType::F32)?);
    let (x, r, w, next) =
        (variable(&SHAPE)?, variable(&SHAPE)?, variable(&SHAPE[1..])?, variable(&SHAPE[1..])?);
    let scale = Var::from_tensor(&one(0.5)?)?;
    let second = Norm::rms(EPS).weight(next.as_tensor().clone());
    let first = Norm::rms(EPS).weight(w.as_tensor().clone()).sum_scale(scale.as_tensor().clone());
    let (sum, y) = first.sandwich_rows(&second, &x, &r)?;
    let gradients = (sum.sqr()? + y.sqr()?)?.sum_all()?.backward()?;
    for variable in [&x, &r, &w, &next, &scale] {
        let gradient = gradients.get(variable).expect("a gradient");
        assert!(gradient.abs()?.sum_all()?.to_vec0::<f32>()? > 0.0);
    }
    // Of the first norm nothing is recorded, of the second something is.
    let (x, r) = (random(&SHAPE, DType::F32)?, random(&SHAPE, DType::F32)?);
    let (_, y) = Norm::rms(EPS).sandwich_rows(&second, &x, &r)?;
    assert!(y.sum_all()?.backward()?.get(&next).is_some());
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_by_name() -> Result<()> {
    let ones = |shape: &[usize], dtype| Tensor::ones(shape, dtype, &Device::Cpu);
    let (x, r) = (ones(&[2, 3], DType::F16)?, ones(&[2, 3], DType::F16)?);
    let norm = || Norm::rms(EPS);
    let wrong_shape = ones(&[2, 4], DType::F16)?;
    assert_eq!(error(norm().add_then_norm(&x, &wrong_shape)), "r: expected shape (2, 3), given (2, 4)");
    let wrong_type = ones(&[2, 3], DType::BF16)?;
    assert_eq!(error(norm().add_then_norm(&x, &wrong_type)), "r: expected dtype f16, given bf16");

    for (tensor, expected) in [
        (ones(&[2], DType::F32)?, "sum_scale: expected shape (1,), given (2,)"),
        (ones(&[1], DType::F16)?, "sum_scale: expected dtype f32, given f16"),
    ] {
        assert_eq!(error(norm().sum_scale(tensor).add_then_norm(&x, &r)), expected);
    }
    let recorded = Var::from_tensor(&x)?;
    for x in [&x, recorded.as_tensor()] {
        let infinite = error(norm().branch_scale(f32::INFINITY).add_then_norm(x, &r));
        assert!(infinite.starts_with("branch_scale: expected a finite"), "{infinite}");
    }
    let given = error(norm().sum_scale(ones(&[2], DType::F32)?).add_then_norm(&recorded, &r));
    assert_eq!(given, "sum_scale: expected shape (1,), given [2]");

    // A norm alone has nothing to scale, nor has the second of two.
    let alone = error(norm().branch_scale(0.5).rows(&x));
    assert!(alone.starts_with("branch_scale: "), "{alone}");
    let alone = error(norm().sum_scale(one(1.0)?).heads(&ones(&[2, 1, 3], DType::F32)?));
    assert!(alone.starts_with("sum_scale: "), "{alone}");
    for x in [&x, recorded.as_tensor()] {
        let second = error(norm().sandwich_rows(&norm().sum_scale(2.0), x, &r));
        assert!(second.contains("sum_scale"), "{second}");
    }

    // In place nothing is recorded, a scale neither.
    let scale = Var::from_tensor(&one(0.5)?)?;
    let given = error(norm().sum_scale(scale.as_tensor().clone()).add_then_norm_in_place(&x, &r));
    assert!(given.starts_with("sum_scale: "), "{given}");
    Ok(())
}

/// Codes and scales are those of the views, in new tensors; a tensor of more axes than a view has, too.
#[test]
fn a_norm_is_quantized_in_every_form() -> Result<()> {
    use norm_host::{
        Cpu, QuantFormat, QuantPreset, QuantizedMut, View, ViewMut, for_candle::Quantization,
        quantize::decode_e4m3,
    };

    let x = Tensor::randn(0_f32, 2.0, (2, 3, 256), &Device::Cpu)?.to_dtype(DType::BF16)?;
    let (w, r) = (x.i((0, 0))?, x.flip(&[1])?.contiguous()?);
    let norm = Norm::rms(1e-6).weight(w.clone());
    let elements = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<half::bf16>();
    let (x_values, w_values) = (elements(&x)?, elements(&w)?);
    let scale = Tensor::new(&[0.02_f32], &Device::Cpu)?;
    for (quantization, views, groups) in [
        (
            Quantization::per_token(QuantFormat::E4m3),
            norm_host::Quantization::per_token(QuantFormat::E4m3),
            1,
        ),
        (
            Quantization::per_block(QuantFormat::E4m3, 64).preset(QuantPreset::Vllm).upper_bound(1.5),
            norm_host::Quantization::per_block(QuantFormat::E4m3, 64)
                .preset(QuantPreset::Vllm)
                .upper_bound(norm_host::Scale::Number(1.5)),
            4,
        ),
        (
            Quantization::per_token(QuantFormat::Int8),
            norm_host::Quantization::per_token(QuantFormat::Int8),
            1,
        ),
    ] {
        let given = norm.quantize_rows(&x, &quantization)?;
        let (mut codes, mut scales) = (vec![0; 6 * 256], vec![0.0_f32; 6 * groups]);
        let address = codes.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the codes are those of the vector, which nothing else uses until the call returns.
        let y = unsafe {
            QuantizedMut::from_raw_parts(norm_host::Place::Host, address, quantization.format(), &[6, 256])?
        };
        let mut y = y.scales(ViewMut::from_slice(&mut scales, &[6, groups])?);
        norm_host::Norm::rms(1e-6).weight(View::from_slice(&w_values, &[256])?).quantize_rows(
            &views,
            View::from_slice(&x_values, &[6, 256])?,
            &mut y,
            &Cpu,
        )?;
        assert_eq!((given.codes.dims(), given.codes.dtype()), (x.dims(), DType::U8));
        assert_eq!(given.codes.flatten_all()?.to_vec1::<u8>()?, codes);
        let given_scales = given.scales.expect("they are computed");
        assert_eq!(given_scales.dims(), [2, 3, groups]);
        assert_eq!(given_scales.flatten_all()?.to_vec1::<f32>()?, scales);
    }

    let fixed = Quantization::per_tensor(QuantFormat::E4m3, scale);
    let (sum, quantized) = norm.add_then_quantize(&x, &r, &fixed)?;
    assert_eq!(elements(&sum)?, elements(&(&x + &r)?)?);
    assert!(quantized.scales.is_none());
    let y = norm.rows(&sum)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    for (code, y) in quantized.codes.flatten_all()?.to_vec1::<u8>()?.into_iter().zip(y) {
        let quotient = y / 0.02;
        assert!((decode_e4m3(code) - quotient.clamp(-448.0, 448.0)).abs() <= quotient.abs() / 14.0 + 0.01);
    }
    // Five axes, which are merged.
    let deep = x.reshape((1, 2, 1, 3, 256))?;
    let token = Quantization::per_token(QuantFormat::E4m3);
    let (flat, merged) = (norm.quantize_rows(&x, &token)?, norm.quantize_rows(&deep, &token)?);
    assert_eq!(merged.scales.unwrap().dims(), [1, 2, 1, 3, 1]);
    assert_eq!(merged.codes.flatten_all()?.to_vec1::<u8>()?, flat.codes.flatten_all()?.to_vec1::<u8>()?);
    Ok(())
}

#[test]
fn what_cannot_be_quantized_is_refused() -> Result<()> {
    use norm_host::{QuantFormat, for_candle::Quantization};

    let x = Tensor::ones((2, 100), DType::F16, &Device::Cpu)?;
    let message = |x: &Tensor, quantization: Quantization| -> String {
        Norm::rms(1e-6).quantize_rows(x, &quantization).expect_err("an error").to_string()
    };
    let zero = Tensor::new(&[0_f32], &Device::Cpu)?;
    let token = Quantization::per_token(QuantFormat::E4m3);
    for (x, quantization, part) in [
        (
            &x,
            Quantization::per_block(QuantFormat::E4m3, 64),
            "x: expected rows of whole blocks of 64 elements",
        ),
        (&x, Quantization::per_tensor(QuantFormat::E4m3, zero), "scale: expected a positive finite number"),
        (&x, token.clone().upper_bound(-1.0), "upper_bound: expected a positive finite number, given -1"),
        (&x.to_dtype(DType::F32)?, token.clone(), "x: expected f16 or bf16"),
        (Var::from_tensor(&x)?.as_tensor(), token, "codes have no gradients"),
    ] {
        let message = message(x, quantization);
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    Ok(())
}

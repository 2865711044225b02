//! What holds on a CUDA device: of cudarc's memory and streams, and of candle's tensors where candle
//! has its CUDA backend (feature `cuda`). Without a device, every test is counted as ignored.

use std::process::ExitCode;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream};
use half::f16;
use libtest_mimic::{Failed, Trial};
use norm_host::{Device, Norm, Stream, View, ViewMut, reference};
use norm_testing::trials;

type Test = fn(Device) -> Result<(), Failed>;

fn main() -> ExitCode {
    let device = Device::new(0).map_err(|error| format!("no CUDA device ({error})"));
    let tests: [(&str, Test); 2] = [
        ("norms_of_cudarcs_memory_follow_its_streams", cudarcs_memory),
        ("cudarc_frees_memory_behind_the_norm", freed_behind),
    ];
    let mut trials: Vec<Trial> = tests.map(|(name, test)| trials::trial(name, "cuda", &device, test)).into();
    trials.extend(candles(&device));
    trials::run(trials)
}

const ROWS: usize = 4096;
const DIM: usize = 2048;

fn values() -> Vec<f16> {
    (0..ROWS * DIM).map(|i| f16::from_f32((i % 251) as f32 / 16.0 - 7.0)).collect()
}

/// `x = norm(x)` on `queue`.
fn normalize(x: &mut CudaSlice<f16>, w: &CudaSlice<f32>, queue: &Arc<CudaStream>) -> norm_host::Result<()> {
    let stream = Stream::from_cudarc(queue)?;
    // SAFETY: the view is used by work on `queue` only, and dropped when that is enqueued.
    let mut x = unsafe { ViewMut::from_cudarc(x, &[ROWS, DIM], queue)? };
    // SAFETY: this view, too, is used by work on `queue` only, and dropped when that is enqueued.
    let w = unsafe { View::from_cudarc(w, &[DIM], queue)? };
    Norm::rms(1e-6).weight(w.view()).rows_in_place(&mut x.view_mut(), &stream)
}

fn check(given: &[f16], w: &[f32]) -> Result<(), Failed> {
    let w: Vec<f64> = w.iter().map(|&w| w.into()).collect();
    for (row, (x, y)) in values().chunks(DIM).zip(given.chunks(DIM)).enumerate() {
        let expected = reference::rms_norm(&reference::widen_input(x), Some(&w), 1e-6);
        for (given, expected) in y.iter().zip(expected) {
            // NaN is not.
            let is_close = (given.to_f64() - expected).abs() <= expected.abs() * 1e-3;
            if !is_close {
                return Err(format!("row {row}: {given} instead of {expected}").into());
            }
        }
    }
    Ok(())
}

/// Written on one stream, normalized on a second, read on a third; cudarc's events alone keep the order.
fn cudarcs_memory(_: Device) -> Result<(), Failed> {
    let context = CudaContext::new(0)?;
    let [first, second, third] = [context.new_stream()?, context.new_stream()?, context.new_stream()?];
    let w_host: Vec<f32> = (0..DIM).map(|i| 1.0 + i as f32 / DIM as f32).collect();
    for _ in 0..20 {
        let mut x = first.clone_htod(&values())?;
        let w = first.clone_htod(&w_host)?;
        normalize(&mut x, &w, &second)?;
        let y = third.clone_dtoh(&x)?;
        third.synchronize()?;
        context.check_err()?;
        check(&y, &w_host)?;
    }
    Ok(())
}

/// Memory given back right after the call is not taken by others until the norm is done.
fn freed_behind(_: Device) -> Result<(), Failed> {
    let context = CudaContext::new(0)?;
    let [first, second] = [context.new_stream()?, context.new_stream()?];
    let w_host = vec![1.0_f32; DIM];
    let mut y = first.clone_htod(&values())?;
    for _ in 0..20 {
        let w = first.clone_htod(&w_host)?;
        first.memcpy_htod(&values(), &mut y)?;
        normalize(&mut y, &w, &second)?;
        drop(w);
        // Would be given the weights' memory.
        let other = first.clone_htod(&vec![f32::NAN; DIM])?;
        let given = first.clone_dtoh(&y)?;
        first.synchronize()?;
        drop(other);
        check(&given, &w_host)?;
    }
    Ok(context.check_err()?)
}

#[cfg(not(feature = "cuda"))]
fn candles(_: &Result<Device, String>) -> Vec<Trial> {
    let missing: Result<Device, String> = Err("candle is built without its CUDA backend".into());
    vec![trials::trial("candles_tensors_on_a_device", "candle-cuda", &missing, |_| Ok(()))]
}

#[cfg(feature = "cuda")]
fn candles(device: &Result<Device, String>) -> Vec<Trial> {
    candle::TESTS.map(|(name, test)| trials::trial(name, "cuda", device, test)).into()
}

/// candle's tensors on the device give the bits of a norm over the same memory's rows, and agree with
/// the CPU.
#[cfg(feature = "cuda")]
mod candle {
    use candle_core::{DType, Device as CandleDevice, Tensor, Var};
    use libtest_mimic::Failed;
    use norm_host::{
        Device, NormKind,
        for_candle::{Norm, ops},
    };

    pub const TESTS: [(&str, super::Test); 4] = [
        ("candles_tensors_agree_with_the_cpu", agree_with_the_cpu),
        ("candles_gradients_agree_with_the_cpu", gradients),
        ("candles_residual_is_updated_where_it_lies", residual),
        ("candles_tensors_elsewhere_are_refused", elsewhere),
    ];

    const DTYPES: [DType; 3] = [DType::F16, DType::BF16, DType::F32];

    /// To one rounding of the type, and what terms of a few round to.
    fn close(given: &Tensor, expected: &Tensor) -> Result<(), Failed> {
        let values = |tensor: &Tensor| {
            let host = tensor.to_device(&CandleDevice::Cpu)?.to_dtype(DType::F32)?;
            host.flatten_all()?.to_vec1::<f32>()
        };
        let step = match expected.dtype() {
            DType::F16 => 1e-3,
            DType::BF16 => 8e-3,
            _ => 2e-6,
        };
        if (given.dtype(), given.shape()) != (expected.dtype(), expected.shape()) {
            return Err(format!("{given:?} instead of {expected:?}").into());
        }
        for (given, expected) in values(given)?.into_iter().zip(values(expected)?) {
            // NaN is not.
            let is_close = (given - expected).abs() <= step * (expected.abs() + 1.0);
            if !is_close {
                return Err(format!("{given} instead of {expected}").into());
            }
        }
        Ok(())
    }

    fn agree_with_the_cpu(_: Device) -> Result<(), Failed> {
        let cuda = CandleDevice::new_cuda(0)?;
        for dtype in DTYPES {
            let random =
                |shape: &[usize]| Tensor::randn(0.2_f32, 1.0, shape, &CandleDevice::Cpu)?.to_dtype(dtype);
            let (w, b) = (random(&[96])?, random(&[96])?);
            let heads = random(&[4, 96])?;
            let whole = random(&[2, 7, 4, 100])?;
            // Contiguous; rows apart; heads and positions swapped; elements apart; five axes.
            let tensors: [fn(&Tensor) -> candle_core::Result<Tensor>; 5] = [
                |whole| whole.narrow(3, 1, 96)?.contiguous(),
                |whole| whole.narrow(3, 1, 96),
                |whole| whole.narrow(3, 1, 96)?.transpose(1, 2),
                |whole| {
                    whole.transpose(1, 3)?.narrow(1, 0, 96)?.transpose(1, 3)?.transpose(2, 3)?.transpose(2, 3)
                },
                |whole| whole.narrow(3, 0, 96)?.contiguous()?.unsqueeze(0),
            ];
            for tensor in tensors {
                let x = tensor(&whole)?;
                let on_device = tensor(&whole.to_device(&cuda)?)?;
                for norm in [Norm::rms(1e-5), Norm::layer(1e-5)] {
                    let with = |device: &CandleDevice| {
                        Ok::<_, candle_core::Error>(
                            norm.clone().weight(w.to_device(device)?).bias(b.to_device(device)?),
                        )
                    };
                    let expected = with(&CandleDevice::Cpu)?.rows(&x)?;
                    close(&with(&cuda)?.rows(&on_device)?, &expected)?;
                }
            }
            let x = whole.narrow(3, 0, 96)?;
            let expected = ops::head_norm(&x, &heads, None, 1e-5, NormKind::Layer)?;
            let (x, heads) = (whole.to_device(&cuda)?.narrow(3, 0, 96)?, heads.to_device(&cuda)?);
            close(&ops::head_norm(&x, &heads, None, 1e-5, NormKind::Layer)?, &expected)?;
        }
        Ok(())
    }

    fn gradients(_: Device) -> Result<(), Failed> {
        let cuda = CandleDevice::new_cuda(0)?;
        for dtype in DTYPES {
            let random =
                |shape: &[usize]| Tensor::randn(0.2_f32, 1.0, shape, &CandleDevice::Cpu)?.to_dtype(dtype);
            let (x, w, b, by) = (random(&[7, 96])?, random(&[96])?, random(&[96])?, random(&[7, 96])?);
            for norm in [Norm::rms(1e-5), Norm::layer(1e-5)] {
                let on = |device: &CandleDevice| -> candle_core::Result<Vec<Tensor>> {
                    let variable = |tensor: &Tensor| Var::from_tensor(&tensor.to_device(device)?);
                    let (x, w, b) = (variable(&x)?, variable(&w)?, variable(&b)?);
                    let norm = norm.clone().weight(w.as_tensor().clone()).bias(b.as_tensor().clone());
                    let gradients = (norm.rows(&x)? * by.to_device(device)?)?.sum_all()?.backward()?;
                    let of = |variable| gradients.get(variable).cloned().expect("a variable");
                    Ok(vec![of(&x), of(&w), of(&b)])
                };
                for (given, expected) in on(&cuda)?.iter().zip(on(&CandleDevice::Cpu)?) {
                    close(given, &expected)?;
                }
            }
        }
        Ok(())
    }

    fn residual(_: Device) -> Result<(), Failed> {
        let cuda = CandleDevice::new_cuda(0)?;
        for dtype in DTYPES {
            let random =
                |shape: &[usize]| Tensor::randn(0.2_f32, 1.0, shape, &CandleDevice::Cpu)?.to_dtype(dtype);
            let (x, r, w) = (random(&[64, 512])?, random(&[64, 512])?, random(&[512])?);
            let [on_x, on_r, on_w] = [&x, &r, &w].map(|tensor| tensor.to_device(&cuda));
            let (on_x, on_r, on_w) = (on_x?, on_r?, on_w?);
            let expected = ops::add_rms_norm(&x, &r, &w, 1e-5)?;
            close(&ops::add_rms_norm(&on_x, &on_r, &on_w, 1e-5)?, &expected)?;
            close(&on_r, &r)?;
            ops::rms_norm_add(&x, &w, &r, 1e-5)?;
            ops::rms_norm_add(&on_x, &on_w, &on_r, 1e-5)?;
            close(&on_r, &r)?;
        }
        Ok(())
    }

    fn elsewhere(_: Device) -> Result<(), Failed> {
        let cuda = CandleDevice::new_cuda(0)?;
        let x = Tensor::ones((2, 8), DType::F32, &cuda)?;
        let w = Tensor::ones(8, DType::F32, &CandleDevice::Cpu)?;
        match ops::rms_norm(&x, &w, 1e-5) {
            Err(error) if error.to_string().contains("device mismatch") => Ok(()),
            other => Err(format!("{other:?}").into()),
        }
    }
}

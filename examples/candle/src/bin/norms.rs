//! Times of norms called through candle: candle's own and those of `norm-host`, for one token and for a prompt, in
//! microseconds a call.
//!
//! A time is the least of many rounds, in which both take turns, so that other work of the machine counts little. On a CUDA
//! device it is the host's time: a round enqueues its calls and does not wait for them.
//!
//! ```sh
//! cargo run --release -p norm-candle --bin norms                     # on the CPU
//! cargo run --release -p norm-candle --bin norms --features cuda     # on a CUDA device
//! cargo run --release -p norm-candle --bin norms -- 'rms 1 x 256'    # the lines whose names contain this
//! ```

use std::{hint::black_box, time::Instant};

use candle_core::{DType, Device, Result, Tensor};
use norm_candle::norms::{Candle, Norms, Ours};

const EPS: f32 = 1e-6;
const ROUNDS: usize = 60;

fn main() -> Result<()> {
    let device = Device::cuda_if_available(0)?;
    println!("microseconds a call on {:?}", device.location());
    println!("{:32} {:5} {:>10} {:>10} {:>7}", "", "", "candle", "norm-host", "ratio");
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        for (rows, dim) in [(1, 256), (1, 4096), (8, 4096), (512, 1024), (512, 4096)] {
            of(&device, dtype, rows, dim)?;
        }
    }
    Ok(())
}

/// Times all norms of tensors with `rows` tokens.
fn of(device: &Device, dtype: DType, rows: usize, dim: usize) -> Result<()> {
    let random = |shape: &[usize]| Tensor::randn(0_f32, 1.0, shape, device)?.to_dtype(dtype);
    let (x, r, w, b) = (random(&[1, rows, dim])?, random(&[1, rows, dim])?, random(&[dim])?, random(&[dim])?);
    let head_dim = dim / 32;
    let (heads, shared) = (random(&[1, rows, 32, head_dim])?, random(&[head_dim])?);
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let report = |name: &str, candle: &dyn Fn() -> Result<()>, ours: &dyn Fn() -> Result<()>| {
        let name = format!("{name} {rows} x {dim}");
        if !name.contains(&wanted) {
            return Ok(());
        }
        let [candle, ours] = least(device, rows * dim, [candle, ours])?;
        println!("{name:32} {:5} {candle:10.2} {ours:10.2} {:7.2}", dtype.as_str(), ours / candle);
        Ok::<(), candle_core::Error>(())
    };
    let done = |y: Result<Tensor>| y.map(|y| drop(black_box(y)));
    let both = |pair: Result<(Tensor, Tensor)>| pair.map(|pair| drop(black_box(pair)));
    report("rms", &|| done(candle_nn::ops::rms_norm(&x, &w, EPS)), &|| {
        done(norm_host::for_candle::ops::rms_norm(&x, &w, EPS))
    })?;
    report("layer", &|| done(candle_nn::ops::layer_norm(&x, &w, &b, EPS)), &|| {
        done(norm_host::for_candle::ops::layer_norm(&x, &w, &b, EPS))
    })?;
    report("heads", &|| done(Candle::heads(&heads, &shared, EPS)), &|| {
        done(Ours::heads(&heads, &shared, EPS))
    })?;
    report("add, rms", &|| both(Candle::add_rms(&x, &r, &w, EPS)), &|| both(Ours::add_rms(&x, &r, &w, EPS)))
}

/// The least time of each of the calls, in microseconds a call.
fn least<const N: usize>(
    device: &Device,
    elements: usize,
    calls: [&dyn Fn() -> Result<()>; N],
) -> Result<[f64; N]> {
    let repeats = (1_000_000 / elements).clamp(2, 200);
    let mut least = [f64::INFINITY; N];
    for _ in 0..ROUNDS {
        for (call, least) in calls.iter().zip(&mut least) {
            device.synchronize()?;
            let start = Instant::now();
            for _ in 0..repeats {
                call()?;
            }
            *least = least.min(start.elapsed().as_secs_f64() * 1e6 / repeats as f64);
        }
    }
    Ok(least)
}

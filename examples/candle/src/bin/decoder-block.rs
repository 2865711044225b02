//! A decoder block in candle, with candle's own norms and with those of `norm-host`: prefill and decode,
//! the time of the block and of its norms, and how far the results lie apart.
//!
//! ```sh
//! cargo run --release -p norm-candle --bin decoder-block                    # small, f32, on the CPU
//! cargo run --release -p norm-candle --bin decoder-block --features cuda    # Llama 3 8B's sizes, f16
//! ```
//!
//! The second needs a CUDA toolkit for candle's own kernels; `examples/candle/cuda-toolkit` makes one of
//! PyPI's packages. Exit status 1 where the results lie further apart than rounding explains.

use std::{process::ExitCode, time::Instant};

use candle_core::{DType, Device, Result, Tensor};
use norm_candle::{
    decoder::{Block, Sizes},
    norms::{Candle, Norms, Ours},
};

/// What is run, and where.
struct Setting {
    device: Device,
    dtype: DType,
    sizes: Sizes,
    prompt: usize,
    rounds: usize,
    /// Of the largest value: how far results may lie apart. Two norms of a 16-bit type may round an
    /// element to neighbours, and the block's products spread that.
    allowed: f64,
}

impl Setting {
    fn new() -> Result<Setting> {
        match Device::cuda_if_available(0)? {
            Device::Cpu => Ok(Setting {
                device: Device::Cpu,
                dtype: DType::F32,
                sizes: Sizes::SMALL,
                prompt: 64,
                rounds: 20,
                allowed: 1e-5,
            }),
            device => Ok(Setting {
                device,
                dtype: DType::F16,
                sizes: Sizes::LLAMA_8B,
                prompt: 2048,
                rounds: 50,
                allowed: 1e-2,
            }),
        }
    }
}

fn main() -> ExitCode {
    match Setting::new().and_then(|setting| run(&setting)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all results agree.
fn run(setting: &Setting) -> Result<bool> {
    let Setting { device, dtype, sizes, prompt, allowed, .. } = setting;
    println!("{sizes:?}, {dtype:?} on {:?}, microseconds", device.location());
    let block = Block::random(*sizes, prompt + 1, *dtype, device)?;
    let mut agree = true;
    for (name, before, tokens) in [("prefill", 0, *prompt), ("decode", *prompt, 1)] {
        let step = Step::new(setting, &block, before, tokens)?;
        println!("\n{name}, {tokens} tokens behind {before}");
        println!("{:10} {:>10} {:>10} {:>8}", "norms", "block", "its norms", "share");
        step.report::<Candle>("candle")?;
        step.report::<Ours>("norm-host")?;
        let apart = step.apart()?;
        agree &= apart <= *allowed;
        println!("apart by {apart:.1e} of the largest value, allowed {allowed:.0e}");
    }
    Ok(agree)
}

/// Some tokens that go through the block behind others.
struct Step<'a> {
    setting: &'a Setting,
    block: &'a Block,
    before: usize,
    past: Tensor,
    xs: Tensor,
    residual: Tensor,
    qkv: Tensor,
}

impl Step<'_> {
    fn new<'a>(setting: &'a Setting, block: &'a Block, before: usize, tokens: usize) -> Result<Step<'a>> {
        let Sizes { hidden, heads, kv_heads, head_dim, .. } = setting.sizes;
        let random =
            |shape: &[usize]| Tensor::randn(0_f32, 1.0, shape, &setting.device)?.to_dtype(setting.dtype);
        Ok(Step {
            setting,
            block,
            before,
            past: random(&[1, before.max(1), hidden])?,
            xs: random(&[1, tokens, hidden])?,
            residual: random(&[1, tokens, hidden])?,
            qkv: random(&[1, tokens, heads + 2 * kv_heads, head_dim])?,
        })
    }

    /// Runs the block, its cache filled, and gives what is then in the residual stream.
    fn forward<N: Norms>(&self) -> Result<(Tensor, f64)> {
        let mut cache = Block::cache(self.setting.prompt + 1);
        if self.before > 0 {
            self.block.forward::<N>(&self.past, &self.past.copy()?, &mut cache)?;
        }
        let residual = self.residual.copy()?;
        self.setting.device.synchronize()?;
        let start = Instant::now();
        let (xs, residual) = self.block.forward::<N>(&self.xs, &residual, &mut cache)?;
        self.setting.device.synchronize()?;
        Ok(((xs + residual)?, start.elapsed().as_secs_f64()))
    }

    fn norms_alone<N: Norms>(&self) -> Result<f64> {
        let residual = self.residual.copy()?;
        self.setting.device.synchronize()?;
        let start = Instant::now();
        self.block.norms_alone::<N>(&self.xs, &residual, &self.qkv)?;
        self.setting.device.synchronize()?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Prints the median times of the block and of its norms.
    fn report<N: Norms>(&self, name: &str) -> Result<()> {
        let block = self.median(|| Ok(self.forward::<N>()?.1))?;
        let norms = self.median(|| self.norms_alone::<N>())?;
        let share = 100.0 * norms / block;
        println!("{name:10} {:10.1} {:10.1} {share:6.1} %", 1e6 * block, 1e6 * norms);
        Ok(())
    }

    fn median(&self, seconds: impl Fn() -> Result<f64>) -> Result<f64> {
        seconds()?;
        let mut all = (0..self.setting.rounds).map(|_| seconds()).collect::<Result<Vec<_>>>()?;
        all.sort_by(f64::total_cmp);
        Ok(all[all.len() / 2])
    }

    /// The largest difference between the two results, as a share of the largest value.
    fn apart(&self) -> Result<f64> {
        let (expected, given) = (self.forward::<Candle>()?.0, self.forward::<Ours>()?.0);
        let (expected, given) = (expected.to_dtype(DType::F32)?, given.to_dtype(DType::F32)?);
        let largest = |tensor: Tensor| tensor.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
        Ok(f64::from(largest((&given - &expected)?)?) / f64::from(largest(expected)?))
    }
}

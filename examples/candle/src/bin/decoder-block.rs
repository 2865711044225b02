//! A decoder block in candle, with candle's own norms and with those of `norm-host`: prefill and decode,
//! the time of the block, the share of it that its norms take, and how far the results lie apart.
//!
//! "Block" and "its norms" are time on the device: CUDA events in the stream around the block, and in another
//! run around each of its norms where it stands, less what two events take with nothing between them; both
//! while the host is ahead. "Host" is how long it takes to ask for one block, launches and allocations of memory
//! included, and "with host" what a caller waits until it is done. All are medians; both norms take turns.
//!
//! ```sh
//! cargo run --release -p norm-candle --bin decoder-block                    # small, f32, on the CPU
//! cargo run --release -p norm-candle --bin decoder-block --features cuda    # Llama 3 8B's sizes, f16
//! ```
//!
//! The second needs a CUDA toolkit for candle's own kernels; `examples/candle/cuda-toolkit` makes one of
//! PyPI's packages. Exit status 1 where the results lie further apart than rounding explains.

use std::{process::ExitCode, time::Instant};

use candle_core::{DType, Device, Error, Result, Tensor};
use candle_nn::kv_cache::KvCache;
use norm_candle::{
    clock::{Ahead, Marks},
    decoder::{Block, Sizes, Watch},
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
    let mut ahead = Ahead::new(device)?;
    let mut agree = true;
    for (name, before, tokens) in [("prefill", 0, *prompt), ("decode", *prompt, 1)] {
        let step = Step::new(setting, &block, before, tokens)?;
        println!("\n{name}, {tokens} tokens behind {before}");
        step.report(&mut ahead)?;
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
}

impl Step<'_> {
    fn new<'a>(setting: &'a Setting, block: &'a Block, before: usize, tokens: usize) -> Result<Step<'a>> {
        let hidden = setting.sizes.hidden;
        let random =
            |shape: &[usize]| Tensor::randn(0_f32, 1.0, shape, &setting.device)?.to_dtype(setting.dtype);
        Ok(Step {
            setting,
            block,
            before,
            past: random(&[1, before.max(1), hidden])?,
            xs: random(&[1, tokens, hidden])?,
            residual: random(&[1, tokens, hidden])?,
        })
    }

    /// What the tokens find: the cache filled, and a residual stream that may be changed.
    fn found<N: Norms>(&self) -> Result<(KvCache, Tensor)> {
        let mut cache = Block::cache(self.setting.prompt + 1);
        if self.before > 0 {
            self.block.forward::<N>(&self.past, &self.past.copy()?, &mut cache, &mut ())?;
        }
        Ok((cache, self.residual.copy()?))
    }

    /// Runs the block and gives what is then in the residual stream.
    fn forward<N: Norms>(&self) -> Result<Tensor> {
        let (mut cache, residual) = self.found::<N>()?;
        let (xs, residual) = self.block.forward::<N>(&self.xs, &residual, &mut cache, &mut ())?;
        xs + residual
    }

    /// Seconds of the block on the device.
    fn on_device<N: Norms>(&self, ahead: &mut Ahead) -> Result<f64> {
        let marks = ahead.of(&self.setting.device, |marks| {
            let (mut cache, residual) = self.found::<N>()?;
            marks.mark()?;
            self.block.forward::<N>(&self.xs, &residual, &mut cache, &mut ())?;
            marks.mark()
        })?;
        Ok(marks.intervals()?.iter().sum())
    }

    /// Seconds of its norms on the device.
    fn norms<N: Norms>(&self, ahead: &mut Ahead) -> Result<f64> {
        let device = &self.setting.device;
        let marks = ahead.of(device, |marks| {
            let (mut cache, residual) = self.found::<N>()?;
            self.block.forward::<N>(&self.xs, &residual, &mut cache, marks)?;
            Ok(())
        })?;
        let nothing = ahead.of(device, |marks| (0..4).try_for_each(|_| marks.norm(|| Ok(()))))?;
        let sum = |marks: Marks| Ok::<f64, Error>(marks.intervals()?.iter().step_by(2).sum());
        Ok(sum(marks)? - sum(nothing)?)
    }

    /// Seconds until the block is asked for, and until it is done.
    fn with_host<N: Norms>(&self) -> Result<[f64; 2]> {
        let (mut cache, residual) = self.found::<N>()?;
        self.setting.device.synchronize()?;
        let start = Instant::now();
        let output = self.block.forward::<N>(&self.xs, &residual, &mut cache, &mut ())?;
        let asked = start.elapsed();
        self.setting.device.synchronize()?;
        let done = start.elapsed();
        drop(output);
        Ok([asked, done].map(|time| time.as_secs_f64()))
    }

    /// Seconds: of the block on the device, of its norms there, of its host, of both.
    fn times<N: Norms>(&self, ahead: &mut Ahead) -> Result<[f64; 4]> {
        let (block, norms) = (self.on_device::<N>(ahead)?, self.norms::<N>(ahead)?);
        let [host, with_host] = self.with_host::<N>()?;
        Ok([block, norms, host, with_host])
    }

    /// Prints the median times of the block and of its norms, with either norms.
    fn report(&self, ahead: &mut Ahead) -> Result<()> {
        let mut rounds = [vec![], vec![]];
        // The first round is not counted: kernels are loaded.
        for round in 0..=self.setting.rounds {
            for (times, rounds) in
                [self.times::<Candle>(ahead)?, self.times::<Ours>(ahead)?].into_iter().zip(&mut rounds)
            {
                if round > 0 {
                    rounds.push(times);
                }
            }
        }
        println!(
            "{:10} {:>10} {:>10} {:>8} {:>10} {:>10}",
            "norms", "block", "its norms", "share", "host", "with host"
        );
        for (name, rounds) in ["candle", "norm-host"].into_iter().zip(&rounds) {
            let [block, norms, host, with_host] = std::array::from_fn(|which| {
                let mut all: Vec<f64> = rounds.iter().map(|times| 1e6 * times[which]).collect();
                all.sort_by(f64::total_cmp);
                all[all.len() / 2]
            });
            let share = 100.0 * norms / block;
            println!("{name:10} {block:10.1} {norms:10.1} {share:6.1} % {host:10.1} {with_host:10.1}");
        }
        Ok(())
    }

    /// The largest difference between the two results, as a share of the largest value.
    fn apart(&self) -> Result<f64> {
        let (expected, given) = (self.forward::<Candle>()?, self.forward::<Ours>()?);
        let (expected, given) = (expected.to_dtype(DType::F32)?, given.to_dtype(DType::F32)?);
        let largest = |tensor: Tensor| tensor.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
        Ok(f64::from(largest((&given - &expected)?)?) / f64::from(largest(expected)?))
    }
}

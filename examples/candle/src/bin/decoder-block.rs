//! A decoder block in candle, with a norm of each head of queries and keys, as Qwen3 has it: with candle's own norms, with
//! those of `norm-host`, and with those and the rotation of queries and keys in one launch. For prefill and decode, the time
//! of the block, the part of it that its norms and the rotation take, and the difference between the results.
//!
//! "Block" and "its norms" are times on the device, measured by CUDA events in the stream: around the block, and in another
//! run around each of its norms and around those of queries and keys with their rotation, minus the time between two events with nothing between them. The host is ahead in both.
//! "Host" is the time to enqueue one block, with launches and allocations of memory; "with host" is the time until a caller
//! that waits has the result. All are medians, and the three take turns.
//!
//! ```sh
//! cargo run --release -p norm-candle --bin decoder-block                    # small, f32, on the CPU
//! cargo run --release -p norm-candle --bin decoder-block --features cuda    # Llama 3 8B's sizes, f16
//! ```
//!
//! A number behind it, such as `-- 10`, is that of the rounds: 20 unless given, and 50 on a GPU, where they take minutes.
//! The second needs a CUDA toolkit for candle's own kernels; `examples/candle/cuda-toolkit` makes one of PyPI's packages.
//! The exit status is 1 if the results differ by more than rounding explains.

use std::{process::ExitCode, time::Instant};

use candle_core::{DType, Device, Error, Result, Tensor};
use candle_nn::kv_cache::KvCache;
use norm_candle::{
    clock::{Ahead, Marks},
    decoder::{Block, Sizes, Watch},
    norms::{Candle, Fused, Norms, Ours},
};

/// What is measured, and on which device.
struct Setting {
    device: Device,
    dtype: DType,
    sizes: Sizes,
    prompt: usize,
    rounds: usize,
    /// The largest difference between results that is allowed, relative to the largest value. Two norms of a 16-bit type may
    /// round an element to neighbouring numbers, and the block's matrix products spread that.
    allowed: f64,
}

impl Setting {
    fn new() -> Result<Setting> {
        let given = rounds()?;
        match Device::cuda_if_available(0)? {
            Device::Cpu => Ok(Setting {
                device: Device::Cpu,
                dtype: DType::F32,
                sizes: Sizes::SMALL,
                prompt: 64,
                rounds: given.unwrap_or(20),
                allowed: 1e-5,
            }),
            device => Ok(Setting {
                device,
                dtype: DType::F16,
                sizes: Sizes::LLAMA_8B,
                prompt: 2048,
                rounds: given.unwrap_or(50),
                allowed: 1e-2,
            }),
        }
    }
}

/// The number of rounds given on the command line.
fn rounds() -> Result<Option<usize>> {
    let given = std::env::args().nth(1);
    let rounds = given.as_ref().map(|rounds| rounds.parse().ok().filter(|&rounds| rounds > 0));
    match (rounds, given) {
        (Some(None), Some(given)) => {
            Err(Error::msg(format!("rounds: expected a number of 1 or more, given '{given}'")))
        }
        (rounds, _) => Ok(rounds.flatten()),
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

/// Measures prefill and decode; returns whether all results agree.
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

/// A step of the block: some tokens, behind those in the cache.
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

    /// A filled cache and a fresh copy of the residual stream, which the block may change.
    fn found<N: Norms>(&self) -> Result<(KvCache, Tensor)> {
        let mut cache = Block::cache(self.setting.prompt + 1);
        if self.before > 0 {
            self.block.forward::<N>(&self.past, &self.past.copy()?, &mut cache, &mut ())?;
        }
        Ok((cache, self.residual.copy()?))
    }

    /// Runs the block and returns the residual stream behind it.
    fn forward<N: Norms>(&self) -> Result<Tensor> {
        let (mut cache, residual) = self.found::<N>()?;
        let (xs, residual) = self.block.forward::<N>(&self.xs, &residual, &mut cache, &mut ())?;
        xs + residual
    }

    /// The time of the block on the device, in seconds.
    fn on_device<N: Norms>(&self, ahead: &mut Ahead) -> Result<f64> {
        let marks = ahead.of(&self.setting.device, |marks| {
            let (mut cache, residual) = self.found::<N>()?;
            marks.mark()?;
            self.block.forward::<N>(&self.xs, &residual, &mut cache, &mut ())?;
            marks.mark()
        })?;
        Ok(marks.intervals()?.iter().sum())
    }

    /// The time of the block's norms and rotation on the device, in seconds.
    fn norms<N: Norms>(&self, ahead: &mut Ahead) -> Result<f64> {
        let device = &self.setting.device;
        let marks = ahead.of(device, |marks| {
            let (mut cache, residual) = self.found::<N>()?;
            self.block.forward::<N>(&self.xs, &residual, &mut cache, marks)?;
            Ok(())
        })?;
        let nothing = ahead.of(device, |marks| (0..3).try_for_each(|_| marks.norm(|| Ok(()))))?;
        let sum = |marks: Marks| Ok::<f64, Error>(marks.intervals()?.iter().step_by(2).sum());
        Ok(sum(marks)? - sum(nothing)?)
    }

    /// The time until the block is enqueued, and until it is done, in seconds.
    fn with_host<N: Norms>(&self) -> Result<[f64; 2]> {
        let (mut cache, residual) = self.found::<N>()?;
        self.setting.device.synchronize()?;
        let start = Instant::now();
        let output = self.block.forward::<N>(&self.xs, &residual, &mut cache, &mut ())?;
        let enqueued = start.elapsed();
        self.setting.device.synchronize()?;
        let done = start.elapsed();
        drop(output);
        Ok([enqueued, done].map(|time| time.as_secs_f64()))
    }

    /// Times in seconds: of the block on the device, of its norms there, of the host, and until the result is there.
    fn times<N: Norms>(&self, ahead: &mut Ahead) -> Result<[f64; 4]> {
        let (block, norms) = (self.on_device::<N>(ahead)?, self.norms::<N>(ahead)?);
        let [host, with_host] = self.with_host::<N>()?;
        Ok([block, norms, host, with_host])
    }

    /// Prints the median times with candle's norms, with norm-host's, and with those that rotate.
    fn report(&self, ahead: &mut Ahead) -> Result<()> {
        let mut rounds = [vec![], vec![], vec![]];
        // The first round, in which kernels are loaded, does not count.
        for round in 0..=self.setting.rounds {
            let times =
                [self.times::<Candle>(ahead)?, self.times::<Ours>(ahead)?, self.times::<Fused>(ahead)?];
            for (times, rounds) in times.into_iter().zip(&mut rounds) {
                if round > 0 {
                    rounds.push(times);
                }
            }
        }
        println!(
            "{:10} {:>10} {:>10} {:>8} {:>10} {:>10}",
            "norms", "block", "its norms", "share", "host", "with host"
        );
        for (name, rounds) in ["candle", "norm-host", "fused"].into_iter().zip(&rounds) {
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

    /// The largest difference between results with candle's norms and with the others, relative to the largest value.
    fn apart(&self) -> Result<f64> {
        let expected = self.forward::<Candle>()?.to_dtype(DType::F32)?;
        let largest = |tensor: Tensor| tensor.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
        let apart = |given: Tensor| largest((given.to_dtype(DType::F32)? - &expected)?);
        // Of a NaN and a number `f32::max` takes the number: a sum does not hide it.
        let [ours, fused] = [apart(self.forward::<Ours>()?)?, apart(self.forward::<Fused>()?)?];
        let most = if (ours + fused).is_nan() { f32::NAN } else { ours.max(fused) };
        Ok(f64::from(most) / f64::from(largest(expected.clone())?))
    }
}

//! candle's norms, those of `norm-host` and a copy, timed on the CPU for `benches/cpu.py`, which runs this program beside other
//! libraries and tells it by lines on stdin what to time:
//!
//! ```text
//! case rms_norm f16 4096 4096      makes tensors of an operation, an element type, rows and dim; answers `ready`
//! time candle 20                   answers the least microseconds of a call in that many milliseconds
//! ```
//!
//! What can be timed is `candle` (candle's own norm), `norm` (norm-host's over candle's tensors; each call makes its output, as
//! candle's does) and `copy` (of the bytes of x, shared by all threads). candle's output is compared with norm-host's at first:
//! where they differ by more than roundings the answer to `case` is `wrong`. An error ends the program with a message.

use std::{
    hint::black_box,
    io::{BufRead, Write},
    time::{Duration, Instant},
};

use candle_core::{DType, Device, Error, Result, Tensor};
use rayon::prelude::*;

const EPS: f32 = 1e-6;
/// Elements of the random numbers that inputs repeat. It has no factor in common with a row's length.
const PATTERN: usize = 1_000_003;
/// Bytes of a part of the copy.
const PART: usize = 1 << 20;
/// Calls of which only the sum is timed take at least this long together.
const BATCH: Duration = Duration::from_micros(50);

fn main() -> Result<()> {
    let mut case = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            ["case", op, dtype, rows, dim] => {
                // The former case's memory is given back first.
                drop(case.take());
                let made = Case::new(op, dtype, number(rows)?, number(dim)?)?;
                let answer = made.check()?;
                case = Some(made);
                answer.to_owned()
            }
            ["time", what, milliseconds] => {
                let slot = Duration::from_millis(number(milliseconds)? as u64);
                let case = case.as_mut().ok_or_else(|| Error::msg("time: expected a case before it"))?;
                case.time(what, slot)?.to_string()
            }
            _ => return Err(Error::msg(format!("expected `case` or `time`, given {line:?}"))),
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn number(text: &str) -> Result<usize> {
    text.parse().map_err(|_| Error::msg(format!("expected a number, given {text:?}")))
}

/// An operation and its tensors.
struct Case {
    is_layer: bool,
    /// `(rows, dim)`
    x: Tensor,
    /// `(dim,)`
    w: Tensor,
    /// `(dim,)`
    b: Tensor,
    /// What is copied, and where to.
    copied: [Vec<u8>; 2],
}

impl Case {
    fn new(op: &str, dtype: &str, rows: usize, dim: usize) -> Result<Case> {
        let is_layer = match op {
            "rms_norm" => false,
            "layer_norm" => true,
            _ => return Err(Error::msg(format!("expected rms_norm or layer_norm, given {op:?}"))),
        };
        let dtype = match dtype {
            "f32" => DType::F32,
            "f16" => DType::F16,
            "bf16" => DType::BF16,
            _ => return Err(Error::msg(format!("expected f32, f16 or bf16, given {dtype:?}"))),
        };
        let random = |count: usize| Tensor::randn(0_f32, 1.0, count, &Device::Cpu);
        let pattern = random(PATTERN.min(rows * dim))?.to_dtype(dtype)?;
        let repeats = (rows * dim).div_ceil(pattern.elem_count());
        let x = pattern.repeat(repeats)?.narrow(0, 0, rows * dim)?.contiguous()?.reshape((rows, dim))?;
        let w = random(dim)?.affine(0.2, 1.0)?.to_dtype(dtype)?;
        let b = random(dim)?.affine(0.1, 0.0)?.to_dtype(dtype)?;
        let bytes = rows * dim * dtype.size_in_bytes();
        Ok(Case { is_layer, x, w, b, copied: [vec![1; bytes], vec![2; bytes]] })
    }

    fn candle(&self) -> Result<Tensor> {
        match self.is_layer {
            true => candle_nn::ops::layer_norm(&self.x, &self.w, &self.b, EPS),
            false => candle_nn::ops::rms_norm(&self.x, &self.w, EPS),
        }
    }

    fn norm(&self) -> Result<Tensor> {
        match self.is_layer {
            true => norm_host::for_candle::ops::layer_norm(&self.x, &self.w, &self.b, EPS),
            false => norm_host::for_candle::ops::rms_norm(&self.x, &self.w, EPS),
        }
    }

    /// `ready`, or `wrong` if the two outputs differ by more than roundings in the last row.
    fn check(&self) -> Result<&'static str> {
        let last = |y: Tensor| y.get(self.x.dim(0)? - 1)?.to_dtype(DType::F32);
        let apart = (last(self.candle()?)? - last(self.norm()?)?)?.abs()?.max(0)?.to_scalar::<f32>()?;
        let allowed = match self.x.dtype() {
            DType::F32 => 1e-4,
            DType::F16 => 1e-2,
            _ => 8e-2,
        };
        Ok(if apart <= allowed { "ready" } else { "wrong" })
    }

    /// Microseconds of a call, the least in `slot`.
    fn time(&mut self, what: &str, slot: Duration) -> Result<f64> {
        match what {
            "candle" => least(slot, || self.candle().map(|y| drop(black_box(y)))),
            "norm" => least(slot, || self.norm().map(|y| drop(black_box(y)))),
            "copy" => {
                let [from, to] = &mut self.copied;
                least(slot, || {
                    let parts = to.par_chunks_mut(PART).zip(from.par_chunks(PART));
                    parts.for_each(|(to, from)| to.copy_from_slice(from));
                    black_box(&mut *to);
                    Ok(())
                })
            }
            _ => Err(Error::msg(format!("expected candle, norm or copy, given {what:?}"))),
        }
    }
}

/// Microseconds of a call: the least mean of a batch of calls, of those that fit into `slot`, at least two.
fn least(slot: Duration, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut batch = |calls: u32| {
        let start = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        Ok::<_, Error>(start.elapsed())
    };
    let began = Instant::now();
    let first = batch(1)?.max(Duration::from_nanos(100));
    let calls = (BATCH.as_nanos() / first.as_nanos()).clamp(1, 1000) as u32;
    let mut least = batch(calls)?;
    while began.elapsed() < slot {
        least = least.min(batch(calls)?);
    }
    Ok(least.as_secs_f64() * 1e6 / f64::from(calls))
}

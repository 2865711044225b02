//! The time of an operation's first call on a device. It is measured in new processes: in one with the driver's cache of
//! compiled kernels disabled, and in one with the cache filled by an earlier run.

use std::env;
use std::process::Command;
use std::time::Instant;

use norm_host::{DType, Device, Rounding, Stream};
use serde::{Deserialize, Serialize};

use super::super::call::{self, TensorAddresses};
use super::super::case::BenchCase;
use super::super::error::BenchError;
use super::super::op::{Extents, Op, Types};
use super::super::values;
use crate::failure::Failure;
use crate::kernel_set::KernelSet;
use crate::memory::DeviceBytes;

/// First calls with a cold and with a warm cache.
#[derive(Serialize)]
pub struct FirstCalls {
    /// The driver compiles every kernel (`CUDA_CACHE_DISABLE=1`).
    cold: FirstCall,
    /// The driver finds every kernel in its cache on disk.
    warm: FirstCall,
}

/// The times of one process.
#[derive(Debug, Serialize, Deserialize)]
pub struct FirstCall {
    /// From the start until the device's context and a stream exist, in milliseconds.
    device_ms: f64,
    /// The first call of each operation, until its work is done, in milliseconds.
    first_ms: Vec<(String, f64)>,
    /// The second call of each operation, likewise.
    second_ms: Vec<(String, f64)>,
}

impl FirstCalls {
    pub fn text(&self) -> String {
        let mut text = "First call of an operation on the device, until it is done (ms):\n".to_owned();
        for (name, calls) in [("cold JIT cache", &self.cold), ("warm JIT cache", &self.warm)] {
            let ops: Vec<String> = calls
                .first_ms
                .iter()
                .zip(&calls.second_ms)
                .map(|((op, first), (_, second))| format!("{op} {first:.2} (second {second:.3})"))
                .collect();
            text += &format!("  {name}: {}; the device itself {:.0}\n", ops.join(", "), calls.device_ms);
        }
        text
    }
}

/// Runs this program three times: without a cache, to fill the cache, and with the filled cache.
pub fn measure(ordinal: u32, set: &KernelSet) -> Result<FirstCalls, BenchError> {
    let failed = |error: std::io::Error| BenchError::Child(error.to_string());
    let cache = tempfile::tempdir().map_err(failed)?;
    let run = |disabled: bool| -> Result<FirstCall, BenchError> {
        let mut command = Command::new(env::current_exe().map_err(failed)?);
        command.args([
            "bench",
            "--first-call",
            "--device",
            &format!("cuda:{ordinal}"),
            "--ptx",
            &set.to_string(),
        ]);
        command.env("CUDA_CACHE_DISABLE", if disabled { "1" } else { "0" });
        command.env("CUDA_CACHE_PATH", cache.path());
        let output = command.output().map_err(failed)?;
        if !output.status.success() {
            return Err(BenchError::Child(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| BenchError::Child(error.to_string()))
    };
    let cold = run(true)?;
    run(false)?;
    Ok(FirstCalls { cold, warm: run(false)? })
}

/// Measures first calls in this process, which must not have called an operation before.
pub fn first_call(ordinal: u32, set: &KernelSet) -> Result<FirstCall, Failure> {
    let ptx = set.open()?;
    let start = Instant::now();
    let device = Device::with_ptx(ordinal, ptx)?;
    let stream = Stream::new(&device)?;
    stream.synchronize()?;
    let device_ms = milliseconds(start);
    let (mut first_ms, mut second_ms) = (Vec::new(), Vec::new());
    for (op, extents) in [(Op::Rms, &[1, 4096][..]), (Op::Layer, &[1, 4096]), (Op::Head, &[1, 32, 128])] {
        let case = BenchCase {
            op,
            types: Types::of(DType::F16),
            extents: Extents::new(extents),
            rounding: Rounding::Single,
        };
        let x = DeviceBytes::copy_of(&values::inputs(case.types.x, case.x_bytes()), &stream)?;
        let y = DeviceBytes::uninitialized(&device, case.y_bytes() as usize)?;
        let w = DeviceBytes::copy_of(&values::weights(&case), &stream)?;
        let b = DeviceBytes::copy_of(&values::biases(&case), &stream)?;
        let tensors = TensorAddresses {
            place: device.place(),
            x: x.address(),
            y: y.address(),
            w: w.address(),
            b: b.address(),
            r: 0,
            sum: 0,
        };
        for times in [&mut first_ms, &mut second_ms] {
            let start = Instant::now();
            // SAFETY: the tensors were allocated above with the case's types and extents. They are kept until the stream is
            // synchronized, and nothing else uses them.
            let called = unsafe { call::call(&case, tensors, &stream) };
            called.and(stream.synchronize())?;
            times.push((op.name().to_owned(), milliseconds(start)));
        }
    }
    Ok(FirstCall { device_ms, first_ms, second_ms })
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

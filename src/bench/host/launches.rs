//! The host time of a launch through `Norm::rows`, beside that of `cuLaunchKernel` alone.

use std::ffi::{CString, c_void};
use std::time::Instant;

use cuda_driver::{Driver, Launch};
use norm_host::{DType, Device, Error, Norm, Place, Rounding, Stream, View, ViewMut, plan::Plan};
use serde::Serialize;

use super::super::call::{self, TensorAddresses};
use super::super::case::{BenchCase, EPS};
use super::super::op::{Extents, Op, Types};
use super::super::record::Times;
use crate::memory::DeviceBytes;

/// Launches between waits: few enough that the driver's queue, which holds about a thousand, never fills. A full queue
/// would make a launch wait for the device.
const BATCH: u32 = 500;

/// One row of 4096 f16: the device finishes it before the host has made the next launch.
const SHAPE: [usize; 2] = [1, 4096];

/// Host time of one launch, in nanoseconds.
#[derive(Serialize)]
pub struct Launches {
    shape: [usize; 2],
    launches_a_batch: u32,
    /// `Norm::rows` on views that exist already: checks, plan and launch.
    norm_ns: Nanoseconds,
    /// `cuLaunchKernel` of the same kernel with arguments that exist already.
    bare_ns: Nanoseconds,
    ratio: f64,
}

#[derive(Serialize)]
struct Nanoseconds {
    median: f64,
    min: f64,
    max: f64,
}

impl Nanoseconds {
    fn of(samples: Vec<f64>) -> Nanoseconds {
        let Times { us: median, us_min: min, us_max: max, .. } = Times::of(samples);
        Nanoseconds { median, min, max }
    }
}

impl Launches {
    pub fn text(&self) -> String {
        let Launches { norm_ns, bare_ns, ratio, launches_a_batch, .. } = self;
        let line = |name: &str, ns: &Nanoseconds| {
            format!("  {name:<28} {:>8.0} ns  ({:.0} to {:.0})\n", ns.median, ns.min, ns.max)
        };
        format!(
            "Host time of a launch, rms_norm f16 1 × 4096, median of batches of {launches_a_batch}:\n{}{}  ratio {ratio:>31.3}\n",
            line("Norm::rows", norm_ns),
            line("cuLaunchKernel, ready args", bare_ns)
        )
    }
}

/// Measures both kinds of launch in turn, `batches` batches each.
pub fn measure(device: &Device, batches: u32) -> Result<Launches, Error> {
    let stream = Stream::new(device)?;
    let case = BenchCase {
        op: Op::Rms,
        types: Types::of(DType::F16),
        extents: Extents::new(&SHAPE),
        rounding: Rounding::Single,
    };
    let ones = vec![0x3c; case.x_bytes() as usize];
    let x = DeviceBytes::copy_of(&ones, &stream)?;
    let w = DeviceBytes::copy_of(&ones, &stream)?;
    let y = DeviceBytes::uninitialized(device, ones.len())?;
    let place = device.place();
    let tensors =
        TensorAddresses { place, x: x.address(), y: y.address(), w: w.address(), b: 0, r: 0, sum: 0 };
    let bare = Bare::load(device, Plan::new(&call::problem(&case, tensors), device.profile())?)?;
    // The context is current, as in an engine's thread that makes many launches.
    let _current = device.enter()?;
    let (mut norm_ns, mut bare_ns) = (Vec::new(), Vec::new());
    // The first batch of each kind loads the kernel, and is not counted.
    for batch in 0..=batches {
        let norm = norm_batch(tensors, place, &stream);
        let norm = norm.and_then(|ns| stream.synchronize().map(|()| ns))?;
        let alone = bare.batch(&stream);
        let alone = alone.and_then(|ns| stream.synchronize().map(|()| ns))?;
        if batch > 0 {
            norm_ns.push(norm);
            bare_ns.push(alone);
        }
    }
    let (norm_ns, bare_ns) = (Nanoseconds::of(norm_ns), Nanoseconds::of(bare_ns));
    let ratio = norm_ns.median / bare_ns.median;
    Ok(Launches { shape: SHAPE, launches_a_batch: BATCH, norm_ns, bare_ns, ratio })
}

/// The mean time of a call in a batch, in nanoseconds.
fn timed(mut call: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let start = Instant::now();
    for _ in 0..BATCH {
        call()?;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(BATCH))
}

/// The mean time of a call of `Norm::rows` in a batch, in nanoseconds.
fn norm_batch(tensors: TensorAddresses, place: Place, stream: &Stream) -> Result<f64, Error> {
    let TensorAddresses { x, y, w, .. } = tensors;
    // SAFETY: `measure` allocated these tensors for f16 of these shapes, and keeps them until it has waited for the stream.
    // They are separate allocations, and nothing else uses them.
    let (x, mut y, w) = unsafe {
        (
            View::from_raw_parts(place, x, DType::F16, &SHAPE)?,
            ViewMut::from_raw_parts(place, y, DType::F16, &SHAPE)?,
            View::from_raw_parts(place, w, DType::F16, &SHAPE[1..])?,
        )
    };
    let norm = Norm::rms(EPS).weight(w);
    timed(|| norm.rows(x, &mut y, stream))
}

/// A kernel that this benchmark loads itself, with all that a launch of it needs.
struct Bare {
    driver: &'static Driver,
    function: cuda_driver::sys::CUfunction,
    plan: Plan,
}

impl Bare {
    /// Loads the kernel of a plan. Its module is never unloaded, like those that `norm-host` loads.
    fn load(device: &Device, plan: Plan) -> Result<Bare, Error> {
        let text = device.ptx().module(plan.kernel)?;
        let broken = || Error::KernelMissing { kernel: plan.kernel.to_string(), target: "this device" };
        let text = CString::new(text).map_err(|_| broken())?;
        let name = CString::new(plan.kernel.to_string()).map_err(|_| broken())?;
        let _current = device.enter()?;
        let driver = cuda_driver::driver()?;
        let module = driver.module_load(&text).map_err(|error| error.error)?;
        // SAFETY: the module has just been loaded in the current context, and is never unloaded.
        let function = unsafe { driver.module_function(module, &name) }?;
        Ok(Bare { driver, function, plan })
    }

    /// The mean time of `cuLaunchKernel` in a batch, in nanoseconds.
    fn batch(&self, stream: &Stream) -> Result<f64, Error> {
        let launch = Launch {
            grid: self.plan.grid.into(),
            block: self.plan.block.into(),
            shared_bytes: self.plan.shared_bytes,
            stream: stream.as_raw().cast(),
        };
        let mut args = self.plan.args;
        let mut params = [(&raw mut args).cast::<c_void>()];
        timed(|| {
            // SAFETY: the function is loaded in the context that `measure` made current. `measure` keeps the tensors of the
            // plan until it has waited for the stream. The driver copies the kernel's one parameter before it returns.
            unsafe { self.driver.launch_kernel(self.function, &launch, &mut params) }?;
            Ok(())
        })
    }
}

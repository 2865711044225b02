//! Many threads for a while: no error, no other bit, no growth.

use std::{
    env,
    time::{Duration, Instant},
};

use cuda_driver::driver;
use libtest_mimic::Failed;
use norm_host::{DType, Device, NormKind, Stream};

use crate::{
    cases::{options, plain},
    common::case::{Case, Residual},
    on_device::{OnDevice, Shifts, residual_bits, row_bits},
};

const THREADS: usize = 16;
const STREAMS: usize = 4;

/// Launches of one case between uploads, where a second gives the same as a first.
const REPEATS: usize = 20;

/// Growth that is none: the driver's and the allocator's own slack.
const SLACK: u64 = 64 << 20;

/// For how long: seconds in `NORM_TORTURE_SECONDS`, or 3.
fn duration() -> Duration {
    let seconds = env::var("NORM_TORTURE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// A case, and the bits that it gives alone.
type Expected = (Case, Vec<Vec<u32>>);

/// Every function, with every option, on rows of several lengths; with the bits it gives alone.
fn cases(device: Device, thread: usize) -> Result<Vec<Expected>, Failed> {
    let mut cases = Vec::new();
    for (index, dim) in [33, 128, 1000, 4096, 8192, 40_000].into_iter().enumerate() {
        let [x, w, y] = [0, 1, 2].map(|tensor| DType::ALL[(thread + index + tensor * index) % 3]);
        for kind in NormKind::ALL {
            for case in options(&plain(kind, [x, w, y], 9, dim)) {
                let case = Case { seed: (thread * 1000 + cases.len()) as u64, ..case };
                let expected = bits(&Stream::new(&device)?, &case, 1)?;
                cases.push((case, expected));
            }
        }
    }
    Ok(cases)
}

/// The bits of each row of `y` and of the residual.
fn bits(stream: &Stream, case: &Case, times: usize) -> Result<Vec<Vec<u32>>, Failed> {
    let mut tensors = OnDevice::upload(*stream.device(), case, &case.tensors(), Shifts::NONE)?;
    for _ in 0..times {
        tensors.enqueue(stream)?;
    }
    stream.synchronize()?;
    let mut bits = row_bits(case, &tensors.y.download()?, &case.y_strides());
    let residual = tensors.r.as_ref().map(|r| r.download()).transpose()?;
    bits.extend(residual_bits(case, residual.as_ref()));
    Ok(bits)
}

/// Goes through the cases until the time is up, and through all of them at least once; how many.
fn work(device: Device, cases: &[Expected], until: Instant) -> Result<usize, Failed> {
    let streams: Result<Vec<_>, _> = (0..STREAMS).map(|_| Stream::new(&device)).collect();
    let streams = streams?;
    for (done, ((case, expected), stream)) in cases.iter().cycle().zip(streams.iter().cycle()).enumerate() {
        if done >= cases.len() && Instant::now() > until {
            return Ok(done);
        }
        let times = if case.residual == Residual::None { REPEATS } else { 1 };
        if bits(stream, case, times)? != *expected {
            return Err(format!("{case:?} gives other bits than alone").into());
        }
    }
    Ok(0)
}

/// Bytes of host memory that the process has, and of device memory that is taken.
fn taken(device: Device) -> Result<[u64; 2], Failed> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = pages.split(' ').nth(1).ok_or("statm has a second number")?.parse()?;
    let _current = device.enter()?;
    let (free, total) = driver()?.memory_info()?;
    Ok([pages * 4096, (total - free) as u64])
}

pub fn many_threads(device: Device) -> Result<(), Failed> {
    let lists: Result<Vec<_>, Failed> = (0..THREADS).map(|thread| cases(device, thread)).collect();
    let lists = lists?;
    let round = |until: Instant| -> Result<usize, Failed> {
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                lists.iter().map(|cases| scope.spawn(move || work(device, cases, until))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        })
    };
    // Once for what is kept for good: pools, stacks, each thread's largest case.
    round(Instant::now())?;
    let before = taken(device)?;
    let done = round(Instant::now() + duration())?;
    let after = taken(device)?;
    let growth = [0, 1].map(|kind| after[kind].saturating_sub(before[kind]));
    println!(
        "{THREADS} threads of {STREAMS} streams for {:?}: {done} uploads of a case, growth {} bytes of the host, {} \
         of the device",
        duration(),
        growth[0],
        growth[1],
    );
    if growth.iter().any(|&bytes| bytes > SLACK) {
        return Err(format!("memory grew by {growth:?} bytes").into());
    }
    Ok(())
}

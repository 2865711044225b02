//! Measuring on a CUDA device: rounds over all workloads, each on fresh memory.

mod clock;
mod empty;
mod pool;
mod workload;

use norm_host::{Device, Error, Stream};

use clock::Clock;
use empty::Empty;
use pool::Pool;
use workload::BoundWorkload;
pub use workload::Workload;

use super::record::median_of;

/// Timed replays of a graph in a round.
pub const REPLAYS: u32 = 5;

/// The method, in words.
pub const DESCRIPTION: &str = "GPU time a call from CUDA graphs of 200 calls (20 where a tensor is over 16 MiB) on one \
     stream, median of 5 replays, inputs and outputs rotating through 1 GiB, all lines once a round, each round on fresh \
     buffers";

/// The outcome of a workload: microseconds for a call, one sample for each round; or an error's text.
pub type Outcome = Result<Vec<f64>, String>;

/// Measures every workload once in each round. The number beside a workload is the index of its handle in `devices`, which
/// are handles of one device with several sets of kernels. `step` is called after each measurement.
///
/// # Errors
/// Errors that keep the device from being used at all. The error of a single workload is its outcome.
pub fn measure(
    devices: &[Device],
    workloads: &[(usize, Workload)],
    rounds: u32,
    step: impl Fn(),
) -> Result<Vec<Outcome>, Error> {
    let device = &devices[0];
    let streams: Vec<Stream> = devices.iter().map(Stream::new).collect::<Result<_, _>>()?;
    let clock = Clock::new(device, REPLAYS)?;
    let empty = Empty::load(device)?;
    let bytes = workloads.iter().map(|(_, workload)| workload.pool_bytes()).max().unwrap_or(0);
    let mut outcomes: Vec<Outcome> = workloads.iter().map(|_| Ok(Vec::new())).collect();
    // The previous round's memory is kept until the next one's is allocated, so that the driver cannot
    // return the same addresses again.
    let mut former: Option<Pool> = None;
    for round in 0..rounds {
        let mut pool = Pool::new(bytes, &streams[0])?;
        for ((set, workload), outcome) in workloads.iter().zip(&mut outcomes) {
            if let Ok(samples) = outcome {
                match sample(workload, &mut pool, &empty, &clock, &streams[*set], round == 0) {
                    Ok(sample) => samples.push(sample),
                    Err(wrong) => *outcome = Err(wrong),
                }
            }
            step();
        }
        drop(former.replace(pool));
    }
    Ok(outcomes)
}

/// Microseconds for one call; with `check`, after its output has been verified.
fn sample(
    workload: &Workload,
    pool: &mut Pool,
    empty: &Empty,
    clock: &Clock,
    stream: &Stream,
    check: bool,
) -> Result<f64, String> {
    let text = |error: Error| error.to_string();
    let mut bound = BoundWorkload::prepare(workload, pool, empty, stream).map_err(text)?;
    if check {
        bound.check(stream)?;
    }
    let graph = stream.capture(|stream| bound.enqueue(stream)).map_err(text)?;
    // SAFETY: the memory that `bound` borrows outlives the graph's launches, all of which `time` waits for, and
    // nothing else uses it in the meantime.
    let replays = unsafe { clock.time(&graph, stream) }.map_err(text)?;
    Ok(median_of(replays) / f64::from(bound.calls()))
}

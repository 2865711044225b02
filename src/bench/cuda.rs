//! Measuring on a CUDA device: rounds over all works, each on fresh memory.

mod clock;
mod empty;
mod lane;
mod pool;

use norm_host::{Device, Error, Stream};

use clock::Clock;
use empty::Empty;
use lane::Lane;
pub use lane::Work;
use pool::Pool;

use super::record::median_of;

/// Timed replays of a graph in a round.
pub const REPLAYS: u32 = 5;

/// The method, in words.
pub const DESCRIPTION: &str = "GPU time a call from CUDA graphs of 200 calls (20 where a tensor is over 16 MiB) on one \
     stream, median of 5 replays, inputs and outputs rotating through 1 GiB, all lines once a round, each round on fresh \
     buffers";

/// What became of a work: microseconds a call, one sample a round, or what was wrong.
pub type Outcome = Result<Vec<f64>, String>;

/// Measures every work once a round, on the device of the number beside it: one device, with
/// kernels of several sets. `step` is told of each measurement that is made.
///
/// # Errors
/// What keeps the device from being used at all. What a single work fails with is its outcome.
pub fn measure(
    devices: &[Device],
    works: &[(usize, Work)],
    rounds: u32,
    step: impl Fn(),
) -> Result<Vec<Outcome>, Error> {
    let device = &devices[0];
    let streams: Vec<Stream> = devices.iter().map(Stream::new).collect::<Result<_, _>>()?;
    let clock = Clock::new(device, REPLAYS)?;
    let empty = Empty::load(device)?;
    let bytes = works.iter().map(|(_, work)| work.pool_bytes()).max().unwrap_or(0);
    let mut outcomes: Vec<Outcome> = works.iter().map(|_| Ok(Vec::new())).collect();
    // The former round's memory is kept until there is the next one's, so that the driver cannot
    // hand out the same again.
    let mut former: Option<Pool> = None;
    for round in 0..rounds {
        let mut pool = Pool::new(bytes, &streams[0])?;
        for ((set, work), outcome) in works.iter().zip(&mut outcomes) {
            if let Ok(samples) = outcome {
                match sample(work, &mut pool, &empty, &clock, &streams[*set], round == 0) {
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

/// Microseconds of one call; where `check` is set, only after its output has been looked at.
fn sample(
    work: &Work,
    pool: &mut Pool,
    empty: &Empty,
    clock: &Clock,
    stream: &Stream,
    check: bool,
) -> Result<f64, String> {
    let text = |error: Error| error.to_string();
    let mut lane = Lane::prepare(work, pool, empty, stream).map_err(text)?;
    if check {
        lane.check(stream)?;
    }
    let graph = stream.capture(|stream| lane.enqueue(stream)).map_err(text)?;
    // SAFETY: the lane's memory outlives the graph's launches, all of which `time` waits for, and
    // nothing else uses it meanwhile.
    let replays = unsafe { clock.time(&graph, stream) }.map_err(text)?;
    Ok(median_of(replays) / f64::from(lane.calls()))
}

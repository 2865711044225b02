//! Many threads for a while: no error, no other bit, no growth.

use std::{
    env,
    time::{Duration, Instant},
};

use cuda_driver::driver;
use libtest_mimic::Failed;
use norm_host::{DType, Device, Error, NormKind, Stream, TpContext};

use norm_testing::{
    case::{Case, Residual},
    cases::{options, plain},
    device::{
        on_device::{OnDevice, Shifts, residual_bits, row_bits},
        shards, tensor_parallel,
    },
};

const THREADS: usize = 16;
const STREAMS: usize = 4;

/// Lists of work, for threads in turn; each has other types and values.
const LISTS: usize = 3;

/// Launches of one case between uploads, where a second gives the same as a first.
const REPEATS: usize = 20;

/// Growth that is none: the driver's and the allocator's own slack.
const SLACK: u64 = 64 << 20;

/// For how long: seconds in `NORM_TORTURE_SECONDS`, or 3.
fn duration() -> Duration {
    let seconds = env::var("NORM_TORTURE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// By which functions a thread's four streams are given work, all before any of them is waited for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// A case on each, from `x` to `y`.
    Apart,
    /// A case on each, in `x`.
    InPlace,
    /// A case on each, by one call of a function for a group.
    Group,
    /// Rows that are split over all, with sums on the host.
    Sharded,
}

/// Work for a thread's streams, and the bits that it gives alone.
struct Work {
    form: Form,
    cases: Vec<Case>,
    expected: Vec<Vec<Vec<u32>>>,
}

impl Work {
    /// Some for the thread's streams, done on `alone` first.
    fn new(form: Form, cases: Vec<Case>, alone: &TpContext) -> Result<Work, Failed> {
        // A function for a group gives what plain calls give.
        let by = if form == Form::Group { Form::Apart } else { form };
        let expected = bits(by, &cases, alone)?;
        Ok(Work { form, cases, expected })
    }

    fn check(&self, streams: &TpContext) -> Result<(), Failed> {
        let given = bits(self.form, &self.cases, streams)?;
        if given == self.expected {
            return Ok(());
        }
        Err(format!("{:?} by {:?} gives other bits than alone", self.cases, self.form).into())
    }
}

/// What the cases give on the group's streams, which are waited for once everything is enqueued.
fn bits(form: Form, cases: &[Case], tp: &TpContext) -> Result<Vec<Vec<Vec<u32>>>, Failed> {
    if form == Form::Sharded {
        let y = shards::normalize(tp, &cases[0], &shards::on_the_host)?;
        return Ok(vec![row_bits(&cases[0], &y, &cases[0].y_strides())]);
    }
    let mut all = Vec::new();
    for (case, stream) in cases.iter().zip(tp.streams()) {
        all.push(OnDevice::upload(*stream.device(), case, &case.tensors(), Shifts::NONE)?);
    }
    for time in 0..REPEATS {
        if form == Form::Group {
            tensor_parallel::enqueue(&mut all, tp)?;
            continue;
        }
        for (tensors, stream) in all.iter_mut().zip(tp.streams()) {
            match form {
                Form::InPlace if time == 0 => tensors.enqueue_in_place(stream)?,
                Form::Apart if time == 0 || tensors.case.residual == Residual::None => {
                    tensors.enqueue(stream)?;
                }
                _ => {}
            }
        }
    }
    tp.synchronize()?;
    all.iter().map(|tensors| written(form, tensors)).collect()
}

/// The bits of each row of what was written.
fn written(form: Form, tensors: &OnDevice) -> Result<Vec<Vec<u32>>, Failed> {
    let case = &tensors.case;
    let mut bits = match form {
        Form::InPlace => row_bits(case, &tensors.x.download()?, &case.x_strides()),
        _ => row_bits(case, &tensors.y.download()?, &case.y_strides()),
    };
    let residual = tensors.r.as_ref().map(|r| r.download()).transpose()?;
    bits.extend(residual_bits(case, residual.as_ref()));
    let sum = tensors.s.as_ref().map(|s| s.download()).transpose()?;
    bits.extend(sum.map_or(Vec::new(), |sum| row_bits(case, &sum, &case.s_strides())));
    Ok(bits)
}

/// Every function, with every option, on rows of several lengths.
fn works(device: Device, list: usize) -> Result<Vec<Work>, Failed> {
    // One thing after the other: a group of as many handles for one stream.
    let one = Stream::new(&device)?;
    // SAFETY: the stream was made before the handles, so it is dropped after them.
    let handle = |_| unsafe { Stream::from_raw(&device, one.as_raw()) };
    let handles: Result<_, Error> = (0..STREAMS).map(handle).collect();
    let alone = TpContext::sharing_devices(handles?)?;
    let mut works = Vec::new();
    let mut seed = 1000 * list as u64;
    let mut seeded = |case: &Case| {
        seed += 1;
        Case { seed, ..case.clone() }
    };
    for (index, dim) in [33, 128, 1000, 4096, 8192, 40_000].into_iter().enumerate() {
        let dtypes = [0, 1, 2].map(|tensor| DType::ALL[(list + index + tensor * index) % 3]);
        for kind in NormKind::ALL {
            let plain = plain(kind, dtypes, 9, dim);
            let all: Vec<Case> = options(&plain).iter().map(&mut seeded).collect();
            // `y += norm(x)` has no such form, nor has a sum of its own.
            let in_place = |case: &&Case| case.residual != Residual::Behind && !case.addition.apart;
            let in_place: Vec<Case> = all.iter().filter(in_place).cloned().collect();
            for (form, cases) in [(Form::Apart, all), (Form::InPlace, in_place)] {
                // The last few are joined by the first, so that no stream is left out.
                let count = cases.len().next_multiple_of(STREAMS);
                let cases: Vec<Case> = cases.iter().cycle().take(count).cloned().collect();
                for four in cases.chunks(STREAMS) {
                    works.push(Work::new(form, four.to_vec(), &alone)?);
                }
            }
            for heads in [false, true] {
                let front = if heads { vec![9, 3] } else { vec![9] };
                let b = plain.w.filter(|_| heads || kind == NormKind::Layer);
                let case = Case { heads, front, b, ..plain.clone() };
                let four = (0..STREAMS).map(|_| seeded(&case)).collect();
                works.push(Work::new(Form::Group, four, &alone)?);
            }
            if kind == NormKind::Rms {
                works.push(Work::new(Form::Sharded, vec![seeded(&plain)], &alone)?);
            }
        }
    }
    Ok(works)
}

/// Goes through the work, from another place in each thread, until the time is up, and through all of it
/// at least once; how much.
fn work(device: Device, thread: usize, works: &[Work], until: Instant) -> Result<usize, Failed> {
    let streams: Result<_, Error> = (0..STREAMS).map(|_| Stream::new(&device)).collect();
    let streams = TpContext::sharing_devices(streams?)?;
    let mut done = 0;
    for work in works.iter().cycle().skip(thread * works.len() / THREADS) {
        if done >= works.len() && Instant::now() > until {
            break;
        }
        work.check(&streams)?;
        done += 1;
    }
    Ok(done)
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
    let lists: Result<Vec<_>, Failed> = (0..LISTS).map(|list| works(device, list)).collect();
    let lists = lists?;
    let round = |until: Instant| -> Result<usize, Failed> {
        std::thread::scope(|scope| {
            let start = |thread: usize| {
                let works = &lists[thread % LISTS];
                scope.spawn(move || work(device, thread, works, until))
            };
            let threads: Vec<_> = (0..THREADS).map(start).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        })
    };
    // Once for what is kept for good: pools, stacks, each thread's largest case.
    round(Instant::now())?;
    let before = taken(device)?;
    let start = Instant::now();
    let done = round(start + duration())?;
    let took = start.elapsed();
    let after = taken(device)?;
    let growth = [0, 1].map(|kind| after[kind].saturating_sub(before[kind]));
    println!(
        "report: {THREADS} threads of {STREAMS} streams for {:.1} s: {done} times all four streams at once, growth {} \
         bytes of the host, {} of the device",
        took.as_secs_f64(),
        growth[0],
        growth[1],
    );
    if growth.iter().any(|&bytes| bytes > SLACK) {
        return Err(format!("memory grew by {growth:?} bytes").into());
    }
    Ok(())
}

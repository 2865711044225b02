//! What takes a process of its own: ranks of a group, and contexts that are lost.
//!
//! The test binary starts itself again, with what to do in `NORM_DEVICE_CHILD`.

use std::{
    env,
    io::{Read, Write},
    process::{Child, Command, ExitCode, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use cuda_driver::{Launch, driver};
use libtest_mimic::Failed;
use norm_host::{
    DType, Device, EpilogueRounding, Error, NcclGroup, NcclId, NormKind, Place, Shard, Stream, TpContext,
    rms_norm_sharded,
};

use crate::sums;
use norm_testing::{
    buffer::Buffer,
    cases::plain,
    device::{captured, memory::Memory, on_device::keeps_the_promise},
};

/// Says what the process is to do.
const TASK: &str = "NORM_DEVICE_CHILD";

/// After so long a process hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// The task of this process, done, if it is one of those that are started here.
pub fn child() -> Option<ExitCode> {
    let task = env::var(TASK).ok()?;
    let mut words = task.split(' ');
    let done = match (words.next(), words.next(), words.next()) {
        (Some("trap"), ..) => trap(),
        (Some("fresh"), ..) => fresh(),
        (Some("out_of_memory"), ..) => out_of_memory(),
        (Some("invisible"), ..) => invisible(),
        (Some("rank"), Some(rank), Some(id)) => shard_of(rank, id),
        (Some("captured"), ..) => captured::over_two_devices(),
        (Some("sum"), Some(rank), Some(rest)) => match rest.split_once(':') {
            Some((ordinal, folder)) => sums::rank(rank, ordinal, folder),
            None => Err("sum RANK ORDINAL:FOLDER".into()),
        },
        _ => Err(format!("no such task: {task}").into()),
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The parent shows it.
            let _ = writeln!(std::io::stderr(), "{}", error.message().unwrap_or("failed"));
            ExitCode::FAILURE
        }
    })
}

/// A process of this binary. Dropped, it is ended, so that an error in one leaves no other behind.
struct Running {
    child: Child,
    /// Reads what it says, which must not fill its pipe.
    said: Option<JoinHandle<String>>,
}

impl Running {
    /// Starts this binary with a task.
    fn start(task: &str, environment: &[(&str, &str)]) -> Result<Running, Failed> {
        let mut command = Command::new(env::current_exe()?);
        command.env(TASK, task).envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let said = child.stderr.take().map(|mut stderr| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                // What came until an error is still what it said.
                let _ = stderr.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            })
        });
        Ok(Running { child, said })
    }

    /// What it said, once it has ended; an error if that was no success.
    fn ended(&mut self) -> Result<Option<String>, Failed> {
        let Some(status) = self.child.try_wait()? else { return Ok(None) };
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        if status.success() { Ok(Some(said)) } else { Err(format!("{status}: {said}").into()) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for all to succeed, and gives what they said. When one fails, or hangs, the others are ended.
fn finish(mut all: Vec<Running>) -> Result<Vec<String>, Failed> {
    let start = Instant::now();
    let mut said = vec![None; all.len()];
    while said.iter().any(Option::is_none) {
        for (running, said) in all.iter_mut().zip(&mut said) {
            if said.is_none() {
                *said = running.ended()?;
            }
        }
        if start.elapsed() > PATIENCE {
            return Err("it hangs".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(said.into_iter().flatten().collect())
}

/// Waits for one process, and puts what it said into the report.
fn report(name: &str, task: &str, environment: &[(&str, &str)]) -> Result<(), Failed> {
    let said = finish(vec![Running::start(task, environment)?])?;
    for line in said.iter().flat_map(|said| said.lines()) {
        println!("report: {name}: {line}");
    }
    Ok(())
}

pub fn a_trap_loses_the_context(_device: Device) -> Result<(), Failed> {
    report("a trap", "trap", &[])?;
    // A process that takes over has nothing of it.
    report("a new process after it", "fresh", &[])
}

pub fn little_memory(_device: Device) -> Result<(), Failed> {
    report("no memory", "out_of_memory", &[])
}

pub fn no_visible_device(_device: Device) -> Result<(), Failed> {
    report("CUDA_VISIBLE_DEVICES empty", "invisible", &[("CUDA_VISIBLE_DEVICES", "")])
}

/// In a process of its own, as one that waits for the other device could not be ended otherwise.
pub fn captured_over_two_devices(_devices: &[Device]) -> Result<(), Failed> {
    report("a graph of two devices", "captured", &[])
}

/// A device in a process of its own works.
fn fresh() -> Result<(), Failed> {
    keeps_the_promise(Device::new(0)?, &plain(NormKind::Rms, [DType::F16; 3], 64, 4096))?;
    eprintln!("it works");
    Ok(())
}

/// A kernel traps: the next call says that the context is lost. A new device works, or says the same
/// where the driver gives this process no other context.
fn trap() -> Result<(), Failed> {
    let device = Device::new(0)?;
    let stream = Stream::new(&device)?;
    {
        let _current = device.enter()?;
        let driver = driver()?;
        let ptx =
            c".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry fall()\n{\ntrap;\nret;\n}\n";
        let module = driver.module_load(ptx)?;
        let launch =
            Launch { grid: (1, 1, 1), block: (1, 1, 1), shared_bytes: 0, stream: stream.as_raw().cast() };
        // SAFETY: the module was loaded in the current context, whose stream this is; the kernel has no
        // parameters and touches nothing.
        unsafe {
            let function = driver.module_function(module, c"fall")?;
            driver.launch_kernel(function, &launch, &mut [])?;
        }
    }
    let lost = stream.synchronize();
    let Err(Error::ContextLost { device: Place::Cuda(0), .. }) = &lost else {
        return Err(format!("a trap gives {lost:?}").into());
    };
    let again = Stream::new(&device).map(drop);
    if again != lost {
        return Err(format!("the next call gives {again:?}").into());
    }
    eprintln!("the next call says '{}'", lost.map_or_else(|error| error.to_string(), |()| String::new()));
    match Device::new(0) {
        Ok(anew) => {
            keeps_the_promise(anew, &plain(NormKind::Rms, [DType::F16; 3], 64, 4096))?;
            eprintln!("a new Device in the same process works");
        }
        Err(error @ Error::ContextLost { device: Place::Cuda(0), .. }) => {
            eprintln!("a new Device in the same process does not work with this driver: '{error}'");
        }
        Err(error) => return Err(format!("a new device after a trap: {error:?}").into()),
    }
    Ok(())
}

/// With all memory taken, each call works or says so, and some do say so; with memory again, all work.
fn out_of_memory() -> Result<(), Failed> {
    let device = Device::new(0)?;
    let mut taken = Vec::new();
    {
        let _current = device.enter()?;
        for shift in (9..38).rev() {
            // SAFETY: the buffer is never read.
            while let Ok(buffer) = unsafe { cust::memory::DeviceBuffer::<u8>::uninitialized(1 << shift) } {
                taken.push(buffer);
            }
        }
    }
    let (mut told, mut worked) = (Vec::new(), 0);
    // The driver has kept some for code and for streams: that goes first.
    let mut streams = Vec::new();
    'all: for (x, y) in DType::ALL.into_iter().flat_map(|x| DType::ALL.map(|y| (x, y))) {
        for w in DType::ALL {
            for (kind, dim) in NormKind::ALL.into_iter().flat_map(|kind| DIMS.map(|dim| (kind, dim))) {
                let outcomes = [
                    device.preload(kind, [x, w, y], dim, EpilogueRounding::SINGLE),
                    Stream::new(&device).map(|stream| streams.push(stream)),
                    device.preload_sharded([x, w, y], EpilogueRounding::SINGLE),
                ];
                for outcome in outcomes {
                    match outcome {
                        Ok(()) => worked += 1,
                        Err(error @ Error::OutOfMemory { .. }) => told.push(error.to_string()),
                        Err(error) => return Err(format!("without memory: {error:?}").into()),
                    }
                }
                if told.len() > 5 {
                    break 'all;
                }
            }
        }
    }
    let Some(last) = told.last() else {
        return Err(format!("with no memory left, {worked} calls worked and none was refused").into());
    };
    eprintln!("{worked} calls worked from what the driver had kept, {} were refused: '{last}'", told.len());
    {
        let _current = device.enter()?;
        drop(taken);
    }
    keeps_the_promise(device, &plain(NormKind::Layer, [DType::F16; 3], 64, 20_000))?;
    eprintln!("with memory again all work");
    Ok(())
}

/// With `CUDA_VISIBLE_DEVICES` empty there is no device, and that is no other error.
fn invisible() -> Result<(), Failed> {
    match (Device::count(), Device::new(0)) {
        (Ok(0), Err(error @ Error::NoDevice { ordinal: 0, count: 0 })) => {
            eprintln!("'{error}'");
            Ok(())
        }
        given => Err(format!("without a visible device: {given:?}").into()),
    }
}

/// Of rows that each take other kernels.
const DIMS: [usize; 4] = [100, 2000, 20_000, 200_000];

const ROWS: usize = 33;
const DIM: usize = 4096;

/// Two processes, a device each, norm one set of rows: each holds its half to the promise.
pub fn two_processes(_devices: &[Device]) -> Result<(), Failed> {
    let id: String = NcclId::new()?.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    // One that does not start ends the other, which would wait for it.
    let mut ranks = Vec::new();
    for rank in [0, 1] {
        ranks.push(Running::start(&format!("rank {rank} {id}"), &[])?);
    }
    finish(ranks).map(drop)
}

/// Two processes add up rows, on these devices, of which both may be one; then one of them ends.
pub fn two_processes_add_up(devices: &[Device]) -> Result<(), Failed> {
    let folder = sums::Folder::new()?;
    let mut ranks = Vec::new();
    for (rank, device) in devices.iter().take(2).enumerate() {
        let task = format!("sum {rank} {}:{}", device.ordinal(), folder.path().display());
        ranks.push(Running::start(&task, &[])?);
    }
    finish(ranks).map(drop)
}

/// The part of rank `rank`.
fn shard_of(rank: &str, id: &str) -> Result<(), Failed> {
    let rank: usize = rank.parse()?;
    let mut bytes = [0; NcclId::BYTES];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(id.get(2 * index..2 * index + 2).ok_or("a short id")?, 16)?;
    }
    let tp = TpContext::on_devices(&[u32::try_from(rank)?])?;
    let nccl = NcclGroup::join(&tp, NcclId::from_bytes(bytes), 2, rank)?;
    let device = *tp.streams()[0].device();

    // Both make the whole case, and take their half.
    let case = plain(NormKind::Rms, [DType::F16, DType::F16, DType::F32], ROWS, DIM);
    let before = case.tensors();
    let half = DIM / 2;
    let columns = |buffer: &Buffer, rows: usize| {
        let row = |row: usize| (0..half).map(move |column| buffer.get(row * DIM + rank * half + column));
        Buffer::new(buffer.dtype(), &(0..rows).flat_map(row).collect::<Vec<_>>())
    };
    let x = Memory::upload(device, &columns(&before.x, ROWS), 0)?;
    let w = Memory::upload(device, &columns(before.w.as_ref().ok_or("no weights")?, 1), 0)?;
    let mut y = Memory::upload(device, &columns(&before.y, ROWS), 0)?;
    let mut sums = Memory::upload(device, &Buffer::new(DType::F32, &[0.0; ROWS]), 0)?;
    let strides = [half, 1];
    let mut shards = [Shard {
        x: x.view(&[ROWS, half], &strides),
        w: Some(w.view(&[half], &[1])),
        y: y.view_mut(&[ROWS, half], &strides),
        sums: sums.view_mut(&[ROWS], &[1]),
    }];
    let mut call = || rms_norm_sharded(&mut shards, case.eps, DIM, &tp, &nccl);
    for _ in 0..3 {
        call()?;
    }
    tp.synchronize()?;
    // And in a graph, as all ranks do, over an output that holds what it held before.
    let graph = tp.streams()[0].capture(|_| call())?;
    y.write(&columns(&before.y, ROWS))?;
    for _ in 0..3 {
        // SAFETY: the tensors are alive, and nothing else uses them.
        unsafe { graph.launch(&tp.streams()[0]) }?;
    }
    tp.synchronize()?;
    nccl.status()?;

    // The half of the other rank comes from the reference, so that whole rows can be judged.
    let given = y.download()?;
    let mut values = Vec::new();
    for row in 0..ROWS {
        let x: Vec<f64> = (0..DIM).map(|column| before.x.get(row * DIM + column)).collect();
        let w: Vec<f64> = before.w.iter().flat_map(|w| (0..DIM).map(|column| w.get(column))).collect();
        let mut expected = norm_host::reference::rms_norm(&x, Some(&w), case.eps.into());
        for column in 0..half {
            expected[rank * half + column] = given.get(row * half + column);
        }
        values.extend(expected);
    }
    let mut after = before.clone();
    after.y = Buffer::new(DType::F32, &values);
    for row in 0..ROWS {
        let judged = case.judge(&before, &after, row);
        if !(judged.promised && judged.is_kept()) {
            return Err(format!("rank {rank}, row {row}: {judged:?}").into());
        }
    }
    Ok(())
}

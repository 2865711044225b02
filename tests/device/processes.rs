//! What takes a process of its own: ranks of a group, and contexts that are lost.
//!
//! The test binary starts itself again, with what to do in `NORM_DEVICE_CHILD`.

use std::{
    env,
    io::Write,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use cuda_driver::{Launch, driver};
use libtest_mimic::Failed;
use norm_host::{
    DType, Device, Error, NcclGroup, NcclId, NormKind, Place, Shard, Stream, TpContext, rms_norm_sharded,
};

use crate::{cases::plain, common::buffer::Buffer, memory::Memory, on_device::keeps_the_promise};

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

/// Starts this binary with a task.
fn start(task: &str, environment: &[(&str, &str)]) -> Result<Child, Failed> {
    let mut command = Command::new(env::current_exe()?);
    command.env(TASK, task).envs(environment.iter().copied());
    Ok(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?)
}

/// Waits for it to succeed. One that hangs is ended.
fn finish(mut child: Child) -> Result<(), Failed> {
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > PATIENCE {
            child.kill()?;
            return Err("it hangs".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

pub fn a_trap_loses_the_context(_device: Device) -> Result<(), Failed> {
    finish(start("trap", &[])?)?;
    // A process that takes over has nothing of it.
    finish(start("fresh", &[])?)
}

pub fn little_memory(_device: Device) -> Result<(), Failed> {
    finish(start("out_of_memory", &[])?)
}

pub fn no_visible_device(_device: Device) -> Result<(), Failed> {
    finish(start("invisible", &[("CUDA_VISIBLE_DEVICES", "")])?)
}

/// A device in a process of its own works.
fn fresh() -> Result<(), Failed> {
    keeps_the_promise(Device::new(0)?, &plain(NormKind::Rms, [DType::F16; 3], 64, 4096))
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
    match Device::new(0) {
        Ok(anew) => keeps_the_promise(anew, &plain(NormKind::Rms, [DType::F16; 3], 64, 4096)),
        Err(Error::ContextLost { device: Place::Cuda(0), .. }) => Ok(()),
        Err(error) => Err(format!("a new device after a trap: {error:?}").into()),
    }
}

/// With all memory taken, each call works or says so; with memory again, all work.
fn out_of_memory() -> Result<(), Failed> {
    let device = Device::new(0)?;
    let mut taken = Vec::new();
    {
        let _current = device.enter()?;
        for shift in (16..38).rev() {
            // SAFETY: never read.
            while let Ok(buffer) = unsafe { cust::memory::DeviceBuffer::<u8>::uninitialized(1 << shift) } {
                taken.push(buffer);
            }
        }
    }
    let mut told = 0;
    for (x, y) in DType::ALL.into_iter().zip(DType::ALL.into_iter().rev()) {
        for (kind, dim) in [(NormKind::Rms, 100), (NormKind::Layer, 20_000)] {
            let outcomes = [
                device.preload(kind, x, x, y, dim),
                Stream::new(&device).map(drop),
                device.preload_sharded(x, y, y),
            ];
            for outcome in outcomes {
                match outcome {
                    Ok(()) => {}
                    Err(Error::OutOfMemory { .. }) => told += 1,
                    Err(error) => return Err(format!("without memory: {error:?}").into()),
                }
            }
        }
    }
    // The driver may have kept enough for all of this.
    eprintln!("{told} calls were refused for want of memory");
    {
        let _current = device.enter()?;
        drop(taken);
    }
    keeps_the_promise(device, &plain(NormKind::Layer, [DType::F16; 3], 64, 20_000))
}

/// With `CUDA_VISIBLE_DEVICES` empty there is no device, and that is no other error.
fn invisible() -> Result<(), Failed> {
    match (Device::count(), Device::new(0)) {
        (Ok(0), Err(Error::NoDevice { ordinal: 0, count: 0 })) => Ok(()),
        given => Err(format!("without a visible device: {given:?}").into()),
    }
}

const ROWS: usize = 33;
const DIM: usize = 4096;

/// Two processes, a device each, norm one set of rows: each holds its half to the promise.
pub fn two_processes(_devices: &[Device]) -> Result<(), Failed> {
    let id: String = NcclId::new()?.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let ranks = [0, 1].map(|rank| start(&format!("rank {rank} {id}"), &[]));
    for rank in ranks {
        finish(rank?)?;
    }
    Ok(())
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
    for _ in 0..3 {
        rms_norm_sharded(&mut shards, case.eps, DIM, &tp, &nccl)?;
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

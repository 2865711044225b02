//! RMSNorm of rows that are split: over streams of one device, and over devices through NCCL.

use std::time::{Duration, Instant};

use cust::{
    error::{CudaError, CudaResult},
    memory::{CopyDestination, DevicePointer, DeviceSlice},
};
use libtest_mimic::Failed;
use norm_host::{
    AllReduce, DType, Device, Error, NcclGroup, NormKind, RowSums, Shard, Stream, TpContext, View, ViewMut,
    rms_norm_sharded,
};

use crate::{
    cases::{dtypes, plain},
    common::{
        buffer::Buffer,
        case::{Case, Tensors},
        values::Values,
    },
    memory::Memory,
};

/// What one device has.
struct Part {
    /// The columns of whole rows that these are.
    from: usize,
    to: usize,
    rows: usize,
    x: Memory,
    w: Option<Memory>,
    y: Memory,
    sums: Memory,
}

impl Part {
    fn upload(
        device: Device,
        case: &Case,
        tensors: &Tensors,
        from: usize,
        to: usize,
    ) -> Result<Part, Failed> {
        let (rows, poison) = (case.rows(), f64::from(f32::MAX));
        let columns = |tensor: &Buffer, rows: usize| {
            let row = |row: usize| (from..to).map(move |column| tensor.get(row * case.dim + column));
            Buffer::new(tensor.dtype(), &(0..rows).flat_map(row).collect::<Vec<_>>())
        };
        let upload = |buffer: &Buffer| Memory::upload(device, buffer, 0);
        Ok(Part {
            from,
            to,
            rows,
            x: upload(&columns(&tensors.x, rows))?,
            w: tensors.w.as_ref().map(|w| upload(&columns(w, 1))).transpose()?,
            y: upload(&columns(&tensors.y, rows))?,
            sums: upload(&Buffer::new(DType::F32, &vec![poison; rows]))?,
        })
    }

    fn shard(&mut self) -> Shard<'_> {
        let dim = self.to - self.from;
        let (shape, strides) = ([self.rows, dim], [dim, 1]);
        Shard {
            x: self.x.view(&shape, &strides),
            w: self.w.as_ref().map(|w| w.view(&[dim], &[1])),
            y: self.y.view_mut(&shape, &strides),
            sums: self.sums.view_mut(&[self.rows], &[1]),
        }
    }

    /// Puts these columns into whole rows.
    fn download(&self, values: &mut [f64], dim: usize) -> Result<(), Failed> {
        let y = self.y.download()?;
        self.sums.download()?;
        for row in 0..self.rows {
            for column in self.from..self.to {
                values[row * dim + column] = y.get(row * (self.to - self.from) + column - self.from);
            }
        }
        Ok(())
    }
}

/// Runs the case on the group's streams, of unequal shares, and holds every row to the promise.
fn keeps_the_promise(tp: &TpContext, case: &Case, reduce: &impl AllReduce) -> Result<(), Failed> {
    let shards = tp.streams().len();
    let before = case.tensors();
    // The first shares are shorter by what no vector divides.
    let end = |shard: usize| if shard == shards { case.dim } else { (case.dim / shards).max(2) * shard - 1 };
    let mut parts = Vec::new();
    for (index, stream) in tp.streams().iter().enumerate() {
        let from = if index == 0 { 0 } else { end(index) };
        parts.push(Part::upload(*stream.device(), case, &before, from, end(index + 1))?);
    }
    let mut list: Vec<Shard<'_>> = parts.iter_mut().map(Part::shard).collect();
    rms_norm_sharded(&mut list, case.eps, case.dim, tp, reduce)?;
    tp.synchronize()?;
    let mut values = vec![0.0; case.rows() * case.dim];
    for part in &parts {
        part.download(&mut values, case.dim)?;
    }
    let after = Tensors { y: Buffer::new(case.y, &values), ..before.clone() };
    for row in 0..case.rows() {
        let judged = case.judge(&before, &after, row);
        if !(judged.promised && judged.is_kept()) {
            return Err(format!("{case:?} in {shards}: row {row}: {judged:?}").into());
        }
    }
    Ok(())
}

/// A reduction as an engine without NCCL might have it: on the host.
fn on_the_host(sums: &RowSums<'_>) -> norm_host::Result<()> {
    let failed = |error: CudaError| Error::Reduction { reason: format!("{error:?}") };
    let mut totals = Vec::new();
    for device in sums.iter() {
        device.stream.synchronize()?;
        let _current = device.stream.device().enter()?;
        let mut values = vec![0.0_f32; device.rows];
        // SAFETY: so many numbers are there, and the stream that wrote them is done.
        unsafe { copy_to_host(&mut values, device.address) }.map_err(failed)?;
        totals.resize(device.rows, 0.0_f32);
        totals.iter_mut().zip(values).for_each(|(total, value)| *total += value);
    }
    for device in sums.iter() {
        let _current = device.stream.device().enter()?;
        // SAFETY: as above; nothing reads them yet.
        unsafe { copy_to_device(device.address, &totals) }.map_err(failed)?;
    }
    Ok(())
}

/// # Safety
/// So many numbers lie at `address`, in the current context.
unsafe fn copy_to_host(values: &mut [f32], address: u64) -> CudaResult<()> {
    let pointer = DevicePointer::<f32>::from_raw(address);
    // SAFETY: the caller's promise.
    let there = unsafe { DeviceSlice::from_raw_parts(pointer, values.len()) };
    there.copy_to(values)
}

/// # Safety
/// As [`copy_to_host`], and nobody else uses them.
unsafe fn copy_to_device(address: u64, values: &[f32]) -> CudaResult<()> {
    let pointer = DevicePointer::<f32>::from_raw(address);
    // SAFETY: the caller's promise.
    let mut there = unsafe { DeviceSlice::from_raw_parts_mut(pointer, values.len()) };
    there.copy_from(values)
}

fn group(devices: &[Device]) -> Result<TpContext, Failed> {
    let streams: Result<_, Error> = devices.iter().map(Stream::new).collect();
    Ok(TpContext::sharing_devices(streams?)?)
}

/// Every kernel of both steps once, rows of whole vectors and rows that are not.
pub fn each_kernel_once(device: Device) -> Result<(), Failed> {
    let tp = group(&[device])?;
    for dtypes in dtypes() {
        for dim in [96, 95] {
            keeps_the_promise(&tp, &plain(NormKind::Rms, dtypes, 3, dim), &on_the_host)?;
        }
    }
    Ok(())
}

/// Three streams of one device, with every type, and lengths from few elements to more than a block
/// holds.
pub fn over_streams(device: Device) -> Result<(), Failed> {
    let tp = group(&[device; 3])?;
    for (dtypes, values) in dtypes().zip(Values::ALL.into_iter().cycle()) {
        for dim in [17, 768, 4096, 12_291, 300_000] {
            let rows = if dim > 100_000 { 2 } else { 37 };
            let case = Case { values, ..plain(NormKind::Rms, dtypes, rows, dim) };
            keeps_the_promise(&tp, &case, &on_the_host)?;
        }
    }
    Ok(())
}

/// As [`over_streams`], with a device each and sums by NCCL.
pub fn over_devices(devices: &[Device]) -> Result<(), Failed> {
    let tp = group(devices)?;
    let nccl = NcclGroup::new(&tp)?;
    for (dtypes, values) in dtypes().zip(Values::ALL.into_iter().cycle()) {
        for dim in [17, 768, 4096, 12_291, 300_000] {
            let rows = if dim > 100_000 { 2 } else { 37 };
            let case = Case { values, ..plain(NormKind::Rms, dtypes, rows, dim) };
            keeps_the_promise(&tp, &case, &nccl)?;
        }
    }
    nccl.status()?;
    Ok(())
}

/// What the two kernels add to NCCL's all-reduce, for a prompt and for one token: printed, and at
/// most what reading `x` twice and writing `y` once takes, with launches.
pub fn overhead(devices: &[Device]) -> Result<(), Failed> {
    let tp = group(devices)?;
    let nccl = NcclGroup::new(&tp)?;
    for (rows, dim) in [(1, 8192), (4096, 8192)] {
        let case = plain(NormKind::Rms, [DType::F16; 3], rows, dim * devices.len());
        let tensors = case.tensors();
        let mut parts = Vec::new();
        for (index, device) in devices.iter().enumerate() {
            parts.push(Part::upload(*device, &case, &tensors, index * dim, (index + 1) * dim)?);
        }
        let mut list: Vec<Shard<'_>> = parts.iter_mut().map(Part::shard).collect();
        let mut run = |reduce: &dyn Fn(&RowSums<'_>) -> norm_host::Result<()>| -> Result<Duration, Failed> {
            let reduce = |sums: &RowSums<'_>| reduce(sums);
            best(&tp, || Ok(rms_norm_sharded(&mut list, case.eps, case.dim, &tp, &reduce)?))
        };
        let whole = run(&|sums| nccl.all_reduce(sums))?;
        let kernels = run(&|_| Ok(()))?;
        println!(
            "rms_norm_sharded over {} devices, {rows} rows of {dim} f16 on each: {:.1} µs; its two kernels \
             without NCCL {:.1} µs, so NCCL {:.1} µs",
            devices.len(),
            micros(whole),
            micros(kernels),
            micros(whole.saturating_sub(kernels)),
        );
    }
    Ok(())
}

/// The shortest time of a call, of many enqueued at once.
fn best(tp: &TpContext, mut call: impl FnMut() -> Result<(), Failed>) -> Result<Duration, Failed> {
    const CALLS: u32 = 50;
    let mut best = Duration::MAX;
    for _ in 0..10 {
        tp.synchronize()?;
        let start = Instant::now();
        for _ in 0..CALLS {
            call()?;
        }
        tp.synchronize()?;
        best = best.min(start.elapsed() / CALLS);
    }
    Ok(best)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Two devices are busy at the same time: the same work on both takes at most 1.1 of the time on one.
pub fn at_the_same_time(devices: &[Device]) -> Result<(), Failed> {
    const ROWS: usize = 1 << 15;
    const DIM: usize = 4096;
    let mut times = Vec::new();
    for devices in [&devices[..1], devices] {
        let tp = group(devices)?;
        let (mut x, mut w, mut y) = (Vec::new(), Vec::new(), Vec::new());
        let values = Buffer::new(DType::F16, &vec![1.5; ROWS * DIM]);
        for device in devices {
            x.push(Memory::upload(*device, &values, 0)?);
            y.push(Memory::upload(*device, &values, 0)?);
            w.push(Memory::upload(*device, &Buffer::new(DType::F16, &[1.0; DIM]), 0)?);
        }
        let x: Vec<View<'_>> = x.iter().map(|x| x.view(&[ROWS, DIM], &[DIM, 1])).collect();
        let w: Vec<View<'_>> = w.iter().map(|w| w.view(&[DIM], &[1])).collect();
        let mut y: Vec<ViewMut<'_>> = y.iter_mut().map(|y| y.view_mut(&[ROWS, DIM], &[DIM, 1])).collect();
        times.push(best(&tp, || Ok(norm_host::rms_norm_tp(&x, &w, &mut y, 1e-6, &tp)?))?);
    }
    let ratio = times[1].as_secs_f64() / times[0].as_secs_f64();
    println!(
        "rms_norm_tp: {:.1} µs on one device, {:.1} on two: {ratio:.3}",
        micros(times[0]),
        micros(times[1])
    );
    if ratio > 1.1 {
        return Err(format!("two devices take {ratio:.3} of the time of one").into());
    }
    Ok(())
}

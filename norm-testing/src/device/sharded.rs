//! RMSNorm of rows that are split: over streams of one device, and over devices through NCCL.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use norm_host::{
    AllReduce, DType, Device, Error, NcclGroup, NormKind, RowSums, Shard, TpContext, View, ViewMut,
    rms_norm_sharded,
};

use super::{
    memory::Memory,
    shards::{Part, group, normalize, on_the_host},
};
use crate::{
    buffer::Buffer,
    case::{Case, Tensors},
    cases::{dtypes, plain},
    values::Values,
};

/// Runs the case on the group's streams, holds every row to the promise and gives the rows.
pub fn keeps_the_promise(tp: &TpContext, case: &Case, reduce: &impl AllReduce) -> Result<Buffer, Failed> {
    let y = normalize(tp, case, reduce)?;
    judge(case, y.clone()).map(|()| y)
}

/// Holds every row to the promise.
fn judge(case: &Case, y: Buffer) -> Result<(), Failed> {
    let before = case.tensors();
    let after = Tensors { y, ..before.clone() };
    for row in 0..case.rows() {
        let judged = case.judge(&before, &after, row);
        if !(judged.promised && judged.is_kept()) {
            return Err(format!("{case:?}: row {row}: {judged:?}").into());
        }
    }
    Ok(())
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

/// As [`over_streams`], with a device each and sums by NCCL. Two sums have one total in whatever order,
/// so two devices of one capability have the bits that the first makes of the same shards by itself.
pub fn over_devices(devices: &[Device]) -> Result<(), Failed> {
    let tp = group(devices)?;
    let alone = group(&vec![devices[0]; devices.len()])?;
    let nccl = NcclGroup::new(&tp)?;
    for (dtypes, values) in dtypes().zip(Values::ALL.into_iter().cycle()) {
        for dim in [17, 768, 4096, 12_291, 300_000] {
            let rows = if dim > 100_000 { 2 } else { 37 };
            let case = Case { values, ..plain(NormKind::Rms, dtypes, rows, dim) };
            let y = keeps_the_promise(&tp, &case, &nccl)?;
            if devices.len() == 2 {
                assert_eq!(y.bits(), normalize(&alone, &case, &on_the_host)?.bits(), "{case:?}");
            }
        }
    }
    nccl.status()?;
    Ok(())
}

/// What the two kernels add to NCCL's all-reduce, for a prompt and for one token. Printed are the time of
/// the whole call, of the very all-reduce by itself and of the two kernels without one.
///
/// What must hold: the whole takes at most half as much again as the all-reduce and the kernels take one
/// after the other. What is more would be spent between them, which is nobody's work.
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
        let mut call = |reduce: &dyn Fn(&RowSums<'_>) -> norm_host::Result<()>| -> Result<(), Failed> {
            let reduce = |sums: &RowSums<'_>| reduce(sums);
            Ok(rms_norm_sharded(&mut list, case.eps, case.dim, &tp, &reduce)?)
        };
        let whole = best(&tp, || call(&|sums| nccl.all_reduce(sums)))?;
        let kernels = best(&tp, || call(&|_| Ok(())))?;
        // Only a call in progress has sums to reduce: of one, they are reduced over and over.
        let bare = Cell::new(Duration::MAX);
        call(&|sums| {
            let failed = |error: Failed| Error::Reduction { reason: error.message().unwrap_or("?").into() };
            bare.set(best(&tp, || Ok(nccl.all_reduce(sums)?)).map_err(failed)?);
            Ok(())
        })?;
        tp.synchronize()?;
        let (whole, bare, kernels) = (micros(whole), micros(bare.get()), micros(kernels));
        println!(
            "report: rms_norm_sharded over {} devices, {rows} rows of {dim} f16 on each: {whole:.1} µs; NCCL's \
             all-reduce of {rows} f32 alone {bare:.1} µs, so {:.1} µs more; the two kernels alone {kernels:.1} µs",
            devices.len(),
            whole - bare,
        );
        if whole > 1.5 * (bare + kernels) {
            return Err(format!("{whole:.1} µs for what takes {bare:.1} and {kernels:.1} µs").into());
        }
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
        "report: rms_norm_tp of {ROWS} rows of {DIM} f16: {:.1} µs on one device, {:.1} µs on {} at the same time, \
         {ratio:.3} of it",
        micros(times[0]),
        micros(times[1]),
        devices.len(),
    );
    if ratio > 1.1 {
        return Err(format!("two devices take {ratio:.3} of the time of one").into());
    }
    Ok(())
}

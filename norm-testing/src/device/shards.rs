//! Rows that are split over the streams of a group, and a reduction on the host.

use std::ops::Range;

use cust::{
    error::{CudaError, CudaResult},
    memory::{CopyDestination, DevicePointer, DeviceSlice},
};
use libtest_mimic::Failed;
use norm_host::{
    AllReduce, DType, Device, EpilogueRounding, Error, NormKind, RowSums, Shard, Stream, TpContext,
    rms_norm_sharded,
};
use norm_kernels::abi::{EntryPoint, ShardKernel};

use super::memory::Memory;
use crate::{
    buffer::Buffer,
    case::{Case, Tensors},
    cases::{dtypes, plain},
    recorded::Outputs,
};

/// What one device has.
pub struct Part {
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
    pub fn upload(
        device: Device,
        case: &Case,
        tensors: &Tensors,
        from: usize,
        to: usize,
    ) -> Result<Part, Failed> {
        let (rows, poison) = (case.rows(), f64::from(f32::MAX));
        let columns = |tensor: &Buffer, rows: usize| columns(tensor, rows, case.dim, from..to);
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

    pub fn shard(&mut self) -> Shard<'_> {
        let dim = self.to - self.from;
        let (shape, strides) = ([self.rows, dim], [dim, 1]);
        Shard {
            x: self.x.view(&shape, &strides),
            w: self.w.as_ref().map(|w| w.view(&[dim], &[1])),
            y: self.y.view_mut(&shape, &strides),
            sums: self.sums.view_mut(&[self.rows], &[1]),
        }
    }

    /// Replaces the shares of `x` and `y` by those of other rows, of the same types and as many.
    pub fn write(&mut self, x: &Buffer, y: &Buffer, dim: usize) -> Result<(), Failed> {
        let share = self.from..self.to;
        self.x.write(&columns(x, self.rows, dim, share.clone()))?;
        self.y.write(&columns(y, self.rows, dim, share))
    }

    /// The sums, over all devices once they are reduced.
    fn sums(&self) -> Result<Buffer, Failed> {
        self.sums.download()
    }

    /// Puts these columns into whole rows.
    fn download(&self, values: &mut [f64], dim: usize) -> Result<(), Failed> {
        let y = self.y.download()?;
        self.sums()?;
        for row in 0..self.rows {
            for column in self.from..self.to {
                values[row * dim + column] = y.get(row * (self.to - self.from) + column - self.from);
            }
        }
        Ok(())
    }
}

/// Those columns of rows of `dim` elements.
fn columns(tensor: &Buffer, rows: usize, dim: usize, share: Range<usize>) -> Buffer {
    let row = |row: usize| share.clone().map(move |column| tensor.get(row * dim + column));
    Buffer::new(tensor.dtype(), &(0..rows).flat_map(row).collect::<Vec<_>>())
}

/// Where the shares of a group's devices end, unequal in length.
fn ends(tp: &TpContext, case: &Case) -> Vec<usize> {
    let shards = tp.streams().len();
    // The first shares are shorter by what no vector divides.
    let end = |shard: usize| if shard == shards { case.dim } else { (case.dim / shards).max(2) * shard - 1 };
    (1..=shards).map(end).collect()
}

/// A case's parts on the group's devices.
pub fn upload(tp: &TpContext, case: &Case, before: &Tensors) -> Result<Vec<Part>, Failed> {
    upload_split(tp, case, before, &ends(tp, case))
}

fn upload_split(tp: &TpContext, case: &Case, before: &Tensors, ends: &[usize]) -> Result<Vec<Part>, Failed> {
    let mut parts = Vec::new();
    let mut from = 0;
    for (stream, &to) in tp.streams().iter().zip(ends) {
        parts.push(Part::upload(*stream.device(), case, before, from, to)?);
        from = to;
    }
    Ok(parts)
}

/// Whole rows of what the parts' `y` holds. Work that writes it must be done.
pub fn whole(parts: &[Part], case: &Case) -> Result<Buffer, Failed> {
    let mut values = vec![0.0; case.rows() * case.dim];
    for part in parts {
        part.download(&mut values, case.dim)?;
    }
    Ok(Buffer::new(case.y, &values))
}

/// Runs the case on the group's streams, and gives whole rows.
pub fn normalize(tp: &TpContext, case: &Case, reduce: &impl AllReduce) -> Result<Buffer, Failed> {
    normalize_split(tp, case, &case.tensors(), &ends(tp, case), Part::shard, reduce)
}

/// The same of these tensors, rows split behind so many elements each, with what `shard` takes of each part.
pub fn normalize_split(
    tp: &TpContext,
    case: &Case,
    before: &Tensors,
    ends: &[usize],
    shard: fn(&mut Part) -> Shard<'_>,
    reduce: &dyn AllReduce,
) -> Result<Buffer, Failed> {
    let mut parts = upload_split(tp, case, before, ends)?;
    let mut list: Vec<Shard<'_>> = parts.iter_mut().map(shard).collect();
    case.described().rows_sharded(&mut list, case.dim, tp, reduce)?;
    tp.synchronize()?;
    whole(&parts, case)
}

/// What each kernel of both steps writes, with the case, a whole row a device: its bits do not depend on
/// others'.
pub fn outputs(device: Device) -> Result<Vec<(Case, Outputs)>, Failed> {
    let tp = group(&[device])?;
    let mut outputs = Vec::new();
    for [x, w, y] in dtypes() {
        let width = 16 / x.size().max(y.size());
        for (vectors, dim) in [(true, 600 * width), (false, 600 * width + 1)] {
            let case = plain(NormKind::Rms, [x, w, y], 3, dim);
            let mut parts = upload_split(&tp, &case, &case.tensors(), &[dim])?;
            let mut list: Vec<Shard<'_>> = parts.iter_mut().map(Part::shard).collect();
            rms_norm_sharded(&mut list, case.eps, dim, &tp, &on_the_host)?;
            tp.synchronize()?;
            if [w, y] == [x, x] {
                let kernel = EntryPoint::Shard(ShardKernel::Partial { x, vectors });
                outputs.push((case.clone(), Outputs::new(kernel, dim, "sums", &parts[0].sums()?)));
            }
            let kernel = EntryPoint::Shard(ShardKernel::Apply {
                x,
                w,
                y,
                vectors,
                epilogue: EpilogueRounding::SINGLE,
            });
            let y = whole(&parts, &case)?;
            outputs.push((case, Outputs::new(kernel, dim, "y", &y)));
        }
    }
    Ok(outputs)
}

/// A reduction as an engine without NCCL might have it: on the host, in the order of the shards.
pub fn on_the_host(sums: &RowSums<'_>) -> norm_host::Result<()> {
    let failed = |error: CudaError| Error::Reduction { reason: format!("{error:?}") };
    let mut totals = Vec::new();
    for device in sums.iter() {
        device.stream.synchronize()?;
        let _current = device.stream.device().enter()?;
        let mut values = vec![0.0_f32; device.rows];
        // SAFETY: `address` has `rows` numbers, and the stream that wrote them is done.
        unsafe { copy_to_host(&mut values, device.address) }.map_err(failed)?;
        totals.resize(device.rows, 0.0_f32);
        totals.iter_mut().zip(values).for_each(|(total, value)| *total += value);
    }
    for device in sums.iter() {
        let _current = device.stream.device().enter()?;
        // SAFETY: `address` has `rows` numbers. The stream that wrote them is done, and work that reads them is not
        // enqueued yet.
        unsafe { copy_to_device(device.address, &totals) }.map_err(failed)?;
    }
    Ok(())
}

/// # Safety
/// So many numbers lie at `address`, in the current context.
unsafe fn copy_to_host(values: &mut [f32], address: u64) -> CudaResult<()> {
    let pointer = DevicePointer::<f32>::from_raw(address);
    // SAFETY: the caller guarantees that there are `values.len()` numbers at `address`, in the current context.
    let there = unsafe { DeviceSlice::from_raw_parts(pointer, values.len()) };
    there.copy_to(values)
}

/// # Safety
/// As [`copy_to_host`], and nobody else uses them.
unsafe fn copy_to_device(address: u64, values: &[f32]) -> CudaResult<()> {
    let pointer = DevicePointer::<f32>::from_raw(address);
    // SAFETY: the caller guarantees that there are `values.len()` numbers at `address`, in the current context.
    let mut there = unsafe { DeviceSlice::from_raw_parts_mut(pointer, values.len()) };
    there.copy_from(values)
}

pub fn group(devices: &[Device]) -> Result<TpContext, Failed> {
    let streams: Result<_, Error> = devices.iter().map(Stream::new).collect();
    Ok(TpContext::sharing_devices(streams?)?)
}

//! Benchmark workloads, and a workload bound to device buffers.

use norm_host::{Error, Stream, plan::Plan};

use super::super::call::{self, TensorAddresses};
use super::super::case::{BenchCase, Rotation, calls};
use super::super::sweep::Tiling;
use super::super::{values, verify};
use super::empty::Empty;
use super::pool::{self, Pool};
use crate::bytes::AlignedBytes;
use crate::memory::DeviceBytes;

/// What one line of the benchmark measures.
#[derive(Clone, Debug)]
pub enum Workload {
    /// An operation, called as an engine calls it.
    Call(BenchCase),
    /// A sandwich's two norms, one after the other.
    Unfused(BenchCase),
    /// An operation with another tile than the one that operations use.
    Tiled(BenchCase, Tiling),
    /// A copy of that many bytes on the device.
    Copy(u64),
    /// A kernel that does nothing.
    Empty,
}

/// Calls in the graph of a workload without tensors.
const EMPTY_CALLS: u32 = 200;

impl Workload {
    fn case(&self) -> Option<&BenchCase> {
        match self {
            Workload::Call(case) | Workload::Unfused(case) | Workload::Tiled(case, _) => Some(case),
            Workload::Copy(_) | Workload::Empty => None,
        }
    }

    fn rotation(&self) -> Rotation {
        match self {
            Workload::Call(case) | Workload::Unfused(case) | Workload::Tiled(case, _) => case.rotation(),
            Workload::Copy(bytes) => Rotation::new(*bytes, calls(*bytes)),
            Workload::Empty => Rotation { buffers: 1, stride: 0 },
        }
    }

    fn calls(&self) -> u32 {
        match self {
            Workload::Call(case) | Workload::Unfused(case) | Workload::Tiled(case, _) => case.calls(),
            Workload::Copy(bytes) => calls(*bytes),
            Workload::Empty => EMPTY_CALLS,
        }
    }

    /// Bytes that it needs in the pool's inputs, and as many in the outputs.
    pub fn pool_bytes(&self) -> u64 {
        self.rotation().bytes()
    }
}

/// A workload bound to the round's device buffers, which it borrows from the pool, and to its own weights.
pub struct BoundWorkload<'a> {
    workload: &'a Workload,
    rotation: Rotation,
    pool: &'a mut Pool,
    empty: &'a Empty,
    parameters: Option<Parameters>,
}

/// Weights and biases, on the host and on the device.
struct Parameters {
    w: AlignedBytes,
    b: AlignedBytes,
    w_device: DeviceBytes,
    b_device: DeviceBytes,
}

impl<'a> BoundWorkload<'a> {
    /// Fills the inputs, and copies the weights and biases to the device.
    pub fn prepare(
        workload: &'a Workload,
        pool: &'a mut Pool,
        empty: &'a Empty,
        stream: &Stream,
    ) -> Result<BoundWorkload<'a>, Error> {
        let rotation = workload.rotation();
        let mut parameters = None;
        if let Some(case) = workload.case() {
            // A residual lies behind each output; where a separate sum lies there, the residual lies behind each input, and
            // so does a gate.
            if case.op.is_in_place() || case.op.has_residual() && !case.op.has_sum() {
                pool.fill(case.residual_type(), stream)?;
                pool.mirror(rotation.bytes(), stream)?;
            }
            pool.fill(case.types.x, stream)?;
            let (w, b) = (values::weights(case), values::biases(case));
            let w_device = DeviceBytes::copy_of(&w, stream)?;
            let b_device = DeviceBytes::copy_of(&b, stream)?;
            parameters = Some(Parameters { w, b, w_device, b_device });
        } else {
            pool.fill(norm_host::DType::F16, stream)?;
        }
        Ok(BoundWorkload { workload, rotation, pool, empty, parameters })
    }

    pub fn calls(&self) -> u32 {
        self.workload.calls()
    }

    /// Enqueues every call once.
    pub fn enqueue(&self, stream: &Stream) -> Result<(), Error> {
        (0..self.calls()).try_for_each(|index| self.enqueue_one(index, stream))
    }

    fn enqueue_one(&self, index: u32, stream: &Stream) -> Result<(), Error> {
        let offset = self.rotation.offset(index);
        let (x, y) = (self.pool.inputs.address() + offset, self.pool.outputs.address() + offset);
        let address = |device: fn(&Parameters) -> &DeviceBytes| {
            self.parameters.as_ref().map_or(0, |parameters| device(parameters).address())
        };
        let (w, b) = (address(|parameters| &parameters.w_device), address(|parameters| &parameters.b_device));
        let [r, sum] = self.workload.case().map_or([0; 2], |case| {
            let sum = y + case.residual_offset();
            let is_input = case.op.has_sum() || case.op.gating().is_some();
            [if is_input { x + case.residual_offset() } else { sum }, sum]
        });
        let tensors = TensorAddresses { place: stream.device().place(), x, y, w, b, r, sum };
        match self.workload {
            // SAFETY: the pool has room for the rotation's tensors. This workload borrows the pool, and is kept until all
            // that was captured or enqueued is done.
            Workload::Call(case) => unsafe { call::call(case, tensors, stream) },
            // SAFETY: both operations use the tensors of one call, for which the pool has room. This workload borrows the
            // pool, and is kept until all that was captured or enqueued is done.
            Workload::Unfused(case) => unsafe { call::call_unfused(case, tensors, stream) },
            Workload::Tiled(case, tiling) => {
                let profile = stream.device().profile();
                let plan = tiling.apply(Plan::new(&call::problem(case, tensors), profile)?, profile);
                // SAFETY: the pool has room for the rotation's tensors, and is borrowed until the work is done; a tiling
                // covers every vector and row of its case.
                unsafe { stream.launch_plan(&plan) }
            }
            // SAFETY: the ranges lie in the pool's inputs and outputs, within the rotation, and the pool is borrowed until
            // the work is done.
            Workload::Copy(bytes) => unsafe { pool::copy(y, x, *bytes, stream) },
            Workload::Empty => self.empty.launch(stream),
        }
    }

    /// Runs the first call, and compares a few rows of its output with the reference.
    pub fn check(&mut self, stream: &Stream) -> Result<(), String> {
        let (Some(case), Some(Parameters { w, b, .. })) = (self.workload.case(), &self.parameters) else {
            return Ok(());
        };
        let text = |error: Error| error.to_string();
        let dim = case.extents.dim();
        let (x_row, y_row) = (dim * case.types.x.size(), case.y_row_bytes());
        let is_gated = case.op.gating().is_some();
        let has_r = case.op.has_residual() || is_gated;
        let r_row = if has_r { dim * case.residual_type().size() } else { 0 };
        let rows = verify::rows(case);
        let apart = matches!(self.workload, Workload::Unfused(_));
        // Offsets in the pool's first set. An offset that does not fit in `usize` cannot have been allocated.
        let behind = usize::try_from(case.residual_offset()).unwrap_or(usize::MAX);
        let residual = |of: &DeviceBytes, row: usize| {
            let mut r = vec![0; r_row];
            match r.is_empty() {
                true => Ok(r),
                false => of.download_at(behind + row * r_row, &mut r, stream).map(|()| r),
            }
        };
        let mut inputs = Vec::new();
        for &row in &rows {
            let mut x = vec![0; x_row];
            self.pool.inputs.download_at(row * x_row, &mut x, stream).map_err(text)?;
            let read = if case.op.has_sum() || is_gated { &self.pool.inputs } else { &self.pool.outputs };
            inputs.push((x, residual(read, row).map_err(text)?));
            // NaN in every type, so that earlier contents are never mistaken for the output.
            let nothing = [0xff].repeat(usize::max(y_row, r_row));
            if !case.op.is_in_place() {
                self.pool.outputs.upload_at(row * y_row, &nothing[..y_row], stream).map_err(text)?;
            }
            if case.op.has_sum() {
                let at = behind + row * r_row;
                self.pool.outputs.upload_at(at, &nothing[..r_row], stream).map_err(text)?;
            }
        }
        let done = self.enqueue_one(0, stream);
        done.and(stream.synchronize()).map_err(text)?;
        for (&index, (x, before)) in rows.iter().zip(&inputs) {
            let mut y = vec![0; y_row];
            self.pool.outputs.download_at(index * y_row, &mut y, stream).map_err(text)?;
            if is_gated {
                verify::judge(
                    case,
                    index,
                    &verify::RowBytes { x, g: Some(before), r: None, y: &y, apart },
                    w,
                    b,
                )?;
                continue;
            }
            let after = residual(&self.pool.outputs, index).map_err(text)?;
            let r = case.op.has_residual().then_some([&before[..], &after[..]]);
            verify::judge(case, index, &verify::RowBytes { x, g: None, r, y: &y, apart }, w, b)?;
        }
        Ok(())
    }
}

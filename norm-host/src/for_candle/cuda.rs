//! candle's storage on a CUDA device.

use std::sync::Arc;

use candle_core::{
    CudaStorage, Error, Layout, Result, Storage, backend::BackendStorage, cuda_backend::CudaStorageSlice,
};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtrMut};

use super::store::{Lend, LendCodes, LendMut, Spot, Store, dense_range};
use crate::{
    Element, Position, Positions, QuantFormat, QuantizedMut, Stream, View, ViewMut,
    for_cudarc::{Tracked, place},
};

/// The stream of a candle device.
pub(super) struct Queue {
    cudarc: Arc<CudaStream>,
    stream: Stream,
}

impl AsRef<Stream> for Queue {
    fn as_ref(&self) -> &Stream {
        &self.stream
    }
}

impl Store for CudaStorage {
    type Queue = Queue;
    type On = Stream;
    type Read<'a> = Tracked<'a, View<'a>>;
    type Write<'a> = Tracked<'a, ViewMut<'a>>;
    type Codes<'a> = Tracked<'a, QuantizedMut<'a>>;

    fn of(storage: &Storage) -> Option<&CudaStorage> {
        match storage {
            Storage::Cuda(storage) => Some(storage),
            _ => None,
        }
    }

    fn into_storage(self) -> Storage {
        Storage::Cuda(self)
    }

    fn queue(&self) -> Result<Queue> {
        let cudarc = self.device.cuda_stream();
        let stream = Stream::from_cudarc(&cudarc)?;
        Ok(Queue { cudarc, stream })
    }

    fn like(&self, elements: usize, op: &'static str) -> Result<CudaStorage> {
        // SAFETY: the memory is not initialized, but the norm that runs next on the stream of the allocation writes every
        // element before anything reads it.
        let slice = unsafe {
            match &self.slice {
                CudaStorageSlice::F16(_) => CudaStorageSlice::F16(self.device.alloc(elements)?),
                CudaStorageSlice::BF16(_) => CudaStorageSlice::BF16(self.device.alloc(elements)?),
                CudaStorageSlice::F32(_) => CudaStorageSlice::F32(self.device.alloc(elements)?),
                _ => return Err(Error::UnsupportedDTypeForOp(self.dtype(), op).bt()),
            }
        };
        Ok(CudaStorage { slice, device: self.device.clone() })
    }

    fn bytes(&self, elements: usize) -> Result<CudaStorage> {
        // SAFETY: the memory is not initialized, but the norm that runs next on the stream of the allocation writes every
        // element before anything reads it.
        let slice = CudaStorageSlice::U8(unsafe { self.device.alloc(elements)? });
        Ok(CudaStorage { slice, device: self.device.clone() })
    }

    fn singles(&self, elements: usize) -> Result<CudaStorage> {
        // SAFETY: as for `bytes`.
        let slice = CudaStorageSlice::F32(unsafe { self.device.alloc(elements)? });
        Ok(CudaStorage { slice, device: self.device.clone() })
    }

    fn write_codes<'a>(
        &'a mut self,
        queue: &'a Queue,
        format: QuantFormat,
        at: &Spot<'_>,
    ) -> Result<Tracked<'a, QuantizedMut<'a>>> {
        let dtype = self.dtype();
        let CudaStorageSlice::U8(memory) = &mut self.slice else { return Err(at.unsupported(dtype)) };
        let (bytes, place) = (memory.len(), place(memory.stream()));
        let (address, event) = memory.device_ptr_mut(&queue.cudarc);
        Ok(Tracked::new(at.codes(place, address, format, bytes)?, event))
    }

    fn read<'a>(&'a self, queue: &'a Queue, at: &Spot<'_>) -> Result<Tracked<'a, View<'a>>> {
        fn view<'a, E: Element>(
            memory: &'a CudaSlice<E>,
            queue: &'a Queue,
            at: &Spot<'_>,
        ) -> Result<Tracked<'a, View<'a>>> {
            let from = memory.slice(at.offset.min(memory.len())..);
            let (elements, place) = (from.len(), place(memory.stream()));
            let (address, event) = from.view_ptr(&queue.cudarc);
            let raw = at.raw(place, address, E::DTYPE, elements)?;
            Ok(Tracked::new(View::from_raw(raw), event))
        }
        match &self.slice {
            CudaStorageSlice::F16(memory) => view(memory, queue, at),
            CudaStorageSlice::BF16(memory) => view(memory, queue, at),
            CudaStorageSlice::F32(memory) => view(memory, queue, at),
            _ => Err(at.unsupported(self.dtype())),
        }
    }

    fn with_positions<R>(
        &self,
        queue: &Queue,
        layout: &Layout,
        op: &'static str,
        f: impl FnOnce(Positions<'_>) -> Result<R>,
    ) -> Result<R> {
        let range = dense_range(layout, op)?;
        match &self.slice {
            CudaStorageSlice::U32(memory) => with_positions(memory, queue, range, f),
            CudaStorageSlice::I64(memory) => with_positions(memory, queue, range, f),
            _ => Err(Error::UnsupportedDTypeForOp(self.dtype(), op).bt()),
        }
    }

    fn write<'a>(&'a mut self, queue: &'a Queue, at: &Spot<'_>) -> Result<Tracked<'a, ViewMut<'a>>> {
        fn view<'a, E: Element>(
            memory: &'a mut CudaSlice<E>,
            queue: &'a Queue,
            at: &Spot<'_>,
        ) -> Result<Tracked<'a, ViewMut<'a>>> {
            let (from, place) = (at.offset.min(memory.len()).., place(memory.stream()));
            let from = memory.slice_mut(from);
            let elements = from.len();
            let (address, event) = from.view_ptr_mut(&queue.cudarc);
            let raw = at.raw(place, address, E::DTYPE, elements)?;
            Ok(Tracked::new(ViewMut::from_raw(raw), event))
        }
        let dtype = self.dtype();
        match &mut self.slice {
            CudaStorageSlice::F16(memory) => view(memory, queue, at),
            CudaStorageSlice::BF16(memory) => view(memory, queue, at),
            CudaStorageSlice::F32(memory) => view(memory, queue, at),
            _ => Err(at.unsupported(dtype)),
        }
    }
}

/// Calls `f` with these positions, between the events that cudarc keeps with their memory.
fn with_positions<P: Position + cudarc::driver::DeviceRepr, R>(
    memory: &CudaSlice<P>,
    queue: &Queue,
    range: std::ops::Range<usize>,
    f: impl FnOnce(Positions<'_>) -> Result<R>,
) -> Result<R> {
    let from = memory.slice(range);
    let (count, place) = (from.len(), place(memory.stream()));
    let (address, _event) = from.view_ptr(&queue.cudarc);
    // SAFETY: the slice has as many positions, and lives until `f` has enqueued what reads them on the queue's stream.
    f(unsafe { Positions::from_raw_parts::<P>(place, address, count) }?)
}

impl Lend for Tracked<'_, View<'_>> {
    fn lend(&self) -> View<'_> {
        self.view()
    }
}

impl LendMut for Tracked<'_, ViewMut<'_>> {
    fn lend_mut(&mut self) -> ViewMut<'_> {
        self.view_mut()
    }
}

impl LendCodes for Tracked<'_, QuantizedMut<'_>> {
    fn lend_codes(&mut self) -> QuantizedMut<'_> {
        self.quantized_mut()
    }
}

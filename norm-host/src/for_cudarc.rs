//! cudarc's memory and streams (feature `cudarc`).
//!
//! A [`Stream`] is made from cudarc's by [`Stream::from_cudarc`]; views are made from a `CudaSlice`,
//! a `CudaView` or a `CudaViewMut` by [`View::from_cudarc`] and [`ViewMut::from_cudarc`], positions by
//! [`Positions::from_cudarc`]. All use
//! the device's primary context, as `CudaContext::new` does.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use cudarc::driver::{CudaSlice, CudaStream};
//! use half::f16;
//! use norm_host::{Norm, Stream, View, ViewMut};
//!
//! /// Normalizes rows of `x` in place, in turn with everything else that cudarc does with it.
//! fn normalize(x: &mut CudaSlice<f16>, w: &CudaSlice<f32>, queue: &Arc<CudaStream>) -> norm_host::Result<()> {
//!     let (rows, dim) = (x.len() / w.len(), w.len());
//!     let stream = Stream::from_cudarc(queue)?;
//!     // SAFETY: the views are used on `queue`'s stream alone, and dropped.
//!     let mut x = unsafe { ViewMut::from_cudarc(x, &[rows, dim], queue)? };
//!     let w = unsafe { View::from_cudarc(w, &[dim], queue)? };
//!     Norm::rms(1e-6).weight(w.view()).rows_in_place(&mut x.view_mut(), &stream)
//! }
//! ```

use std::{fmt, sync::Arc};

use cudarc::driver::{CudaStream, DevicePtr, DevicePtrMut, SyncOnDrop};

use crate::{
    QuantFormat,
    device::Device,
    error::Result,
    qk_rope::{Position, Positions},
    stream::{Owner, Stream},
    tensor::{Element, Place, QuantizedMut, Raw, View, ViewMut},
};

/// A view of cudarc's memory for use on one stream.
///
/// cudarc keeps CUDA events with its memory: a stream waits for the events of other streams before it uses the
/// memory, and records its own afterwards. The wait is enqueued when this is created, the event
/// recorded when it is dropped. The view is therefore borrowed from this, and no operation can use it later.
pub struct Tracked<'a, V> {
    view: V,
    /// Records the event when dropped. It is declared last, so that the view is dropped before.
    _event: SyncOnDrop<'a>,
}

impl<'a, V> Tracked<'a, V> {
    pub(crate) fn new(view: V, event: SyncOnDrop<'a>) -> Tracked<'a, V> {
        Tracked { view, _event: event }
    }
}

impl Tracked<'_, View<'_>> {
    /// The view.
    pub fn view(&self) -> View<'_> {
        self.view
    }
}

impl Tracked<'_, ViewMut<'_>> {
    /// The view.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        self.view.reborrow()
    }
}

impl Tracked<'_, QuantizedMut<'_>> {
    /// The quantized tensor, whose scales and copy are set by its methods.
    pub fn quantized_mut(&mut self) -> QuantizedMut<'_> {
        self.view.reborrow()
    }
}

impl Tracked<'_, Positions<'_>> {
    /// The positions.
    pub fn positions(&self) -> Positions<'_> {
        self.view
    }
}

impl<V: fmt::Debug> fmt::Debug for Tracked<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt(f)
    }
}

impl<'a> View<'a> {
    /// A row-major view of the first elements of cudarc's memory, to be read on `stream`.
    ///
    /// For strided rows use [`View::with_strides`] of [`Tracked::view`].
    ///
    /// # Errors
    ///
    /// As for [`View::from_slice`].
    ///
    /// # Safety
    ///
    /// The memory belongs to a primary context and is initialized. The view is used only by operations on
    /// `stream` (by [`Stream::from_cudarc`]), and the [`Tracked`] is dropped, not forgotten.
    pub unsafe fn from_cudarc<E: Element>(
        memory: &'a impl DevicePtr<E>,
        shape: &[usize],
        stream: &'a CudaStream,
    ) -> Result<Tracked<'a, View<'a>>> {
        let (place, available) = (place(memory.stream()), memory.len() as u64);
        let (address, event) = memory.device_ptr(stream);
        let view = View::from_raw(Raw::new(place, address, E::DTYPE, shape, Some(available))?);
        Ok(Tracked::new(view, event))
    }
}

impl<'a> ViewMut<'a> {
    /// A row-major view of the first elements of cudarc's memory, to be written on `stream`.
    ///
    /// # Errors
    ///
    /// As for [`View::from_slice`].
    ///
    /// # Safety
    ///
    /// As for [`View::from_cudarc`]; memory that is only written need not be initialized.
    pub unsafe fn from_cudarc<E: Element>(
        memory: &'a mut impl DevicePtrMut<E>,
        shape: &[usize],
        stream: &'a CudaStream,
    ) -> Result<Tracked<'a, ViewMut<'a>>> {
        let (place, available) = (place(memory.stream()), memory.len() as u64);
        let (address, event) = memory.device_ptr_mut(stream);
        let view = ViewMut::from_raw(Raw::new(place, address, E::DTYPE, shape, Some(available))?);
        Ok(Tracked::new(view, event))
    }
}

impl<'a> QuantizedMut<'a> {
    /// A row-major quantized tensor whose codes are the first bytes of cudarc's memory, to be written on `stream`.
    ///
    /// # Errors
    ///
    /// As for [`QuantizedMut::from_e4m3`].
    ///
    /// # Safety
    ///
    /// As for [`ViewMut::from_cudarc`].
    pub unsafe fn from_cudarc(
        memory: &'a mut impl DevicePtrMut<u8>,
        format: QuantFormat,
        shape: &[usize],
        stream: &'a CudaStream,
    ) -> Result<Tracked<'a, QuantizedMut<'a>>> {
        let (place, available) = (place(memory.stream()), memory.len() as u64);
        let (address, event) = memory.device_ptr_mut(stream);
        let codes = QuantizedMut::of_bytes(place, address, format, shape, available)?;
        Ok(Tracked::new(codes, event))
    }
}

impl<'a> Positions<'a> {
    /// All positions of cudarc's memory, `u32` or `i64`, to be read on `stream`.
    ///
    /// # Errors
    ///
    /// As for [`Positions::from_raw_parts`].
    ///
    /// # Safety
    ///
    /// As for [`View::from_cudarc`].
    pub unsafe fn from_cudarc<P: Position>(
        memory: &'a impl DevicePtr<P>,
        stream: &'a CudaStream,
    ) -> Result<Tracked<'a, Positions<'a>>> {
        let (place, count) = (place(memory.stream()), memory.len());
        let (address, event) = memory.device_ptr(stream);
        // SAFETY: the memory holds as many, and is borrowed for as long as they are; the caller guarantees the rest.
        let positions = unsafe { Positions::from_raw_parts::<P>(place, address, count) }?;
        Ok(Tracked::new(positions, event))
    }
}

impl Stream {
    /// A handle for a stream of cudarc's, on which operations can run. The stream stays alive as long as the handle.
    ///
    /// # Errors
    ///
    /// [`ForeignStream`](crate::Error::ForeignStream) if it is not one of the device's primary context, and
    /// the errors of [`Device::new`].
    pub fn from_cudarc(stream: &Arc<CudaStream>) -> Result<Stream> {
        let device = Device::new(ordinal(stream))?;
        let owner = Owner::Cudarc(stream.clone());
        // SAFETY: cudarc's handle, of which `owner` is a clone, keeps the stream alive.
        unsafe { Stream::borrow(&device, stream.cu_stream().cast(), owner) }
    }
}

/// The device of a stream, and of memory that was allocated on it.
pub(crate) fn place(stream: &CudaStream) -> Place {
    Place::Cuda(ordinal(stream))
}

/// The ordinal of a stream's device; one that no device has if cudarc's does not fit in 32 bits.
fn ordinal(stream: &CudaStream) -> u32 {
    u32::try_from(stream.context().ordinal()).unwrap_or(u32::MAX)
}

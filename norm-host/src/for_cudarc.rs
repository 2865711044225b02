//! cudarc's memory and streams (feature `cudarc`).
//!
//! A [`Stream`] is made from cudarc's by [`Stream::from_cudarc`]; views are made from a `CudaSlice`,
//! a `CudaView` or a `CudaViewMut` by [`View::from_cudarc`] and [`ViewMut::from_cudarc`]. Both use
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
    device::Device,
    error::Result,
    stream::{Owner, Stream},
    tensor::{Element, Place, Raw, View, ViewMut},
};

/// A view of cudarc's memory, on a stream.
///
/// cudarc keeps events with its memory: a stream waits for those of other streams before it uses the
/// memory, and leaves its own afterwards. The waiting is enqueued when this is made, its own event
/// recorded when it is dropped; so the view is lent, and no operation can be given it later.
pub struct Tracked<'a, V> {
    view: V,
    /// Records the event. Declared last: nothing is left of the view when it does.
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

impl<V: fmt::Debug> fmt::Debug for Tracked<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt(f)
    }
}

impl<'a> View<'a> {
    /// A row-major view of cudarc's memory (its first elements), to be read on `stream`.
    ///
    /// Strided rows: give a shape that holds all of them, or [`View::with_strides`] on
    /// [`Tracked::view`].
    ///
    /// # Errors
    ///
    /// As for [`View::from_slice`].
    ///
    /// # Safety
    ///
    /// The memory is of a primary context and initialized. The view is given to operations on
    /// `stream` alone (by [`Stream::from_cudarc`]), and the [`Tracked`] is dropped, not forgotten.
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
    /// A row-major view of cudarc's memory (its first elements), to be written on `stream`.
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

impl Stream {
    /// cudarc's stream, to give operations to. It stays alive as long as this handle.
    ///
    /// # Errors
    ///
    /// [`ForeignStream`](crate::Error::ForeignStream) if it is not one of the device's primary context, and
    /// the errors of [`Device::new`].
    pub fn from_cudarc(stream: &Arc<CudaStream>) -> Result<Stream> {
        let device = Device::new(ordinal(stream))?;
        let owner = Owner::Cudarc(stream.clone());
        // SAFETY: cudarc's handle, of which this one keeps a clone, keeps the stream.
        unsafe { Stream::borrow(&device, stream.cu_stream().cast(), owner) }
    }
}

/// The device of a stream, and of memory allocated on it.
pub(crate) fn place(stream: &CudaStream) -> Place {
    Place::Cuda(ordinal(stream))
}

/// No device's where it cannot be one.
fn ordinal(stream: &CudaStream) -> u32 {
    u32::try_from(stream.context().ordinal()).unwrap_or(u32::MAX)
}

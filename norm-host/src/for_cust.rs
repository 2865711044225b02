//! cust's memory, contexts and streams (feature `cust`, on by default).
//!
//! Views are made from a `DeviceBuffer` or a `DeviceSlice` by [`View::from_buffer`] and
//! [`ViewMut::from_buffer`], a [`Device`] from a `Context` by [`Device::from_cust`], a [`Stream`] from
//! cust's by [`Stream::from_cust`]. cust keeps the ownership of all of them.
//!
//! ```no_run
//! use cust::{context::Context, memory::DeviceBuffer, stream};
//! use half::f16;
//! use norm_host::{Device, Norm, Stream, View, ViewMut};
//!
//! /// Normalizes rows of f16, which cust holds as their bits, in place.
//! fn normalize(
//!     x: &mut DeviceBuffer<u16>, w: &DeviceBuffer<f32>, context: &Context, queue: &stream::Stream,
//! ) -> norm_host::Result<()> {
//!     let (rows, dim) = (x.len() / w.len(), w.len());
//!     let device = Device::from_cust(context)?; // cheap after the first call
//!     // SAFETY: `queue` outlives the handle.
//!     let stream = unsafe { Stream::from_cust(&device, queue)? };
//!     let w = View::from_buffer::<f32>(w, &[dim])?;
//!     let mut x = ViewMut::from_buffer::<f16>(x, &[rows, dim])?;
//!     Norm::rms(1e-6).weight(w).rows_in_place(&mut x, &stream)
//! }
//! ```

use cust::{
    context::Context,
    memory::{DeviceCopy, DeviceSlice},
};
use half::{bf16, f16};

use crate::{
    DType,
    device::{ContextGuard, Device},
    error::{Arg, Error, Result},
    stream::Stream,
    tensor::{Element, Place, Raw, View, ViewMut},
};

/// An element type that cust's buffers can hold, as itself or as its bits.
///
/// cust implements its trait `DeviceCopy` for no current version of `half`, so that
/// buffers hold `f16` and `bf16` as `u16`, the bits that `to_bits` returns.
pub trait BufferElement: Element {
    /// The element type of such a buffer: of the same size, and valid for any bits.
    type Stored: DeviceCopy;
}

impl BufferElement for f16 {
    type Stored = u16;
}

impl BufferElement for bf16 {
    type Stored = u16;
}

impl BufferElement for f32 {
    type Stored = f32;
}

impl<'a> View<'a> {
    /// A row-major view of the first elements of a device buffer, or of a part of one:
    /// `View::from_buffer::<f16>(&buffer, &[rows, dim])`, where `buffer` is a
    /// `DeviceBuffer<u16>` or `DeviceSlice<u16>` (see [`BufferElement`]).
    ///
    /// The driver is asked for the memory's place. Operations run after their call has returned: wait for
    /// the stream before reading the result, or before using the buffer on another stream. A
    /// `DeviceBuffer` may be dropped: the driver frees its memory when the work in progress is done.
    ///
    /// # Errors
    ///
    /// As for [`View::from_slice`]; [`NoDriver`](Error::NoDriver); the driver's error for memory
    /// that it does not know.
    pub fn from_buffer<E: BufferElement>(
        buffer: &'a DeviceSlice<E::Stored>,
        shape: &[usize],
    ) -> Result<View<'a>> {
        Ok(View::from_raw(raw(buffer, E::DTYPE, shape)?))
    }
}

impl<'a> ViewMut<'a> {
    /// A row-major view of the first elements of a device buffer, to be written.
    ///
    /// # Errors
    ///
    /// As for [`View::from_buffer`].
    pub fn from_buffer<E: BufferElement>(
        buffer: &'a mut DeviceSlice<E::Stored>,
        shape: &[usize],
    ) -> Result<ViewMut<'a>> {
        Ok(ViewMut::from_raw(raw(buffer, E::DTYPE, shape)?))
    }
}

impl Device {
    /// The device of one of cust's contexts, which are primary contexts.
    ///
    /// # Errors
    ///
    /// Those of [`Device::new`].
    pub fn from_cust(context: &Context) -> Result<Device> {
        let driver = cuda_driver::driver()?;
        let ordinal = {
            // SAFETY: `context`, which is borrowed here, keeps the driver's context alive.
            let _current = unsafe { ContextGuard::enter(driver, context.as_raw().cast())? };
            driver.context_device()?
        };
        Device::new(ordinal.unsigned_abs())
    }
}

impl Stream {
    /// A handle for a stream of cust's, on which operations can run.
    ///
    /// # Errors
    ///
    /// Those of [`Stream::from_raw`].
    ///
    /// # Safety
    ///
    /// The stream stays alive until this handle is dropped.
    pub unsafe fn from_cust(device: &Device, stream: &cust::stream::Stream) -> Result<Stream> {
        // SAFETY: `stream` is alive now, and the caller keeps it alive until the handle is dropped.
        unsafe { Stream::from_raw(device, stream.as_inner().cast()) }
    }
}

fn raw<T: DeviceCopy>(buffer: &DeviceSlice<T>, dtype: DType, shape: &[usize]) -> Result<Raw> {
    let address = buffer.as_device_ptr().as_raw();
    let elements = buffer.len() as u64;
    Raw::new(place(address, elements)?, address, dtype, shape, Some(elements))
}

/// The device that memory is on.
fn place(address: u64, elements: u64) -> Result<Place> {
    let driver = cuda_driver::driver()?;
    let ordinal = match elements {
        // An empty buffer has no memory that the driver could know. It counts as allocated in the current context.
        0 => driver.context_device()?,
        _ => driver.pointer_device(address)?,
    };
    // Negative where the memory belongs to no device.
    u32::try_from(ordinal).map(Place::Cuda).map_err(|_| Error::NotOnDevice { arg: Arg::View, address })
}

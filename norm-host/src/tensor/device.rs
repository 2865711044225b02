//! Views over cust's device buffers.

use cust::memory::{DeviceCopy, DeviceSlice};
use half::{bf16, f16};

use super::{Element, Place, Raw, View, ViewMut};
use crate::{
    DType,
    error::{Arg, Error, Result},
};

/// An element type that cust's buffers can hold, as itself or as its bits.
///
/// cust's trait for what may be copied to a device covers no current version of `half`, so
/// buffers hold `f16` and `bf16` as `u16`, the bits that `to_bits` gives.
pub trait BufferElement: Element {
    /// What a buffer of them holds: the same size, and any bits are one.
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
    /// Where it is comes from the driver. Operations run after their call has returned: wait for
    /// the stream before you read the result, or give the buffer to another stream. To drop a
    /// `DeviceBuffer` is fine: the driver frees memory when work under way is done.
    ///
    /// # Errors
    ///
    /// As for [`View::from_slice`]; [`NoDriver`](Error::NoDriver); what the driver says of memory
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

fn raw<T: DeviceCopy>(buffer: &DeviceSlice<T>, dtype: DType, shape: &[usize]) -> Result<Raw> {
    let address = buffer.as_device_ptr().as_raw();
    let elements = buffer.len() as u64;
    Raw::new(place(address, elements)?, address, dtype, shape, Some(elements))
}

/// The device of some memory.
fn place(address: u64, elements: u64) -> Result<Place> {
    let driver = cuda_driver::driver()?;
    let ordinal = match elements {
        // No memory that the driver could tell anything about: it would have been allocated in
        // the current context.
        0 => driver.context_device()?,
        _ => driver.pointer_device(address)?,
    };
    // Negative where the memory belongs to no device.
    u32::try_from(ordinal).map(Place::Cuda).map_err(|_| Error::NotOnDevice { arg: Arg::View, address })
}

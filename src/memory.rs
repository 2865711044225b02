//! Buffers in a device's memory.

use cuda_driver::DriverError;
use cust::memory::DeviceBuffer;
use norm_host::{Device, Error, Stream};

/// Uninitialized bytes in a device's memory, aligned to 256.
pub struct DeviceBytes {
    // The context must be current when this is freed: see `Drop`.
    buffer: Option<DeviceBuffer<u8>>,
    device: Device,
}

impl DeviceBytes {
    /// `len` bytes on `device`. The driver refuses to allocate none, so there is one at least.
    pub fn uninitialized(device: &Device, len: usize) -> Result<DeviceBytes, Error> {
        let _current = device.enter()?;
        // SAFETY: any bytes are valid, and the kernels read only what was uploaded.
        let buffer = unsafe { DeviceBuffer::uninitialized(len.max(1)) }
            .map_err(|error| Error::from(DriverError::from_cust("cuMemAlloc_v2", error as u32)))?;
        Ok(DeviceBytes { buffer: Some(buffer), device: *device })
    }

    /// A copy of `bytes` on the stream's device.
    pub fn copy_of(bytes: &[u8], stream: &Stream) -> Result<DeviceBytes, Error> {
        let mut copy = DeviceBytes::uninitialized(stream.device(), bytes.len())?;
        copy.upload(bytes, stream)?;
        Ok(copy)
    }

    pub fn len(&self) -> usize {
        self.buffer.as_ref().map_or(0, |buffer| buffer.len())
    }

    fn has(&self, start: usize, bytes: usize) -> bool {
        start.checked_add(bytes).is_some_and(|end| end <= self.len())
    }

    pub fn address(&self) -> u64 {
        self.buffer.as_ref().map_or(0, |buffer| buffer.as_device_ptr().as_raw())
    }

    /// Copies `bytes` to the front of this, in the stream's order, and waits for it.
    pub fn upload(&mut self, bytes: &[u8], stream: &Stream) -> Result<(), Error> {
        self.upload_at(0, bytes, stream)
    }

    /// Copies `bytes` to `start` bytes behind the front, in the stream's order, and waits for it.
    pub fn upload_at(&mut self, start: usize, bytes: &[u8], stream: &Stream) -> Result<(), Error> {
        assert!(self.has(start, bytes.len()), "{} bytes at {start} into {}", bytes.len(), self.len());
        let _current = self.device.enter()?;
        // SAFETY: both ranges are as long as the copy, and alive until it is done, because this waits for the stream
        // before it returns. If the stream is not of this buffer's device, the driver refuses the copy.
        let result = unsafe {
            cuda_driver::driver()?.upload_async(
                self.address() + start as u64,
                bytes.as_ptr().cast(),
                bytes.len(),
                stream.as_raw().cast(),
            )
        };
        result?;
        stream.synchronize()
    }

    /// Copies the front of this to `bytes`, in the stream's order, and waits for it.
    pub fn download(&self, bytes: &mut [u8], stream: &Stream) -> Result<(), Error> {
        self.download_at(0, bytes, stream)
    }

    /// Copies from `start` bytes behind the front to `bytes`, in the stream's order, and waits for it.
    pub fn download_at(&self, start: usize, bytes: &mut [u8], stream: &Stream) -> Result<(), Error> {
        assert!(self.has(start, bytes.len()), "{} bytes at {start} out of {}", bytes.len(), self.len());
        let _current = self.device.enter()?;
        // SAFETY: both ranges are as long as the copy, and alive until it is done, because this waits for the stream
        // before it returns. Any bytes are valid in `bytes`.
        let result = unsafe {
            cuda_driver::driver()?.download_async(
                bytes.as_mut_ptr().cast(),
                self.address() + start as u64,
                bytes.len(),
                stream.as_raw().cast(),
            )
        };
        result?;
        stream.synchronize()
    }
}

impl DeviceBytes {
    /// Frees the memory now, in place of when this is dropped; then there are no bytes.
    pub fn free(&mut self) {
        match self.device.enter() {
            Ok(_current) => drop(self.buffer.take()),
            // Without its context the memory cannot be freed before the process ends.
            Err(_) => std::mem::forget(self.buffer.take()),
        }
    }
}

impl Drop for DeviceBytes {
    fn drop(&mut self) {
        self.free();
    }
}

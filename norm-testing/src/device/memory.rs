//! Device memory of any of the three element types, between guard bands.

use std::{mem::ManuallyDrop, ptr::null_mut};

use cust::memory::{CopyDestination, DeviceBuffer};
use half::{bf16, f16};
use libtest_mimic::Failed;
use norm_host::{DType, Device, View, ViewMut};

use crate::buffer::Buffer;

/// Bytes in front of and behind the elements. A multiple of any vector, so that without a shift
/// the first element is as aligned as the allocation.
const GUARD: usize = 256;

/// What guard bytes hold.
const POISON: u8 = 0xa5;

/// Elements on a device.
pub struct Memory {
    device: Device,
    bytes: ManuallyDrop<DeviceBuffer<u8>>,
    /// Where the elements start, in bytes.
    start: usize,
    dtype: DType,
    len: usize,
}

impl Memory {
    /// A copy of `buffer`, `shift` elements behind an address that suits vectors.
    pub fn upload(device: Device, buffer: &Buffer, shift: usize) -> Result<Memory, Failed> {
        let (dtype, elements) = (buffer.dtype(), to_bytes(buffer));
        let start = GUARD + shift * dtype.size();
        let mut bytes = vec![POISON; start + elements.len() + GUARD];
        bytes[start..][..elements.len()].copy_from_slice(&elements);
        let _current = device.enter()?;
        let bytes = ManuallyDrop::new(DeviceBuffer::from_slice(&bytes)?);
        settle()?;
        Ok(Memory { device, bytes, start, dtype, len: elements.len() / dtype.size() })
    }

    /// Replaces the elements by those of `buffer`, which has the same type and length.
    pub fn write(&mut self, buffer: &Buffer) -> Result<(), Failed> {
        let elements = to_bytes(buffer);
        let _current = self.device.enter()?;
        self.bytes.index(self.start..self.start + elements.len()).copy_from(&elements)?;
        settle()
    }

    /// The elements as they are now. Work that writes them must be done.
    ///
    /// # Errors
    /// If a guard byte has changed.
    pub fn download(&self) -> Result<Buffer, Failed> {
        let mut bytes = vec![0; self.bytes.len()];
        let _current = self.device.enter()?;
        self.bytes.copy_to(&mut bytes)?;
        let end = self.start + self.len * self.dtype.size();
        for (index, &byte) in bytes.iter().enumerate() {
            if !(self.start..end).contains(&index) && byte != POISON {
                let from_start = index as i64 - self.start as i64;
                return Err(format!("byte {from_start}, counted from the first element, was written").into());
            }
        }
        Ok(from_bytes(self.dtype, &bytes[self.start..end]))
    }

    pub fn address(&self) -> u64 {
        self.bytes.as_device_ptr().as_raw() + self.start as u64
    }

    pub fn view(&self, shape: &[usize], strides: &[usize]) -> View<'_> {
        assert!(span(shape, strides) <= self.len);
        // SAFETY: the elements are there, of that type, and initialized; the borrow keeps them.
        // Every test waits for its streams before it lets go of the memory.
        let view = unsafe { View::from_raw_parts(self.device.place(), self.address(), self.dtype, shape) };
        view.and_then(|view| view.with_strides(strides)).expect("a shape of 1 to 4 axes")
    }

    pub fn view_mut(&mut self, shape: &[usize], strides: &[usize]) -> ViewMut<'_> {
        assert!(span(shape, strides) <= self.len);
        // SAFETY: `span` elements of that type fit in the memory, as asserted, and they are initialized. The exclusive
        // borrow keeps them, and every test waits for its streams before it lets go of the memory.
        let view = unsafe { ViewMut::from_raw_parts(self.device.place(), self.address(), self.dtype, shape) };
        view.and_then(|view| view.with_strides(strides)).expect("a shape of 1 to 4 axes")
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Without its context the memory cannot be freed; it is then lost with the process.
        if let Ok(_current) = self.device.enter() {
            // SAFETY: `bytes` is not used again: the memory itself is being dropped.
            unsafe { ManuallyDrop::drop(&mut self.bytes) };
        }
    }
}

/// Waits for copies from the host. The calls return once the host's memory has been read, and
/// streams that do not wait for the default one could start before the device's is written.
pub fn settle() -> Result<(), Failed> {
    // SAFETY: null is the default stream of the context that the caller has made current.
    Ok(unsafe { cuda_driver::driver()?.stream_synchronize(null_mut()) }?)
}

/// Elements from the first to the last that a view reaches.
fn span(shape: &[usize], strides: &[usize]) -> usize {
    1 + shape.iter().zip(strides).map(|(extent, stride)| (extent - 1) * stride).sum::<usize>()
}

fn to_bytes(buffer: &Buffer) -> Vec<u8> {
    match buffer {
        Buffer::F16(v) => v.iter().flat_map(|v| v.to_ne_bytes()).collect(),
        Buffer::BF16(v) => v.iter().flat_map(|v| v.to_ne_bytes()).collect(),
        Buffer::F32(v) => v.iter().flat_map(|v| v.to_ne_bytes()).collect(),
    }
}

fn from_bytes(dtype: DType, bytes: &[u8]) -> Buffer {
    let (twos, _) = bytes.as_chunks();
    let (fours, _) = bytes.as_chunks();
    match dtype {
        DType::F16 => Buffer::F16(twos.iter().map(|&b| f16::from_ne_bytes(b)).collect()),
        DType::BF16 => Buffer::BF16(twos.iter().map(|&b| bf16::from_ne_bytes(b)).collect()),
        DType::F32 => Buffer::F32(fours.iter().map(|&b| f32::from_ne_bytes(b)).collect()),
    }
}

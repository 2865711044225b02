//! The device memory of one round.

use norm_host::{DType, Error, Stream};

use super::super::values;
use crate::memory::DeviceBytes;

/// Buffers for the inputs and the outputs of any workload.
pub struct Pool {
    pub inputs: DeviceBytes,
    pub outputs: DeviceBytes,
    /// The type of the random numbers that the inputs hold.
    filled: Option<DType>,
}

impl Pool {
    pub fn new(bytes: u64, stream: &Stream) -> Result<Pool, Error> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let inputs = DeviceBytes::uninitialized(stream.device(), bytes)?;
        let outputs = DeviceBytes::uninitialized(stream.device(), bytes)?;
        Ok(Pool { inputs, outputs, filled: None })
    }

    /// Fills the inputs with random numbers of that type.
    pub fn fill(&mut self, dtype: DType, stream: &Stream) -> Result<(), Error> {
        if self.filled == Some(dtype) {
            return Ok(());
        }
        let bytes = self.inputs.len() as u64;
        let pattern = values::inputs(dtype, bytes);
        self.filled = None;
        self.inputs.upload(&pattern[..pattern.len().min(self.inputs.len())], stream)?;
        let base = self.inputs.address();
        let mut done = pattern.len() as u64;
        while done < bytes {
            let more = done.min(bytes - done);
            // SAFETY: both ranges lie in the inputs, and do not overlap: the source is the first `more` bytes, which end at
            // or before `done`.
            unsafe { copy(base + done, base, more, stream) }?;
            done += more;
        }
        stream.synchronize()?;
        self.filled = Some(dtype);
        Ok(())
    }

    /// Copies the first `bytes` of the inputs to the outputs, for operations in place.
    pub fn mirror(&mut self, bytes: u64, stream: &Stream) -> Result<(), Error> {
        // SAFETY: outputs and inputs are separate buffers of the same length, of at least `bytes`.
        unsafe { copy(self.outputs.address(), self.inputs.address(), bytes, stream) }?;
        stream.synchronize()
    }
}

/// Enqueues a copy.
///
/// # Safety
/// Both ranges lie in pools that live until the copy is done, and do not overlap.
pub unsafe fn copy(to: u64, from: u64, bytes: u64, stream: &Stream) -> Result<(), Error> {
    let _current = stream.device().enter()?;
    let driver = cuda_driver::driver()?;
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    // SAFETY: the caller guarantees the ranges; the stream is alive and its context current.
    unsafe { driver.copy_async(to, from, bytes, stream.as_raw().cast()) }?;
    Ok(())
}

//! Lost contexts: which of the driver's errors mean one, and remembering it.

use cuda_driver::{DriverError, sys};

use super::Device;
use crate::{
    error::{Error, Result},
    tensor::Place,
};

/// Errors after which the driver returns the same error from every further call in that context ([CUresult](
/// https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html): "this leaves the process in
/// an inconsistent state").
const FATAL: [u32; 12] = [
    sys::CUDA_ERROR_ECC_UNCORRECTABLE,
    sys::CUDA_ERROR_NVLINK_UNCORRECTABLE,
    sys::CUDA_ERROR_ILLEGAL_ADDRESS,
    sys::CUDA_ERROR_LAUNCH_TIMEOUT,
    sys::CUDA_ERROR_CONTEXT_IS_DESTROYED,
    sys::CUDA_ERROR_ASSERT,
    sys::CUDA_ERROR_HARDWARE_STACK_ERROR,
    sys::CUDA_ERROR_ILLEGAL_INSTRUCTION,
    sys::CUDA_ERROR_MISALIGNED_ADDRESS,
    sys::CUDA_ERROR_INVALID_ADDRESS_SPACE,
    sys::CUDA_ERROR_INVALID_PC,
    sys::CUDA_ERROR_LAUNCH_FAILED,
];

/// Whether the driver returns that error from every further call.
fn is_fatal(code: u32) -> bool {
    FATAL.contains(&code)
}

/// Turns an error of opening a device into [`Error::ContextLost`] if it means that the process has lost its contexts.
pub(super) fn opening(ordinal: u32, error: Error) -> Error {
    match error {
        Error::Driver { call, code, name } if is_fatal(code) => {
            Error::ContextLost { device: Place::Cuda(ordinal), call, code, name }
        }
        error => error,
    }
}

impl Device {
    /// Converts the result of a call in this device's context, and remembers if the context is lost.
    pub(crate) fn check<T>(&self, result: std::result::Result<T, DriverError>) -> Result<T> {
        result.map_err(|error| self.driver_error(error))
    }

    /// Converts the error of a call in this device's context. If it means that the context is lost, it is
    /// remembered, and later calls fail without a call to the driver.
    pub(super) fn driver_error(&self, error: DriverError) -> Error {
        if !is_fatal(error.code) {
            return error.into();
        }
        // Several threads may see the loss at once; the first error is kept.
        self.context_lost(self.inner.lost.get_or_init(|| error))
    }

    /// Fails if the context is lost.
    pub(crate) fn ensure_live(&self) -> Result<()> {
        self.inner.lost.get().map_or(Ok(()), |error| Err(self.context_lost(error)))
    }

    fn context_lost(&self, DriverError { call, code, name }: &DriverError) -> Error {
        Error::ContextLost { device: self.place(), call, code: *code, name: name.clone() }
    }
}

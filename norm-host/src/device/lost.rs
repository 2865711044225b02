//! Contexts that are lost: what the driver says then, and what is remembered of it.

use cuda_driver::{DriverError, sys};

use super::Device;
use crate::{
    error::{Error, Result},
    tensor::Place,
};

/// Results after which the driver gives the same to every further call in that context ([CUresult](
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

/// Whether, after that error, the driver gives it to every further call.
fn is_fatal(code: u32) -> bool {
    FATAL.contains(&code)
}

/// An error of opening a device: that the process has lost its contexts, if that is what it says.
pub(super) fn opening(ordinal: u32, error: Error) -> Error {
    match error {
        Error::Driver { call, code, name } if is_fatal(code) => {
            Error::ContextLost { device: Place::Cuda(ordinal), call, code, name }
        }
        error => error,
    }
}

impl Device {
    /// What the driver returned from a call in this device's context.
    pub(crate) fn check<T>(&self, result: std::result::Result<T, DriverError>) -> Result<T> {
        result.map_err(|error| self.driver_error(error))
    }

    /// A call in this device's context that failed. If that says that the context is lost, no later
    /// call asks the driver again.
    pub(super) fn driver_error(&self, error: DriverError) -> Error {
        if !is_fatal(error.code) {
            return error.into();
        }
        // Of threads that hear of it at once, one is first.
        self.context_lost(self.inner.lost.get_or_init(|| error))
    }

    /// The context, unless it is lost.
    pub(crate) fn ensure_live(&self) -> Result<()> {
        self.inner.lost.get().map_or(Ok(()), |error| Err(self.context_lost(error)))
    }

    fn context_lost(&self, DriverError { call, code, name }: &DriverError) -> Error {
        Error::ContextLost { device: self.place(), call, code: *code, name: name.clone() }
    }
}

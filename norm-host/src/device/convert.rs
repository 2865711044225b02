//! Conversions of the driver's errors to this crate's.

use cuda_driver::{DriverError, NoDriver, sys::CUDA_ERROR_OUT_OF_MEMORY};

use crate::error::Error;

impl From<DriverError> for Error {
    fn from(DriverError { call, code, name }: DriverError) -> Error {
        if code == CUDA_ERROR_OUT_OF_MEMORY {
            return Error::OutOfMemory { call };
        }
        Error::Driver { call, code, name }
    }
}

impl From<NoDriver> for Error {
    fn from(error: NoDriver) -> Error {
        Error::NoDriver { reason: format!("{} cannot be opened ({})", error.library, error.reason) }
    }
}

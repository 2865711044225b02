//! From the errors of the layers below to this crate's.

use cuda_driver::{DriverError, NoDriver, sys::CUresult};
use cust::error::CudaError;

use crate::error::Error;

impl From<DriverError> for Error {
    fn from(DriverError { call, code, name }: DriverError) -> Error {
        if code == CUresult::CUDA_ERROR_OUT_OF_MEMORY as u32 {
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

/// Turns what cust returns from the driver's function `call` into an [`Error`].
pub(crate) fn cust_error(call: &'static str) -> impl Fn(CudaError) -> Error {
    move |error| DriverError::from_cust(call, error as u32).into()
}

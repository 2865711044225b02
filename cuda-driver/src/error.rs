//! A driver call that failed.

use crate::error_text;
use crate::sys::CUDA_ERROR_NOT_SUPPORTED;
use std::fmt;

/// A driver call that returned another code than success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverError {
    /// The function, such as `cuLaunchKernel`.
    pub call: &'static str,
    /// The code it returned (`CUresult`, in the numbers of `cuda.h`).
    pub code: u32,
    /// The code's name and what the driver says about it.
    pub name: String,
}

impl DriverError {
    /// The error for a code that `call` returned.
    pub fn new(call: &'static str, code: u32) -> Self {
        let name = match (error_text::name(code), error_text::description(code)) {
            (Some(name), Some(text)) => format!("{name}, {}", text.to_string_lossy()),
            (Some(name), None) => name,
            (None, _) => "a code that this driver has no name for".to_string(),
        };
        Self { call, code, name }
    }

    /// The error for a code that cust returned from `call`, as the number of its `CudaError`. If that is "unknown" because
    /// cust does not know the driver's code ([`take_unknown_code`](crate::take_unknown_code)), the error has the driver's.
    #[cfg(feature = "cust")]
    pub fn from_cust(call: &'static str, code: u32) -> Self {
        match crate::take_unknown_code() {
            Some(raw) if code == crate::sys::CUDA_ERROR_UNKNOWN => Self::new(call, raw),
            _ => Self::new(call, code),
        }
    }

    /// The error for a function that the driver does not have.
    pub(crate) fn missing(call: &'static str) -> Self {
        Self {
            call,
            code: CUDA_ERROR_NOT_SUPPORTED,
            name: "CUDA_ERROR_NOT_SUPPORTED, this driver has no such function".to_string(),
        }
    }
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed with code {}: {}", self.call, self.code, self.name)
    }
}

impl std::error::Error for DriverError {}

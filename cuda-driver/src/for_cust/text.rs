//! `cuGetErrorString`, which gives a text even without a driver.

use crate::error_text::description;
use crate::sys::{CUDA_ERROR_INVALID_VALUE, CUDA_SUCCESS};
use std::ffi::CStr;
use std::os::raw::{c_char, c_uint};

/// The text for a code that the driver has no text for, and without a driver.
const NO_TEXT: &CStr = c"no description: the CUDA driver is missing or does not know this code";

// SAFETY: libcuda is not linked, so this is the only definition of the name.
/// cust calls this to describe its errors, and panics if it gets no text. So it always gets one.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorString(error: c_uint, text: *mut *const c_char) -> c_uint {
    if text.is_null() {
        return CUDA_ERROR_INVALID_VALUE;
    }
    // SAFETY: cust passes the address of a local pointer.
    unsafe { text.write(description(error).unwrap_or(NO_TEXT).as_ptr()) };
    CUDA_SUCCESS
}

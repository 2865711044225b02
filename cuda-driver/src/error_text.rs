//! Names and descriptions of error codes: `cuGetErrorName` and `cuGetErrorString`.

use crate::driver::opened;
use crate::sys;
use std::ffi::CStr;
use std::os::raw::c_char;

/// The driver's description of a code.
pub(crate) fn description(code: u32) -> Option<&'static CStr> {
    text_of(opened().ok()?.extra.cuGetErrorString?, code)
}

/// The code's name, such as `CUDA_ERROR_INVALID_VALUE`: as the driver has it, or without a driver as `cuda.h` has it.
pub(crate) fn name(code: u32) -> Option<String> {
    let from_driver = opened().ok().and_then(|driver| text_of(driver.extra.cuGetErrorName?, code));
    match from_driver {
        Some(name) => Some(name.to_string_lossy().into_owned()),
        None => sys::name_of(code).map(str::to_string),
    }
}

/// The text that one of the two functions has for a code; `None` if it has none.
fn text_of(
    function: unsafe extern "C" fn(u32, *mut *const c_char) -> u32,
    code: u32,
) -> Option<&'static CStr> {
    let mut text = std::ptr::null();
    // SAFETY: `text` is a local that the function writes; it takes any number as a code.
    let result = unsafe { function(code, &mut text) };
    // SAFETY: on success the driver has written the address of a string that it never frees, and the library stays open
    // until the process ends.
    (result == 0 && !text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

//! `cuGetErrorString` and `cuGetErrorName`.

use crate::driver::opened;
use crate::sys;
use std::ffi::CStr;
use std::os::raw::c_char;

/// The driver's sentence for a code.
pub(crate) fn description(code: u32) -> Option<&'static CStr> {
    ask(opened().ok()?.extra.cuGetErrorString?, code)
}

/// The code's name, such as `CUDA_ERROR_INVALID_VALUE`: the driver's, or that of `cuda.h` where there is no
/// driver.
pub(crate) fn name(code: u32) -> Option<String> {
    let asked = opened().ok().and_then(|driver| ask(driver.extra.cuGetErrorName?, code));
    match asked {
        Some(name) => Some(name.to_string_lossy().into_owned()),
        None => sys::name_of(code).map(str::to_string),
    }
}

fn ask(function: unsafe extern "C" fn(u32, *mut *const c_char) -> u32, code: u32) -> Option<&'static CStr> {
    let mut text = std::ptr::null();
    // SAFETY: `text` is a local. Any number may be asked about.
    let result = unsafe { function(code, &mut text) };
    // SAFETY: with success the driver leaves the address of a string that it never frees; the
    // library stays open until the process ends.
    (result == 0 && !text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

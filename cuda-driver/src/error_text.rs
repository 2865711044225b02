//! `cuGetErrorString` and `cuGetErrorName`: they answer without a driver too.

use crate::code::known;
use crate::driver::opened;
use crate::sys::CUresult;
use std::ffi::CStr;
use std::os::raw::c_char;

/// Text for a code that the driver has none for, or where there is no driver.
const NO_TEXT: &CStr = c"no description: the CUDA driver is missing or does not know this code";

// SAFETY: libcuda is not linked, so this is the only definition of the name.
/// What cust calls to describe its errors. It panics when it gets no text, so it always gets one.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorString(error: CUresult, text: *mut *const c_char) -> CUresult {
    if text.is_null() {
        return CUresult::CUDA_ERROR_INVALID_VALUE;
    }
    // SAFETY: cust passes the address of a local pointer.
    unsafe { text.write(description(error as u32).unwrap_or(NO_TEXT).as_ptr()) };
    CUresult::CUDA_SUCCESS
}

/// The driver's sentence for a code.
pub(crate) fn description(code: u32) -> Option<&'static CStr> {
    ask(opened().ok()?.extra.cuGetErrorString?, code)
}

/// The code's name, such as `CUDA_ERROR_INVALID_VALUE`: the driver's, or cust's where there is no
/// driver.
pub(crate) fn name(code: u32) -> Option<String> {
    let asked = opened().ok().and_then(|driver| ask(driver.extra.cuGetErrorName?, code));
    match asked {
        Some(name) => Some(name.to_string_lossy().into_owned()),
        None => known(code).map(|value| format!("{value:?}")),
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

//! Modules: compiling PTX, and the kernels in it.

use crate::call::call;
use crate::driver::Driver;
use crate::error::DriverError;
use crate::sys::{CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, CUfunction, CUmodule};
use std::ffi::CStr;
use std::fmt;
use std::os::raw::c_void;

/// A module that could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// The call that failed.
    pub error: DriverError,
    /// The log of the driver's compiler; often empty.
    pub log: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.log.as_str() {
            "" => self.error.fmt(f),
            log => write!(f, "{}; the compiler said: {log}", self.error),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl Driver {
    /// Compiles PTX for the current context's device and loads it there.
    pub fn module_load(&self, ptx: &CStr) -> Result<CUmodule, LoadError> {
        let mut module = std::ptr::null_mut();
        let mut log = vec![0_u8; 8192];
        let mut options = [CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        // The second value is a number, which the driver takes in the bits of a pointer.
        let mut values = [log.as_mut_ptr().cast(), std::ptr::without_provenance_mut::<c_void>(log.len())];
        // SAFETY: the PTX ends with a zero, there are as many values as options, and the log is as long as its option says.
        // Everything outlives the call.
        let loaded = unsafe {
            call!(self.common.cuModuleLoadDataEx(
                &mut module,
                ptx.as_ptr().cast(),
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            ))
        };
        match loaded {
            Ok(()) => Ok(module),
            Err(error) => Err(LoadError { error, log: text(&log) }),
        }
    }

    /// Unloads a module.
    ///
    /// # Safety
    /// The module is loaded in the current context. It and its functions are not used afterwards, and none of its kernels
    /// still runs.
    pub unsafe fn module_unload(&self, module: CUmodule) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that the module is loaded, and that nothing of it is used afterwards.
        unsafe { call!(self.common.cuModuleUnload(module)) }
    }

    /// A kernel of a module, by its name. It lives as long as the module.
    ///
    /// # Safety
    /// The module is loaded.
    pub unsafe fn module_function(&self, module: CUmodule, name: &CStr) -> Result<CUfunction, DriverError> {
        let mut function = std::ptr::null_mut();
        // SAFETY: the caller guarantees that the module is loaded; writes one handle.
        unsafe { call!(self.common.cuModuleGetFunction(&mut function, module, name.as_ptr())) }?;
        Ok(function)
    }
}

/// The text of a log, which ends at the first zero.
fn text(log: &[u8]) -> String {
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).trim().to_string()
}

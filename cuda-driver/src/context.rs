//! Contexts: a device's primary one, and which is current on the calling thread.

use crate::driver::{Driver, call};
use crate::error::DriverError;
use crate::sys::{CUcontext, CUdevice};

impl Driver {
    /// The device's primary context, created if need be; it lives until every retain is released.
    pub fn primary_context_retain(&self, device: CUdevice) -> Result<CUcontext, DriverError> {
        let mut context = std::ptr::null_mut();
        // SAFETY: writes one handle.
        unsafe { call!(self.common.cuDevicePrimaryCtxRetain(&mut context, device)) }?;
        Ok(context)
    }

    /// Undoes one [`Driver::primary_context_retain`].
    ///
    /// # Safety
    /// The caller retained it and uses nothing of it afterwards, unless others retain it too.
    pub unsafe fn primary_context_release(&self, device: CUdevice) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        unsafe { call!(self.common.cuDevicePrimaryCtxRelease_v2(device)) }
    }

    /// Destroys what is in the device's primary context, also where it is broken; the next retain gets
    /// a new one
    /// ([cuDevicePrimaryCtxReset](https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__PRIMARY__CTX.html)).
    ///
    /// # Safety
    /// Nobody uses anything of the context afterwards.
    pub unsafe fn primary_context_reset(&self, device: CUdevice) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        unsafe { call!(self.common.cuDevicePrimaryCtxReset_v2(device)) }
    }

    /// The calling thread's current context, null if it has none.
    pub fn context_current(&self) -> Result<CUcontext, DriverError> {
        let mut context = std::ptr::null_mut();
        // SAFETY: writes one handle.
        unsafe { call!(self.common.cuCtxGetCurrent(&mut context)) }?;
        Ok(context)
    }

    /// Makes a context current on the calling thread in place of the one that is.
    ///
    /// # Safety
    /// The context is alive, or null.
    pub unsafe fn context_set_current(&self, context: CUcontext) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        unsafe { call!(self.common.cuCtxSetCurrent(context)) }
    }

    /// Makes a context current on the calling thread, on top of the one that is.
    ///
    /// # Safety
    /// The context is alive.
    pub unsafe fn context_push(&self, context: CUcontext) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        unsafe { call!(self.common.cuCtxPushCurrent_v2(context)) }
    }

    /// Takes the current context away and makes the one below it current; gives the one taken.
    pub fn context_pop(&self) -> Result<CUcontext, DriverError> {
        let mut context = std::ptr::null_mut();
        // SAFETY: writes one handle.
        unsafe { call!(self.common.cuCtxPopCurrent_v2(&mut context)) }?;
        Ok(context)
    }

    /// The device of the current context.
    pub fn context_device(&self) -> Result<CUdevice, DriverError> {
        let mut device = 0;
        // SAFETY: writes one `CUdevice`, an `int`.
        unsafe { call!(self.common.cuCtxGetDevice(&mut device)) }?;
        Ok(device)
    }

    /// Waits until all work of the current context is done; errors of that work come out here.
    pub fn context_synchronize(&self) -> Result<(), DriverError> {
        // SAFETY: takes nothing.
        unsafe { call!(self.common.cuCtxSynchronize()) }
    }
}

//! Contexts: a device's primary context, and the current context of the calling thread.

use crate::call::call;
use crate::driver::Driver;
use crate::error::DriverError;
use crate::sys::{CUcontext, CUdevice};

impl Driver {
    /// Retains the device's primary context, which is created if it does not exist. It lives until every retain is
    /// released.
    pub fn primary_context_retain(&self, device: CUdevice) -> Result<CUcontext, DriverError> {
        let mut context = std::ptr::null_mut();
        // SAFETY: writes one handle.
        unsafe { call!(self.common.cuDevicePrimaryCtxRetain(&mut context, device)) }?;
        Ok(context)
    }

    /// Undoes one [`Driver::primary_context_retain`].
    ///
    /// # Safety
    /// The caller has retained the context. Nothing of it is used afterwards, unless others retain it, too.
    pub unsafe fn primary_context_release(&self, device: CUdevice) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that this undoes a retain of its own, and that nothing of the context is used afterwards.
        unsafe { call!(self.common.cuDevicePrimaryCtxRelease_v2(device)) }
    }

    /// Destroys everything in the device's primary context, even if the context is in an error state; the next retain
    /// creates a new one
    /// ([cuDevicePrimaryCtxReset](https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__PRIMARY__CTX.html)).
    ///
    /// # Safety
    /// Nothing of the context is used afterwards, on any thread.
    pub unsafe fn primary_context_reset(&self, device: CUdevice) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that nothing of the context is used afterwards.
        unsafe { call!(self.common.cuDevicePrimaryCtxReset_v2(device)) }
    }

    /// The calling thread's current context, null if it has none.
    pub fn context_current(&self) -> Result<CUcontext, DriverError> {
        let mut context = std::ptr::null_mut();
        // SAFETY: writes one handle.
        unsafe { call!(self.common.cuCtxGetCurrent(&mut context)) }?;
        Ok(context)
    }

    /// Makes a context current on the calling thread, in place of the current one.
    ///
    /// # Safety
    /// The context is alive, or null.
    pub unsafe fn context_set_current(&self, context: CUcontext) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that the context is alive, or null.
        unsafe { call!(self.common.cuCtxSetCurrent(context)) }
    }

    /// Pushes a context on the calling thread's stack, which makes it current.
    ///
    /// # Safety
    /// The context is alive.
    pub unsafe fn context_push(&self, context: CUcontext) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that the context is alive.
        unsafe { call!(self.common.cuCtxPushCurrent_v2(context)) }
    }

    /// Pops the current context of the calling thread, which makes the one below it current; returns the popped context.
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

    /// Waits until all work of the current context is done. Errors of that work are returned here.
    pub fn context_synchronize(&self) -> Result<(), DriverError> {
        // SAFETY: takes no argument, and fails without a current context.
        unsafe { call!(self.common.cuCtxSynchronize()) }
    }
}

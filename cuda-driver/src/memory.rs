//! Device memory.

use crate::driver::{Driver, call};
use crate::error::DriverError;
use crate::sys::*;
use std::os::raw::c_void;

impl Driver {
    /// Bytes of the current context's device that are free, and all of them.
    pub fn memory_info(&self) -> Result<(usize, usize), DriverError> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: writes two `size_t`.
        unsafe { call!(self.common.cuMemGetInfo_v2(&mut free, &mut total)) }?;
        Ok((free, total))
    }

    /// The number of the device on which the memory at an address lives.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` for memory that the driver does not know.
    pub fn pointer_device(&self, address: CUdeviceptr) -> Result<i32, DriverError> {
        let mut ordinal: i32 = -1;
        let attribute = CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL;
        // SAFETY: writes one `int` for this attribute.
        unsafe { self.pointer_attribute((&raw mut ordinal).cast(), attribute, address) }?;
        Ok(ordinal)
    }

    /// Whether the memory at an address is the host's: pinned memory, for which the driver names a
    /// device all the same. Managed memory, which goes where it is needed, is not.
    pub fn pointer_is_of_host(&self, address: CUdeviceptr) -> Result<bool, DriverError> {
        /// `CU_MEMORYTYPE_HOST`.
        const HOST: u32 = 1;
        let (mut kind, mut managed): (u32, u32) = (0, 0);
        let attribute = CU_POINTER_ATTRIBUTE_MEMORY_TYPE;
        // SAFETY: writes one `CUmemorytype`, an `unsigned int`, for this attribute.
        unsafe { self.pointer_attribute((&raw mut kind).cast(), attribute, address) }?;
        if kind != HOST {
            return Ok(false);
        }
        let attribute = CU_POINTER_ATTRIBUTE_IS_MANAGED;
        // SAFETY: writes one truth value, no wider than an `unsigned int`, for this attribute.
        unsafe { self.pointer_attribute((&raw mut managed).cast(), attribute, address) }?;
        Ok(managed == 0)
    }

    /// The context in which the memory at an address was allocated; null for some kinds of it,
    /// such as stream-ordered allocations.
    pub fn pointer_context(&self, address: CUdeviceptr) -> Result<CUcontext, DriverError> {
        let mut context: CUcontext = std::ptr::null_mut();
        let attribute = CU_POINTER_ATTRIBUTE_CONTEXT;
        // SAFETY: writes one handle for this attribute.
        unsafe { self.pointer_attribute((&raw mut context).cast(), attribute, address) }?;
        Ok(context)
    }

    /// # Safety
    /// `data` has room for the attribute's value.
    unsafe fn pointer_attribute(
        &self,
        data: *mut c_void,
        attribute: u32,
        address: CUdeviceptr,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's promise; the driver looks the address up without following it.
        unsafe { call!(self.extra.cuPointerGetAttribute(data, attribute, address)) }
    }

    /// Copies within or between the memories of devices, when the stream comes to it.
    ///
    /// # Safety
    /// Both ranges are device memory that stays allocated, and untouched by others, until the
    /// stream has done this; the stream is alive, or null with a context current.
    pub unsafe fn copy_async(
        &self,
        to: CUdeviceptr,
        from: CUdeviceptr,
        bytes: usize,
        stream: CUstream,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        unsafe { call!(self.common.cuMemcpyDtoDAsync_v2(to, from, bytes, stream)) }
    }

    /// Copies from the host's memory to a device's, when the stream comes to it.
    ///
    /// # Safety
    /// As [`Driver::copy_async`]; `from` may be read until the stream has done this.
    pub unsafe fn upload_async(
        &self,
        to: CUdeviceptr,
        from: *const c_void,
        bytes: usize,
        stream: CUstream,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        unsafe { call!(self.common.cuMemcpyHtoDAsync_v2(to, from, bytes, stream)) }
    }

    /// Copies from a device's memory to the host's, when the stream comes to it.
    ///
    /// # Safety
    /// As [`Driver::copy_async`]; `to` may be written until the stream has done this.
    pub unsafe fn download_async(
        &self,
        to: *mut c_void,
        from: CUdeviceptr,
        bytes: usize,
        stream: CUstream,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        unsafe { call!(self.common.cuMemcpyDtoHAsync_v2(to, from, bytes, stream)) }
    }
}

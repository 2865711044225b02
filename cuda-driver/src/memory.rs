//! Device memory.

use crate::call::call;
use crate::driver::Driver;
use crate::error::DriverError;
use crate::sys::*;
use std::os::raw::c_void;

impl Driver {
    /// The free and the total memory of the current context's device, in bytes.
    pub fn memory_info(&self) -> Result<(usize, usize), DriverError> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: writes two `size_t`.
        unsafe { call!(self.common.cuMemGetInfo_v2(&mut free, &mut total)) }?;
        Ok((free, total))
    }

    /// The ordinal of the device whose memory an address is of.
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

    /// Whether an address is of pinned host memory, for which [`Driver::pointer_device`] names a device, too. False for
    /// managed memory, which migrates to where it is used.
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

    /// The context in which the memory at an address was allocated; null for some kinds of memory, such as stream-ordered
    /// allocations.
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
        // SAFETY: the caller guarantees room for the attribute's value; the driver looks the address up without following it.
        unsafe { call!(self.extra.cuPointerGetAttribute(data, attribute, address)) }
    }

    /// Enqueues a copy within a device's memory, or between those of two devices.
    ///
    /// # Safety
    /// Both ranges are device memory that stays allocated, and untouched by others, until the copy is done. The stream is
    /// alive, or null with a context current.
    pub unsafe fn copy_async(
        &self,
        to: CUdeviceptr,
        from: CUdeviceptr,
        bytes: usize,
        stream: CUstream,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that the stream is alive, and that both ranges are device memory that stays allocated and
        // untouched by others until the copy is done.
        unsafe { call!(self.common.cuMemcpyDtoDAsync_v2(to, from, bytes, stream)) }
    }

    /// Enqueues a copy from host memory to a device's.
    ///
    /// # Safety
    /// As [`Driver::copy_async`], but that `from` is readable host memory.
    pub unsafe fn upload_async(
        &self,
        to: CUdeviceptr,
        from: *const c_void,
        bytes: usize,
        stream: CUstream,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that the stream is alive, and that both ranges stay allocated and untouched by others until
        // the copy is done.
        unsafe { call!(self.common.cuMemcpyHtoDAsync_v2(to, from, bytes, stream)) }
    }

    /// Enqueues a copy from a device's memory to the host's.
    ///
    /// # Safety
    /// As [`Driver::copy_async`], but that `to` is writable host memory.
    pub unsafe fn download_async(
        &self,
        to: *mut c_void,
        from: CUdeviceptr,
        bytes: usize,
        stream: CUstream,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that the stream is alive, and that both ranges stay allocated and untouched by others until
        // the copy is done.
        unsafe { call!(self.common.cuMemcpyDtoHAsync_v2(to, from, bytes, stream)) }
    }
}

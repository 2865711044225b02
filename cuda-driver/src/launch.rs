//! Launching kernels.

use crate::call::call;
use crate::driver::Driver;
use crate::error::DriverError;
use crate::launch_config::{LaunchAttribute, LaunchConfig};
use crate::sys::{CUfunction, CUstream};
use std::os::raw::c_void;
use std::ptr::null_mut;

/// The geometry of a launch and the stream it goes to.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// Blocks along x, y and z.
    pub grid: (u32, u32, u32),
    /// Threads of a block along x, y and z.
    pub block: (u32, u32, u32),
    /// Dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
    /// The stream to launch on; null is the current context's default stream.
    pub stream: CUstream,
}

impl Driver {
    /// Launches a kernel.
    ///
    /// # Safety
    /// - The function and the stream are alive and of the current context.
    /// - `params` has one pointer for each of the kernel's parameters, each to a value of the
    ///   parameter's type. They are read before this returns.
    /// - What the kernel does with them, until it has ended, is sound: the memory that it accesses stays allocated, say.
    pub unsafe fn launch_kernel(
        &self,
        function: CUfunction,
        launch: &Launch,
        params: &mut [*mut c_void],
    ) -> Result<(), DriverError> {
        let (grid, block) = (launch.grid, launch.block);
        // SAFETY: the caller guarantees that the handles are alive, that `params` are the kernel's parameters, and that what the
        // kernel does with them is sound.
        unsafe {
            call!(self.common.cuLaunchKernel(
                function,
                grid.0,
                grid.1,
                grid.2,
                block.0,
                block.1,
                block.2,
                launch.shared_bytes,
                launch.stream,
                params.as_mut_ptr(),
                null_mut(),
            ))
        }
    }

    /// Launches a kernel with attributes. Drivers older than CUDA 11.8 lack the function.
    ///
    /// # Safety
    /// As [`Driver::launch_kernel`].
    pub unsafe fn launch_kernel_ex(
        &self,
        function: CUfunction,
        launch: &Launch,
        attributes: &mut [LaunchAttribute],
        params: &mut [*mut c_void],
    ) -> Result<(), DriverError> {
        let config = LaunchConfig {
            grid: launch.grid.into(),
            block: launch.block.into(),
            shared_bytes: launch.shared_bytes,
            stream: launch.stream,
            attributes: attributes.as_mut_ptr(),
            attribute_count: u32::try_from(attributes.len()).unwrap_or(u32::MAX),
        };
        // SAFETY: the caller guarantees that the handles are alive, that `params` are the kernel's parameters, and that what the
        // kernel does with them is sound; the attributes are counted and outlive the call.
        unsafe { call!(self.extra.cuLaunchKernelEx(&config, function, params.as_mut_ptr(), null_mut())) }
    }

    /// One of a function's properties (`CUfunction_attribute`): registers, shared and local memory in bytes.
    ///
    /// # Safety
    /// The function's module is loaded.
    pub unsafe fn function_attribute(
        &self,
        function: CUfunction,
        attribute: u32,
    ) -> Result<i32, DriverError> {
        let mut value = 0;
        // SAFETY: the caller guarantees that the function's module is loaded; writes one `int`.
        unsafe { call!(self.common.cuFuncGetAttribute(&mut value, attribute, function)) }?;
        Ok(value)
    }

    /// Raises the limit of dynamic shared memory for launches of a function to `bytes`. By default it is what static shared
    /// memory leaves of 48 KiB.
    ///
    /// # Safety
    /// The function's module is loaded.
    pub unsafe fn allow_shared_memory(&self, function: CUfunction, bytes: u32) -> Result<(), DriverError> {
        const MAX_DYNAMIC_SHARED_SIZE_BYTES: u32 = 8;
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        // SAFETY: the caller guarantees that the function's module is loaded.
        unsafe { call!(self.extra.cuFuncSetAttribute(function, MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes)) }
    }

    /// Allows launches of a function in clusters of more than 8 blocks, the size that every device with clusters supports.
    ///
    /// # Safety
    /// The function's module is loaded.
    pub unsafe fn allow_large_clusters(&self, function: CUfunction) -> Result<(), DriverError> {
        const NON_PORTABLE_CLUSTER_SIZE_ALLOWED: u32 = 14;
        // SAFETY: the caller guarantees that the function's module is loaded.
        unsafe { call!(self.extra.cuFuncSetAttribute(function, NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1)) }
    }
}

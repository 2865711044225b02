//! Launching kernels.

use crate::driver::{Driver, call};
use crate::error::DriverError;
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
    /// Where it goes; null is the current context's default stream.
    pub stream: CUstream,
}

/// One option of an extended launch (`CUlaunchAttribute`): clusters, programmatic dependent launch.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct LaunchAttribute {
    id: u32,
    padding: u32,
    /// The C union, 64 bytes.
    value: [u32; 16],
    alignment: [u64; 0],
}

impl LaunchAttribute {
    /// Blocks of a cluster along x, y and z (compute capability 9.0 on).
    pub fn cluster(x: u32, y: u32, z: u32) -> Self {
        const CLUSTER_DIMENSION: u32 = 4;
        Self::new(CLUSTER_DIMENSION, [x, y, z])
    }

    /// Lets the kernel start before the one in front of it in the stream has ended; the kernel
    /// itself waits where it needs that one's results (compute capability 9.0 on).
    pub fn programmatic_serialization() -> Self {
        const PROGRAMMATIC_STREAM_SERIALIZATION: u32 = 6;
        Self::new(PROGRAMMATIC_STREAM_SERIALIZATION, [1, 0, 0])
    }

    fn new(id: u32, [a, b, c]: [u32; 3]) -> Self {
        let mut value = [0; 16];
        value[..3].copy_from_slice(&[a, b, c]);
        Self { id, padding: 0, value, alignment: [] }
    }
}

/// `CUlaunchConfig`.
#[repr(C)]
pub(crate) struct LaunchConfig {
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    stream: CUstream,
    attributes: *mut LaunchAttribute,
    attribute_count: u32,
}

impl Driver {
    /// Launches a kernel.
    ///
    /// # Safety
    /// - The function and the stream are alive and of the current context.
    /// - `params` has one pointer for each of the kernel's parameters, each to a value of the
    ///   parameter's type. They are read before this returns.
    /// - What the kernel does with them is sound, until it has ended.
    pub unsafe fn launch_kernel(
        &self,
        function: CUfunction,
        launch: &Launch,
        params: &mut [*mut c_void],
    ) -> Result<(), DriverError> {
        let (grid, block) = (launch.grid, launch.block);
        // SAFETY: the caller's promise.
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

    /// Launches a kernel with attributes. Drivers before CUDA 11.8 lack the call.
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
        // SAFETY: the caller's promise; the attributes are counted and outlive the call.
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
        // SAFETY: the caller's promise; writes one `int`.
        unsafe { call!(self.common.cuFuncGetAttribute(&mut value, attribute, function)) }?;
        Ok(value)
    }

    /// Lets launches of a function have so much dynamic shared memory; without, it is what is left
    /// of 48 KiB.
    ///
    /// # Safety
    /// The function's module is loaded.
    pub unsafe fn allow_shared_memory(&self, function: CUfunction, bytes: u32) -> Result<(), DriverError> {
        const MAX_DYNAMIC_SHARED_SIZE_BYTES: u32 = 8;
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        // SAFETY: the caller's promise.
        unsafe { call!(self.extra.cuFuncSetAttribute(function, MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes)) }
    }

    /// Lets launches of a function have clusters of more than the 8 blocks that every device with
    /// clusters takes.
    ///
    /// # Safety
    /// The function's module is loaded.
    pub unsafe fn allow_large_clusters(&self, function: CUfunction) -> Result<(), DriverError> {
        const NON_PORTABLE_CLUSTER_SIZE_ALLOWED: u32 = 14;
        // SAFETY: the caller's promise.
        unsafe { call!(self.extra.cuFuncSetAttribute(function, NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1)) }
    }
}

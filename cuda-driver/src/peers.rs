//! Memory that several devices, or several processes, reach.

use crate::call::call;
use crate::driver::Driver;
use crate::error::DriverError;
use crate::sys::{CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, CUcontext, CUdevice, CUdeviceptr, CUipcMemHandle};
use std::os::raw::c_void;

impl Driver {
    /// Whether a device can reach the memory of another one
    /// ([cuDeviceCanAccessPeer](https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__PEER__ACCESS.html)).
    pub fn can_access_peer(&self, device: CUdevice, peer: CUdevice) -> Result<bool, DriverError> {
        let mut can_access = 0;
        // SAFETY: writes one `int`.
        unsafe { call!(self.extra.cuDeviceCanAccessPeer(&mut can_access, device, peer)) }?;
        Ok(can_access != 0)
    }

    /// Lets the current context reach all memory of another device's context that `cuMemAlloc` has given out, or will. It stays
    /// so until either context ends; a second call changes nothing.
    ///
    /// # Safety
    /// The other context is alive.
    pub unsafe fn enable_peer_access(&self, peer: CUcontext) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that the context is alive.
        match unsafe { call!(self.extra.cuCtxEnablePeerAccess(peer, 0)) } {
            Err(error) if error.code == CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED => Ok(()),
            result => result,
        }
    }

    /// Allocates memory of the current context's device, with an alignment of at least 256 bytes.
    pub fn memory_allocate(&self, bytes: usize) -> Result<CUdeviceptr, DriverError> {
        let mut address = 0;
        // SAFETY: writes one address.
        unsafe { call!(self.common.cuMemAlloc_v2(&mut address, bytes)) }?;
        Ok(address)
    }

    /// Frees memory of [`Driver::memory_allocate`]. Waits for work that uses it.
    ///
    /// # Safety
    /// Nothing uses the memory from now on, in other processes neither.
    pub unsafe fn memory_free(&self, address: CUdeviceptr) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that nothing uses the memory any more.
        unsafe { call!(self.common.cuMemFree_v2(address)) }
    }

    /// Sets bytes of a device's memory to 0, and waits for that.
    ///
    /// # Safety
    /// The bytes are memory of the current context's device that nothing else uses meanwhile.
    pub unsafe fn memory_clear(&self, address: CUdeviceptr, bytes: usize) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that the bytes are the device's and that nothing else uses them.
        unsafe {
            call!(self.common.cuMemsetD8_v2(address, 0, bytes))?;
            call!(self.common.cuCtxSynchronize())
        }
    }

    /// Allocates memory of the host that every device reaches at the host's address.
    pub fn host_memory_allocate(&self, bytes: usize) -> Result<*mut c_void, DriverError> {
        let mut address = std::ptr::null_mut();
        // SAFETY: writes one address.
        unsafe { call!(self.common.cuMemAllocHost_v2(&mut address, bytes)) }?;
        Ok(address)
    }

    /// Frees memory of [`Driver::host_memory_allocate`].
    ///
    /// # Safety
    /// Nothing uses the memory from now on.
    pub unsafe fn host_memory_free(&self, address: *mut c_void) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that nothing uses the memory any more.
        unsafe { call!(self.common.cuMemFreeHost(address)) }
    }

    /// What another process opens to reach an allocation of [`Driver::memory_allocate`]
    /// ([cuIpcGetMemHandle](https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__MEM.html)).
    pub fn ipc_handle(&self, address: CUdeviceptr) -> Result<CUipcMemHandle, DriverError> {
        let mut handle = CUipcMemHandle { reserved: [0; 64] };
        // SAFETY: writes one handle; the driver looks the address up without following it.
        unsafe { call!(self.extra.cuIpcGetMemHandle(&mut handle, address)) }?;
        Ok(handle)
    }

    /// Opens another process's allocation for the current context, and lets that reach the device that it is on.
    ///
    /// # Safety
    /// The handle came from [`Driver::ipc_handle`] of another process, and the memory stays allocated until
    /// [`Driver::ipc_close`].
    pub unsafe fn ipc_open(&self, handle: CUipcMemHandle) -> Result<CUdeviceptr, DriverError> {
        /// `CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS`.
        const LAZY_ENABLE_PEER_ACCESS: u32 = 1;
        let mut address = 0;
        // SAFETY: writes one address; the caller guarantees the handle.
        unsafe { call!(self.extra.cuIpcOpenMemHandle_v2(&mut address, handle, LAZY_ENABLE_PEER_ACCESS)) }?;
        Ok(address)
    }

    /// Closes what [`Driver::ipc_open`] has opened for the current context.
    ///
    /// # Safety
    /// Nothing uses the memory at this address from now on.
    pub unsafe fn ipc_close(&self, address: CUdeviceptr) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that nothing uses the address any more.
        unsafe { call!(self.extra.cuIpcCloseMemHandle(address)) }
    }
}

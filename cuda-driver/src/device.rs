//! Properties of the driver and its devices.

use crate::call::call;
use crate::driver::Driver;
use crate::error::DriverError;
use crate::sys::CUdevice;
use std::ffi::CStr;

impl Driver {
    /// Initializes the driver. Further calls have no effect
    /// ([cuInit](https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__INITIALIZE.html)).
    pub fn init(&self) -> Result<(), DriverError> {
        // SAFETY: takes only flags, which are 0.
        unsafe { call!(self.common.cuInit(0)) }
    }

    /// The CUDA version that the driver supports, as `(major, minor)`.
    pub fn version(&self) -> Result<(u32, u32), DriverError> {
        let mut version = 0;
        // SAFETY: writes one `int`.
        unsafe { call!(self.common.cuDriverGetVersion(&mut version)) }?;
        let version = version.unsigned_abs();
        Ok((version / 1000, version % 1000 / 10))
    }

    /// The number of devices.
    pub fn device_count(&self) -> Result<u32, DriverError> {
        let mut count = 0;
        // SAFETY: writes one `int`.
        unsafe { call!(self.common.cuDeviceGetCount(&mut count)) }?;
        Ok(count.unsigned_abs())
    }

    /// The handle of a device, given its ordinal below [`Driver::device_count`].
    pub fn device(&self, ordinal: u32) -> Result<CUdevice, DriverError> {
        let mut device = 0;
        let ordinal = i32::try_from(ordinal).unwrap_or(i32::MAX);
        // SAFETY: writes one `CUdevice`, an `int`.
        unsafe { call!(self.common.cuDeviceGet(&mut device, ordinal)) }?;
        Ok(device)
    }

    /// The device's name, such as `NVIDIA H200`.
    pub fn device_name(&self, device: CUdevice) -> Result<String, DriverError> {
        let mut name = [0; 256];
        // SAFETY: writes at most 255 bytes, as its argument says, so that the last of the 256 stays zero.
        unsafe { call!(self.common.cuDeviceGetName(name.as_mut_ptr(), 255, device)) }?;
        // SAFETY: the last byte of the array is zero, as the driver was given one byte less.
        Ok(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
    }

    /// One of the device's properties (`CUdevice_attribute`).
    pub fn device_attribute(&self, device: CUdevice, attribute: u32) -> Result<i32, DriverError> {
        let mut value = 0;
        // SAFETY: writes one `int`.
        unsafe { call!(self.common.cuDeviceGetAttribute(&mut value, attribute, device)) }?;
        Ok(value)
    }

    /// The size of the device's memory in bytes.
    pub fn device_memory(&self, device: CUdevice) -> Result<usize, DriverError> {
        let mut bytes = 0;
        // SAFETY: writes one `size_t`.
        unsafe { call!(self.common.cuDeviceTotalMem_v2(&mut bytes, device)) }?;
        Ok(bytes)
    }
}

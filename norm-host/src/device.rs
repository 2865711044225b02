//! A CUDA device, its primary context and the kernels loaded there.

mod convert;
mod current;
mod kernels;

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use cuda_driver::{Driver, sys};
use cust::{
    CudaFlags,
    context::Context,
    device::{Device as CustDevice, DeviceAttribute},
};

pub(crate) use convert::cust_error;
pub use current::Current;
use kernels::Kernels;
use norm_kernels::abi::Limits;

use crate::{
    error::{Error, Result},
    ptx::{self, Ptx},
    tensor::Place,
};

/// A CUDA device.
///
/// A handle: copies and later calls of [`Device::new`] for the same ordinal stand for one device,
/// with one set of loaded kernels. It uses the device's primary context, as the CUDA runtime,
/// cudarc and PyTorch do, so memory and streams of theirs can be used with it.
///
/// The context and the kernels stay until the process ends. They are not given back with the
/// last handle, because streams that others own, and graphs, may still run kernels then; to
/// unload those one would have to wait for everything the process does on the device.
#[derive(Clone, Copy)]
pub struct Device {
    inner: &'static Inner,
}

struct Inner {
    ordinal: u32,
    name: String,
    capability: (u32, u32),
    context: Context,
    driver: &'static Driver,
    ptx: &'static [Ptx],
    kernels: Kernels,
}

static DEVICES: Mutex<Vec<&'static Inner>> = Mutex::new(Vec::new());

impl Device {
    /// Number of CUDA devices: 0 too where there is a driver without any.
    ///
    /// # Errors
    ///
    /// [`NoDriver`](Error::NoDriver), or what the driver refuses.
    pub fn count() -> Result<u32> {
        let driver = cuda_driver::driver()?;
        match driver.init() {
            Err(error) if error.code == sys::CUresult::CUDA_ERROR_NO_DEVICE as u32 => return Ok(0),
            result => result?,
        }
        Ok(driver.device_count()?)
    }

    /// The device of a number below [`Device::count`]. The first call for a device creates its
    /// primary context, unless the process has it already; which context is current stays.
    ///
    /// # Errors
    ///
    /// [`NoDriver`](Error::NoDriver), [`NoDevice`](Error::NoDevice), or what the driver refuses.
    pub fn new(ordinal: u32) -> Result<Device> {
        Device::with_ptx(ordinal, &ptx::EMBEDDED)
    }

    /// As [`Device::new`], but with kernels from `ptx`, lowest capability first, in place of those
    /// that are embedded. One device can have handles with kernels of several sets; the handles are
    /// equal, and share its context.
    ///
    /// # Errors
    ///
    /// As [`Device::new`]. That a set lacks a kernel, or suits no such device, shows when a kernel is
    /// loaded.
    pub fn with_ptx(ordinal: u32, ptx: &'static [Ptx]) -> Result<Device> {
        let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |device: &&&Inner| device.ordinal == ordinal && std::ptr::eq(device.ptx, ptx);
        if let Some(inner) = devices.iter().find(same) {
            return Ok(Device { inner });
        }
        let inner: &'static Inner = Box::leak(Box::new(Inner::open(ordinal, ptx)?));
        devices.push(inner);
        Ok(Device { inner })
    }

    /// Its number.
    pub fn ordinal(&self) -> u32 {
        self.inner.ordinal
    }

    /// Its name, such as `NVIDIA H200`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its compute capability, major and minor.
    pub fn capability(&self) -> (u32, u32) {
        self.inner.capability
    }

    /// The PTX that its kernels are loaded from.
    ///
    /// # Errors
    ///
    /// [`Capability`](Error::Capability) where there is none for such a device.
    pub fn ptx(&self) -> Result<Ptx> {
        ptx::for_capability(self.inner.ptx, self.capability())
    }

    /// What it lets a kernel use, which decides how rows are laid out there.
    pub fn limits(&self) -> Limits {
        Limits::of_capability(self.capability())
    }

    /// Where its memory is.
    pub fn place(&self) -> Place {
        Place::Cuda(self.inner.ordinal)
    }

    /// Makes the device's context current on the calling thread until the guard is dropped; then
    /// the one that was current is again.
    ///
    /// # Errors
    ///
    /// What the driver refuses.
    pub fn enter(&self) -> Result<Current> {
        // SAFETY: the primary context is retained and never released.
        unsafe { Current::enter(self.driver(), self.context()) }
    }

    pub(crate) fn driver(&self) -> &'static Driver {
        self.inner.driver
    }

    pub(crate) fn context(&self) -> sys::CUcontext {
        self.inner.context.as_raw()
    }
}

impl Inner {
    fn open(ordinal: u32, ptx: &'static [Ptx]) -> Result<Inner> {
        let count = Device::count()?;
        if ordinal >= count {
            return Err(Error::NoDevice { ordinal, count });
        }
        let driver = cuda_driver::driver()?;
        cust::init(CudaFlags::empty()).map_err(cust_error("cuInit"))?;
        let device = CustDevice::get_device(ordinal).map_err(cust_error("cuDeviceGet"))?;
        let attribute = |attribute| match device.get_attribute(attribute) {
            Ok(value) => Ok(value.unsigned_abs()),
            Err(error) => Err(cust_error("cuDeviceGetAttribute")(error)),
        };
        let capability = (
            attribute(DeviceAttribute::ComputeCapabilityMajor)?,
            attribute(DeviceAttribute::ComputeCapabilityMinor)?,
        );
        let name = device.name().map_err(cust_error("cuDeviceGetName"))?;

        // cust leaves the context it retains current.
        let before = driver.context_current()?;
        let context = Context::new(device).map_err(cust_error("cuDevicePrimaryCtxRetain"))?;
        // SAFETY: it was current until now, so it is alive, or null.
        unsafe { driver.context_set_current(before) }?;
        Ok(Inner { ordinal, name, capability, context, driver, ptx, kernels: Kernels::default() })
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Device) -> bool {
        self.inner.ordinal == other.inner.ordinal
    }
}

impl Eq for Device {}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.place(), self.inner.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{graph::Graph, stream::Stream, tp::TpContext};

    const fn is_shared<T: Send + Sync>() {}
    const fn is_sent<T: Send>() {}

    // These hold or this does not compile.
    const _: () = is_shared::<Device>();
    const _: () = is_shared::<Stream>();
    const _: () = is_shared::<TpContext>();
    const _: () = is_sent::<Graph>();
}

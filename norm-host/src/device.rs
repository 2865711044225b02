//! A CUDA device, its primary context and the kernels loaded there.

mod context;
mod convert;
mod fit;
mod kernels;
mod lost;

use std::{
    fmt, ptr,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicPtr, Ordering},
    },
};

pub use context::ContextGuard;
pub(crate) use context::RestoreContext;
use cuda_driver::{
    Driver, DriverError,
    sys::{self, CUcontext},
};
use kernels::Kernels;

use crate::{
    error::{Error, Result},
    plan::DeviceProfile,
    ptx::{self, Ptx},
    tensor::Place,
};

/// A CUDA device.
///
/// This is a handle: its copies, and later calls of [`Device::new`] for the same ordinal, refer to one device
/// with one set of loaded kernels. It uses the device's primary context, as the CUDA runtime,
/// cudarc and PyTorch do, so that memory and streams of theirs can be used with it.
///
/// The context and the kernels live until the process ends. They are not released with the last
/// handle, because borrowed streams and graphs may still run the kernels then; unloading them would
/// have to wait for all work of the process on the device.
///
/// If the context is lost, because a kernel of the process trapped or accessed an invalid address,
/// every call through this handle, and through its streams and graphs, returns
/// [`ContextLost`](Error::ContextLost) from then on. [`Device::new`] then asks the driver for a new
/// context. Drivers of CUDA 13 refuse one to a process in which a kernel trapped, with the same
/// error: a new process has to take over (CUDA driver API, `CUDA_ERROR_LAUNCH_FAILED`).
#[doc(alias = "GPU")]
#[doc(alias = "CUDA device")]
#[derive(Clone, Copy)]
pub struct Device {
    inner: &'static Inner,
    profile: DeviceProfile,
}

struct Inner {
    ordinal: u32,
    name: String,
    capability: (u32, u32),
    /// All that the device has.
    profile: DeviceProfile,
    context: Primary,
    driver: &'static Driver,
    /// The PTX texts that it was opened with.
    set: &'static [Ptx],
    /// The one of them that its kernels are loaded from.
    ptx: Ptx,
    kernels: Kernels,
    /// The driver's error by which the context was lost; shared by all handles of that context.
    lost: &'static OnceLock<DriverError>,
}

/// A device's primary context, retained and never released.
struct Primary(CUcontext);

// SAFETY: any thread may use a context (CUDA driver API).
unsafe impl Send for Primary {}
// SAFETY: several threads may use a context at the same time (CUDA driver API).
unsafe impl Sync for Primary {}

/// One entry for each device and set of PTX. Entries of a lost context are removed when the device is opened again.
static DEVICES: Mutex<Vec<&'static Inner>> = Mutex::new(Vec::new());

/// The entries of the lowest ordinals with the embedded PTX, null until they are open. [`Device::new`] reads them without
/// the lock of [`DEVICES`], because engines call it for every norm.
static OPEN: [AtomicPtr<Inner>; 16] = [const { AtomicPtr::new(ptr::null_mut()) }; 16];

impl Device {
    /// The number of CUDA devices; 0 also where there is a driver but no device.
    ///
    /// # Errors
    ///
    /// [`NoDriver`](Error::NoDriver), or what the driver refuses.
    pub fn count() -> Result<u32> {
        let driver = cuda_driver::driver()?;
        match driver.init() {
            Err(error) if error.code == sys::CUDA_ERROR_NO_DEVICE => return Ok(0),
            result => result?,
        }
        Ok(driver.device_count()?)
    }

    /// The device with this ordinal, which is below [`Device::count`]. The first call for a device creates its
    /// primary context, unless the process already has it. The calling thread's current context does not change.
    ///
    /// If the context was lost, the primary context is reset and a new one is created, unless the driver refuses that
    /// to this process. The new context has no kernels loaded yet. Memory and streams of the old one were already lost.
    ///
    /// # Errors
    ///
    /// [`NoDriver`](Error::NoDriver), [`NoDevice`](Error::NoDevice), [`Capability`](Error::Capability) and
    /// [`DriverTooOld`](Error::DriverTooOld) where the device or the driver cannot run the kernels,
    /// [`OutOfMemory`](Error::OutOfMemory), [`ContextLost`](Error::ContextLost) where the driver refuses
    /// this process a new context, and whatever else the driver refuses.
    pub fn new(ordinal: u32) -> Result<Device> {
        let slot = OPEN.get(ordinal as usize);
        // SAFETY: null, or stored below from a reference that lives as long as the process.
        let open: Option<&'static Inner> =
            slot.and_then(|slot| unsafe { slot.load(Ordering::Acquire).as_ref() });
        if let Some(open) = open.filter(|open| open.lost.get().is_none()) {
            return Ok(open.handle());
        }
        let device = Device::with_ptx(ordinal, &ptx::EMBEDDED)?;
        if let Some(slot) = slot {
            // If another thread stores a device whose context was lost after this one, the next call comes here again.
            slot.store(ptr::from_ref(device.inner).cast_mut(), Ordering::Release);
        }
        Ok(device)
    }

    /// As [`Device::new`], but with kernels from `ptx`, lowest capability first, in place of those
    /// that are embedded. One device can have handles with kernels of several sets. Such handles compare equal, as
    /// do those with another [profile](Device::with_profile): they share a context, so that a graph captured through
    /// one can be launched on a stream of another, and a context lost for one is lost for all.
    ///
    /// # Errors
    ///
    /// As for [`Device::new`]; [`Target`](Error::Target) where the set is only for other devices;
    /// [`OtherKernels`](Error::OtherKernels), [`Bundle`](Error::Bundle), [`DuplicateKernel`](Error::DuplicateKernel) and
    /// [`StrayPseudoInstruction`](Error::StrayPseudoInstruction) where it cannot be read, as [`Ptx::cuda`] says. A fault in a
    /// single kernel is reported when that kernel is loaded: [`KernelMissing`](Error::KernelMissing),
    /// [`Template`](Error::Template), or [`Load`](Error::Load) where the driver's compiler rejects it.
    pub fn with_ptx(ordinal: u32, ptx: &'static [Ptx]) -> Result<Device> {
        let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
        let open = devices.iter().find(|inner| inner.ordinal == ordinal);
        let mut lost = open.map(|inner| inner.lost);
        if let Some(first) = open.filter(|inner| inner.lost.get().is_some()) {
            let device = first.driver.device(ordinal)?;
            // SAFETY: the context is lost, so that the driver fails every call with an object of it. Handles of this
            // crate make no such calls: `ensure_live` refuses them.
            let reset = unsafe { first.driver.primary_context_reset(device) };
            reset.map_err(|error| lost::opening(ordinal, error.into()))?;
            devices.retain(|inner| inner.ordinal != ordinal);
            lost = None;
        }
        let same = |inner: &&&Inner| inner.ordinal == ordinal && std::ptr::eq(inner.set, ptx);
        if let Some(inner) = devices.iter().find(same) {
            return Ok(inner.handle());
        }
        let inner = Inner::open(ordinal, ptx, lost).map_err(|error| lost::opening(ordinal, error))?;
        devices.push(inner);
        Ok(inner.handle())
    }

    /// The device's number, from 0.
    pub fn ordinal(&self) -> u32 {
        self.inner.ordinal
    }

    /// The device's name, such as `NVIDIA H200`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The number of its multiprocessors.
    pub(crate) fn multiprocessors(&self) -> Result<u32> {
        let driver = self.driver();
        let attribute = sys::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        Ok(driver.device_attribute(driver.device(self.ordinal())?, attribute)?.unsigned_abs())
    }

    /// The device's compute capability, major and minor.
    pub fn capability(&self) -> (u32, u32) {
        self.inner.capability
    }

    /// The PTX that the kernels are loaded from.
    pub fn ptx(&self) -> Ptx {
        self.inner.ptx
    }

    /// The resources that kernels may use through this handle, and the properties they are selected by: all that the
    /// device has, unless the handle comes from [`with_profile`](Device::with_profile).
    pub fn profile(&self) -> DeviceProfile {
        self.profile
    }

    /// The same device through a handle whose kernels use no more than `profile` says, nor more than the device has,
    /// and are selected by the short grid and the memory rate of `profile`.
    ///
    /// With [`DeviceProfile::LEAST`] rows are divided and summed in the same way on every device.
    #[must_use]
    pub fn with_profile(self, profile: DeviceProfile) -> Device {
        let all = self.inner.profile;
        let profile = DeviceProfile {
            // Clusters are powers of two.
            max_cluster: 1 << profile.max_cluster.clamp(1, all.max_cluster).ilog2(),
            max_shared_bytes: profile.max_shared_bytes.min(all.max_shared_bytes),
            dependent_launch: profile.dependent_launch && all.dependent_launch,
            short_grid: profile.short_grid,
            memory_bytes_per_clock: profile.memory_bytes_per_clock,
        };
        Device { profile, ..self }
    }

    /// The place of the device's memory.
    pub fn place(&self) -> Place {
        Place::Cuda(self.inner.ordinal)
    }

    /// Makes the device's context current on the calling thread until the guard is dropped, which restores the
    /// previous one.
    ///
    /// # Errors
    ///
    /// [`ContextLost`](Error::ContextLost), and what the driver refuses.
    pub fn enter(&self) -> Result<ContextGuard> {
        self.ensure_live()?;
        // SAFETY: the primary context is retained and never released.
        unsafe { ContextGuard::enter(self.driver(), self.context()) }
    }

    pub(crate) fn driver(&self) -> &'static Driver {
        self.inner.driver
    }

    pub(crate) fn context(&self) -> CUcontext {
        self.inner.context.0
    }
}

impl Inner {
    fn handle(&'static self) -> Device {
        Device { inner: self, profile: self.profile }
    }

    /// Opens the device until the process ends. If its context is already open with other PTX, `lost` is that
    /// context's.
    fn open(
        ordinal: u32,
        set: &'static [Ptx],
        lost: Option<&'static OnceLock<DriverError>>,
    ) -> Result<&'static Inner> {
        let count = Device::count()?;
        if ordinal >= count {
            return Err(Error::NoDevice { ordinal, count });
        }
        let driver = cuda_driver::driver()?;
        let device = driver.device(ordinal)?;
        let attribute = |attribute| driver.device_attribute(device, attribute).map(i32::unsigned_abs);
        let capability = (
            attribute(sys::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(sys::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        // Before anything is created on the device: whether it can run the kernels.
        let ptx = fit::text(set, capability, driver.version()?)?;
        let profile = fit::profile(capability, &ptx);
        let memory = fit::memory_bytes_per_clock([
            attribute(sys::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?,
            attribute(sys::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?,
            attribute(sys::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?,
            attribute(sys::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        ]);
        let memory_bytes_per_clock = memory.unwrap_or(profile.memory_bytes_per_clock);
        let profile = DeviceProfile { memory_bytes_per_clock, ..profile };
        let name = driver.device_name(device)?;

        let context = Primary(driver.primary_context_retain(device)?);
        let kernels = Kernels::default();
        let lost = lost.unwrap_or_else(|| Box::leak(Box::default()));
        Ok(Box::leak(Box::new(Inner {
            ordinal,
            name,
            capability,
            profile,
            context,
            driver,
            set,
            ptx,
            kernels,
            lost,
        })))
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Device) -> bool {
        // Each context has its own `lost`: a device that was opened again after a loss differs from the lost one.
        std::ptr::eq(self.inner.lost, other.inner.lost)
    }
}

impl Eq for Device {}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.place(), self.inner.name)
    }
}

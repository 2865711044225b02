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
/// A handle: copies and later calls of [`Device::new`] for the same ordinal stand for one device,
/// with one set of loaded kernels. It uses the device's primary context, as the CUDA runtime,
/// cudarc and PyTorch do, so memory and streams of theirs can be used with it.
///
/// The context and the kernels stay until the process ends. They are not given back with the
/// last handle, because streams that others own, and graphs, may still run kernels then; to
/// unload those one would have to wait for everything the process does on the device.
///
/// If the context is lost, because a kernel of the process trapped or reached for memory that is not
/// there, every call through this handle, and through streams and graphs of it, is
/// [`ContextLost`](Error::ContextLost) from then on. [`Device::new`] then asks the driver for a new
/// context. Drivers of CUDA 13 give none to a process that had a kernel trap, and say so in the same
/// error: then a new process has to take over (CUDA driver API, `CUDA_ERROR_LAUNCH_FAILED`).
#[derive(Clone, Copy)]
pub struct Device {
    inner: &'static Inner,
    profile: DeviceProfile,
}

struct Inner {
    ordinal: u32,
    name: String,
    capability: (u32, u32),
    /// What it has, all of it.
    profile: DeviceProfile,
    context: Primary,
    driver: &'static Driver,
    /// The texts that it was opened with.
    set: &'static [Ptx],
    /// Which of them its kernels are loaded from.
    ptx: Ptx,
    kernels: Kernels,
    /// What the driver said when the context was lost; one for all that is open in that context.
    lost: &'static OnceLock<DriverError>,
}

/// A device's primary context, retained and never released.
struct Primary(CUcontext);

// SAFETY: a handle that the driver lets any thread use.
unsafe impl Send for Primary {}
// SAFETY: the driver also lets several threads use the handle at a time.
unsafe impl Sync for Primary {}

/// One entry for each device and set of PTX; where a context was lost, those that came after.
static DEVICES: Mutex<Vec<&'static Inner>> = Mutex::new(Vec::new());

/// Those of the lowest ordinals with the embedded PTX, once they are open, so that [`Device::new`] takes no lock for them:
/// engines call it for every norm.
static OPEN: [AtomicPtr<Inner>; 16] = [const { AtomicPtr::new(ptr::null_mut()) }; 16];

impl Device {
    /// Number of CUDA devices: 0 too where there is a driver without any.
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

    /// The device of a number below [`Device::count`]. The first call for a device creates its
    /// primary context, unless the process has it already; which context is current stays.
    ///
    /// If the context was lost, the primary context is reset and a new one is created, with all
    /// kernels still to be loaded, where the driver gives a new one to this process. What others hold
    /// of the old one was lost before.
    ///
    /// # Errors
    ///
    /// [`NoDriver`](Error::NoDriver), [`NoDevice`](Error::NoDevice), [`Capability`](Error::Capability) and
    /// [`DriverTooOld`](Error::DriverTooOld) where the device or the driver cannot take the kernels,
    /// [`OutOfMemory`](Error::OutOfMemory), [`ContextLost`](Error::ContextLost) where the driver gives
    /// this process no context any more, or what else it refuses.
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
            // Should another thread have stored a device since whose context is lost, the next call comes here again.
            slot.store(ptr::from_ref(device.inner).cast_mut(), Ordering::Release);
        }
        Ok(device)
    }

    /// As [`Device::new`], but with kernels from `ptx`, lowest capability first, in place of those
    /// that are embedded. One device can have handles with kernels of several sets. They are equal, as
    /// those with another [profile](Device::with_profile) are: they stand for the same context, so that what
    /// one has captured the other's streams launch, and what is lost for one is lost for all.
    ///
    /// # Errors
    ///
    /// As [`Device::new`]; [`Target`](Error::Target) where the set is for other devices alone;
    /// [`OtherKernels`](Error::OtherKernels), [`Bundle`](Error::Bundle), [`DuplicateKernel`](Error::DuplicateKernel) and
    /// [`StrayPseudoInstruction`](Error::StrayPseudoInstruction) where it cannot be read, as [`Ptx::cuda`] says. What is
    /// wrong with one kernel alone shows when that is loaded: [`KernelMissing`](Error::KernelMissing),
    /// [`Template`](Error::Template), or [`Load`](Error::Load) where the driver's compiler rejects it.
    pub fn with_ptx(ordinal: u32, ptx: &'static [Ptx]) -> Result<Device> {
        let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
        let open = devices.iter().find(|inner| inner.ordinal == ordinal);
        let mut lost = open.map(|inner| inner.lost);
        if let Some(first) = open.filter(|inner| inner.lost.get().is_some()) {
            let device = first.driver.device(ordinal)?;
            // SAFETY: the context is lost: to whoever still has something of it, each call is an
            // error. Handles of this crate do not even call (`ensure_live`).
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
    pub fn ptx(&self) -> Ptx {
        self.inner.ptx
    }

    /// What kernels may use through this handle, and what they are chosen for: all that the device has, unless it
    /// comes from [`with_profile`](Device::with_profile).
    pub fn profile(&self) -> DeviceProfile {
        self.profile
    }

    /// The same device through a handle whose kernels use no more than this, nor more than the device has,
    /// and are chosen for short grids and memory as `profile` says.
    ///
    /// With [`DeviceProfile::LEAST`] rows are cut and summed in the same way on every device.
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

    /// Where its memory is.
    pub fn place(&self) -> Place {
        Place::Cuda(self.inner.ordinal)
    }

    /// Makes the device's context current on the calling thread until the guard is dropped; then
    /// the one that was current is again.
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

    /// Opens the device, in the context that others may have opened before: it has their `lost`. It stays
    /// open until the process ends.
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
        // Whether it can run the kernels is known before anything is created on it.
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
        // The same context: a device whose context was lost is another than the one that came after.
        std::ptr::eq(self.inner.lost, other.inner.lost)
    }
}

impl Eq for Device {}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.place(), self.inner.name)
    }
}

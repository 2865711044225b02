//! The kernels of a device, each loaded on first use.

use std::{
    ffi::{CStr, CString},
    sync::{Mutex, OnceLock, PoisonError},
};

use cuda_driver::{CaptureMode, Driver, DriverError, LoadError, sys::CUfunction};
use norm_kernels::abi::{
    Addition, EntryPoint, EpilogueRounding, GATED_KERNEL_SLOTS, GROUP_KERNEL_SLOTS, GatedKernel,
    GatedVariant, GroupKernel, KERNEL_SLOTS, Kernel, QUANT_KERNEL_SLOTS, QuantKernel, ROPE_KERNEL_SLOTS,
    RopeKernel, SHARD_KERNEL_SLOTS, ShardKernel, Storage,
};

use super::Device;
use crate::{
    DType, Gating, MAX_DIM, NormKind, Pairing, RopeRounding, Rounding,
    error::{Arg, Error, Result},
    plan::{DeviceProfile, variants_of_gated_rows, variants_of_rows},
    problem::Roundings,
};

/// One slot for each kernel.
pub(super) struct Kernels {
    /// By [`Kernel::index`].
    slots: Box<[OnceLock<Function>]>,
    /// By [`QuantKernel::index`].
    quant_slots: Box<[OnceLock<Function>]>,
    /// By [`ShardKernel::index`].
    shard_slots: [OnceLock<Function>; SHARD_KERNEL_SLOTS],
    /// By [`GatedKernel::index`].
    gated_slots: Box<[OnceLock<Function>]>,
    /// By [`RopeKernel::index`].
    rope_slots: Box<[OnceLock<Function>]>,
    /// By [`GroupKernel::index`].
    group_slots: Box<[OnceLock<Function>]>,
    /// Held while a kernel is loaded, so that none is loaded twice.
    loading: Mutex<()>,
}

impl Default for Kernels {
    fn default() -> Kernels {
        Kernels {
            slots: (0..KERNEL_SLOTS).map(|_| OnceLock::new()).collect(),
            quant_slots: (0..QUANT_KERNEL_SLOTS).map(|_| OnceLock::new()).collect(),
            shard_slots: [const { OnceLock::new() }; SHARD_KERNEL_SLOTS],
            gated_slots: (0..GATED_KERNEL_SLOTS).map(|_| OnceLock::new()).collect(),
            rope_slots: (0..ROPE_KERNEL_SLOTS).map(|_| OnceLock::new()).collect(),
            group_slots: (0..GROUP_KERNEL_SLOTS).map(|_| OnceLock::new()).collect(),
            loading: Mutex::new(()),
        }
    }
}

struct Function(CUfunction);

// SAFETY: any thread may use a function's handle (CUDA driver API). It is valid as long as its module, which is never
// unloaded.
unsafe impl Send for Function {}
// SAFETY: several threads may use a function's handle at the same time (CUDA driver API), and none changes it.
unsafe impl Sync for Function {}

impl Device {
    /// Loads the kernels that operations on rows of `dim` elements may use, so that the first call is as fast as the
    /// later ones. Otherwise the driver compiles each kernel when it is first used, which takes tens of milliseconds.
    ///
    /// `w` is the type of weights and biases, or that of `x` where there are neither. `epilogue` is the order of roundings
    /// that the norms will have; where that order rounds before the biases, the kernels are those for norms with biases.
    /// Kernels for a residual are those for one in front of the norm, of the type of `x`, without factors. What fewer calls
    /// use is loaded by the first of them: kernels for factors, for a residual in `f32` where `x` has 16 bits, and for both
    /// norms of a sandwich in one launch. Those of gated norms are loaded by [`preload_gated`](Device::preload_gated).
    ///
    /// # Errors
    ///
    /// [`EmptyRow`](Error::EmptyRow) and [`RowTooLong`](Error::RowTooLong) for such a `dim`, and
    /// those of loading a kernel: see [`Error::Load`].
    #[doc(alias = "warmup")]
    pub fn preload(
        &self,
        kind: NormKind,
        [x, w, y]: [DType; 3],
        dim: usize,
        epilogue: EpilogueRounding,
    ) -> Result<()> {
        let dim = row_length(dim)?;
        let epilogue = expected(epilogue, [x, w, y]);
        for variant in variants_of_rows(kind, [x, w, y], dim, self.profile()) {
            let addition = Addition::PLAIN;
            self.kernel(Kernel { kind, x, w, y, variant, addition, epilogue })?;
        }
        Ok(())
    }

    /// Loads the kernels that [`rms_norm_sharded`](crate::rms_norm_sharded) uses for these types, as
    /// [`preload`](Device::preload) does for whole rows.
    ///
    /// # Errors
    ///
    /// Those of loading a kernel: see [`Error::Load`].
    pub fn preload_sharded(&self, [x, w, y]: [DType; 3], epilogue: EpilogueRounding) -> Result<()> {
        let epilogue = expected(epilogue, [x, w, y]);
        for vectors in [true, false] {
            self.shard_kernel(ShardKernel::Partial { x, vectors })?;
            self.shard_kernel(ShardKernel::Apply { x, w, y, vectors, epilogue })?;
        }
        Ok(())
    }

    /// Loads the kernels that gated norms ([`Norm::gated_rows`](crate::Norm::gated_rows)) on rows of `dim` elements may use,
    /// as [`preload`](Device::preload) does for others. `w` is the type of the weights, or that of the gate where there are
    /// none; the gate has the type of an `x` of 16 bits, and beside `x` of f32 that of the weights.
    ///
    /// # Errors
    ///
    /// As for [`preload`](Device::preload), and [`DType`](Error::DType) for types that no gated norm has.
    pub fn preload_gated(
        &self,
        [x, w]: [DType; 2],
        gating: Gating,
        dim: usize,
        epilogue: EpilogueRounding,
    ) -> Result<()> {
        let dim = row_length(dim)?;
        if !GatedKernel::takes(x, w) {
            return Err(Error::DType { arg: Arg::W, expected: x, given: w });
        }
        let EpilogueRounding { order, offset } = epilogue;
        let roundings = Roundings::of(order, offset, x, Some(w), x);
        let epilogue = roundings.that_matter(false, !gating.gates_first()).epilogue(order);
        let kernel = GatedKernel { x, w, variant: GatedVariant::Scalar, gating, epilogue };
        for variant in variants_of_gated_rows(kernel, dim, self.profile()) {
            self.gated_kernel(GatedKernel { variant, ..kernel })?;
        }
        Ok(())
    }

    /// The kernel's function, loaded if it is not yet.
    pub(crate) fn kernel(&self, kernel: Kernel) -> Result<CUfunction> {
        self.function(EntryPoint::Norm(kernel), &self.inner.kernels.slots[kernel.index()])
    }

    /// The kernel's function, loaded if it is not yet.
    pub(crate) fn quant_kernel(&self, kernel: QuantKernel) -> Result<CUfunction> {
        self.function(EntryPoint::Quant(kernel), &self.inner.kernels.quant_slots[kernel.index()])
    }

    /// The kernel's function, loaded if it is not yet.
    pub(crate) fn shard_kernel(&self, kernel: ShardKernel) -> Result<CUfunction> {
        self.function(EntryPoint::Shard(kernel), &self.inner.kernels.shard_slots[kernel.index()])
    }

    /// The kernel's function, loaded if it is not yet.
    pub(crate) fn gated_kernel(&self, kernel: GatedKernel) -> Result<CUfunction> {
        self.function(EntryPoint::Gated(kernel), &self.inner.kernels.gated_slots[kernel.index()])
    }

    /// Loads the kernel that norms and rotates heads of whole vectors, as [`preload`](Device::preload) does for whole rows:
    /// the two kernels for these types of heads, weights and tables, where they are absent that of heads, and these roundings:
    /// one for RMSNorm in front of the rotation, and one for all else.
    ///
    /// # Errors
    ///
    /// Those of loading a kernel: see [`Error::Load`].
    pub fn preload_qk_rope(
        &self,
        [x, w, table]: [DType; 3],
        pairing: Pairing,
        order: Rounding,
        rounding: RopeRounding,
    ) -> Result<()> {
        for (arg, given) in [(Arg::QWeight, w), (Arg::Cos, table)] {
            if !RopeKernel::takes(x, given) {
                return Err(Error::OtherDType { arg, expected: x, given });
            }
        }
        let (before_weight, rounding) = match x {
            DType::F32 => (false, RopeRounding::Single),
            DType::F16 | DType::BF16 => (order == Rounding::BeforeWeight, rounding),
        };
        for [rms_only, short] in [[false, false], [true, false], [true, true]] {
            let kernel =
                RopeKernel { x, w, table, pairing, vectors: true, before_weight, rounding, rms_only, short };
            self.rope_kernel(kernel)?;
        }
        Ok(())
    }

    /// The kernel's function, loaded if it is not yet.
    pub(crate) fn rope_kernel(&self, kernel: RopeKernel) -> Result<CUfunction> {
        self.function(EntryPoint::Rope(kernel), &self.inner.kernels.rope_slots[kernel.index()])
    }

    /// The kernel's function, loaded if it is not yet.
    pub(crate) fn group_kernel(&self, kernel: GroupKernel) -> Result<CUfunction> {
        self.function(EntryPoint::Group(kernel), &self.inner.kernels.group_slots[kernel.index()])
    }

    fn function(&self, entry: EntryPoint, slot: &OnceLock<Function>) -> Result<CUfunction> {
        match slot.get() {
            Some(function) => Ok(function.0),
            None => self.load(entry, slot),
        }
    }

    #[cold]
    fn load(&self, entry: EntryPoint, slot: &OnceLock<Function>) -> Result<CUfunction> {
        let loading = &self.inner.kernels.loading;
        let _one_at_a_time = loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = slot.get() {
            return Ok(function.0);
        }

        let name = entry.to_string();
        let mut text = self.inner.ptx.module(entry)?;
        text.push('\0');
        let text = CStr::from_bytes_until_nul(text.as_bytes()).expect("it ends with a zero");
        let symbol = CString::new(name.as_str()).expect("names hold no zero");

        let _current = self.enter()?;
        let driver = self.driver();
        let _permitted = Permitted::new(driver)?;
        let module = driver.module_load(text).map_err(|error| self.not_loaded(name, error))?;
        // SAFETY: the module has just been loaded in the context that is current here.
        let function = unsafe { driver.module_function(module, &symbol) };
        match function.and_then(|function| self.permit(function, entry).map(|()| function)) {
            Ok(function) => Ok(slot.get_or_init(|| Function(function)).0),
            Err(error) => {
                // The first error is the one to report.
                // SAFETY: the module has just been loaded, and no function of it has been used.
                let _ = unsafe { driver.module_unload(module) };
                Err(self.driver_error(error))
            }
        }
    }

    /// The error for a kernel that the driver did not load.
    fn not_loaded(&self, kernel: String, LoadError { error, log }: LoadError) -> Error {
        match self.driver_error(error) {
            Error::Driver { call, code, name } => Error::Load { kernel, call, code, name, log },
            error => error,
        }
    }

    /// Allows a function the shared memory and the cluster size that its launches need beyond the driver's defaults.
    fn permit(&self, function: CUfunction, entry: EntryPoint) -> std::result::Result<(), DriverError> {
        const PORTABLE_CLUSTER: u32 = 8;
        let (storage, takes_clusters) = match entry {
            EntryPoint::Norm(Kernel { variant, .. }) => (variant.spec().storage, variant.takes_clusters()),
            EntryPoint::Gated(GatedKernel { variant, .. }) => (Storage::Reload, variant.reloads()),
            EntryPoint::Quant(_) | EntryPoint::Shard(_) | EntryPoint::Rope(_) | EntryPoint::Group(_) => {
                return Ok(());
            }
        };
        // All that the device has, because handles with other profiles use this function too.
        let DeviceProfile { max_cluster, max_shared_bytes, .. } =
            DeviceProfile::of_capability(self.capability());
        if matches!(storage, Storage::Shared | Storage::Hybrid(_)) {
            // SAFETY: the function's module has just been loaded in the context that is current here.
            unsafe { self.driver().allow_shared_memory(function, max_shared_bytes) }?;
        }
        if takes_clusters && max_cluster > PORTABLE_CLUSTER {
            // SAFETY: the function's module has just been loaded in the context that is current here.
            unsafe { self.driver().allow_large_clusters(function) }?;
        }
        Ok(())
    }
}

/// The length of rows, checked as operations check it.
fn row_length(dim: usize) -> Result<u32> {
    if dim == 0 {
        return Err(Error::EmptyRow { arg: Arg::X });
    }
    let too_long = Error::RowTooLong { arg: Arg::X, dim, max: MAX_DIM as usize };
    u32::try_from(dim).ok().filter(|&dim| dim <= MAX_DIM).ok_or(too_long)
}

/// The roundings of a kernel that is loaded ahead of use: those for an operation with biases and without a residual behind
/// the norm.
fn expected(EpilogueRounding { order, offset }: EpilogueRounding, [x, w, y]: [DType; 3]) -> EpilogueRounding {
    Roundings::of(order, offset, x, Some(w), y).that_matter(true, false).epilogue(order)
}

/// While it lives, this thread may load modules even though a stream is being captured.
struct Permitted {
    driver: &'static Driver,
    before: CaptureMode,
}

impl Permitted {
    fn new(driver: &'static Driver) -> Result<Permitted> {
        let before = driver.exchange_capture_mode(CaptureMode::Relaxed)?;
        Ok(Permitted { driver, before })
    }
}

impl Drop for Permitted {
    fn drop(&mut self) {
        // The driver had this mode before, so that it accepts it again.
        let _ = self.driver.exchange_capture_mode(self.before);
    }
}

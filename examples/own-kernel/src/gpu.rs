//! The kernel on a GPU, among an engine's other work: memory and stream are the engine's, here cudarc's.

use std::error::Error;
use std::ffi::{CString, c_void};
use std::sync::Arc;

use cuda_driver::{Launch, driver, sys::CUfunction};
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr, DevicePtrMut};
use norm_host::Device;

use crate::PTX;
use crate::args::{Args, VECTOR, threads};

/// A kernel that is loaded on a device. It stays loaded until the process ends, as norm-host's do.
pub struct Kernel {
    device: Device,
    function: CUfunction,
}

impl Kernel {
    /// Has the driver compile the PTX for the device, and finds the kernel of this name in it.
    ///
    /// # Errors
    /// What the driver's compiler says of the PTX, or that there is no such kernel.
    pub fn load(device: Device, name: &str) -> Result<Kernel, Box<dyn Error>> {
        let driver = driver()?;
        // Its primary context, which cudarc uses too.
        let _current = device.enter()?;
        let module = driver.module_load(&CString::new(PTX)?)?;
        // SAFETY: the module has just been loaded, and is never unloaded.
        let function = unsafe { driver.module_function(module, &CString::new(name)?)? };
        Ok(Kernel { device, function })
    }

    /// Enqueues `y = x / max(‖x‖₂, eps)` for rows of `dim` elements on the stream.
    ///
    /// # Errors
    /// Tensors that are not of the same whole number of rows, and what the driver refuses.
    ///
    /// # Safety
    /// The slices and the stream are of the device that the kernel is loaded on. For `l2_normalize_vector`, `dim` is a
    /// multiple of four, and both slices begin at a multiple of 16 bytes.
    pub unsafe fn launch(
        &self,
        x: &CudaSlice<f32>,
        y: &mut CudaSlice<f32>,
        dim: u32,
        eps: f32,
        stream: &Arc<CudaStream>,
    ) -> Result<(), Box<dyn Error>> {
        if dim == 0 || x.len() != y.len() || !x.len().is_multiple_of(dim as usize) {
            return Err(format!(
                "rows of {dim}: expected them in x and y, given {} and {}",
                x.len(),
                y.len()
            )
            .into());
        }
        let rows = u32::try_from(x.len() / dim as usize)?;
        if rows == 0 {
            return Ok(());
        }
        // These wait, on the stream, for what other streams do with the memory, and leave it an event behind the launch.
        let (x, _x_is_read) = x.device_ptr(stream);
        let (y, _y_is_written) = y.device_ptr_mut(stream);
        let mut args = Args { x, y, dim, eps };
        let launch = Launch {
            grid: (rows, 1, 1),
            block: (threads(dim), 1, 1),
            shared_bytes: 0,
            stream: stream.cu_stream().cast(),
        };
        let _current = self.device.enter()?;
        // SAFETY: the function is loaded in the context that is current, and its one parameter is an `Args`. Both slices
        // hold `rows` rows of `dim` elements, as the check above has found, and the grid has one block for each row.
        unsafe { driver()?.launch_kernel(self.function, &launch, &mut [(&raw mut args).cast::<c_void>()])? };
        Ok(())
    }
}

/// Normalizes rows of `dim` elements on the first GPU; gives `y`.
///
/// # Errors
/// That there is no GPU that can be used, and what the driver refuses.
pub fn l2_normalize(name: &str, x: &[f32], dim: u32, eps: f32) -> Result<Vec<f32>, Box<dyn Error>> {
    let device = Device::new(0)?;
    let stream = CudaContext::new(0)?.default_stream();
    let kernel = Kernel::load(device, name)?;
    // What cudarc allocates begins at a multiple of 256 bytes; the rest of what the kernel asks is this.
    if name == "l2_normalize_vector" && !dim.is_multiple_of(VECTOR) {
        return Err(format!("{name}: expected rows of whole vectors, given {dim} elements").into());
    }
    let x = stream.clone_htod(x)?;
    // SAFETY: the kernel writes each element before one is read.
    let mut y = unsafe { stream.alloc(x.len())? };
    // SAFETY: checked above.
    unsafe { kernel.launch(&x, &mut y, dim, eps, &stream)? };
    Ok(stream.clone_dtoh(&y)?)
}

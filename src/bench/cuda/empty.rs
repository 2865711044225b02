//! A kernel that does nothing, to measure the least cost of a launch.

use std::ptr::null_mut;

use cuda_driver::sys::{CUfunction, CUmodule};
use cuda_driver::{Driver, Launch};
use norm_host::{Device, Error, Stream};

/// Its PTX, for every device that norm's kernels support.
const PTX: &std::ffi::CStr = c".version 8.0
.target sm_80
.address_size 64
.visible .entry norm_bench_empty() { ret; }
";

/// The loaded kernel.
pub struct Empty {
    device: Device,
    driver: &'static Driver,
    module: CUmodule,
    function: CUfunction,
}

impl Empty {
    pub fn load(device: &Device) -> Result<Empty, Error> {
        let _current = device.enter()?;
        let driver = cuda_driver::driver()?;
        let module = driver.module_load(PTX).map_err(|error| error.error)?;
        let mut empty = Empty { device: *device, driver, module, function: null_mut() };
        // SAFETY: the module has just been loaded in the context that is current here.
        empty.function = unsafe { driver.module_function(module, c"norm_bench_empty") }?;
        Ok(empty)
    }

    /// Enqueues a launch of one warp.
    pub fn launch(&self, stream: &Stream) -> Result<(), Error> {
        let _current = self.device.enter()?;
        let stream = stream.as_raw().cast();
        let launch = Launch { grid: (1, 1, 1), block: (32, 1, 1), shared_bytes: 0, stream };
        // SAFETY: function and stream are alive and of the current context; the kernel has no
        // parameters, and accesses no memory.
        unsafe { self.driver.launch_kernel(self.function, &launch, &mut []) }?;
        Ok(())
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        if let Ok(_current) = self.device.enter() {
            // SAFETY: all launches are done, and this handle does not use the function again.
            let _ = unsafe { self.driver.module_unload(self.module) };
        }
    }
}

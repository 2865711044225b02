//! What `python -m norm_gpu doctor` prints of devices.

use norm_host::Device;
use pyo3::prelude::*;

use crate::error::to_python;

/// The number of CUDA devices.
///
/// Raises RuntimeError without a driver.
#[pyfunction]
pub fn device_count(py: Python<'_>) -> PyResult<u32> {
    py.detach(Device::count).map_err(to_python)
}

/// The name, the compute capability and the kernels of a device, as one line. Creates its primary context.
///
/// Raises RuntimeError if the device cannot run the kernels.
#[pyfunction]
pub fn device_summary(py: Python<'_>, ordinal: u32) -> PyResult<String> {
    let device = py.detach(|| Device::new(ordinal)).map_err(to_python)?;
    let (major, minor) = device.capability();
    Ok(format!("{}, compute capability {major}.{minor}, kernels {}", device.name(), device.ptx().target))
}

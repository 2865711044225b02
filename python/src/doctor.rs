//! What `python -m norm_gpu doctor` asks for.

use norm_host::Device;
use pyo3::prelude::*;

use crate::error::to_python;

/// Number of CUDA devices.
///
/// Raises RuntimeError where there is no driver.
#[pyfunction]
pub fn device_count(py: Python<'_>) -> PyResult<u32> {
    py.detach(Device::count).map_err(to_python)
}

/// Name, compute capability and kernels of a device, as one line. Creates its primary context.
///
/// Raises RuntimeError where it cannot run the kernels.
#[pyfunction]
pub fn device_summary(py: Python<'_>, ordinal: u32) -> PyResult<String> {
    let device = py.detach(|| Device::new(ordinal)).map_err(to_python)?;
    let (major, minor) = device.capability();
    Ok(format!("{}, compute capability {major}.{minor}, kernels {}", device.name(), device.ptx().target))
}

//! The driver and its devices.

use norm_host::{Device, Error};

use super::{Finding, State};

const DRIVER: &str = "CUDA driver";
const DRIVER_USE: &str = "running on an NVIDIA GPU; without it the operations run on the CPU";
const DRIVER_HOW: &str = "install NVIDIA's driver for your GPU, https://www.nvidia.com/drivers; in a container, \
                          start it with the GPUs, such as `docker run --gpus all`";
const DEVICE_HOW: &str = "use a GPU of compute capability 8.0 (Ampere) or newer, and a driver that is not older than \
                          the GPU; --device cpu always works";

/// The driver, and one finding a device.
pub fn findings() -> Vec<Finding> {
    let driver = match cuda_driver::driver() {
        Ok(driver) => driver,
        Err(error) => return vec![Finding::new(DRIVER, Err(error.reason), DRIVER_USE, DRIVER_HOW)],
    };
    let counted = Device::count();
    let count = *counted.as_ref().unwrap_or(&0);
    let described = counted.and_then(|count| {
        let (major, minor) = driver.version()?;
        Ok(format!("for CUDA {major}.{minor}, {count} device{}", if count == 1 { "" } else { "s" }))
    });
    let finding = match described {
        Ok(detail) => Finding::new(DRIVER, Ok(detail), DRIVER_USE, DRIVER_HOW),
        Err(error) => broken(DRIVER.to_owned(), &error, DRIVER_USE, DRIVER_HOW),
    };
    let mut findings = vec![finding];
    findings.extend((0..count).map(device));
    findings
}

fn device(ordinal: u32) -> Finding {
    let name = format!("cuda:{ordinal}");
    const USE: &str = "running on this GPU";
    match describe(ordinal) {
        Ok(detail) => Finding::new(&name, Ok(detail), USE, DEVICE_HOW),
        Err(error) => broken(name, &error, USE, DEVICE_HOW),
    }
}

fn describe(ordinal: u32) -> Result<String, Error> {
    let device = Device::new(ordinal)?;
    let (major, minor) = device.capability();
    let ptx = device.ptx()?;
    let driver = cuda_driver::driver()?;
    let memory = driver.device_memory(driver.device(ordinal)?)? as f64 / f64::from(1 << 30);
    Ok(format!(
        "{}, compute capability {major}.{minor}, {memory:.0} GiB; uses the PTX for {}",
        device.name(),
        ptx.target,
    ))
}

fn broken(name: String, error: &Error, needed_for: &'static str, how: &'static str) -> Finding {
    let state = State::Broken;
    Finding { name, state, detail: error.to_string(), needed_for, how_to_get_it: Some(how) }
}

//! The driver and its devices.

use norm_host::{Device, Error};

use super::mend::{self, DRIVER_HOW};
use super::{Finding, State};
use crate::target::compiles;

const DRIVER: &str = "CUDA driver";
const DRIVER_USE: &str = "running on an NVIDIA GPU; without it the operations run on the CPU";
const DEVICE_USE: &str = "running on this GPU";

/// The driver, and one finding a device.
pub fn findings() -> Vec<Finding> {
    let driver = match cuda_driver::driver() {
        Ok(driver) => driver,
        Err(error) if error.is_missing() => {
            return vec![Finding::new(DRIVER, Err(error.reason), DRIVER_USE, DRIVER_HOW)];
        }
        Err(error) => return vec![fault(State::Broken, DRIVER.to_owned(), &error.into(), DRIVER_USE)],
    };
    let counted = Device::count();
    let count = *counted.as_ref().unwrap_or(&0);
    let described = counted.and_then(|count| {
        let (major, minor) = driver.version()?;
        Ok(format!("for CUDA {major}.{minor}, {count} device{}", if count == 1 { "" } else { "s" }))
    });
    let finding = match described {
        Ok(detail) => Finding::new(DRIVER, Ok(detail), DRIVER_USE, DRIVER_HOW),
        Err(error) => fault(State::Broken, DRIVER.to_owned(), &error, DRIVER_USE),
    };
    let mut findings = vec![finding];
    findings.extend(devices(count));
    findings
}

/// A finding for each device. One that cannot be used is no failure as long as another can be used.
fn devices(count: u32) -> Vec<Finding> {
    let described: Vec<_> =
        (0..count).map(|ordinal| (format!("cuda:{ordinal}"), describe(ordinal))).collect();
    let any = described.iter().any(|(_, described)| described.is_ok());
    let unusable = if any { State::Skipped } else { State::Broken };
    let finding = |(name, described): (String, Result<String, Error>)| match described {
        Ok(detail) => Finding::new(&name, Ok(detail), DEVICE_USE, mend::NEWER_GPU),
        Err(error) => fault(unusable, name, &error, DEVICE_USE),
    };
    described.into_iter().map(finding).collect()
}

fn describe(ordinal: u32) -> Result<String, Error> {
    let device = Device::new(ordinal)?;
    compiles(&device)?;
    let (major, minor) = device.capability();
    let driver = cuda_driver::driver()?;
    let memory = driver.device_memory(driver.device(ordinal)?)? as f64 / f64::from(1 << 30);
    Ok(format!(
        "{}, compute capability {major}.{minor}, {memory:.0} GiB; uses the PTX for {}",
        device.name(),
        device.ptx().target,
    ))
}

fn fault(state: State, name: String, error: &Error, needed_for: &'static str) -> Finding {
    Finding { name, state, detail: error.to_string(), needed_for, how_to_get_it: Some(mend::how(error)) }
}

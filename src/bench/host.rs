//! `norm bench --host`: the host time of a launch, and the time of an operation's first call in a process.

pub mod first_call;
mod launches;

use norm_host::Device;
use serde::Serialize;

use super::record::{DeviceRecord, SCHEMA};
use crate::failure::Failure;
use crate::kernel_set::KernelSet;
use first_call::FirstCalls;
use launches::Launches;

/// The results, as `--json` prints them.
#[derive(Serialize)]
pub struct HostRecord {
    schema: u32,
    program: String,
    label: Option<String>,
    commit: Option<String>,
    date: String,
    device: DeviceRecord,
    launch: Launches,
    first_call: FirstCalls,
}

/// Measures on a device, with `batches` batches of each kind of launch.
pub fn measure(
    device: &Device,
    set: &KernelSet,
    batches: u32,
    label: Option<String>,
) -> Result<HostRecord, Failure> {
    let launch = launches::measure(device, batches)?;
    let first_call = first_call::measure(device.ordinal(), set)?;
    Ok(HostRecord {
        schema: SCHEMA,
        program: super::program(),
        label,
        commit: super::commit(),
        date: super::date(),
        device: super::device_record(device),
        launch,
        first_call,
    })
}

impl HostRecord {
    /// The results for a reader.
    pub fn text(&self) -> String {
        format!(
            "{} ({}); {}, {}\n\n{}\n{}",
            self.device.name,
            self.device.place,
            self.program,
            self.date,
            self.launch.text(),
            self.first_call.text()
        )
    }
}

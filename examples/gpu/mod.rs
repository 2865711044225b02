//! For the examples that need a GPU: their message where none can be used.

use std::process;

use norm_host::{Device, Result};

/// The device that an example needs. If it cannot be used, the process ends with a message and status 2, as `norm` does on a
/// machine that cannot do what is requested.
pub fn needed(device: Result<Device>) -> Device {
    device.unwrap_or_else(|error| {
        eprintln!(
            "This example runs on an NVIDIA GPU, and there is none that it can use: {error}.\n\
             Without one there are `cargo run --example 01-normalize`, and 02-strides, 03-residual and 07-errors.\n\
             `cargo run -- doctor` says what this machine lacks, and how to get it."
        );
        process::exit(2)
    })
}

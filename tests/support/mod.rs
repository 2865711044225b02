//! Tests that need what not every machine has.
#![allow(dead_code)] // Each test file uses its own part.

mod trial;

use norm_host::ptx::{Ptx, RUST_CUDA};

pub use trial::{run, trial};

/// rust-cuda's kernels, where they were made of those that are here.
pub fn rust_cuda() -> Result<&'static [Ptx], String> {
    let checked = RUST_CUDA.iter().try_for_each(|ptx| ptx.header().map(drop));
    checked
        .map(|()| &RUST_CUDA[..])
        .map_err(|error| format!("rust-cuda's kernels are of no use here ({error})"))
}

//! The kernels that are shipped beside stock rustc's.

use norm_host::ptx::{Ptx, RUST_CUDA};

/// rust-cuda's kernels, where they were made of those that are here.
///
/// # Errors
/// Why they are of no use.
pub fn rust_cuda() -> Result<&'static [Ptx], String> {
    let checked = RUST_CUDA.iter().try_for_each(|ptx| ptx.header().map(drop));
    checked
        .map(|()| &RUST_CUDA[..])
        .map_err(|error| format!("rust-cuda's kernels are of no use here ({error})"))
}

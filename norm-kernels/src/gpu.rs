//! Instructions and special registers of the GPU.
//!
//! `ptx` (global memory, arithmetic) and `shared` (shared memory, clusters) are `asm!` that both compilers take. `pseudo`
//! has the pseudo-instructions that the host expands for the types of an entry point. `stock` and `rust_cuda` have what
//! the compilers express differently, by the same names, signatures and meanings.

#[cfg(target_arch = "nvptx64")]
pub(crate) use core::arch::asm;

/// Stands in for `asm!` where a host checks types: its own `asm!` knows no registers of a GPU.
#[cfg(not(target_arch = "nvptx64"))]
macro_rules! asm {
    ($($operand:tt)*) => {
        unreachable!("kernels run on GPUs alone")
    };
}
#[cfg(not(target_arch = "nvptx64"))]
pub(crate) use asm;

#[cfg_attr(not(target_arch = "nvptx64"), allow(unused, unreachable_code))]
pub mod pseudo;
#[cfg_attr(not(target_arch = "nvptx64"), allow(unused, unreachable_code))]
mod ptx;
#[cfg(feature = "rust-cuda")]
#[cfg_attr(not(target_arch = "nvptx64"), allow(unused, unreachable_code))]
mod rust_cuda;
#[cfg_attr(not(target_arch = "nvptx64"), allow(unused, unreachable_code))]
mod shared;
#[cfg(not(feature = "rust-cuda"))]
mod stock;
#[cfg(feature = "entry-points")]
#[cfg_attr(not(target_arch = "nvptx64"), allow(unused, unreachable_code))]
mod system;

pub use ptx::*;
#[cfg(feature = "rust-cuda")]
pub use rust_cuda::*;
pub use shared::*;
#[cfg(not(feature = "rust-cuda"))]
pub use stock::*;
#[cfg(feature = "entry-points")]
pub use system::*;

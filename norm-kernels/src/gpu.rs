//! Instructions and special registers of the GPU: `ptx` and `shared` hold what both compilers compile from the same
//! `asm!`, `pseudo` what the host makes instructions of; `stock` and `rust_cuda` hold what they do not, by the same names, signatures and meanings.

#[cfg(target_arch = "nvptx64")]
use core::arch::asm;

/// Lets a host check the types of what it cannot compile.
#[cfg(not(target_arch = "nvptx64"))]
macro_rules! asm {
    ($($operand:tt)*) => {
        unreachable!("kernels run on GPUs alone")
    };
}
#[cfg(not(target_arch = "nvptx64"))]
use asm;

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

pub use ptx::*;
#[cfg(feature = "rust-cuda")]
pub use rust_cuda::*;
pub use shared::*;
#[cfg(not(feature = "rust-cuda"))]
pub use stock::*;

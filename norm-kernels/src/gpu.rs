//! What a kernel asks of the GPU, one file a compiler, and one of what both take alike.
//!
//! Every function of a compiler's file has the same name, signature and meaning.

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
mod ptx;
#[cfg(feature = "rust-cuda")]
#[cfg_attr(not(target_arch = "nvptx64"), allow(unused, unreachable_code))]
mod rust_cuda;
#[cfg(not(feature = "rust-cuda"))]
mod stock;

pub use ptx::*;
#[cfg(feature = "rust-cuda")]
pub use rust_cuda::*;
#[cfg(not(feature = "rust-cuda"))]
pub use stock::*;

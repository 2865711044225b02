//! Normalization kernels for NVIDIA GPUs in `no_std` Rust.
//!
//! [`abi`] is what the kernels and whoever launches them agree on; it compiles everywhere. The
//! kernels themselves compile for `nvptx64-nvidia-cuda` alone.
#![no_std]
#![cfg_attr(
    target_arch = "nvptx64",
    feature(
        abi_ptx,
        abi_unadjusted,
        asm_experimental_arch,
        core_intrinsics,
        link_llvm_intrinsics,
        stdarch_nvptx
    ),
    allow(internal_features)
)]

pub mod abi;

#[cfg(target_arch = "nvptx64")]
mod access;
#[cfg(target_arch = "nvptx64")]
mod each;
#[cfg(target_arch = "nvptx64")]
mod element;
#[cfg(target_arch = "nvptx64")]
mod gpu;
#[cfg(target_arch = "nvptx64")]
mod kernels;
#[cfg(target_arch = "nvptx64")]
mod norm;
#[cfg(target_arch = "nvptx64")]
mod part;
#[cfg(target_arch = "nvptx64")]
mod reduce;
#[cfg(target_arch = "nvptx64")]
mod row;
#[cfg(target_arch = "nvptx64")]
mod sharded;
#[cfg(target_arch = "nvptx64")]
mod sum;

#[cfg(target_arch = "nvptx64")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: ends the kernel.
    unsafe { core::arch::nvptx::trap() }
}

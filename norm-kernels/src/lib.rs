//! Normalization kernels for NVIDIA GPUs in `no_std` Rust.
//!
//! [`abi`] is what the kernels and whoever launches them agree on; it compiles everywhere. The
//! kernels themselves compile for `nvptx64-nvidia-cuda` alone: by stock rustc, or, with the feature
//! `rust-cuda`, by rust-cuda.
//!
//! A kernel of whole rows is put together of four choices, each a module: how a row lies in memory and which vectors of
//! it a thread has (`row`), how memory is accessed (`access`, with the element types of `element`), where a thread keeps
//! its part of the row between passes (`storage`), and which threads share a row (`reduce`). `norm` has RMSNorm and
//! LayerNorm over any of them, and `kernels` the entry points, from the table of `abi::variant`.
#![no_std]
#![cfg_attr(target_arch = "nvptx64", feature(asm_experimental_arch))]
#![cfg_attr(
    all(target_arch = "nvptx64", not(feature = "rust-cuda")),
    feature(abi_ptx, abi_unadjusted, core_intrinsics, link_llvm_intrinsics, stdarch_nvptx),
    allow(internal_features)
)]

pub mod abi;

/// Calls `$then!` with each combination of element sizes that kernels are compiled for: x, the weights and y, each with its
/// part of the entry points' names, and the number of elements in a vector, which is 16 bytes of the wider of x and y.
#[cfg(all(feature = "entry-points", any(target_arch = "nvptx64", feature = "rust-cuda")))]
macro_rules! layouts {
    ($then:ident) => {
        $then!(XHalf "b16", WHalf "b16", YHalf "b16", 8);
        $then!(XHalf "b16", WHalf "b16", F32 "b32", 4);
        $then!(XHalf "b16", F32 "b32", YHalf "b16", 8);
        $then!(XHalf "b16", F32 "b32", F32 "b32", 4);
        $then!(F32 "b32", WHalf "b16", YHalf "b16", 4);
        $then!(F32 "b32", WHalf "b16", F32 "b32", 4);
        $then!(F32 "b32", F32 "b32", YHalf "b16", 4);
        $then!(F32 "b32", F32 "b32", F32 "b32", 4);
    };
}

#[cfg(any(target_arch = "nvptx64", feature = "rust-cuda"))]
pub mod access;
#[cfg(all(feature = "entry-points", any(target_arch = "nvptx64", feature = "rust-cuda")))]
mod all_reduce;
#[cfg(any(target_arch = "nvptx64", feature = "rust-cuda"))]
pub mod double_word;
#[cfg(any(target_arch = "nvptx64", feature = "rust-cuda"))]
pub mod each;
#[cfg(any(target_arch = "nvptx64", feature = "rust-cuda"))]
pub mod element;
#[cfg(all(feature = "entry-points", any(target_arch = "nvptx64", feature = "rust-cuda")))]
mod gated;
#[cfg(any(target_arch = "nvptx64", feature = "rust-cuda"))]
pub mod gpu;
#[cfg(all(feature = "entry-points", any(target_arch = "nvptx64", feature = "rust-cuda")))]
mod kernels;
#[cfg(any(target_arch = "nvptx64", feature = "rust-cuda"))]
pub mod norm;
#[cfg(all(feature = "entry-points", any(target_arch = "nvptx64", feature = "rust-cuda")))]
mod packets;
// It loads parameters by `asm!` of its own, because their name is that of the entry point.
#[cfg(all(feature = "entry-points", any(target_arch = "nvptx64", feature = "rust-cuda")))]
#[cfg_attr(not(target_arch = "nvptx64"), allow(unused, unreachable_code))]
mod qk_rope;
#[cfg(all(feature = "entry-points", any(target_arch = "nvptx64", feature = "rust-cuda")))]
mod quantized;
#[cfg(all(feature = "entry-points", any(target_arch = "nvptx64", feature = "rust-cuda")))]
mod ranks;
#[cfg(any(target_arch = "nvptx64", feature = "rust-cuda"))]
pub mod reduce;
#[cfg(any(target_arch = "nvptx64", feature = "rust-cuda"))]
pub mod row;
#[cfg(all(feature = "entry-points", any(target_arch = "nvptx64", feature = "rust-cuda")))]
mod sandwich;
#[cfg(all(feature = "entry-points", any(target_arch = "nvptx64", feature = "rust-cuda")))]
mod sharded;
#[cfg(any(target_arch = "nvptx64", feature = "rust-cuda"))]
pub mod storage;
#[cfg(any(target_arch = "nvptx64", feature = "rust-cuda"))]
pub mod sum;

// `cuda_std` brings a panic handler of its own.
#[cfg(all(target_arch = "nvptx64", not(feature = "rust-cuda")))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: `trap` ends the kernel and has no precondition.
    unsafe { core::arch::nvptx::trap() }
}

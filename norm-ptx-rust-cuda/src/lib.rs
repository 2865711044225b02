//! The kernels of `norm-host` as [rust-cuda](https://github.com/Rust-GPU/rust-cuda) compiles them, for its
//! feature `rust-cuda`: a bundle for each target, which `norm-host` reads. A package of its own, because few engines
//! need a second compiler's kernels.
#![no_std]

/// Kernels for compute capability 8.0 and newer.
// A static, not a constant, of which each use may put a copy into a program.
pub static SM_80: &[u8] = include_bytes!("../sm_80.ptx.zst");

/// Kernels for compute capability 9.0 and newer.
pub static SM_90: &[u8] = include_bytes!("../sm_90.ptx.zst");

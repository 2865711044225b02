//! The kernels of `norm-host` as [rust-cuda](https://github.com/Rust-GPU/rust-cuda) compiles them, for its
//! feature `rust-cuda`. A package of its own, because the registry takes none of more than 10 MB and
//! `norm-host` has those of stock rustc.
#![no_std]

/// PTX for compute capability 8.0 and newer.
// Not a constant: each use of one may leave a copy of the text in a program.
pub static SM_80: &str = include_str!("../sm_80.ptx");

/// PTX for compute capability 9.0 and newer.
pub static SM_90: &str = include_str!("../sm_90.ptx");

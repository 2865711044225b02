//! Normalization kernels for NVIDIA GPUs in `no_std` Rust.
//!
//! [`abi`] is what the kernels and whoever launches them agree on; it compiles everywhere.
#![no_std]

pub mod abi;

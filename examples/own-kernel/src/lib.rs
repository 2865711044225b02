//! A kernel of one's own on norm-kernels' building blocks, the L2 normalization of rows, and what runs and checks it.
//!
//! [`args`] is compiled for both sides, `kernel` for the GPU alone, and everything else for the host alone.
#![cfg_attr(target_arch = "nvptx64", no_std, feature(abi_ptx))]
#![warn(missing_docs)]

pub mod args;
#[cfg(target_arch = "nvptx64")]
mod kernel;

#[cfg(not(target_arch = "nvptx64"))]
pub mod gpu;
#[cfg(not(target_arch = "nvptx64"))]
pub mod reference;
#[cfg(not(target_arch = "nvptx64"))]
pub mod simulator;

/// What `build.rs` made of the kernel.
#[cfg(not(target_arch = "nvptx64"))]
pub const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));

// What the README has of Rust is compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

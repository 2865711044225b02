//! The entry points of `norm-kernels`, linked into one artifact.
#![no_std]

pub use norm_kernels::abi;

//! RMSNorm, LayerNorm and head norm for LLM inference, on NVIDIA GPUs and on CPUs.
#![warn(missing_docs)]

pub mod accuracy;
mod cpu;
mod device;
mod error;
mod graph;
mod launch;
mod norm;
mod ops;
mod plan;
mod problem;
pub mod ptx;
pub mod reference;
mod stream;
mod tensor;
mod tp;

pub use norm_kernels::abi::{DType, NormKind};

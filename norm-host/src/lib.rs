//! RMSNorm, LayerNorm and head norm for LLM inference, on NVIDIA GPUs and on CPUs.
//!
//! An engine describes memory that it owns by a [`View`], and calls one of the operations
//! ([`rms_norm`], [`layer_norm`], [`head_norm`], each with an in-place form whose name ends in
//! `_`), or [`Norm`], which has every option, with a [`Backend`] to run on. Everything that could
//! go wrong is checked first and is an [`Error`] that names the argument.
#![warn(missing_docs)]

pub mod accuracy;
mod backend;
mod check;
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

pub use backend::Backend;
pub use cpu::Cpu;
pub use device::{Current, Device};
pub use error::{Arg, Error, Result};
pub use graph::Graph;
pub use norm::Norm;
pub use norm_kernels::abi::{DType, MAX_DIM, NormKind};
pub use ops::{head_norm, head_norm_, layer_norm, layer_norm_, rms_norm, rms_norm_};
pub use plan::{MAX_GRID, Plan};
pub use problem::{Operand, Param, Problem};
pub use stream::Stream;
pub use tensor::{BufferElement, Element, MAX_RANK, Place, Shape, View, ViewMut};
pub use tp::{TpContext, rms_norm_tp};

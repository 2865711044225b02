//! RMSNorm, LayerNorm and head norm for LLM inference, on NVIDIA GPUs and on CPUs.
//!
//! An engine describes memory that it owns by a [`View`], and calls one of the operations
//! ([`rms_norm`], [`layer_norm`], [`head_norm`], each with an in-place form whose name ends in
//! `_`), or [`Norm`], which has every option, with a [`Backend`] to run on. The residual
//! connection is fused with the norm behind it by [`add_rms_norm`] and [`add_layer_norm`], with the
//! norm in front of it by [`rms_norm_add`] and [`layer_norm_add`]. Everything that could go wrong is
//! checked first and is an [`Error`] that names the argument.
//!
//! On a GPU, with memory and a stream that the engine owns:
//!
//! ```no_run
//! use norm_host::{DType, Device, Norm, Place, Stream, View, ViewMut};
//!
//! /// Normalizes `rows` × `dim` f16 activations in place with f32 weights.
//! ///
//! /// # Safety
//! /// The pointers are device memory on GPU 0 of those sizes, free of other use on other streams;
//! /// `stream` is a CUstream of that GPU and outlives the work.
//! unsafe fn normalize(
//!     x: u64, w: u64, rows: usize, dim: usize, stream: *mut core::ffi::c_void,
//! ) -> norm_host::Result<()> {
//!     let device = Device::new(0)?; // cheap after the first call
//!     let stream = unsafe { Stream::from_raw(&device, stream)? };
//!     let here = Place::Cuda(0);
//!     let mut x = unsafe { ViewMut::from_raw_parts(here, x, DType::F16, &[rows, dim])? };
//!     let w = unsafe { View::from_raw_parts(here, w, DType::F32, &[dim])? };
//!     Norm::rms(1e-6).weight(w).rows_in_place(&mut x, &stream)
//! }
//! ```
//!
//! On the host, [`Cpu`] takes the stream's place and [`View::from_slice`] that of raw pointers.
//!
//! On several devices there are [`rms_norm_tp`] and its likes, and [`rms_norm_sharded`] for rows that
//! are split over them.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `cudarc`: views of cudarc's memory, and its streams (module `for_cudarc`).
//! - `candle`: operations and modules over candle's tensors (module `for_candle`); `candle-cuda` for those
//!   on its CUDA devices too, for which candle needs a CUDA toolkit.
//! - `linked`: for a program with another crate that links to libcuda by name, as cudarc's feature
//!   `dynamic-linking` does. `candle-cuda` has it.
//! - `rust-cuda`: the kernels as rust-cuda compiles them too ([`ptx`], `RUST_CUDA`), 1.7 MB; refused where they were
//!   compiled of another source than the others.
//! - `sim`: a backend that runs the kernels' PTX on a simulator.
//!
//! # Building without CUDA
//!
//! cust's build script insists on a folder with a folder `lib64` in it. Where no CUDA toolkit is
//! installed, the environment variable `CUDA_LIBRARY_PATH` names one, which may be empty:
//! `mkdir -p ~/.no-cuda/lib64 && export CUDA_LIBRARY_PATH=~/.no-cuda`.
#![warn(missing_docs)]

pub mod accuracy;
mod backend;
mod check;
mod cpu;
mod device;
mod error;
#[cfg(feature = "candle")]
pub mod for_candle;
#[cfg(feature = "cudarc")]
pub mod for_cudarc;
mod graph;
mod launch;
pub mod models;
mod nccl;
mod norm;
mod ops;
mod plan;
mod problem;
pub mod ptx;
pub mod reference;
#[cfg(feature = "sim")]
mod sim;
mod stream;
mod tensor;
mod tp;

pub use backend::Backend;
pub use cpu::Cpu;
pub use device::{Current, Device};
#[cfg(feature = "sim")]
pub use error::SimulatorError;
pub use error::{Arg, Error, Result};
pub use graph::Graph;
pub use nccl::{NcclGroup, NcclId};
pub use norm::{Norm, Scale};
pub use norm_kernels::abi::{DType, EpilogueRounding, MAX_DIM, NormKind, Rounding};
pub use ops::{
    add_layer_norm, add_layer_norm_, add_rms_norm, add_rms_norm_, head_norm, head_norm_, layer_norm,
    layer_norm_, layer_norm_add, rms_norm, rms_norm_, rms_norm_add, rms_norm_apply, rms_norm_partial,
};
pub use plan::{DeviceProfile, LaunchShape, MAX_GRID, Plan, SandwichPlan, Tile};
pub use problem::{
    Operand, Param, Problem, Residual, ResidualPlace, Roundings, SandwichProblem, Scales, ShardProblem,
    ShardStep,
};
#[cfg(feature = "sim")]
pub use sim::Simulator;
pub use stream::Stream;
pub use tensor::{BufferElement, Element, MAX_RANK, Place, Shape, View, ViewMut};
pub use tp::{
    AllReduce, DeviceSums, RowSums, Shard, TpContext, head_norm_tp, layer_norm_tp, rms_norm_sharded,
    rms_norm_tp,
};

/// Its examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/PARALLEL.md")]
mod parallel {}

/// Its examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/MODELS.md")]
mod models_page {}

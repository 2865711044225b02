//! RMSNorm, LayerNorm and head norm for LLM inference, on NVIDIA GPUs and on CPUs.
//!
//! An engine describes memory that it owns by a [`View`], and calls one of the operations
//! ([`rms_norm`], [`layer_norm`], [`head_norm`], each with an in-place form whose name ends in
//! `_`), or [`Norm`], which has every option, with a [`Backend`] to run on. The residual
//! connection is fused with the norm behind it by [`add_rms_norm`] and [`add_layer_norm`], with the
//! norm in front of it by [`rms_norm_add`] and [`layer_norm_add`], with both by [`sandwich_rms_norm`]; their
//! forms whose name ends in `_to` leave the residual as it is and write the sum to a tensor of its own.
//! Everything that could go wrong is checked first and is an [`Error`] that names the argument.
//!
//! On the host, with a slice that the engine owns, and on all of its cores:
//!
//! ```
//! use norm_host::{Cpu, Norm, Result, View, ViewMut};
//!
//! /// Normalizes rows of `dim` f32 activations in place.
//! fn normalize(x: &mut [f32], w: &[f32], dim: usize) -> Result<()> {
//!     let rows = x.len() / dim;
//!     let w = View::from_slice(w, &[dim])?;
//!     Norm::rms(1e-6).weight(w).rows_in_place(&mut ViewMut::from_slice(x, &[rows, dim])?, &Cpu)
//! }
//! # let mut x = [3.0, 4.0];
//! # normalize(&mut x, &[1.0, 1.0], 2)?;
//! # assert!((x[1] - 1.1314).abs() < 1e-4);
//! # Ok::<(), norm_host::Error>(())
//! ```
//!
//! On a GPU (feature `gpu`), with memory and a stream that the engine owns:
//!
#![cfg_attr(feature = "gpu", doc = "```no_run")]
#![cfg_attr(not(feature = "gpu"), doc = "```text")]
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
//! Memory and streams of cudarc, candle and cust are taken as they are: the modules `for_cudarc`,
//! `for_candle` and `for_cust`.
//!
//! On several devices there are [`rms_norm_tp`] and its likes, and [`rms_norm_sharded`] for rows that
//! are split over them.
//!
//! # Features
//!
//! On by default are `cust` and `gpu`. An engine with memory of its own, or of cudarc's or candle's, says
//! `default-features = false` and names what it needs: then nothing of cust is built, no CUDA toolkit is
//! looked for, and no symbol of the driver's is defined.
//!
//! - `gpu`: GPUs at all: [`Device`], [`Stream`], [`TpContext`] and what belongs to them, with the kernels,
//!   1.0 MB of them. The driver is opened at run time. Without it there is the CPU backend: views,
//!   operations, [`Norm`], [`Cpu`], [`models`], [`accuracy`] and [`reference`](mod@reference), and neither a driver nor a
//!   kernel is built. Each of the others but `candle` has it.
//! - `cust`: views of cust's memory, its contexts and streams (module `for_cust`).
//! - `cudarc`: views of cudarc's memory, and its streams (module `for_cudarc`).
//! - `candle`: operations and modules over candle's tensors (module `for_candle`), of candle 0.10 or 0.11;
//!   `candle-cuda` for those on its CUDA devices too, for which candle needs a CUDA toolkit.
//! - `linked`: for a program that has, beside cust, another crate that links to libcuda by name, as cudarc's
//!   feature `dynamic-linking` does. `candle-cuda` has it. Without `cust` it changes nothing.
//! - `rust-cuda`: the kernels as rust-cuda compiles them too ([`ptx`], `RUST_CUDA`), 1.7 MB; refused where they were
//!   compiled of another source than the others.
//! - `sim`: a backend that runs the kernels' PTX on a simulator.
//!
//! # Building without CUDA
//!
//! Without `cust` there is nothing to do. With it, cust's build script insists on a folder with a folder
//! `lib64` in it. Where no CUDA toolkit is installed, the environment variable `CUDA_LIBRARY_PATH` names
//! one, which may be empty: `mkdir -p ~/.no-cuda/lib64 && export CUDA_LIBRARY_PATH=~/.no-cuda`.
#![warn(missing_docs)]

pub mod accuracy;
mod apply;
mod backend;
mod check;
mod cpu;
mod error;
pub mod models;
mod norm;
mod ops;
pub mod problem;
pub mod reference;
mod tensor;

// What there is for GPUs alone.
#[cfg(feature = "gpu")]
mod device;
#[cfg(feature = "gpu")]
mod graph;
#[cfg(feature = "gpu")]
mod launch;
#[cfg(feature = "gpu")]
mod nccl;
#[cfg(feature = "gpu")]
pub mod plan;
#[cfg(feature = "gpu")]
pub mod ptx;
#[cfg(feature = "gpu")]
mod stream;
#[cfg(feature = "gpu")]
mod tp;

#[cfg(feature = "candle")]
pub mod for_candle;
#[cfg(feature = "cudarc")]
pub mod for_cudarc;
#[cfg(feature = "cust")]
pub mod for_cust;
#[cfg(feature = "sim")]
mod sim;

pub use backend::Backend;
pub use cpu::Cpu;
pub use error::{Arg, Error, Result};
pub use norm::{Norm, Scale};
pub use norm_kernels::abi::{DType, EpilogueRounding, MAX_DIM, NormKind, Rounding};
pub use ops::{
    add_layer_norm, add_layer_norm_, add_layer_norm_to, add_rms_norm, add_rms_norm_, add_rms_norm_to,
    head_norm, head_norm_, layer_norm, layer_norm_, layer_norm_add, layer_norm_add_to, rms_norm, rms_norm_,
    rms_norm_add, rms_norm_add_to, rms_norm_apply, rms_norm_partial, sandwich_rms_norm, sandwich_rms_norm_to,
};
pub use tensor::{Element, MAX_RANK, Place, Shape, View, ViewMut};

#[cfg(feature = "gpu")]
pub use self::{
    device::{ContextGuard, Device},
    graph::Graph,
    nccl::{NcclGroup, NcclId},
    stream::Stream,
    tp::{
        AllReduce, DeviceSums, RowSums, Shard, TpContext, head_norm_tp, layer_norm_tp, rms_norm_sharded,
        rms_norm_tp,
    },
};

#[cfg(feature = "cust")]
pub use for_cust::BufferElement;
#[cfg(feature = "sim")]
pub use {error::SimulatorError, sim::Simulator};

/// Its examples compile.
#[cfg(all(doctest, feature = "gpu"))]
#[doc = include_str!("../../docs/PARALLEL.md")]
mod parallel {}

/// Its examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/MODELS.md")]
mod models_page {}

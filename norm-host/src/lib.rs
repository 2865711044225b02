//! RMSNorm, LayerNorm and head norm for LLM inference, on NVIDIA GPUs and on CPUs.
//!
//! An engine describes memory that it owns by a [`View`], and calls one of the operations
//! ([`rms_norm`], [`layer_norm`], [`head_norm`]) or [`Norm`], which has every option, with a [`Backend`] to run on. All
//! arguments are checked first; a mistake is an [`Error`] that names the argument.
//!
//! | | RMSNorm | LayerNorm | every option |
//! |---|---|---|---|
//! | `y = norm(x)` | [`rms_norm`] | [`layer_norm`] | [`Norm::rows`] |
//! | the same for each head (QK norm) | [`head_norm`] | [`head_norm`] | [`Norm::heads`] |
//! | `r += x; y = norm(r)` (pre-norm) | [`add_rms_norm`] | [`add_layer_norm`] | [`Norm::add_then_norm`] |
//! | `y += norm(x)` (post-norm) | [`rms_norm_add`] | [`layer_norm_add`] | [`Norm::norm_then_add`] |
//! | `r += norm(x); y = next(r)` (sandwich) | [`sandwich_rms_norm`] | | [`Norm::sandwich_rows`] |
//! | `y = quantize(norm(x))` (FP8, int8) | [`rms_norm_quantized`] | [`layer_norm_quantized`] | [`Norm::quantize_rows`] |
//! | `r += x; y = quantize(norm(r))` | [`add_rms_norm_quantized`] | [`add_layer_norm_quantized`] | [`Norm::add_then_quantize`] |
//! | norm and rotation of queries and keys (QK norm, RoPE) | [`qk_norm_rope_`], [`rope_`] | | [`QkNormRope`] |
//!
//! A name that ends in `_` is the operation in place ([`rms_norm_`]; `_in_place` in methods). A name that ends in `_to`
//! leaves the residual as it is, and writes the sum to a separate tensor ([`add_rms_norm_to`]).
//!
//! On the host, with a slice that the engine owns, on all cores:
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
//! Memory and streams of cudarc, candle and cust can be used directly: see the modules `for_cudarc`,
//! `for_candle` and `for_cust`.
//!
//! For several devices there are [`rms_norm_tp`], [`layer_norm_tp`] and [`head_norm_tp`], and [`rms_norm_sharded`] for rows
//! that are split over the devices.
//!
//! # Features
//!
//! `cust` and `gpu` are on by default. An engine with its own memory, or with cudarc's or candle's, sets
//! `default-features = false` and names what it needs: then nothing of cust is built, no CUDA toolkit is
//! looked for, and no symbol of the driver is defined.
//!
//! - `gpu`: support for GPUs: [`Device`], [`Stream`], [`TpContext`] and their kin, with 1.0 MB of kernels. The driver is
//!   opened at run time. Without this feature there is only the CPU backend: views, operations, [`Norm`], [`Cpu`],
//!   [`models`], [`accuracy`] and [`reference`](mod@reference), and neither the driver's interface nor a kernel is built. All
//!   other features but `candle` turn it on.
//! - `cust`: views of cust's memory, its contexts and streams (module `for_cust`).
//! - `cudarc`: views of cudarc's memory, and its streams (module `for_cudarc`).
//! - `candle`: operations and modules over candle's tensors (module `for_candle`), of candle 0.10 or 0.11;
//!   `candle-cuda` also for tensors on its CUDA devices, for which candle needs a CUDA toolkit.
//! - `linked`: for a program in which, beside cust, another crate links to libcuda by name, as cudarc's
//!   feature `dynamic-linking` does. `candle-cuda` turns it on. Without `cust` it has no effect.
//! - `rust-cuda`: also the kernels as compiled by rust-cuda ([`ptx`], `RUST_CUDA`), 3.0 MB; they are refused if they were
//!   compiled from another source than the others.
//! - `sim`: a backend that runs the kernels' PTX on a simulator (`Simulator`).
//!
//! # Building without CUDA
//!
//! Without `cust` nothing is needed. With it, cust's build script requires a CUDA folder with a folder
//! `lib64` in it. Where no CUDA toolkit is installed, set the environment variable `CUDA_LIBRARY_PATH` to such a folder,
//! whose `lib64` may be empty: `mkdir -p ~/.no-cuda/lib64 && export CUDA_LIBRARY_PATH=~/.no-cuda`.
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
mod qk_rope;
pub mod quantize;
pub mod reference;
mod rope;
mod tensor;

// For GPUs only.
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
pub use error::{Arg, Error, GroupFailure, Result};
pub use norm::{Gate, Norm, Quantization, Scale};
pub use norm_kernels::abi::{
    Activation, DType, EpilogueRounding, GateOrder, Gating, MAX_DIM, NormKind, QuantFormat, QuantPreset,
    QuantRecipe, Rounding,
};
pub use ops::{
    add_layer_norm, add_layer_norm_, add_layer_norm_quantized, add_layer_norm_to, add_rms_norm,
    add_rms_norm_, add_rms_norm_quantized, add_rms_norm_to, gated_rms_norm, gated_rms_norm_, head_norm,
    head_norm_, layer_norm, layer_norm_, layer_norm_add, layer_norm_add_to, layer_norm_quantized, rms_norm,
    rms_norm_, rms_norm_add, rms_norm_add_to, rms_norm_apply, rms_norm_partial, rms_norm_quantized,
    sandwich_rms_norm, sandwich_rms_norm_to,
};
pub use qk_rope::{
    MAX_HEAD_DIM, Pairing, Position, Positions, QkNormRope, Qkv, RopeRounding, Rotary, qk_norm_rope_, rope_,
};
pub use rope::{RopeScaling, RopeTables};
pub use tensor::{Element, MAX_RANK, Place, QuantizedMut, Shape, View, ViewMut};

#[cfg(feature = "gpu")]
pub use self::{
    device::{ContextGuard, Device},
    graph::Graph,
    nccl::{NcclGroup, NcclId},
    stream::Stream,
    tp::{
        AllReduce, DeviceSums, PeerGroup, PeerOffer, PeerOptions, ReduceGroup, RowSums, Shard, TpContext,
        Transport, all_reduce, all_reduce_add_rms_norm, all_reduce_rms_norm, head_norm_tp, layer_norm_tp,
        rms_norm_sharded, rms_norm_tp,
    },
};

#[cfg(feature = "sim")]
pub use {
    error::SimulatorError,
    sim::{GroupCall, SimulatedGroup, Simulator, Stray},
};

/// Compiles the examples of docs/PARALLEL.md.
#[cfg(all(doctest, feature = "gpu"))]
#[doc = include_str!("../../docs/PARALLEL.md")]
mod parallel {}

/// Compiles the examples of docs/QUANTIZED.md.
#[cfg(doctest)]
#[doc = include_str!("../../docs/QUANTIZED.md")]
mod quantized_page {}

/// Compiles the examples of docs/MODELS.md.
#[cfg(doctest)]
#[doc = include_str!("../../docs/MODELS.md")]
mod models_page {}

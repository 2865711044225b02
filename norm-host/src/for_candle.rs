//! Norms over candle's tensors (feature `candle`; `candle-cuda` for tensors on its CUDA devices).
//!
//! [`ops`] and the modules have the names and arguments that candle-nn's have, so that an engine
//! changes its `use` lines: `candle_nn::ops::rms_norm` to `norm_host::for_candle::ops::rms_norm`,
//! `candle_nn::{RmsNorm, rms_norm}` to `norm_host::for_candle::{RmsNorm, rms_norm}`. [`Norm`] has every
//! option, the residual connection too. [`candle_layer_norm`] has the four functions of the crate of that name.
//!
//! ```
//! use candle_core::{Device, Module, Tensor};
//! use norm_host::for_candle::{RmsNorm, ops};
//!
//! # fn main() -> candle_core::Result<()> {
//! let xs = Tensor::new(&[[3.0_f32, 4.0], [6.0, 8.0]], &Device::Cpu)?;
//! let alpha = Tensor::new(&[1.0_f32, 10.0], &Device::Cpu)?;
//! let ys = ops::rms_norm(&xs, &alpha, 0.0)?;
//! assert_eq!(ys.to_vec2::<f32>()?[0], ys.to_vec2::<f32>()?[1]);
//! assert_eq!(RmsNorm::new(alpha, 0.0).forward(&xs)?.to_vec2::<f32>()?, ys.to_vec2::<f32>()?);
//! # Ok(())
//! # }
//! ```
//!
//! Tensors are f16, bf16 or f32, weights and biases in any of the three, results in the type of their input, with the
//! accuracy that [`Norm`](crate::Norm) promises. A tensor whose last axis is dense is read in place, whatever its other
//! strides (a `narrow`, a `transpose` of heads and positions); others, and those of more than four axes that are not
//! contiguous, are copied first. [`Norm::rounding`], and `rounding` of the modules, have the orders of roundings of other
//! libraries. On a CUDA device the work goes to the device's stream, tied to cudarc's events.
//!
//! [`Norm::quantize_rows`] and [`Norm::add_then_quantize`] write fp8 or int8: codes as a tensor of `U8`, and scales.
//!
//! Errors of this crate come wrapped in candle's, with their text.
//!
//! # Gradients
//!
//! candle-nn's fast norms record nothing for backpropagation: gradients end there silently. Here [`Norm::rows`],
//! [`Norm::heads`] and everything built on them have gradients with respect to the input, weights and biases;
//! [`Norm::add_then_norm`], [`Norm::norm_then_add`] and [`Norm::sandwich_rows`] with respect to the residual, and to a scale
//! that is a tensor, too; [`Norm::gated_rows`] and [`Norm::gated_heads`] with respect to the gate; [`QkNormRope`] with respect
//! to heads and weights. They are computed by candle's operations, in f32, and rounded to the type of their tensor.
//!
//! Operations that update a tensor in place ([`Norm::add_then_norm_in_place`], [`Norm::norm_then_add_in_place`], the
//! functions built on them, `forward_add`) cannot have gradients: given a variable, or what was computed from one, they return
//! [`GradientInPlace`](crate::Error::GradientInPlace).
//!
//! If no tensor is a variable or computed from one, nothing is recorded and nothing is slower: then `add_then_norm`,
//! `norm_then_add` and `sandwich_rows` are one pass each, instead of candle's sum and one or two norms.

mod apart;
mod apply;
mod backward;
pub mod candle_layer_norm;
mod cpu;
#[cfg(feature = "candle-cuda")]
mod cuda;
mod custom_op;
mod dense;
mod gated;
mod modules;
mod norm;
pub mod ops;
mod qk_rope;
mod quantized;
mod residual;
mod rotation;
mod scale;
mod store;

pub use candle_nn::LayerNormConfig;
pub use modules::{LayerNorm, RmsNorm, layer_norm, layer_norm_no_bias, rms_norm};
pub use norm::Norm;
pub use qk_rope::{QkNormRope, Rotary};
pub use quantized::{Quantization, Quantized};
pub use scale::Scale;

/// The modules and the functions that load them, under candle-nn's path.
pub mod layer_norm {
    pub use super::{LayerNorm, LayerNormConfig, RmsNorm, layer_norm, layer_norm_no_bias, rms_norm};
}

impl From<crate::Error> for candle_core::Error {
    fn from(error: crate::Error) -> candle_core::Error {
        candle_core::Error::wrap(error)
    }
}

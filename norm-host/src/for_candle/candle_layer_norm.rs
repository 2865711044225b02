//! The four functions of the crate
//! [`candle-layer-norm`](https://github.com/huggingface/candle-layer-norm) 0.0.1, by their names, arguments and results:
//! an engine changes its `use` lines and nothing else.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use norm_host::for_candle::candle_layer_norm::fused_add_rms_norm; // instead of candle_layer_norm::fused_add_rms_norm
//!
//! # fn main() -> candle_core::Result<()> {
//! let xs = Tensor::new(&[[1.0_f32, 1.0], [2.0, 3.0]], &Device::Cpu)?;
//! let residual = Tensor::new(&[[2.0_f32, 3.0], [4.0, 5.0]], &Device::Cpu)?;
//! let gamma = Tensor::new(&[1.0_f32, 10.0], &Device::Cpu)?;
//! let (normed, sum) = fused_add_rms_norm(&xs, &residual, &gamma, None, 0.0)?;
//! assert_eq!(sum.to_vec2::<f32>()?, [[3.0, 4.0], [6.0, 8.0]]);
//! assert_eq!(normed.to_vec2::<f32>()?[0], normed.to_vec2::<f32>()?[1]);
//! # Ok(())
//! # }
//! ```
//!
//! Where an engine writes `candle_layer_norm::rms_norm(…)` in full, `use norm_host::for_candle::candle_layer_norm;` is the
//! line that it needs.
//!
//! # What differs
//!
//! | | candle-layer-norm 0.0.1 | here |
//! |---|---|---|
//! | devices | CUDA alone, on the device's default stream | the CPU too; on CUDA (feature `candle-cuda`) the device's own stream |
//! | shape of `x` | `(rows, dim)` | `(…, dim)`, of any rank but 0 |
//! | `dim` | a multiple of 8, at most 8192 | 1 to [`MAX_DIM`](crate::MAX_DIM) |
//! | layout | the last axis dense; rows are read as if one followed the other | any: rows are read in place, or copied first if the last axis is not dense |
//! | types | f16, bf16 or f32, the same for all tensors | the same three; `gamma` and `beta` share a type, which may differ from that of `x` |
//! | results | two halves of one tensor | tensors of their own, contiguous, of the type of `x` |
//! | statistics of a sum | of `x + res` in f32, before it is rounded to the type of `x` and stored | of the rounded sum that is stored |
//! | gradients | none | for every tensor |
//!
//! So for 16-bit sums the statistics differ: here the sum that the caller gets is what is normalized, as by `x + res` and
//! then a norm. For f32 sums they are the same. Otherwise both compute in f32 and round once
//! ([`Rounding::Single`](crate::Rounding::Single)). That crate's type `LayerNorm`, on which its functions are built, is not
//! here: [`Norm`] has an option for each of its fields.

use candle_core::{Result, Tensor};

use super::Norm;

/// LayerNorm over the last axis: `y = (x - mean(x)) / sqrt(var(x) + epsilon) * gamma + beta`, in the place of
/// `candle_layer_norm::layer_norm`.
///
/// `x`: `(…, dim)`; `gamma`, `beta`: `(dim,)`.
///
/// # Errors
///
/// As for [`Norm::rows`].
pub fn layer_norm(x: &Tensor, gamma: &Tensor, beta: Option<&Tensor>, epsilon: f32) -> Result<Tensor> {
    with(Norm::layer(epsilon), gamma, beta).rows(x)
}

/// `s = x + res; y = layer_norm(s)`: returns `(y, s)`, the norm first, in the place of
/// `candle_layer_norm::fused_add_layer_norm`.
///
/// `x`, `res`: `(…, dim)`, of one type; `gamma`, `beta`: `(dim,)`.
///
/// # Errors
///
/// As for [`Norm::add_then_norm`].
pub fn fused_add_layer_norm(
    x: &Tensor,
    res: &Tensor,
    gamma: &Tensor,
    beta: Option<&Tensor>,
    epsilon: f32,
) -> Result<(Tensor, Tensor)> {
    normed_and_sum(&with(Norm::layer(epsilon), gamma, beta), x, res)
}

/// RMSNorm over the last axis: `y = x / sqrt(mean(x²) + epsilon) * gamma + beta`, in the place of
/// `candle_layer_norm::rms_norm`.
///
/// `x`: `(…, dim)`; `gamma`, `beta`: `(dim,)`.
///
/// # Errors
///
/// As for [`Norm::rows`].
pub fn rms_norm(x: &Tensor, gamma: &Tensor, beta: Option<&Tensor>, epsilon: f32) -> Result<Tensor> {
    with(Norm::rms(epsilon), gamma, beta).rows(x)
}

/// `s = x + res; y = rms_norm(s)`: returns `(y, s)`, the norm first, in the place of
/// `candle_layer_norm::fused_add_rms_norm`.
///
/// `x`, `res`: `(…, dim)`, of one type; `gamma`, `beta`: `(dim,)`.
///
/// # Errors
///
/// As for [`Norm::add_then_norm`].
pub fn fused_add_rms_norm(
    x: &Tensor,
    res: &Tensor,
    gamma: &Tensor,
    beta: Option<&Tensor>,
    epsilon: f32,
) -> Result<(Tensor, Tensor)> {
    normed_and_sum(&with(Norm::rms(epsilon), gamma, beta), x, res)
}

/// The norm with its parameters.
fn with(norm: Norm, gamma: &Tensor, beta: Option<&Tensor>) -> Norm {
    norm.weight(gamma.clone()).bias(beta.cloned())
}

/// `(norm(x + res), x + res)`: [`Norm::add_then_norm`] has them the other way round.
fn normed_and_sum(norm: &Norm, x: &Tensor, res: &Tensor) -> Result<(Tensor, Tensor)> {
    let (sum, normed) = norm.add_then_norm(x, res)?;
    Ok((normed, sum))
}

//! The norms of a model: candle's ([`Candle`]) or norm-host's ([`Ours`]). All that differs between the two is here.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use norm_host::{NormKind, for_candle};

/// The norms that the models use.
pub trait Norms {
    /// A LayerNorm with its weights and biases.
    type Layer: Module;

    /// Loads a LayerNorm.
    fn layer(size: usize, eps: f64, vb: VarBuilder<'_>) -> Result<Self::Layer>;

    /// LayerNorm of `residual + xs`. May change `residual`.
    fn add_layer(norm: &Self::Layer, xs: &Tensor, residual: &Tensor) -> Result<Tensor>;

    /// The sum `residual + xs`, and its RMSNorm.
    fn add_rms(xs: &Tensor, residual: &Tensor, w: &Tensor, eps: f32) -> Result<(Tensor, Tensor)>;

    /// RMSNorm of each head of `xs` `(…, heads, head_dim)`, which may be a strided view of some heads of a larger tensor. All
    /// heads share `w` `(head_dim,)`.
    fn heads(xs: &Tensor, w: &Tensor, eps: f32) -> Result<Tensor>;
}

/// The norms of candle.
#[derive(Debug)]
pub struct Candle;

impl Norms for Candle {
    type Layer = candle_nn::LayerNorm;

    fn layer(size: usize, eps: f64, vb: VarBuilder<'_>) -> Result<candle_nn::LayerNorm> {
        candle_nn::layer_norm(size, eps, vb)
    }

    fn add_layer(norm: &candle_nn::LayerNorm, xs: &Tensor, residual: &Tensor) -> Result<Tensor> {
        norm.forward(&(residual + xs)?)
    }

    fn add_rms(xs: &Tensor, residual: &Tensor, w: &Tensor, eps: f32) -> Result<(Tensor, Tensor)> {
        let sum = (residual + xs)?;
        let normalized = candle_nn::ops::rms_norm(&sum, w, eps)?;
        Ok((sum, normalized))
    }

    fn heads(xs: &Tensor, w: &Tensor, eps: f32) -> Result<Tensor> {
        // candle's kernel takes contiguous tensors.
        candle_nn::ops::rms_norm(&xs.contiguous()?, w, eps)
    }
}

/// The norms of `norm-host`.
#[derive(Debug)]
pub struct Ours;

impl Norms for Ours {
    type Layer = for_candle::LayerNorm;

    fn layer(size: usize, eps: f64, vb: VarBuilder<'_>) -> Result<for_candle::LayerNorm> {
        for_candle::layer_norm(size, eps, vb)
    }

    fn add_layer(norm: &for_candle::LayerNorm, xs: &Tensor, residual: &Tensor) -> Result<Tensor> {
        norm.forward_add(xs, residual)
    }

    fn add_rms(xs: &Tensor, residual: &Tensor, w: &Tensor, eps: f32) -> Result<(Tensor, Tensor)> {
        for_candle::ops::add_then_rms_norm(xs, residual, w, eps)
    }

    fn heads(xs: &Tensor, w: &Tensor, eps: f32) -> Result<Tensor> {
        for_candle::ops::head_norm(xs, w, None, eps, NormKind::Rms)
    }
}

//! The norms of a model: candle's ([`Candle`]), norm-host's ([`Ours`]), or norm-host's with the rotation in the launch of the
//! norms of queries and keys ([`Fused`]). All that differs between them is here.

use candle_core::{Module, Result, Tensor};
use candle_nn::{VarBuilder, rotary_emb::rope};
use norm_host::{
    NormKind,
    for_candle::{self, Norm, QkNormRope, Rotary},
};

/// What queries and keys are normed and rotated by.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    /// Heads of queries.
    pub queries: usize,
    /// Heads of keys, which lie behind those of queries.
    pub keys: usize,
    /// The weights of queries, `(head_dim,)`.
    pub q_weight: &'a Tensor,
    /// The weights of keys, `(head_dim,)`.
    pub k_weight: &'a Tensor,
    /// Added to the mean of squares before the square root.
    pub eps: f32,
    /// Cosines of all positions, `(positions, head_dim / 2)`.
    pub cos: &'a Tensor,
    /// Sines of all positions, `(positions, head_dim / 2)`.
    pub sin: &'a Tensor,
    /// The positions of the tokens, `(tokens,)`: neighbours, the first of them `first`.
    pub positions: &'a Tensor,
    /// The position of the first token.
    pub first: usize,
}

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

    /// Queries and keys of `qkv` `(1, tokens, heads, head_dim)`, normed and rotated, `(1, heads, tokens, head_dim)` each and
    /// contiguous: two norms, and candle's rotation of each.
    fn queries_and_keys(qkv: &Tensor, heads: Heads<'_>) -> Result<(Tensor, Tensor)> {
        let Heads { queries, keys, first, .. } = heads;
        let tokens = qkv.dim(1)?;
        let (cos, sin) = (heads.cos.narrow(0, first, tokens)?, heads.sin.narrow(0, first, tokens)?);
        let part = |from: usize, count: usize, w: &Tensor| {
            let normed = Self::heads(&qkv.narrow(2, from, count)?, w, heads.eps)?;
            rope(&normed.transpose(1, 2)?.contiguous()?, &cos, &sin)
        };
        Ok((part(0, queries, heads.q_weight)?, part(queries, keys, heads.k_weight)?))
    }
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

/// The norms of `norm-host`, with queries and keys normed and rotated in one launch.
#[derive(Debug)]
pub struct Fused;

impl Norms for Fused {
    type Layer = for_candle::LayerNorm;

    fn layer(size: usize, eps: f64, vb: VarBuilder<'_>) -> Result<for_candle::LayerNorm> {
        Ours::layer(size, eps, vb)
    }

    fn add_layer(norm: &for_candle::LayerNorm, xs: &Tensor, residual: &Tensor) -> Result<Tensor> {
        Ours::add_layer(norm, xs, residual)
    }

    fn add_rms(xs: &Tensor, residual: &Tensor, w: &Tensor, eps: f32) -> Result<(Tensor, Tensor)> {
        Ours::add_rms(xs, residual, w, eps)
    }

    fn heads(xs: &Tensor, w: &Tensor, eps: f32) -> Result<Tensor> {
        Ours::heads(xs, w, eps)
    }

    fn queries_and_keys(qkv: &Tensor, heads: Heads<'_>) -> Result<(Tensor, Tensor)> {
        let Heads { queries, keys, q_weight, k_weight, eps, cos, sin, positions, .. } = heads;
        let norm = |w: &Tensor| Norm::rms(eps).weight(w.clone());
        QkNormRope::new()
            .q_norm(norm(q_weight))
            .k_norm(norm(k_weight))
            .rotary(Rotary::new(cos, sin, positions))
            .apply_packed(qkv, [queries, keys])
    }
}

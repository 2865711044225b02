//! The operations by their usual names, the arguments as candle-nn has them. What candle-nn's `ops` has
//! besides (`softmax`, `silu`, `rms_norm_slow`) is here too, as it is there: the whole module can be exchanged.

use candle_core::{Result, Tensor};

// What is defined below stands in front of what has its name there.
pub use candle_nn::ops::*;

use super::Norm;
use crate::NormKind;

/// RMSNorm over the last axis: `y = x / sqrt(mean(x²) + eps) * alpha`, in the place of
/// `candle_nn::ops::rms_norm`.
///
/// `xs`: `(…, dim)`; `alpha`: `(dim,)`.
///
/// # Errors
///
/// As for [`Norm::rows`].
pub fn rms_norm(xs: &Tensor, alpha: &Tensor, eps: f32) -> Result<Tensor> {
    Norm::rms(eps).weight(alpha.clone()).rows(xs)
}

/// LayerNorm over the last axis: `y = (x - mean(x)) / sqrt(var(x) + eps) * alpha + beta`, in the place
/// of `candle_nn::ops::layer_norm`.
///
/// `xs`: `(…, dim)`; `alpha`, `beta`: `(dim,)`.
///
/// # Errors
///
/// As for [`Norm::rows`].
pub fn layer_norm(xs: &Tensor, alpha: &Tensor, beta: &Tensor, eps: f32) -> Result<Tensor> {
    Norm::layer(eps).weight(alpha.clone()).bias(beta.clone()).rows(xs)
}

/// Either norm over the last axis, each head with its own weights or all with the same.
///
/// `xs`: `(…, heads, head_dim)`; `alpha`, `beta`: `(heads, head_dim)`, or `(head_dim,)` for all heads.
///
/// # Errors
///
/// As for [`Norm::heads`].
pub fn head_norm(
    xs: &Tensor,
    alpha: &Tensor,
    beta: Option<&Tensor>,
    eps: f32,
    kind: NormKind,
) -> Result<Tensor> {
    Norm::new(kind, eps).weight(alpha.clone()).bias(beta.cloned()).heads(xs)
}

/// `residual += xs; y = rms_norm(residual)`: updates `residual` where it lies and gives `y`. Without gradients:
/// [`add_then_rms_norm`] has them.
///
/// `xs`, `residual`: `(…, dim)`, of one type, or `residual` f32 where `xs` has 16 bits; `alpha`: `(dim,)`.
///
/// # Errors
///
/// As for [`Norm::add_then_norm_in_place`].
pub fn add_rms_norm(xs: &Tensor, residual: &Tensor, alpha: &Tensor, eps: f32) -> Result<Tensor> {
    Norm::rms(eps).weight(alpha.clone()).add_then_norm_in_place(xs, residual)
}

/// `residual += xs; y = layer_norm(residual)`: updates `residual` where it lies and gives `y`. Without gradients:
/// [`add_then_layer_norm`] has them.
///
/// `xs`, `residual`: `(…, dim)`, of one type, or `residual` f32 where `xs` has 16 bits; `alpha`, `beta`: `(dim,)`.
///
/// # Errors
///
/// As for [`Norm::add_then_norm_in_place`].
pub fn add_layer_norm(
    xs: &Tensor,
    residual: &Tensor,
    alpha: &Tensor,
    beta: &Tensor,
    eps: f32,
) -> Result<Tensor> {
    Norm::layer(eps).weight(alpha.clone()).bias(beta.clone()).add_then_norm_in_place(xs, residual)
}

/// `ys += rms_norm(xs)`, where `ys` lies. Without gradients: [`rms_norm_then_add`] has them.
///
/// `xs`, `ys`: `(…, dim)`; `alpha`: `(dim,)`.
///
/// # Errors
///
/// As for [`Norm::norm_then_add_in_place`].
pub fn rms_norm_add(xs: &Tensor, alpha: &Tensor, ys: &Tensor, eps: f32) -> Result<()> {
    Norm::rms(eps).weight(alpha.clone()).norm_then_add_in_place(xs, ys)
}

/// `ys += layer_norm(xs)`, where `ys` lies. Without gradients: [`layer_norm_then_add`] has them.
///
/// `xs`, `ys`: `(…, dim)`; `alpha`, `beta`: `(dim,)`.
///
/// # Errors
///
/// As for [`Norm::norm_then_add_in_place`].
pub fn layer_norm_add(xs: &Tensor, alpha: &Tensor, beta: &Tensor, ys: &Tensor, eps: f32) -> Result<()> {
    Norm::layer(eps).weight(alpha.clone()).bias(beta.clone()).norm_then_add_in_place(xs, ys)
}

/// `s = xs + residual; y = rms_norm(s)`: gives `(s, y)`, new tensors, with gradients.
///
/// `xs`, `residual`: `(…, dim)`, of one type, or `residual` f32 where `xs` has 16 bits; `alpha`: `(dim,)`.
///
/// # Errors
///
/// As for [`Norm::add_then_norm`].
pub fn add_then_rms_norm(
    xs: &Tensor,
    residual: &Tensor,
    alpha: &Tensor,
    eps: f32,
) -> Result<(Tensor, Tensor)> {
    Norm::rms(eps).weight(alpha.clone()).add_then_norm(xs, residual)
}

/// `s = xs + residual; y = layer_norm(s)`: gives `(s, y)`, new tensors, with gradients.
///
/// `xs`, `residual`: `(…, dim)`, of one type, or `residual` f32 where `xs` has 16 bits; `alpha`, `beta`: `(dim,)`.
///
/// # Errors
///
/// As for [`Norm::add_then_norm`].
pub fn add_then_layer_norm(
    xs: &Tensor,
    residual: &Tensor,
    alpha: &Tensor,
    beta: &Tensor,
    eps: f32,
) -> Result<(Tensor, Tensor)> {
    Norm::layer(eps).weight(alpha.clone()).bias(beta.clone()).add_then_norm(xs, residual)
}

/// `ys + rms_norm(xs)`: a new tensor of the type of `ys`, with gradients.
///
/// `xs`, `ys`: `(…, dim)`; `alpha`: `(dim,)`.
///
/// # Errors
///
/// As for [`Norm::norm_then_add`].
pub fn rms_norm_then_add(xs: &Tensor, alpha: &Tensor, ys: &Tensor, eps: f32) -> Result<Tensor> {
    Norm::rms(eps).weight(alpha.clone()).norm_then_add(xs, ys)
}

/// `ys + layer_norm(xs)`: a new tensor of the type of `ys`, with gradients.
///
/// `xs`, `ys`: `(…, dim)`; `alpha`, `beta`: `(dim,)`.
///
/// # Errors
///
/// As for [`Norm::norm_then_add`].
pub fn layer_norm_then_add(
    xs: &Tensor,
    alpha: &Tensor,
    beta: &Tensor,
    ys: &Tensor,
    eps: f32,
) -> Result<Tensor> {
    Norm::layer(eps).weight(alpha.clone()).bias(beta.clone()).norm_then_add(xs, ys)
}

/// Two RMSNorms with a residual between them: `s = residual + rms_norm(xs, alpha); y = rms_norm(s, next_alpha)`. Gives
/// `(s, y)`, new tensors, with gradients.
///
/// `xs`, `residual`: `(…, dim)`; `alpha`, `next_alpha`: `(dim,)`.
///
/// # Errors
///
/// As for [`Norm::sandwich_rows`].
pub fn sandwich_rms_norm(
    xs: &Tensor,
    residual: &Tensor,
    alpha: &Tensor,
    next_alpha: &Tensor,
    eps: f32,
) -> Result<(Tensor, Tensor)> {
    let norm = |alpha: &Tensor| Norm::rms(eps).weight(alpha.clone());
    norm(alpha).sandwich_rows(&norm(next_alpha), xs, residual)
}

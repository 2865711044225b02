//! The operations under their usual names, with candle-nn's arguments. Everything else of `candle_nn::ops` (`softmax`,
//! `silu`, `rms_norm_slow` …) is re-exported, so that this module can take the place of the whole of that one.

use candle_core::{Result, Tensor};

// A function that is defined below takes precedence over the one of the same name there.
pub use candle_nn::ops::*;

use super::Norm;
use crate::NormKind;

/// RMSNorm over the last axis: `y = x / sqrt(mean(x²) + eps) * alpha`, in the place of
/// `candle_nn::ops::rms_norm`.
///
/// `xs`: `(…, dim)`; `alpha`: `(dim,)`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use norm_host::for_candle::ops;
///
/// # fn main() -> candle_core::Result<()> {
/// let xs = Tensor::new(&[[1.0_f32, 7.0]], &Device::Cpu)?;
/// let alpha = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// let ys = ops::rms_norm(&xs, &alpha, 0.0)?.to_vec2::<f32>()?;
/// assert!((ys[0][1] - 2.8).abs() < 1e-6); // 7 / sqrt((1 + 49) / 2) * 2
/// # Ok(())
/// # }
/// ```
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
/// ```
/// use candle_core::{Device, Tensor};
/// use norm_host::for_candle::ops;
///
/// # fn main() -> candle_core::Result<()> {
/// let xs = Tensor::new(&[[1.0_f32, 5.0]], &Device::Cpu)?;
/// let alpha = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// let beta = Tensor::new(&[0.5_f32, 0.5], &Device::Cpu)?;
/// let ys = ops::layer_norm(&xs, &alpha, &beta, 0.0)?;
/// assert_eq!(ys.to_vec2::<f32>()?, [[-0.5, 2.5]]); // the mean is 3, the variance 4
/// # Ok(())
/// # }
/// ```
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
/// ```
/// use candle_core::{Device, Tensor};
/// use norm_host::{NormKind, for_candle::ops};
///
/// # fn main() -> candle_core::Result<()> {
/// // One token with two heads of two elements, which share their weights.
/// let xs = Tensor::new(&[[[3.0_f32, 3.0], [70.0, -70.0]]], &Device::Cpu)?;
/// let alpha = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// let ys = ops::head_norm(&xs, &alpha, None, 0.0, NormKind::Rms)?;
/// assert_eq!(ys.to_vec3::<f32>()?, [[[1.0, 2.0], [1.0, -2.0]]]);
/// # Ok(())
/// # }
/// ```
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

/// `residual += xs; y = rms_norm(residual)`: updates `residual` in place and returns `y`. Without gradients:
/// [`add_then_rms_norm`] has them.
///
/// `xs`, `residual`: `(…, dim)`, of one type, or `residual` f32 where `xs` has 16 bits; `alpha`: `(dim,)`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use norm_host::for_candle::ops;
///
/// # fn main() -> candle_core::Result<()> {
/// let xs = Tensor::new(&[[1.0_f32, 7.0]], &Device::Cpu)?;
/// let residual = Tensor::new(&[[2.0_f32, -4.0]], &Device::Cpu)?;
/// let alpha = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// let ys = ops::add_rms_norm(&xs, &residual, &alpha, 0.0)?;
/// assert_eq!(residual.to_vec2::<f32>()?, [[3.0, 3.0]]); // updated
/// assert_eq!(ys.to_vec2::<f32>()?, [[1.0, 2.0]]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As for [`Norm::add_then_norm_in_place`].
pub fn add_rms_norm(xs: &Tensor, residual: &Tensor, alpha: &Tensor, eps: f32) -> Result<Tensor> {
    Norm::rms(eps).weight(alpha.clone()).add_then_norm_in_place(xs, residual)
}

/// `residual += xs; y = layer_norm(residual)`: updates `residual` in place and returns `y`. Without gradients:
/// [`add_then_layer_norm`] has them.
///
/// `xs`, `residual`: `(…, dim)`, of one type, or `residual` f32 where `xs` has 16 bits; `alpha`, `beta`: `(dim,)`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use norm_host::for_candle::ops;
///
/// # fn main() -> candle_core::Result<()> {
/// let xs = Tensor::new(&[[0.0_f32, 9.0]], &Device::Cpu)?;
/// let residual = Tensor::new(&[[1.0_f32, -4.0]], &Device::Cpu)?;
/// let alpha = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// let beta = Tensor::new(&[0.5_f32, 0.5], &Device::Cpu)?;
/// let ys = ops::add_layer_norm(&xs, &residual, &alpha, &beta, 0.0)?;
/// assert_eq!(residual.to_vec2::<f32>()?, [[1.0, 5.0]]); // updated
/// assert_eq!(ys.to_vec2::<f32>()?, [[-0.5, 2.5]]);
/// # Ok(())
/// # }
/// ```
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

/// `ys += rms_norm(xs)`, in place. Without gradients: [`rms_norm_then_add`] has them.
///
/// `xs`, `ys`: `(…, dim)`; `alpha`: `(dim,)`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use norm_host::for_candle::ops;
///
/// # fn main() -> candle_core::Result<()> {
/// let xs = Tensor::new(&[[3.0_f32, 3.0]], &Device::Cpu)?;
/// let alpha = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// let ys = Tensor::new(&[[10.0_f32, 20.0]], &Device::Cpu)?;
/// ops::rms_norm_add(&xs, &alpha, &ys, 0.0)?;
/// assert_eq!(ys.to_vec2::<f32>()?, [[11.0, 22.0]]); // updated
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As for [`Norm::norm_then_add_in_place`].
pub fn rms_norm_add(xs: &Tensor, alpha: &Tensor, ys: &Tensor, eps: f32) -> Result<()> {
    Norm::rms(eps).weight(alpha.clone()).norm_then_add_in_place(xs, ys)
}

/// `ys += layer_norm(xs)`, in place. Without gradients: [`layer_norm_then_add`] has them.
///
/// `xs`, `ys`: `(…, dim)`; `alpha`, `beta`: `(dim,)`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use norm_host::for_candle::ops;
///
/// # fn main() -> candle_core::Result<()> {
/// let xs = Tensor::new(&[[1.0_f32, 5.0]], &Device::Cpu)?;
/// let alpha = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// let beta = Tensor::new(&[0.5_f32, 0.5], &Device::Cpu)?;
/// let ys = Tensor::new(&[[10.0_f32, 20.0]], &Device::Cpu)?;
/// ops::layer_norm_add(&xs, &alpha, &beta, &ys, 0.0)?;
/// assert_eq!(ys.to_vec2::<f32>()?, [[9.5, 22.5]]); // updated
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As for [`Norm::norm_then_add_in_place`].
pub fn layer_norm_add(xs: &Tensor, alpha: &Tensor, beta: &Tensor, ys: &Tensor, eps: f32) -> Result<()> {
    Norm::layer(eps).weight(alpha.clone()).bias(beta.clone()).norm_then_add_in_place(xs, ys)
}

/// `s = xs + residual; y = rms_norm(s)`: returns `(s, y)`, new tensors, with gradients.
///
/// `xs`, `residual`: `(…, dim)`, of one type, or `residual` f32 where `xs` has 16 bits; `alpha`: `(dim,)`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use norm_host::for_candle::ops;
///
/// # fn main() -> candle_core::Result<()> {
/// let xs = Tensor::new(&[[1.0_f32, 7.0]], &Device::Cpu)?;
/// let residual = Tensor::new(&[[2.0_f32, -4.0]], &Device::Cpu)?;
/// let alpha = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// let (sum, ys) = ops::add_then_rms_norm(&xs, &residual, &alpha, 0.0)?;
/// assert_eq!(sum.to_vec2::<f32>()?, [[3.0, 3.0]]);
/// assert_eq!(ys.to_vec2::<f32>()?, [[1.0, 2.0]]);
/// assert_eq!(residual.to_vec2::<f32>()?, [[2.0, -4.0]]); // as it was
/// # Ok(())
/// # }
/// ```
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

/// `s = xs + residual; y = layer_norm(s)`: returns `(s, y)`, new tensors, with gradients.
///
/// `xs`, `residual`: `(…, dim)`, of one type, or `residual` f32 where `xs` has 16 bits; `alpha`, `beta`: `(dim,)`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use norm_host::for_candle::ops;
///
/// # fn main() -> candle_core::Result<()> {
/// let xs = Tensor::new(&[[0.0_f32, 9.0]], &Device::Cpu)?;
/// let residual = Tensor::new(&[[1.0_f32, -4.0]], &Device::Cpu)?;
/// let alpha = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// let beta = Tensor::new(&[0.5_f32, 0.5], &Device::Cpu)?;
/// let (sum, ys) = ops::add_then_layer_norm(&xs, &residual, &alpha, &beta, 0.0)?;
/// assert_eq!(sum.to_vec2::<f32>()?, [[1.0, 5.0]]);
/// assert_eq!(ys.to_vec2::<f32>()?, [[-0.5, 2.5]]);
/// # Ok(())
/// # }
/// ```
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
/// ```
/// use candle_core::{Device, Tensor};
/// use norm_host::for_candle::ops;
///
/// # fn main() -> candle_core::Result<()> {
/// let xs = Tensor::new(&[[3.0_f32, 3.0]], &Device::Cpu)?;
/// let alpha = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// let ys = Tensor::new(&[[10.0_f32, 20.0]], &Device::Cpu)?;
/// let sum = ops::rms_norm_then_add(&xs, &alpha, &ys, 0.0)?;
/// assert_eq!(sum.to_vec2::<f32>()?, [[11.0, 22.0]]);
/// # Ok(())
/// # }
/// ```
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
/// ```
/// use candle_core::{Device, Tensor};
/// use norm_host::for_candle::ops;
///
/// # fn main() -> candle_core::Result<()> {
/// let xs = Tensor::new(&[[1.0_f32, 5.0]], &Device::Cpu)?;
/// let alpha = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// let beta = Tensor::new(&[0.5_f32, 0.5], &Device::Cpu)?;
/// let ys = Tensor::new(&[[10.0_f32, 20.0]], &Device::Cpu)?;
/// let sum = ops::layer_norm_then_add(&xs, &alpha, &beta, &ys, 0.0)?;
/// assert_eq!(sum.to_vec2::<f32>()?, [[9.5, 22.5]]);
/// # Ok(())
/// # }
/// ```
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

/// Two RMSNorms with a residual between them: `s = residual + rms_norm(xs, alpha); y = rms_norm(s, next_alpha)`. Returns
/// `(s, y)`, new tensors, with gradients.
///
/// `xs`, `residual`: `(…, dim)`; `alpha`, `next_alpha`: `(dim,)`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use norm_host::for_candle::ops;
///
/// # fn main() -> candle_core::Result<()> {
/// let xs = Tensor::new(&[[3.0_f32, 3.0]], &Device::Cpu)?;
/// let residual = Tensor::new(&[[4.0_f32, 3.0]], &Device::Cpu)?;
/// let alpha = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// let (sum, ys) = ops::sandwich_rms_norm(&xs, &residual, &alpha, &alpha, 0.0)?;
/// assert_eq!(sum.to_vec2::<f32>()?, [[5.0, 5.0]]);
/// assert_eq!(ys.to_vec2::<f32>()?, [[1.0, 2.0]]);
/// # Ok(())
/// # }
/// ```
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

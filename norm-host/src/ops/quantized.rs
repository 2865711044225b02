//! Norms whose output is quantized.

use crate::{
    backend::Backend,
    error::Result,
    norm::{Norm, Quantization},
    tensor::{QuantizedMut, View, ViewMut},
};

/// RMSNorm whose output is quantized: `y = quantize(x / sqrt(mean(x²) + eps) * w)`.
///
/// `x`: `(…, dim)`, rank 1 to 4, f16 or bf16; `y`: codes of that shape, with their scales; `w`: `(dim,)`, f16, bf16 or f32, or
/// `None`.
///
/// # Errors
///
/// As for [`Norm::quantize_rows`].
#[doc(alias = "rms_norm_quant")]
#[doc(alias = "rmsnorm_quant")]
pub fn rms_norm_quantized<'w>(
    quantization: &Quantization<'_>,
    x: View<'_>,
    w: impl Into<Option<View<'w>>>,
    y: &mut QuantizedMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::rms(eps).weight(w).quantize_rows(quantization, x, y, on)
}

/// LayerNorm whose output is quantized: `y = quantize((x - mean(x)) / sqrt(var(x) + eps) * w + b)`, `var` the biased
/// variance.
///
/// `x`: `(…, dim)`, rank 1 to 4, f16 or bf16; `y`: codes of that shape, with their scales; `w`, `b`: `(dim,)`, f16, bf16 or
/// f32, or `None`; `b` has the type of `w`.
///
/// # Errors
///
/// As for [`Norm::quantize_rows`].
#[doc(alias = "layer_norm_quant")]
pub fn layer_norm_quantized<'p>(
    quantization: &Quantization<'_>,
    x: View<'_>,
    w: impl Into<Option<View<'p>>>,
    b: impl Into<Option<View<'p>>>,
    y: &mut QuantizedMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::layer(eps).weight(w).bias(b).quantize_rows(quantization, x, y, on)
}

/// Residual and RMSNorm behind it, whose output is quantized: `r += x; y = quantize(r / sqrt(mean(r²) + eps) * w)`.
///
/// `x`, `r`: `(…, dim)`, rank 1 to 4, of one type, f16 or bf16; `y`: codes of that shape, with their scales; `w`: `(dim,)`,
/// f16, bf16 or f32, or `None`.
///
/// # Errors
///
/// As for [`Norm::add_then_quantize`].
#[doc(alias = "fused_add_rms_norm_quant")]
pub fn add_rms_norm_quantized<'w>(
    quantization: &Quantization<'_>,
    x: View<'_>,
    r: &mut ViewMut<'_>,
    w: impl Into<Option<View<'w>>>,
    y: &mut QuantizedMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::rms(eps).weight(w).add_then_quantize(quantization, x, r, y, on)
}

/// Residual and LayerNorm behind it, whose output is quantized:
/// `r += x; y = quantize((r - mean(r)) / sqrt(var(r) + eps) * w + b)`.
///
/// `x`, `r`: `(…, dim)`, rank 1 to 4, of one type, f16 or bf16; `y`: codes of that shape, with their scales; `w`, `b`:
/// `(dim,)`, f16, bf16 or f32, or `None`; `b` has the type of `w`.
///
/// # Errors
///
/// As for [`Norm::add_then_quantize`].
#[expect(clippy::too_many_arguments, reason = "each is a tensor or a number of the formula")]
pub fn add_layer_norm_quantized<'p>(
    quantization: &Quantization<'_>,
    x: View<'_>,
    r: &mut ViewMut<'_>,
    w: impl Into<Option<View<'p>>>,
    b: impl Into<Option<View<'p>>>,
    y: &mut QuantizedMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::layer(eps).weight(w).bias(b).add_then_quantize(quantization, x, r, y, on)
}

//! The operations under their usual names. [`Norm`] has the options that these leave out.

mod gated;
mod quantized;
mod residual;
mod sharded;

pub use gated::{gated_rms_norm, gated_rms_norm_};
use norm_kernels::abi::NormKind;
pub use quantized::{
    add_layer_norm_quantized, add_rms_norm_quantized, layer_norm_quantized, rms_norm_quantized,
};
pub use residual::{
    add_layer_norm, add_layer_norm_, add_layer_norm_to, add_rms_norm, add_rms_norm_, add_rms_norm_to,
    layer_norm_add, layer_norm_add_to, rms_norm_add, rms_norm_add_to, sandwich_rms_norm,
    sandwich_rms_norm_to,
};
pub use sharded::{rms_norm_apply, rms_norm_partial};

use crate::{
    backend::Backend,
    error::Result,
    norm::Norm,
    tensor::{View, ViewMut},
};

/// RMSNorm over the last axis: `y = x / sqrt(mean(x²) + eps) * w`.
///
/// `x`, `y`: `(…, dim)`, rank 1 to 4; `w`: `(dim,)` or `None`. Each is f16, bf16 or f32.
///
/// ```
/// use norm_host::{Cpu, View, ViewMut, rms_norm};
///
/// let (x, w, mut y) = ([1.0_f32, 7.0], [1.0_f32, 2.0], [0.0_f32; 2]);
/// let (x, w) = (View::from_slice(&x, &[1, 2])?, View::from_slice(&w, &[2])?);
/// rms_norm(x, w, &mut ViewMut::from_slice(&mut y, &[1, 2])?, 0.0, &Cpu)?;
/// assert!((y[1] - 2.8).abs() < 1e-6); // 7 / sqrt((1 + 49) / 2) * 2
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::rows`].
#[doc(alias = "RMSNorm")]
pub fn rms_norm<'w>(
    x: View<'_>,
    w: impl Into<Option<View<'w>>>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::rms(eps).weight(w).rows(x, y, on)
}

/// [`rms_norm`] in place.
///
/// ```
/// use norm_host::{Cpu, ViewMut, rms_norm_};
///
/// let mut x = [1.0_f32, 7.0];
/// rms_norm_(&mut ViewMut::from_slice(&mut x, &[1, 2])?, None, 0.0, &Cpu)?;
/// assert!((x[1] - 1.4).abs() < 1e-6); // 7 / sqrt((1 + 49) / 2)
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::rows`].
pub fn rms_norm_<'w>(
    x: &mut ViewMut<'_>,
    w: impl Into<Option<View<'w>>>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::rms(eps).weight(w).rows_in_place(x, on)
}

/// LayerNorm over the last axis: `y = (x - mean(x)) / sqrt(var(x) + eps) * w + b`, `var` the
/// biased variance.
///
/// `x`, `y`: `(…, dim)`, rank 1 to 4; `w`, `b`: `(dim,)` or `None`. Each is f16, bf16 or f32; `b` has the type of `w`.
///
/// ```
/// use norm_host::{Cpu, View, ViewMut, layer_norm};
///
/// let (x, w, b, mut y) = ([1.0_f32, 5.0], [1.0_f32, 2.0], [0.5_f32; 2], [0.0_f32; 2]);
/// let (w, b) = (View::from_slice(&w, &[2])?, View::from_slice(&b, &[2])?);
/// let y_view = &mut ViewMut::from_slice(&mut y, &[1, 2])?;
/// layer_norm(View::from_slice(&x, &[1, 2])?, w, b, y_view, 0.0, &Cpu)?;
/// assert_eq!(y, [-0.5, 2.5]); // the mean is 3, the variance 4
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::rows`].
#[doc(alias = "LayerNorm")]
pub fn layer_norm<'p>(
    x: View<'_>,
    w: impl Into<Option<View<'p>>>,
    b: impl Into<Option<View<'p>>>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::layer(eps).weight(w).bias(b).rows(x, y, on)
}

/// [`layer_norm`] in place.
///
/// ```
/// use norm_host::{Cpu, ViewMut, layer_norm_};
///
/// let mut x = [1.0_f32, 5.0];
/// layer_norm_(&mut ViewMut::from_slice(&mut x, &[1, 2])?, None, None, 0.0, &Cpu)?;
/// assert_eq!(x, [-1.0, 1.0]);
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::rows`].
pub fn layer_norm_<'p>(
    x: &mut ViewMut<'_>,
    w: impl Into<Option<View<'p>>>,
    b: impl Into<Option<View<'p>>>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::layer(eps).weight(w).bias(b).rows_in_place(x, on)
}

/// Either norm over the last axis, each head with its own weights or all with the same.
///
/// `x`, `y`: `(…, heads, head_dim)`, rank 2 to 4; `w`, `b`: `(heads, head_dim)`, `(head_dim,)` for
/// all heads, or `None`. Each is f16, bf16 or f32; `b` has the type of `w`.
///
/// ```
/// use norm_host::{Cpu, NormKind, View, ViewMut, head_norm};
///
/// // One token with two heads of two elements, which share their weights.
/// let (x, w, mut y) = ([3.0_f32, 3.0, 70.0, -70.0], [1.0_f32, 2.0], [0.0_f32; 4]);
/// let (x, w) = (View::from_slice(&x, &[1, 2, 2])?, View::from_slice(&w, &[2])?);
/// let y_view = &mut ViewMut::from_slice(&mut y, &[1, 2, 2])?;
/// head_norm(x, w, None, y_view, 0.0, NormKind::Rms, &Cpu)?;
/// assert_eq!(y, [1.0, 2.0, 1.0, -2.0]);
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::heads`].
#[doc(alias = "qk_norm")]
#[doc(alias = "q_norm")]
#[doc(alias = "k_norm")]
pub fn head_norm<'p>(
    x: View<'_>,
    w: impl Into<Option<View<'p>>>,
    b: impl Into<Option<View<'p>>>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    kind: NormKind,
    on: &impl Backend,
) -> Result<()> {
    Norm::new(kind, eps).weight(w).bias(b).heads(x, y, on)
}

/// [`head_norm`] in place.
///
/// ```
/// use norm_host::{Cpu, NormKind, ViewMut, head_norm_};
///
/// let mut queries = [3.0_f32, 3.0, 70.0, -70.0];
/// let heads = &mut ViewMut::from_slice(&mut queries, &[1, 2, 2])?;
/// head_norm_(heads, None, None, 0.0, NormKind::Rms, &Cpu)?;
/// assert_eq!(queries, [1.0, 1.0, 1.0, -1.0]);
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::heads`].
#[doc(alias = "qk_norm")]
pub fn head_norm_<'p>(
    x: &mut ViewMut<'_>,
    w: impl Into<Option<View<'p>>>,
    b: impl Into<Option<View<'p>>>,
    eps: impl Into<f64>,
    kind: NormKind,
    on: &impl Backend,
) -> Result<()> {
    Norm::new(kind, eps).weight(w).bias(b).heads_in_place(x, on)
}

//! The operations by their usual names. [`Norm`] has the options that these leave out.

mod residual;
mod sharded;

use norm_kernels::abi::NormKind;
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
/// `x`, `y`: `(…, dim)`, rank 1 to 4; `w`: `(dim,)` or `None`. Element types are free.
///
/// # Errors
///
/// As for [`Norm::rows`].
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
/// `x`, `y`: `(…, dim)`, rank 1 to 4; `w`, `b`: `(dim,)` or `None`. Element types are free.
///
/// # Errors
///
/// As for [`Norm::rows`].
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
/// all heads, or `None`. Element types are free.
///
/// # Errors
///
/// As for [`Norm::heads`].
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
/// # Errors
///
/// As for [`Norm::heads`].
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

//! Norms fused with the residual connection around them.

use crate::{
    backend::Backend,
    error::Result,
    norm::Norm,
    tensor::{View, ViewMut},
};

/// Residual and RMSNorm behind it: `r += x; y = r / sqrt(mean(r²) + eps) * w`, of the rounded `r`.
///
/// `x`, `r`, `y`: `(…, dim)`, rank 1 to 4; `w`: `(dim,)` or `None`. `r` has the type of `x`; the
/// other element types are free.
///
/// # Errors
///
/// As for [`Norm::add_rows`].
pub fn add_rms_norm<'w>(
    x: View<'_>,
    r: &mut ViewMut<'_>,
    w: impl Into<Option<View<'w>>>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::rms(eps).weight(w).add_rows(x, r, y, on)
}

/// [`add_rms_norm`] in place: `r += x; x = r / sqrt(mean(r²) + eps) * w`.
///
/// # Errors
///
/// As for [`Norm::add_rows`].
pub fn add_rms_norm_<'w>(
    x: &mut ViewMut<'_>,
    r: &mut ViewMut<'_>,
    w: impl Into<Option<View<'w>>>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::rms(eps).weight(w).add_rows_in_place(x, r, on)
}

/// RMSNorm added to what is there: `y += x / sqrt(mean(x²) + eps) * w`, rounded once.
///
/// `x`, `y`: `(…, dim)`, rank 1 to 4; `w`: `(dim,)` or `None`. Element types are free.
///
/// # Errors
///
/// As for [`Norm::rows_add`].
pub fn rms_norm_add<'w>(
    x: View<'_>,
    w: impl Into<Option<View<'w>>>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::rms(eps).weight(w).rows_add(x, y, on)
}

/// Residual and LayerNorm behind it:
/// `r += x; y = (r - mean(r)) / sqrt(var(r) + eps) * w + b`, of the rounded `r`, `var` the biased
/// variance.
///
/// `x`, `r`, `y`: `(…, dim)`, rank 1 to 4; `w`, `b`: `(dim,)` or `None`. `r` has the type of `x`;
/// the other element types are free.
///
/// # Errors
///
/// As for [`Norm::add_rows`].
pub fn add_layer_norm<'p>(
    x: View<'_>,
    r: &mut ViewMut<'_>,
    w: impl Into<Option<View<'p>>>,
    b: impl Into<Option<View<'p>>>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::layer(eps).weight(w).bias(b).add_rows(x, r, y, on)
}

/// [`add_layer_norm`] in place: `r += x`, and `x` becomes the norm of `r`.
///
/// # Errors
///
/// As for [`Norm::add_rows`].
pub fn add_layer_norm_<'p>(
    x: &mut ViewMut<'_>,
    r: &mut ViewMut<'_>,
    w: impl Into<Option<View<'p>>>,
    b: impl Into<Option<View<'p>>>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::layer(eps).weight(w).bias(b).add_rows_in_place(x, r, on)
}

/// LayerNorm added to what is there: `y += (x - mean(x)) / sqrt(var(x) + eps) * w + b`, rounded
/// once.
///
/// `x`, `y`: `(…, dim)`, rank 1 to 4; `w`, `b`: `(dim,)` or `None`. Element types are free.
///
/// # Errors
///
/// As for [`Norm::rows_add`].
pub fn layer_norm_add<'p>(
    x: View<'_>,
    w: impl Into<Option<View<'p>>>,
    b: impl Into<Option<View<'p>>>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::layer(eps).weight(w).bias(b).rows_add(x, y, on)
}

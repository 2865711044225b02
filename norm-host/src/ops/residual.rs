//! Norms fused with the residual connection around them.

use crate::{
    backend::Backend,
    error::Result,
    norm::Norm,
    tensor::{View, ViewMut},
};

/// Residual and RMSNorm behind it: `r += x; y = r / sqrt(mean(r²) + eps) * w`, of the rounded `r`.
///
/// `x`, `r`, `y`: `(…, dim)`, rank 1 to 4; `w`: `(dim,)` or `None`. `r` has the type of `x`, or is `f32`
/// where `x` and `y` have 16 bits; the others are each f16, bf16 or f32.
///
/// ```
/// use norm_host::{Cpu, View, ViewMut, add_rms_norm};
///
/// let (x, mut r, mut y) = ([0.5_f32, 5.0], [0.5_f32, 2.0], [0.0_f32; 2]);
/// let (r_view, y_view) = (&mut ViewMut::from_slice(&mut r, &[2])?, &mut ViewMut::from_slice(&mut y, &[2])?);
/// add_rms_norm(View::from_slice(&x, &[2])?, r_view, None, y_view, 0.0, &Cpu)?;
/// assert_eq!(r, [1.0, 7.0]);
/// assert!((y[1] - 1.4).abs() < 1e-6); // 7 / sqrt((1 + 49) / 2)
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::add_then_norm`].
#[doc(alias = "fused_add_rms_norm")]
#[doc(alias = "add_rmsnorm")]
#[doc(alias = "skip_rms_norm")]
pub fn add_rms_norm<'w>(
    x: View<'_>,
    r: &mut ViewMut<'_>,
    w: impl Into<Option<View<'w>>>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::rms(eps).weight(w).add_then_norm(x, r, y, on)
}

/// [`add_rms_norm`] with a tensor of its own for the sum:
/// `sum = x + r; y = sum / sqrt(mean(sum²) + eps) * w`, of the rounded `sum`.
///
/// `x`, `r`, `sum`, `y`: `(…, dim)`, rank 1 to 4; `w`: `(dim,)` or `None`. `r` and `sum` have the type of
/// `x`, or are `f32` where `x` and `y` have 16 bits; `sum` may be the same tensor as `r`. The others
/// are each f16, bf16 or f32.
///
/// ```
/// use norm_host::{Cpu, View, ViewMut, add_rms_norm_to};
///
/// let (x, r, mut sum, mut y) = ([0.5_f32, 5.0], [0.5_f32, 2.0], [0.0_f32; 2], [0.0_f32; 2]);
/// let (x, r) = (View::from_slice(&x, &[2])?, View::from_slice(&r, &[2])?);
/// let sum_view = &mut ViewMut::from_slice(&mut sum, &[2])?;
/// add_rms_norm_to(x, r, None, sum_view, &mut ViewMut::from_slice(&mut y, &[2])?, 0.0, &Cpu)?;
/// assert_eq!(sum, [1.0, 7.0]);
/// assert!((y[1] - 1.4).abs() < 1e-6); // 7 / sqrt((1 + 49) / 2)
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::add_then_norm_to`].
#[doc(alias = "fused_add_rms_norm")]
pub fn add_rms_norm_to<'w>(
    x: View<'_>,
    r: View<'_>,
    w: impl Into<Option<View<'w>>>,
    sum: &mut ViewMut<'_>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::rms(eps).weight(w).add_then_norm_to(x, r, sum, y, on)
}

/// [`add_rms_norm`] in place: `r += x; x = r / sqrt(mean(r²) + eps) * w`.
///
/// ```
/// use norm_host::{Cpu, ViewMut, add_rms_norm_};
///
/// let (mut x, mut r) = ([0.5_f32, 5.0], [0.5_f32, 2.0]);
/// let (x_view, r_view) = (&mut ViewMut::from_slice(&mut x, &[2])?, &mut ViewMut::from_slice(&mut r, &[2])?);
/// add_rms_norm_(x_view, r_view, None, 0.0, &Cpu)?;
/// assert_eq!(r, [1.0, 7.0]);
/// assert!((x[1] - 1.4).abs() < 1e-6); // 7 / sqrt((1 + 49) / 2)
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::add_then_norm`].
#[doc(alias = "fused_add_rms_norm")]
pub fn add_rms_norm_<'w>(
    x: &mut ViewMut<'_>,
    r: &mut ViewMut<'_>,
    w: impl Into<Option<View<'w>>>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::rms(eps).weight(w).add_then_norm_in_place(x, r, on)
}

/// RMSNorm added to what is there: `y += x / sqrt(mean(x²) + eps) * w`, rounded once.
///
/// `x`, `y`: `(…, dim)`, rank 1 to 4; `w`: `(dim,)` or `None`. Each is f16, bf16 or f32.
///
/// ```
/// use norm_host::{Cpu, View, ViewMut, rms_norm_add};
///
/// let (x, mut y) = ([2.0_f32, -2.0], [0.5_f32, 10.0]);
/// rms_norm_add(View::from_slice(&x, &[2])?, None, &mut ViewMut::from_slice(&mut y, &[2])?, 0.0, &Cpu)?;
/// assert_eq!(y, [1.5, 9.0]);
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::norm_then_add`].
#[doc(alias = "post_norm")]
pub fn rms_norm_add<'w>(
    x: View<'_>,
    w: impl Into<Option<View<'w>>>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::rms(eps).weight(w).norm_then_add(x, y, on)
}

/// RMSNorm added to a residual: `y = r + x / sqrt(mean(x²) + eps) * w`, rounded once.
///
/// `x`, `r`, `y`: `(…, dim)`, rank 1 to 4; `w`: `(dim,)` or `None`. `r` has the type of `y`, and may be the
/// same tensor; the others are each f16, bf16 or f32.
///
/// ```
/// use norm_host::{Cpu, View, ViewMut, rms_norm_add_to};
///
/// let (x, r, mut y) = ([2.0_f32, -2.0], [0.5_f32, 10.0], [0.0_f32; 2]);
/// let (x, r) = (View::from_slice(&x, &[2])?, View::from_slice(&r, &[2])?);
/// rms_norm_add_to(x, r, None, &mut ViewMut::from_slice(&mut y, &[2])?, 0.0, &Cpu)?;
/// assert_eq!(y, [1.5, 9.0]);
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::norm_then_add_to`].
#[doc(alias = "post_norm")]
pub fn rms_norm_add_to<'w>(
    x: View<'_>,
    r: View<'_>,
    w: impl Into<Option<View<'w>>>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::rms(eps).weight(w).norm_then_add_to(x, r, y, on)
}

/// Two RMSNorms with a residual between them: `r += x / sqrt(mean(x²) + eps) * w; y = r / sqrt(mean(r²) + eps)
/// * next_w`, of the rounded `r`. Norms of different `eps`, of other kinds, with scales: [`Norm::sandwich_rows`].
///
/// `x`, `r`, `y`: `(…, dim)`, rank 1 to 4; `w`, `next_w`: `(dim,)` or `None`. Each is f16, bf16 or f32.
///
/// ```
/// use norm_host::{Cpu, View, ViewMut, sandwich_rms_norm};
///
/// let (x, mut r, mut y) = ([2.0_f32, 2.0], [2.0_f32, 2.0], [0.0_f32; 2]);
/// let (r_view, y_view) = (&mut ViewMut::from_slice(&mut r, &[2])?, &mut ViewMut::from_slice(&mut y, &[2])?);
/// sandwich_rms_norm(View::from_slice(&x, &[2])?, r_view, None, None, y_view, 0.0, &Cpu)?;
/// assert_eq!((r, y), ([3.0; 2], [1.0; 2]));
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::sandwich_rows`].
#[doc(alias = "sandwich_norm")]
#[doc(alias = "rms_norm_add_rms_norm")]
pub fn sandwich_rms_norm<'w>(
    x: View<'_>,
    r: &mut ViewMut<'_>,
    w: impl Into<Option<View<'w>>>,
    next_w: impl Into<Option<View<'w>>>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    let eps = eps.into();
    Norm::rms(eps).weight(w).sandwich_rows(&Norm::rms(eps).weight(next_w), x, r, y, on)
}

/// [`sandwich_rms_norm`] with a tensor of its own for the sum: `sum = r + x / sqrt(mean(x²) + eps) * w`, and `y`
/// the norm of the rounded `sum`.
///
/// `sum` has the shape and type of `r`, and may be the same tensor.
///
/// ```
/// use norm_host::{Cpu, View, ViewMut, sandwich_rms_norm_to};
///
/// let (x, r, mut sum, mut y) = ([2.0_f32, 2.0], [2.0_f32, 2.0], [0.0_f32; 2], [0.0_f32; 2]);
/// let (x, r) = (View::from_slice(&x, &[2])?, View::from_slice(&r, &[2])?);
/// let (sum_view, y_view) = (&mut ViewMut::from_slice(&mut sum, &[2])?, &mut ViewMut::from_slice(&mut y, &[2])?);
/// sandwich_rms_norm_to(x, r, None, None, sum_view, y_view, 0.0, &Cpu)?;
/// assert_eq!((sum, y), ([3.0; 2], [1.0; 2]));
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::sandwich_rows_to`].
#[expect(clippy::too_many_arguments, reason = "each is a tensor or a number of the formula")]
pub fn sandwich_rms_norm_to<'w>(
    x: View<'_>,
    r: View<'_>,
    w: impl Into<Option<View<'w>>>,
    next_w: impl Into<Option<View<'w>>>,
    sum: &mut ViewMut<'_>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    let eps = eps.into();
    Norm::rms(eps).weight(w).sandwich_rows_to(&Norm::rms(eps).weight(next_w), x, r, sum, y, on)
}

/// Residual and LayerNorm behind it:
/// `r += x; y = (r - mean(r)) / sqrt(var(r) + eps) * w + b`, of the rounded `r`, `var` the biased
/// variance.
///
/// `x`, `r`, `y`: `(…, dim)`, rank 1 to 4; `w`, `b`: `(dim,)` or `None`. `r` has the type of `x`, or is
/// `f32` where `x` and `y` have 16 bits; the others are each f16, bf16 or f32, `b` as `w`.
///
/// ```
/// use norm_host::{Cpu, View, ViewMut, add_layer_norm};
///
/// let (x, mut r, mut y) = ([1.0_f32, 2.0], [0.0_f32, 3.0], [0.0_f32; 2]);
/// let (r_view, y_view) = (&mut ViewMut::from_slice(&mut r, &[2])?, &mut ViewMut::from_slice(&mut y, &[2])?);
/// add_layer_norm(View::from_slice(&x, &[2])?, r_view, None, None, y_view, 0.0, &Cpu)?;
/// assert_eq!((r, y), ([1.0, 5.0], [-1.0, 1.0]));
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::add_then_norm`].
#[doc(alias = "fused_add_layer_norm")]
#[doc(alias = "skip_layer_norm")]
pub fn add_layer_norm<'p>(
    x: View<'_>,
    r: &mut ViewMut<'_>,
    w: impl Into<Option<View<'p>>>,
    b: impl Into<Option<View<'p>>>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::layer(eps).weight(w).bias(b).add_then_norm(x, r, y, on)
}

/// [`add_layer_norm`] with a tensor of its own for the sum: `sum = x + r`, and `y` the norm of the rounded `sum`.
///
/// `x`, `r`, `sum`, `y`: `(…, dim)`, rank 1 to 4; `w`, `b`: `(dim,)` or `None`. `r` and `sum` have the type of
/// `x`, or are `f32` where `x` and `y` have 16 bits; `sum` may be the same tensor as `r`. The others
/// are each f16, bf16 or f32, `b` as `w`.
///
/// ```
/// use norm_host::{Cpu, View, ViewMut, add_layer_norm_to};
///
/// let (x, r, mut sum, mut y) = ([1.0_f32, 2.0], [0.0_f32, 3.0], [0.0_f32; 2], [0.0_f32; 2]);
/// let (x, r) = (View::from_slice(&x, &[2])?, View::from_slice(&r, &[2])?);
/// let (sum_view, y_view) = (&mut ViewMut::from_slice(&mut sum, &[2])?, &mut ViewMut::from_slice(&mut y, &[2])?);
/// add_layer_norm_to(x, r, None, None, sum_view, y_view, 0.0, &Cpu)?;
/// assert_eq!((sum, y), ([1.0, 5.0], [-1.0, 1.0]));
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::add_then_norm_to`].
#[doc(alias = "fused_add_layer_norm")]
#[expect(clippy::too_many_arguments, reason = "each is a tensor or a number of the formula")]
pub fn add_layer_norm_to<'p>(
    x: View<'_>,
    r: View<'_>,
    w: impl Into<Option<View<'p>>>,
    b: impl Into<Option<View<'p>>>,
    sum: &mut ViewMut<'_>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::layer(eps).weight(w).bias(b).add_then_norm_to(x, r, sum, y, on)
}

/// [`add_layer_norm`] in place: `r += x`, and `x` becomes the norm of `r`.
///
/// ```
/// use norm_host::{Cpu, ViewMut, add_layer_norm_};
///
/// let (mut x, mut r) = ([1.0_f32, 2.0], [0.0_f32, 3.0]);
/// let (x_view, r_view) = (&mut ViewMut::from_slice(&mut x, &[2])?, &mut ViewMut::from_slice(&mut r, &[2])?);
/// add_layer_norm_(x_view, r_view, None, None, 0.0, &Cpu)?;
/// assert_eq!((r, x), ([1.0, 5.0], [-1.0, 1.0]));
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::add_then_norm`].
#[doc(alias = "fused_add_layer_norm")]
pub fn add_layer_norm_<'p>(
    x: &mut ViewMut<'_>,
    r: &mut ViewMut<'_>,
    w: impl Into<Option<View<'p>>>,
    b: impl Into<Option<View<'p>>>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::layer(eps).weight(w).bias(b).add_then_norm_in_place(x, r, on)
}

/// LayerNorm added to what is there: `y += (x - mean(x)) / sqrt(var(x) + eps) * w + b`, rounded
/// once.
///
/// `x`, `y`: `(…, dim)`, rank 1 to 4; `w`, `b`: `(dim,)` or `None`. Each is f16, bf16 or f32; `b` has the type of `w`.
///
/// ```
/// use norm_host::{Cpu, View, ViewMut, layer_norm_add};
///
/// let (x, mut y) = ([1.0_f32, 5.0], [0.5_f32, 10.0]);
/// let y_view = &mut ViewMut::from_slice(&mut y, &[2])?;
/// layer_norm_add(View::from_slice(&x, &[2])?, None, None, y_view, 0.0, &Cpu)?;
/// assert_eq!(y, [-0.5, 11.0]);
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::norm_then_add`].
pub fn layer_norm_add<'p>(
    x: View<'_>,
    w: impl Into<Option<View<'p>>>,
    b: impl Into<Option<View<'p>>>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::layer(eps).weight(w).bias(b).norm_then_add(x, y, on)
}

/// LayerNorm added to a residual: `y = r + (x - mean(x)) / sqrt(var(x) + eps) * w + b`, rounded once.
///
/// `x`, `r`, `y`: `(…, dim)`, rank 1 to 4; `w`, `b`: `(dim,)` or `None`. `r` has the type of `y`, and may be the
/// same tensor; the others are each f16, bf16 or f32, `b` as `w`.
///
/// ```
/// use norm_host::{Cpu, View, ViewMut, layer_norm_add_to};
///
/// let (x, r, mut y) = ([1.0_f32, 5.0], [0.5_f32, 10.0], [0.0_f32; 2]);
/// let (x, r) = (View::from_slice(&x, &[2])?, View::from_slice(&r, &[2])?);
/// layer_norm_add_to(x, r, None, None, &mut ViewMut::from_slice(&mut y, &[2])?, 0.0, &Cpu)?;
/// assert_eq!(y, [-0.5, 11.0]);
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::norm_then_add_to`].
pub fn layer_norm_add_to<'p>(
    x: View<'_>,
    r: View<'_>,
    w: impl Into<Option<View<'p>>>,
    b: impl Into<Option<View<'p>>>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::layer(eps).weight(w).bias(b).norm_then_add_to(x, r, y, on)
}

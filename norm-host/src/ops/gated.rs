//! RMSNorms with a gate.

use crate::{
    backend::Backend,
    error::Result,
    norm::{Gate, Norm},
    tensor::{View, ViewMut},
};

/// RMSNorm and gate: `y = x / sqrt(mean(x²) + eps) * w * act(g)`, or, with
/// [`GateOrder::GateFirst`](crate::GateOrder::GateFirst), `u = x * act(g); y = u / sqrt(mean(u²) + eps) * w`.
///
/// `x`, the gate, `y`: `(…, dim)`, rank 1 to 4; `w`: `(dim,)` or `None`. `y` has the type of `x`. Beside `x` of f16 or
/// bf16 the gate has its type, and `w` that or f32; beside `x` of f32 the gate may be of any type, and `w` has that of the gate.
/// Heads, groups, and other orders of roundings: [`Norm::gated_heads`], [`Norm::gated_rows`].
///
/// ```
/// use norm_host::{Cpu, Gate, View, ViewMut, gated_rms_norm};
///
/// let (x, g, mut y) = ([1.0_f32, 7.0], [0.0_f32, 100.0], [0.0_f32; 2]);
/// let (x, g) = (View::from_slice(&x, &[2])?, View::from_slice(&g, &[2])?);
/// gated_rms_norm(x, Gate::silu(g), None, &mut ViewMut::from_slice(&mut y, &[2])?, 0.0, &Cpu)?;
/// assert_eq!(y[0], 0.0);
/// assert!((y[1] - 140.0).abs() < 1e-4); // 7 / sqrt((1 + 49) / 2) * 100 / (1 + exp(-100))
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::gated_rows`].
#[doc(alias = "rmsnorm_gated")]
#[doc(alias = "RMSNormGated")]
#[doc(alias = "fused_rms_norm_gated")]
pub fn gated_rms_norm<'w>(
    x: View<'_>,
    gate: Gate<'_>,
    w: impl Into<Option<View<'w>>>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::rms(eps).weight(w).gated_rows(x, gate, y, on)
}

/// [`gated_rms_norm`] in place.
///
/// ```
/// use norm_host::{Cpu, Gate, View, ViewMut, gated_rms_norm_};
///
/// let (mut x, g) = ([1.0_f32, 7.0], [0.0_f32, 0.0]);
/// let gate = Gate::sigmoid(View::from_slice(&g, &[2])?);
/// gated_rms_norm_(&mut ViewMut::from_slice(&mut x, &[2])?, gate, None, 0.0, &Cpu)?;
/// assert!((x[1] - 0.7).abs() < 1e-6); // 7 / sqrt((1 + 49) / 2) / 2
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::gated_rows`].
#[doc(alias = "rmsnorm_gated")]
pub fn gated_rms_norm_<'w>(
    x: &mut ViewMut<'_>,
    gate: Gate<'_>,
    w: impl Into<Option<View<'w>>>,
    eps: impl Into<f64>,
    on: &impl Backend,
) -> Result<()> {
    Norm::rms(eps).weight(w).gated_rows_in_place(x, gate, on)
}

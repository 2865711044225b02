//! The two steps of an RMSNorm whose rows are split, on one device.

use crate::{
    backend::Backend,
    check,
    error::Result,
    norm::Norm,
    tensor::{View, ViewMut},
};

/// The first step of an RMSNorm whose rows are split over devices: `sums[row] = Σ x²` over what is
/// here of each row, its shard.
///
/// `x`: `(…, shard)`, rank 1 to 4; `sums`: `(rows,)`, one `f32` for each row of `x`, in row-major
/// order. A sum's bits depend on the shard, its length and the type of `x` alone. Those of all
/// devices are then to be added up ([`rms_norm_sharded`](crate::rms_norm_sharded) has NCCL do that)
/// and handed to [`rms_norm_apply`].
///
/// # Errors
///
/// As for [`Norm::rows`], for `x` and `sums`: a shape, place, stride, type or address that does not
/// fit, or memory in common.
pub fn rms_norm_partial(x: View<'_>, sums: &mut ViewMut<'_>, on: &impl Backend) -> Result<()> {
    let problem = check::partial(&x.raw, &sums.raw, on.place())?;
    if problem.part.rows == 0 {
        return Ok(());
    }
    // SAFETY: the views vouch for their memory, `sums` for writing; the checks made sure that it is
    // all at the backend's place, aligned, and apart.
    unsafe { on.run_shard(&problem) }
}

/// The second step: `y = x / sqrt(sums[row] / dim + eps) * w`, `sums` those of whole rows, of `dim`
/// elements over all devices.
///
/// `x`, `y`: `(…, shard)`, rank 1 to 4; `w`: `(shard,)`, or `None`; `sums`: `(rows,)`, of `f32`.
/// Element types are free. `y` may be `x` itself. Where `sums` are exact to within a part in 10⁷,
/// `y` keeps the promise of [`rms_norm`](crate::rms_norm) of whole rows
/// ([`Promise`](crate::accuracy::Promise)).
///
/// # Errors
///
/// As for [`Norm::rows`]; [`SplitRow`](crate::Error::SplitRow) if `dim` is less than a shard.
pub fn rms_norm_apply<'w>(
    x: View<'_>,
    w: impl Into<Option<View<'w>>>,
    sums: View<'_>,
    y: &mut ViewMut<'_>,
    eps: impl Into<f64>,
    dim: usize,
    on: &impl Backend,
) -> Result<()> {
    Norm::rms(eps).weight(w).rows_apply(x, sums, y, dim, on)
}

impl Norm<'_> {
    /// [`rms_norm_apply`] by this description, which is one of RMSNorm: with biases `(shard,)`, a weight offset, an order
    /// of roundings.
    ///
    /// # Errors
    ///
    /// As for [`rms_norm_apply`]; [`SplitLayerNorm`](crate::Error::SplitLayerNorm) if it is one of LayerNorm.
    pub fn rows_apply(
        &self,
        x: View<'_>,
        sums: View<'_>,
        y: &mut ViewMut<'_>,
        dim: usize,
        on: &impl Backend,
    ) -> Result<()> {
        let problem = check::apply(self, &x.raw, &sums.raw, &y.raw, dim, on.place())?;
        if problem.part.rows == 0 {
            return Ok(());
        }
        // SAFETY: as in `rms_norm_partial`, with `y` the view that is to be written.
        unsafe { on.run_shard(&problem) }
    }
}

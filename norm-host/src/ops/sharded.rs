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
/// order. A sum's bits depend on the shard, its length and the type of `x` alone. The caller adds up the
/// sums of all devices and passes them to [`rms_norm_apply`]; [`rms_norm_sharded`](crate::rms_norm_sharded)
/// does both, with NCCL.
///
/// ```
/// use norm_host::{Cpu, View, ViewMut, rms_norm_apply, rms_norm_partial};
///
/// // A row of four elements, of which each of two devices has two.
/// let (shards, mut y, mut sums) = ([[1.0_f32, 5.0], [7.0, 5.0]], [[0.0_f32; 2]; 2], [[0.0_f32]; 2]);
/// for (x, sum) in shards.iter().zip(&mut sums) {
///     rms_norm_partial(View::from_slice(x, &[1, 2])?, &mut ViewMut::from_slice(sum, &[1])?, &Cpu)?;
/// }
/// let total = [sums[0][0] + sums[1][0]]; // what the devices exchange
/// for (x, y) in shards.iter().zip(&mut y) {
///     let (x, total) = (View::from_slice(x, &[1, 2])?, View::from_slice(&total, &[1])?);
///     rms_norm_apply(x, None, total, &mut ViewMut::from_slice(y, &[1, 2])?, 0.0, 4, &Cpu)?;
/// }
/// assert_eq!(y, [[0.2, 1.0], [1.4, 1.0]]); // divided by sqrt((1 + 25 + 49 + 25) / 4)
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`Norm::rows`], for `x` and `sums`: a shape, place, stride, type or address that does not
/// fit, or memory in common.
#[doc(alias = "tensor_parallel")]
pub fn rms_norm_partial(x: View<'_>, sums: &mut ViewMut<'_>, on: &impl Backend) -> Result<()> {
    let problem = check::partial(&x.raw, &sums.raw, on.place())?;
    if problem.part.rows == 0 {
        return Ok(());
    }
    // SAFETY: each view's memory may be read for as long as it is borrowed, and that of `sums`, which the caller borrows
    // mutably, may be written. The checks have established that both are at the backend's place, aligned and apart.
    unsafe { on.run_shard(&problem) }
}

/// The second step: `y = x / sqrt(sums[row] / dim + eps) * w`, `sums` those of whole rows, of `dim`
/// elements over all devices.
///
/// `x`, `y`: `(…, shard)`, rank 1 to 4; `w`: `(shard,)`, or `None`; `sums`: `(rows,)`, of `f32`.
/// Each is f16, bf16 or f32. `y` may be `x` itself. Where `sums` are exact to within a part in 10⁷,
/// `y` keeps the promise of [`rms_norm`](crate::rms_norm) of whole rows
/// ([`Promise`](crate::accuracy::Promise)).
///
/// ```
/// use norm_host::{Cpu, View, ViewMut, rms_norm_apply};
///
/// // Two elements of a row of four, whose squares sum up to 100.
/// let (x, sums, mut y) = ([1.0_f32, 5.0], [100.0_f32], [0.0_f32; 2]);
/// let (x, sums) = (View::from_slice(&x, &[1, 2])?, View::from_slice(&sums, &[1])?);
/// rms_norm_apply(x, None, sums, &mut ViewMut::from_slice(&mut y, &[1, 2])?, 0.0, 4, &Cpu)?;
/// assert_eq!(y, [0.2, 1.0]);
/// # Ok::<(), norm_host::Error>(())
/// ```
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
    /// [`rms_norm_apply`] with the options of this description, which must be one of RMSNorm: biases `(shard,)`, a weight
    /// offset, an order of roundings.
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
        // SAFETY: each view's memory may be read for as long as it is borrowed, and that of `y`, which the caller borrows
        // mutably, may be written. The checks have established that all of it is at the backend's place and aligned, and
        // that `y` is apart from everything else, or is `x`.
        unsafe { on.run_shard(&problem) }
    }
}

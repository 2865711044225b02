//! Two norms with a residual between them.

use crate::{
    backend::Backend,
    check,
    error::Result,
    norm::Norm,
    tensor::{View, ViewMut},
};

impl Norm<'_> {
    /// Normalizes `x`, adds it to the residual, and normalizes the sum by `next`: `r += norm(x); y = next(r)`, as
    /// between two layers that are normalized in front and behind (Gemma 2 to 4, OLMo 2, GLM-4).
    ///
    /// `x`, `r` and `y` `(…, dim)`, of rank 1 to 4 and equal shape, each with strides of its own but a dense last axis;
    /// the weights and biases of both norms `(dim,)`. All types are independent. The scales are this norm's.
    ///
    /// `r` and `y` have the bits of [`norm_then_add`](Norm::norm_then_add) into `r` followed by [`rows`](Norm::rows) of
    /// `next` from it: the second norm is that of the **rounded** `r`. (mistral.rs takes the mean of squares from the sum before it is
    /// rounded, so that some of its results differ from these by one unit in the last place.)
    ///
    /// On a GPU the two norms are one launch if all of these hold, and two launches otherwise:
    /// - both are RMSNorm without biases, in the same order of roundings;
    /// - both have weights, of one type, or neither has;
    /// - `x` and `r` have one type;
    /// - rows consist of whole vectors of 16 bytes, and the registers of a block hold one: 528 to 16,384 elements of 16
    ///   bits.
    ///
    /// ```
    /// use norm_host::{Cpu, Norm, View, ViewMut};
    ///
    /// let (x, mut r, mut y) = ([2.0_f32, 2.0], [2.0_f32, 2.0], [0.0_f32; 2]);
    /// let (x, y_view) = (View::from_slice(&x, &[2])?, &mut ViewMut::from_slice(&mut y, &[2])?);
    /// let norm = Norm::rms(0.0);
    /// norm.sandwich_rows(&norm, x, &mut ViewMut::from_slice(&mut r, &[2])?, y_view, &Cpu)?;
    /// assert_eq!(r, [3.0, 3.0]);
    /// assert_eq!(y, [1.0, 1.0]);
    /// # Ok::<(), norm_host::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`norm_then_add`](Norm::norm_then_add) from `x` to `r` and for [`rows`](Norm::rows) of `next` from `r` to `y`, all of
    /// them before anything is written; and if `x` or a weight of `next` shares memory with what is written.
    #[doc(alias = "sandwich_norm")]
    #[doc(alias = "norm_add_norm")]
    pub fn sandwich_rows(
        &self,
        next: &Norm<'_>,
        x: View<'_>,
        r: &mut ViewMut<'_>,
        y: &mut ViewMut<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        let problem = check::sandwich([self, next], [&x.raw, &y.raw], (&r.raw, None), on.place())?;
        if problem.first.rows == 0 {
            return Ok(());
        }
        // SAFETY: each view's memory may be read for as long as it is borrowed, and that of `r` and `y`, which the caller
        // borrows mutably, may be written. The checks of both norms have established that all of it is at the backend's
        // place and aligned, and that what is written is apart from everything that the other norm reads.
        unsafe { on.run_sandwich(&problem) }
    }

    /// [`sandwich_rows`](Norm::sandwich_rows) with a separate tensor for the sum: `sum = r + norm(x); y = next(sum)`.
    ///
    /// `sum` has the shape and type of `r`, and strides of its own.
    ///
    /// # Errors
    ///
    /// As for [`sandwich_rows`](Norm::sandwich_rows), where `sum` must meet the conditions for `r`; and if `r` shares memory
    /// with `y`, or with a `sum` that is not the same tensor.
    #[doc(alias = "sandwich_norm")]
    #[doc(alias = "norm_add_norm")]
    pub fn sandwich_rows_to(
        &self,
        next: &Norm<'_>,
        x: View<'_>,
        r: View<'_>,
        sum: &mut ViewMut<'_>,
        y: &mut ViewMut<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        let tensors = [&x.raw, &y.raw];
        let problem = check::sandwich([self, next], tensors, (&r.raw, Some(&sum.raw)), on.place())?;
        if problem.first.rows == 0 {
            return Ok(());
        }
        // SAFETY: each view's memory may be read for as long as it is borrowed, and that of `sum` and `y`, which the caller
        // borrows mutably, may be written. The checks of both norms have established that all of it is at the backend's
        // place and aligned, and that what is written is apart from everything that the other norm reads.
        unsafe { on.run_sandwich(&problem) }
    }
}

//! A description applied to tensors: checked as a whole, then carried out by a backend.

mod gated;
mod quantized;
mod residual;
mod sandwich;

use crate::{
    backend::Backend,
    check::{self, Form, ResidualArgs},
    error::Result,
    norm::Norm,
    tensor::{View, ViewMut},
};

impl Norm<'_> {
    /// Normalizes the last axis: `x` and `y` `(…, dim)`, of rank 1 to 4 and equal shape; weights
    /// and biases `(dim,)`, shared by all rows. The last axis of each is dense, the others may
    /// have any stride.
    ///
    /// On a stream this enqueues the work and returns. With no rows it does nothing.
    ///
    /// # Errors
    ///
    /// Any of the checks of [`Error`](crate::Error), before anything is written: a shape, place,
    /// stride, address, `eps`, weight offset or order of roundings that does not fit, `dim` 0 or above
    /// [`MAX_DIM`](crate::MAX_DIM), or a `y` that shares memory with itself, with `w` or `b`, or
    /// with an `x` that is not the same tensor. On a stream also what the driver refuses.
    pub fn rows(&self, x: View<'_>, y: &mut ViewMut<'_>, on: &impl Backend) -> Result<()> {
        self.apply(Form::Rows, x, y, ResidualArgs::None, on)
    }

    /// [`rows`](Norm::rows) with `y` the same tensor as `x`.
    ///
    /// # Errors
    ///
    /// As for [`rows`](Norm::rows).
    pub fn rows_in_place(&self, x: &mut ViewMut<'_>, on: &impl Backend) -> Result<()> {
        self.apply_in_place(Form::Rows, x, ResidualArgs::None, on)
    }

    /// Normalizes the last axis, each head with its own weights or all with the same: `x` and `y`
    /// `(…, heads, head_dim)`, of rank 2 to 4 and equal shape; weights and biases each
    /// `(heads, head_dim)`, whose heads may have any stride, or `(head_dim,)`, shared by all heads (the
    /// norms of queries and keys in Qwen3 and Gemma 3).
    ///
    /// Rows normalized in groups, as by the gated norm of Mamba 2, are heads too: view `(rows, dim)` as
    /// `(rows, groups, dim / groups)`, and weights `(dim,)` as `(groups, dim / groups)`.
    ///
    /// ```
    /// use norm_host::{Cpu, Norm, View, ViewMut};
    ///
    /// // A row of four elements in two groups, with a weight for each element.
    /// let (mut x, w) = ([3.0_f32, -3.0, 70.0, 70.0], [1.0_f32, 2.0, 3.0, 4.0]);
    /// let mut groups = ViewMut::from_slice(&mut x, &[1, 2, 2])?;
    /// Norm::rms(0.0).weight(View::from_slice(&w, &[2, 2])?).heads_in_place(&mut groups, &Cpu)?;
    /// assert_eq!(x, [1.0, -2.0, 3.0, 4.0]);
    /// # Ok::<(), norm_host::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`rows`](Norm::rows).
    #[doc(alias = "qk_norm")]
    #[doc(alias = "per_head_norm")]
    #[doc(alias = "group_rms_norm")]
    pub fn heads(&self, x: View<'_>, y: &mut ViewMut<'_>, on: &impl Backend) -> Result<()> {
        self.apply(Form::Heads, x, y, ResidualArgs::None, on)
    }

    /// [`heads`](Norm::heads) with `y` the same tensor as `x`.
    ///
    /// # Errors
    ///
    /// As for [`rows`](Norm::rows).
    pub fn heads_in_place(&self, x: &mut ViewMut<'_>, on: &impl Backend) -> Result<()> {
        self.apply_in_place(Form::Heads, x, ResidualArgs::None, on)
    }

    fn apply(
        &self,
        form: Form,
        x: View<'_>,
        y: &mut ViewMut<'_>,
        residual: ResidualArgs<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        let problem = check::apart(self, form, &x.raw, &y.raw, residual, on.place())?;
        if problem.rows == 0 {
            return Ok(());
        }
        // SAFETY: each view's memory may be read for as long as it is borrowed, and that of `y` and of a sum, which
        // the caller borrows mutably, may be written. The checks have established that all of it is at the
        // backend's place and aligned, and overlaps no more than `Backend::run` allows.
        unsafe { on.run(&problem) }
    }

    fn apply_in_place(
        &self,
        form: Form,
        x: &mut ViewMut<'_>,
        residual: ResidualArgs<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        let problem = check::in_place(self, form, &x.raw, residual, on.place())?;
        if problem.rows == 0 {
            return Ok(());
        }
        // SAFETY: `x` and a sum are borrowed mutably, so that their memory may be read and written. The checks have
        // established that all tensors are at the backend's place and aligned, and that only `x` and `y`, which
        // are one tensor, overlap.
        unsafe { on.run(&problem) }
    }
}

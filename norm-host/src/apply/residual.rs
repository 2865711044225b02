//! A norm and the addition to a residual in front of it or behind it, in one pass over memory.

use crate::{
    backend::Backend,
    check::{Form, ResidualArgs},
    error::Result,
    norm::Norm,
    tensor::{View, ViewMut},
};

impl Norm<'_> {
    /// Adds `x` to the residual and normalizes the sum over the last axis, as in front of a layer
    /// (pre-norm): `r += x; y = norm(r)`.
    ///
    /// `x`, `r` and `y` `(…, dim)`, of rank 1 to 4 and equal shape, each with strides of its own but
    /// a dense last axis; weights and biases `(dim,)`. `r` has the type of `x`, or is `f32` where `x` and `y` have 16 bits;
    /// the types of `w` (and `b`) and of `y` are independent.
    ///
    /// The sum is rounded once, to nearest even, to the type of `r`, and the rounded `r` is what is
    /// normalized: `r` and `y` have the bits of an addition followed by
    /// [`rows`](Norm::rows) of `r`. In particular an `f16` sum beyond ±65504 is infinite in `r`, and
    /// counts as ±65504 in the norm.
    ///
    /// ```
    /// use norm_host::{Cpu, Norm, View, ViewMut};
    ///
    /// let x = [1.0_f32, 5.0];
    /// let (mut r, mut y) = ([2.0_f32, -1.0], [0.0_f32; 2]);
    /// let norm = Norm::rms(0.0);
    /// let (x, y_view) = (View::from_slice(&x, &[2])?, &mut ViewMut::from_slice(&mut y, &[2])?);
    /// norm.add_then_norm(x, &mut ViewMut::from_slice(&mut r, &[2])?, y_view, &Cpu)?;
    /// assert_eq!(r, [3.0, 4.0]);
    /// assert!((y[0] - 3.0 / 12.5_f32.sqrt()).abs() < 1e-6);
    /// # Ok::<(), norm_host::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`rows`](Norm::rows); and if `r` does not fit: another shape, place or type than `x`,
    /// strides that lead to one element twice, or memory in common with `x`, `y`, `w` or `b`. (`y`
    /// may be `x` itself: [`add_then_norm_in_place`](Norm::add_then_norm_in_place).)
    #[doc(alias = "fused_add_rms_norm")]
    #[doc(alias = "fused_add_layer_norm")]
    #[doc(alias = "add_norm")]
    #[doc(alias = "pre_norm")]
    pub fn add_then_norm(
        &self,
        x: View<'_>,
        r: &mut ViewMut<'_>,
        y: &mut ViewMut<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        self.apply(Form::Rows, x, y, ResidualArgs::InFront { r: &r.raw, sum: None }, on)
    }

    /// [`add_then_norm`](Norm::add_then_norm) with a separate tensor for the sum: `sum = x + r; y = norm(sum)`, for
    /// engines whose tensors are immutable.
    ///
    /// `sum` has the shape and type of `r`, and strides of its own.
    ///
    /// ```
    /// use norm_host::{Cpu, Norm, View, ViewMut};
    ///
    /// let (x, r, mut sum, mut y) = ([1.0_f32, 5.0], [2.0_f32, -1.0], [0.0_f32; 2], [0.0_f32; 2]);
    /// let (x, r) = (View::from_slice(&x, &[2])?, View::from_slice(&r, &[2])?);
    /// let sum_view = &mut ViewMut::from_slice(&mut sum, &[2])?;
    /// Norm::rms(0.0).add_then_norm_to(x, r, sum_view, &mut ViewMut::from_slice(&mut y, &[2])?, &Cpu)?;
    /// assert_eq!(sum, [3.0, 4.0]);
    /// assert!((y[0] - 3.0 / 12.5_f32.sqrt()).abs() < 1e-6);
    /// # Ok::<(), norm_host::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`add_then_norm`](Norm::add_then_norm), where `sum` must meet the conditions for `r`; and if `r` shares memory
    /// with `y`, or with a `sum` that is not the same tensor.
    #[doc(alias = "fused_add_rms_norm")]
    #[doc(alias = "fused_add_layer_norm")]
    pub fn add_then_norm_to(
        &self,
        x: View<'_>,
        r: View<'_>,
        sum: &mut ViewMut<'_>,
        y: &mut ViewMut<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        self.apply(Form::Rows, x, y, ResidualArgs::InFront { r: &r.raw, sum: Some(&sum.raw) }, on)
    }

    /// [`add_then_norm`](Norm::add_then_norm) with `y` the same tensor as `x`: `r += x; x = norm(r)`, what
    /// engines know as `fused_add_rms_norm`.
    ///
    /// # Errors
    ///
    /// As for [`add_then_norm`](Norm::add_then_norm).
    #[doc(alias = "fused_add_rms_norm")]
    #[doc(alias = "fused_add_layer_norm")]
    pub fn add_then_norm_in_place(
        &self,
        x: &mut ViewMut<'_>,
        r: &mut ViewMut<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        self.apply_in_place(Form::Rows, x, ResidualArgs::InFront { r: &r.raw, sum: None }, on)
    }

    /// Normalizes the last axis and adds the result to the output, as behind a layer (post-norm):
    /// `y += norm(x)`.
    ///
    /// `x` and `y` `(…, dim)`, of rank 1 to 4 and equal shape; weights and biases `(dim,)`. The
    /// types of `x`, of `w` (and `b`) and of `y` are independent. The sum is computed in `f32` and rounded
    /// once, to nearest even, to the type of `y`. In every [order of roundings](Norm::rounding) but
    /// [`Single`](crate::Rounding::Single) the norm is rounded to the type of `y` before it is added: `y` then has
    /// the bits of [`rows`](Norm::rows) into a tensor of that type, followed by an addition.
    ///
    /// ```
    /// use norm_host::{Cpu, Norm, View, ViewMut};
    ///
    /// let x = [2.0_f32, 2.0];
    /// let mut y = [0.5_f32, 10.0];
    /// let x = View::from_slice(&x, &[2])?;
    /// Norm::rms(0.0).norm_then_add(x, &mut ViewMut::from_slice(&mut y, &[2])?, &Cpu)?;
    /// assert_eq!(y, [1.5, 11.0]);
    /// # Ok::<(), norm_host::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`rows`](Norm::rows): `y` may be `x` itself, and share no other memory with it.
    #[doc(alias = "norm_add")]
    #[doc(alias = "post_norm")]
    pub fn norm_then_add(&self, x: View<'_>, y: &mut ViewMut<'_>, on: &impl Backend) -> Result<()> {
        self.apply(Form::Rows, x, y, ResidualArgs::Behind { r: None }, on)
    }

    /// [`norm_then_add`](Norm::norm_then_add) with a separate tensor for the residual: `y = r + norm(x)`.
    ///
    /// `r` has the shape and type of `y`, and strides of its own.
    ///
    /// # Errors
    ///
    /// As for [`norm_then_add`](Norm::norm_then_add), and if `r` does not fit: another shape, place or type than `y`, or memory in
    /// common with a `y` that is not the same tensor.
    #[doc(alias = "norm_add")]
    #[doc(alias = "post_norm")]
    pub fn norm_then_add_to(
        &self,
        x: View<'_>,
        r: View<'_>,
        y: &mut ViewMut<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        self.apply(Form::Rows, x, y, ResidualArgs::Behind { r: Some(&r.raw) }, on)
    }
}

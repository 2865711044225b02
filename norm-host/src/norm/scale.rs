//! The factors in an addition to a residual.

use super::Norm;
use crate::tensor::View;

/// A factor that is known when the operation is described, or only when it runs.
#[derive(Clone, Copy, Debug)]
pub enum Scale<'a> {
    /// A finite number.
    Number(f32),
    /// One `f32`, of shape `(1,)`, at the place of the operation. It is read when the operation runs: on a GPU after the
    /// preceding kernel in the stream, which may be the one that writes it. If it is not finite, neither is the sum, and
    /// nothing is promised about `y`.
    Memory(View<'a>),
}

impl From<f32> for Scale<'_> {
    fn from(number: f32) -> Self {
        Scale::Number(number)
    }
}

impl<'a> From<View<'a>> for Scale<'a> {
    fn from(memory: View<'a>) -> Self {
        Scale::Memory(memory)
    }
}

impl<'a> Norm<'a> {
    /// Sets the finite number, 1 unless set, that multiplies what is added to a residual: `x` where the addition is in
    /// front of the norm, the norm where it is behind it or between two norms. Granite's configurations call it
    /// `residual_multiplier`.
    ///
    /// The product is computed in `f32`. In every order of roundings but [`Single`](crate::Rounding::Single) it is rounded
    /// to the type of what is multiplied: that of `x`, or the type in which the norm is added.
    ///
    /// A factor other than 1 requires a residual: an operation without one is refused.
    #[doc(alias = "residual_multiplier")]
    pub fn branch_scale(self, scale: f32) -> Norm<'a> {
        Norm { branch_scale: scale, ..self }
    }

    /// Sets the factor, a [number](Scale::Number), 1 unless set, or one [in memory](Scale::Memory), that multiplies the
    /// sum with a residual before it is stored and normalized. Gemma 4 calls it `layer_scalar`.
    ///
    /// The product is computed in `f32`. In every order of roundings but [`Single`](crate::Rounding::Single) the sum is
    /// rounded to its type first, as if it were stored in between.
    ///
    /// A factor other than the number 1 requires a residual: an operation without one is refused.
    ///
    /// ```
    /// use norm_host::{Cpu, Norm, View, ViewMut};
    ///
    /// let (x, mut r, mut y) = ([2.0_f32, 8.0], [2.0_f32, -1.0], [0.0_f32; 2]);
    /// let (x, y_view) = (View::from_slice(&x, &[2])?, &mut ViewMut::from_slice(&mut y, &[2])?);
    /// let norm = Norm::rms(0.0).branch_scale(0.5).sum_scale(2.0);
    /// norm.add_then_norm(x, &mut ViewMut::from_slice(&mut r, &[2])?, y_view, &Cpu)?;
    /// assert_eq!(r, [6.0, 6.0]);
    /// assert_eq!(y, [1.0, 1.0]);
    /// # Ok::<(), norm_host::Error>(())
    /// ```
    #[doc(alias = "layer_scalar")]
    #[doc(alias = "layer_scale")]
    pub fn sum_scale(self, scale: impl Into<Scale<'a>>) -> Norm<'a> {
        Norm { sum_scale: scale.into(), ..self }
    }
}

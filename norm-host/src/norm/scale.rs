//! What is multiplied in an addition to a residual.

use super::Norm;
use crate::tensor::View;

/// A factor that is known when an operation is described, or when it runs.
#[derive(Clone, Copy, Debug)]
pub enum Scale<'a> {
    /// A finite number.
    Number(f32),
    /// One `f32`, of shape `(1,)`, at the place of the operation, which is read when it runs: on a GPU once the kernel in
    /// front in the stream has completed, which may be the one that writes it. Where it is not finite, neither is the sum,
    /// and of `y` nothing is promised.
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
    /// With what is added to a residual multiplied by a finite number, 1 unless given: `x` in front of the norm, the norm
    /// behind it or between two. It is `residual_multiplier` of Granite's configurations.
    ///
    /// The product is made in `f32`. In every order of roundings but [`Single`](crate::Rounding::Single) it is rounded to
    /// the type of what is multiplied: that of `x`, or the one in which the norm is added.
    ///
    /// Other than 1 it needs a residual: an operation without one is refused.
    pub fn branch_scale(self, scale: f32) -> Norm<'a> {
        Norm { branch_scale: scale, ..self }
    }

    /// With the sum with a residual multiplied by a [number](Scale::Number), 1 unless given, or by one
    /// [in memory](Scale::Memory), before it is stored and normalized. It is `layer_scalar` of Gemma 4.
    ///
    /// The product is made in `f32`. In every order of roundings but [`Single`](crate::Rounding::Single) the sum is rounded
    /// to its type first, as if it were stored in between.
    ///
    /// Other than the number 1 it needs a residual: an operation without one is refused.
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
    pub fn sum_scale(self, scale: impl Into<Scale<'a>>) -> Norm<'a> {
        Norm { sum_scale: scale.into(), ..self }
    }
}

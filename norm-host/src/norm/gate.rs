//! The gate of a norm.

use norm_kernels::abi::{Activation, GateOrder, Gating};

use crate::tensor::View;

/// A gate: a tensor that multiplies a norm element by element, after it went through an activation.
///
/// It has the shape of `x` and strides of its own, so that a slice of a packed tensor can be one; its last axis is dense.
///
/// ```
/// use norm_host::{Cpu, Gate, Norm, View, ViewMut};
///
/// let (x, g, mut y) = ([3.0_f32, -3.0], [0.0_f32, 0.0], [0.0_f32; 2]);
/// let (x, g) = (View::from_slice(&x, &[1, 2])?, View::from_slice(&g, &[1, 2])?);
/// let y_view = &mut ViewMut::from_slice(&mut y, &[1, 2])?;
/// Norm::rms(0.0).gated_rows(x, Gate::sigmoid(g), y_view, &Cpu)?;
/// assert_eq!(y, [0.5, -0.5]); // the sigmoid of 0 is 1/2
/// # Ok::<(), norm_host::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a gate does nothing until a norm is applied with it"]
pub struct Gate<'a> {
    pub(crate) view: View<'a>,
    pub(crate) gating: Gating,
}

impl<'a> Gate<'a> {
    /// `y = norm(x) * silu(g)`, where `silu(g) = g / (1 + exp(-g))`: Qwen3-Next.
    #[doc(alias = "swish")]
    pub fn silu(g: View<'a>) -> Gate<'a> {
        Gate::new(g, Activation::Silu)
    }

    /// `y = norm(x) * sigmoid(g)`, where `sigmoid(g) = 1 / (1 + exp(-g))`: Kimi Linear.
    pub fn sigmoid(g: View<'a>) -> Gate<'a> {
        Gate::new(g, Activation::Sigmoid)
    }

    /// `y = norm(x) * activation(g)`.
    pub fn new(g: View<'a>, activation: Activation) -> Gate<'a> {
        Gate { view: g, gating: Gating { activation, order: GateOrder::NormFirst } }
    }

    /// Sets whether the norm or the gate comes first: [`GateOrder::NormFirst`] unless set. With
    /// [`GateOrder::GateFirst`] it is `y = norm(x * activation(g)) * w`, as in Mamba 2 and Nemotron-H. The product is not
    /// rounded before it is normalized.
    #[doc(alias = "norm_before_gate")]
    pub fn order(self, order: GateOrder) -> Gate<'a> {
        Gate { gating: Gating { order, ..self.gating }, ..self }
    }
}

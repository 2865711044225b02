//! Norms with a gate: one pass each for tensors that candle does not track, and candle's operations for gradients.

use candle_core::{CustomOp1, DType, Layout, Result, Shape, Tensor};

use super::{
    custom_op::custom_op,
    norm::{Norm, locked, readable},
    store::{Lend, LendMut, Spot, Store},
};
use crate::{Activation, Arg, Gate, Gating, check::Form};

impl Norm {
    /// `y = norm(x) * act(g)`, or `y = norm(x * act(g))`, as in the layers of Qwen3-Next, Mamba 2 and Kimi Linear: a new
    /// tensor of the shape and type of `xs`, with gradients for every tensor.
    ///
    /// `xs` and `gate` `(…, dim)` have one shape; the gate may be a `narrow` of a packed tensor. What
    /// [`gated_rows`](crate::Norm::gated_rows) says of types and roundings holds. If candle tracks one of the tensors for
    /// backpropagation, the gate is multiplied by candle's operations, in f32, and the norm is an operation of its own: where
    /// the gate comes first it is one of f32, which rounds nothing to 16 bits in between.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use norm_host::{Activation, GateOrder, Gating, for_candle::Norm};
    ///
    /// # fn main() -> candle_core::Result<()> {
    /// let xs = Tensor::new(&[[3.0_f32, -3.0]], &Device::Cpu)?;
    /// let gate = Tensor::new(&[[0.0_f32, 0.0]], &Device::Cpu)?;
    /// let gating = Gating { activation: Activation::Sigmoid, order: GateOrder::NormFirst };
    /// let ys = Norm::rms(0.0).gated_rows(&xs, &gate, gating)?;
    /// assert_eq!(ys.to_vec2::<f32>()?, [[0.5, -0.5]]); // the sigmoid of 0 is 1/2
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`gated_rows`](crate::Norm::gated_rows) of views, and candle's for other types and devices.
    pub fn gated_rows(&self, xs: &Tensor, gate: &Tensor, gating: Gating) -> Result<Tensor> {
        self.gated(xs, gate, gating, Form::Rows)
    }

    /// [`gated_rows`](Norm::gated_rows) of `xs` and `gate` `(…, heads, head_dim)`, each head with its own weights or all with
    /// the same; or of rows in groups that are normalized by themselves.
    ///
    /// # Errors
    ///
    /// As for [`gated_rows`](Norm::gated_rows).
    pub fn gated_heads(&self, xs: &Tensor, gate: &Tensor, gating: Gating) -> Result<Tensor> {
        self.gated(xs, gate, gating, Form::Heads)
    }

    fn gated(&self, xs: &Tensor, gate: &Tensor, gating: Gating, form: Form) -> Result<Tensor> {
        self.scales.refuse_without_residual()?;
        let tensors = [Some(xs), Some(gate), self.weights(), self.biases()];
        if tensors.into_iter().flatten().any(Tensor::track_op) {
            return self.gated_by_candle(xs, gate, gating, form);
        }
        let gate = readable(gate)?;
        readable(xs)?.apply_op1_no_bwd(&Gated { norm: self, gate: &gate, gating, form })
    }

    /// The same by candle's operations around the norm.
    fn gated_by_candle(&self, xs: &Tensor, gate: &Tensor, gating: Gating, form: Form) -> Result<Tensor> {
        let gate = gate.to_dtype(DType::F32)?;
        let activated = match gating.activation {
            Activation::Silu => gate.silu()?,
            Activation::Sigmoid => candle_nn::ops::sigmoid(&gate)?,
        };
        let gated = |xs: &Tensor| xs.to_dtype(DType::F32)?.mul(&activated);
        let norm = |xs: &Tensor| match form {
            Form::Rows => self.rows(xs),
            Form::Heads => self.heads(xs),
        };
        match gating.gates_first() {
            true => norm(&gated(xs)?)?.to_dtype(xs.dtype()),
            false => gated(&norm(xs)?)?.to_dtype(xs.dtype()),
        }
    }
}

/// The operation as candle sees it: from x to y. All other tensors are fields.
struct Gated<'a> {
    norm: &'a Norm,
    gate: &'a Tensor,
    gating: Gating,
    form: Form,
}

impl Gated<'_> {
    fn forward<S: Store>(&self, x: &S, layout: &Layout) -> Result<(S, Shape)> {
        let Gated { norm, gate, gating, form } = *self;
        let (op, kept) = (self.name(), form.param_rank());
        let gate = locked(Some(gate)).expect("one is given");
        let (w, b) = (locked(norm.weights()), locked(norm.biases()));
        let (g, g_layout) = gate.beside(x, op)?;
        let mut y = x.like(layout.shape().elem_count(), op)?;
        let queue = x.queue()?;
        {
            let w = w.as_ref().map(|w| w.read(Arg::W, x, &queue, op)).transpose()?;
            let b = b.as_ref().map(|b| b.read(Arg::B, x, &queue, op)).transpose()?;
            let x = x.read(&queue, &Spot::new(Arg::X, layout, kept, op)?)?;
            let g = g.read(&queue, &Spot::new(Arg::G, g_layout, kept, op)?)?;
            let mut y = y.write(&queue, &Spot::dense(Arg::Y, layout, kept, op))?;
            let norm = norm.settings.over(w.as_ref(), b.as_ref());
            let gate = Gate::new(g.lend(), gating.activation).order(gating.order);
            match form {
                Form::Rows => norm.gated_rows(x.lend(), gate, &mut y.lend_mut(), queue.as_ref())?,
                Form::Heads => norm.gated_heads(x.lend(), gate, &mut y.lend_mut(), queue.as_ref())?,
            }
        }
        Ok((y, layout.shape().clone()))
    }
}

custom_op!(Gated);

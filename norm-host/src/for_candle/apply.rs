//! A norm out of place, as a custom operation of candle.

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor};

use super::{
    backward::{Gradients, gradients},
    dense::{Stored, Tensors},
    norm::{Norm, Settings, locked, readable},
    store::{Lend, LendMut, Spot, Store},
};
use crate::{Arg, check::Form};

impl Norm {
    pub(super) fn apply(&self, xs: &Tensor, form: Form) -> Result<Tensor> {
        let x = readable(xs)?;
        let x: &Tensor = &x;
        let (weight, bias) = (self.weights(), self.biases());
        let tracked = |parameter: Option<&Tensor>| parameter.is_some_and(Tensor::track_op);
        if !(x.track_op() || tracked(weight) || tracked(bias)) {
            return x.apply_op1_no_bwd(&Inference { norm: self, form });
        }
        let (has_weight, has_bias) = (weight.is_some(), bias.is_some());
        let op = Recorded { settings: self.settings, form, has_weight, has_bias };
        x.apply_op3(weight.unwrap_or(x), bias.unwrap_or(x), op)
    }
}

/// The norm of x with these parameters: a new storage, and its shape.
fn forward<S: Store>(
    norm: Settings,
    form: Form,
    (x, layout): Stored<'_, S>,
    w: Option<Stored<'_, S>>,
    b: Option<Stored<'_, S>>,
) -> Result<(S, Shape)> {
    let (op, kept) = (norm.name(), form.param_rank());
    if layout.dims().len() >= kept
        && let Some(results) = S::without_views(norm, &Tensors { x: (x, layout), w, b, residual: None })
    {
        return Ok((results.y, layout.shape().clone()));
    }
    let mut y = x.like(layout.shape().elem_count(), op)?;
    let queue = x.queue()?;
    {
        let w = w.map(|(w, layout)| w.read(&queue, &Spot::whole(Arg::W, layout, op)?)).transpose()?;
        let b = b.map(|(b, layout)| b.read(&queue, &Spot::whole(Arg::B, layout, op)?)).transpose()?;
        let x = x.read(&queue, &Spot::new(Arg::X, layout, kept, op)?)?;
        let mut y = y.write(&queue, &Spot::dense(Arg::Y, layout, kept, op))?;
        let norm = norm.over(w.as_ref(), b.as_ref());
        match form {
            Form::Rows => norm.rows(x.lend(), &mut y.lend_mut(), queue.as_ref())?,
            Form::Heads => norm.heads(x.lend(), &mut y.lend_mut(), queue.as_ref())?,
        }
    }
    Ok((y, layout.shape().clone()))
}

/// A norm without gradients. Its parameters are fields and not arguments of the operation: candle would compare the devices
/// of arguments, which takes time on CUDA devices.
struct Inference<'a> {
    norm: &'a Norm,
    form: Form,
}

impl Inference<'_> {
    fn forward<S: Store>(&self, x: &S, layout: &Layout) -> Result<(S, Shape)> {
        let op = self.name();
        let (w, b) = (locked(self.norm.weights()), locked(self.norm.biases()));
        let w = w.as_ref().map(|w| w.beside(x, op)).transpose()?;
        let b = b.as_ref().map(|b| b.beside(x, op)).transpose()?;
        forward(self.norm.settings, self.form, (x, layout), w, b)
    }
}

impl CustomOp1 for Inference<'_> {
    fn name(&self) -> &'static str {
        self.norm.settings.name()
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward(x, layout)
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        self.forward(x, layout)
    }
}

/// A norm that candle records for backpropagation. x, weights and biases are arguments, because only arguments get
/// gradients. In place of a missing parameter x is passed again, and ignored.
struct Recorded {
    settings: Settings,
    form: Form,
    has_weight: bool,
    has_bias: bool,
}

impl Recorded {
    fn forward<S: Store>(&self, x: Stored<'_, S>, w: Stored<'_, S>, b: Stored<'_, S>) -> Result<(S, Shape)> {
        forward(self.settings, self.form, x, self.has_weight.then_some(w), self.has_bias.then_some(b))
    }
}

impl CustomOp3 for Recorded {
    fn name(&self) -> &'static str {
        self.settings.name()
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((x, x_layout), (w, w_layout), (b, b_layout))
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        x_layout: &Layout,
        w: &candle_core::CudaStorage,
        w_layout: &Layout,
        b: &candle_core::CudaStorage,
        b_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        self.forward((x, x_layout), (w, w_layout), (b, b_layout))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, b: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Gradients> {
        let (w, b) = (self.has_weight.then_some(w), self.has_bias.then_some(b));
        gradients(self.settings, x, w, b, grad)
    }
}

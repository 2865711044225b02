//! The full form of an operation on candle's tensors.

use candle_core::{
    CpuStorage, CustomOp1, D, Error, Layout, Result, Shape, StorageRef, Tensor, backend::BackendDevice,
};

use super::store::{Lend, LendMut, Spot, Store};
use crate::{Arg, MAX_RANK, NormKind, check::Form};

/// A normalization with its weights, described once and applied to any number of tensors: for
/// candle what [`crate::Norm`] is for views.
///
/// A clone shares the weights' storage.
#[derive(Clone, Debug)]
#[must_use = "a description does nothing until it is applied to tensors"]
pub struct Norm {
    kind: NormKind,
    eps: f64,
    weight: Option<Tensor>,
    weight_offset: f32,
    bias: Option<Tensor>,
}

impl Norm {
    /// RMSNorm: `y = x / sqrt(mean(x²) + eps) * w + b`. What [`Norm::rms`](crate::Norm::rms) says of
    /// `eps` holds.
    pub fn rms(eps: impl Into<f64>) -> Norm {
        Norm::new(NormKind::Rms, eps)
    }

    /// LayerNorm: `y = (x - mean(x)) / sqrt(var(x) + eps) * w + b`, `var` the biased variance.
    pub fn layer(eps: impl Into<f64>) -> Norm {
        Norm::new(NormKind::Layer, eps)
    }

    /// Either of them.
    pub fn new(kind: NormKind, eps: impl Into<f64>) -> Norm {
        Norm { kind, eps: eps.into(), weight: None, weight_offset: 0.0, bias: None }
    }

    /// With weights: `(dim,)` for rows; for heads `(heads, head_dim)`, or `(head_dim,)` shared by all
    /// heads. `None` takes them away.
    pub fn weight(self, w: impl Into<Option<Tensor>>) -> Norm {
        Norm { weight: w.into(), ..self }
    }

    /// With this added to every weight, in f32: 1 where a model stores `w - 1`, as Gemma does. Other
    /// than 0 it needs weights.
    pub fn weight_offset(self, offset: f32) -> Norm {
        Norm { weight_offset: offset, ..self }
    }

    /// With biases, of the weights' type and of a shape that weights may have. `None` takes them away.
    pub fn bias(self, b: impl Into<Option<Tensor>>) -> Norm {
        Norm { bias: b.into(), ..self }
    }

    /// The norm over the last axis of `xs` `(…, dim)`: a new, contiguous tensor of its shape and type.
    ///
    /// # Errors
    ///
    /// Those of [`Norm::rows`](crate::Norm::rows), candle's for other types than f16, bf16 and f32,
    /// and for parameters on another device.
    pub fn rows(&self, xs: &Tensor) -> Result<Tensor> {
        readable(xs)?.apply_op1_no_bwd(&Apply { norm: self, form: Form::Rows })
    }

    /// The norm over the last axis of `xs` `(…, heads, head_dim)`, each head with its own weights or
    /// all with the same.
    ///
    /// # Errors
    ///
    /// As for [`rows`](Norm::rows).
    pub fn heads(&self, xs: &Tensor) -> Result<Tensor> {
        readable(xs)?.apply_op1_no_bwd(&Apply { norm: self, form: Form::Heads })
    }

    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            NormKind::Rms => "rms-norm",
            NormKind::Layer => "layer-norm",
        }
    }

    pub(super) fn weights(&self) -> Option<&Tensor> {
        self.weight.as_ref()
    }

    pub(super) fn biases(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// The same over views of its parameters.
    pub(super) fn over<'a>(&self, w: Option<&'a impl Lend>, b: Option<&'a impl Lend>) -> crate::Norm<'a> {
        crate::Norm::new(self.kind, self.eps)
            .weight(w.map(Lend::lend))
            .weight_offset(self.weight_offset)
            .bias(b.map(Lend::lend))
    }
}

/// `xs`, or a copy of it where no view could lead to its rows.
pub(super) fn readable(xs: &Tensor) -> Result<Tensor> {
    let dense = xs.rank() > 0 && (xs.stride()[xs.rank() - 1] == 1 || xs.dim(D::Minus1)? < 2);
    if xs.is_contiguous() || dense && xs.rank() <= MAX_RANK { Ok(xs.clone()) } else { xs.contiguous() }
}

/// A norm out of place.
struct Apply<'a> {
    norm: &'a Norm,
    form: Form,
}

impl Apply<'_> {
    fn forward<S: Store>(&self, x: &S, layout: &Layout) -> Result<(S, Shape)> {
        let Apply { norm, form } = *self;
        let (op, kept) = (norm.name(), form.param_rank());
        let mut y = x.like(layout.shape().elem_count(), op)?;
        let queue = x.queue()?;
        let (w, b) = (Locked::new(norm.weights()), Locked::new(norm.biases()));
        {
            let w = w.as_ref().map(|w| w.read(Arg::W, x, &queue, op)).transpose()?;
            let b = b.as_ref().map(|b| b.read(Arg::B, x, &queue, op)).transpose()?;
            let x = x.read(&queue, &Spot::new(Arg::X, layout, kept, op)?)?;
            let mut y =
                y.write(&queue, &Spot::new(Arg::Y, &Layout::contiguous(layout.shape()), kept, op)?)?;
            let norm = norm.over(w.as_ref(), b.as_ref());
            match form {
                Form::Rows => norm.rows(x.lend(), &mut y.lend_mut(), queue.as_ref())?,
                Form::Heads => norm.heads(x.lend(), &mut y.lend_mut(), queue.as_ref())?,
            }
        }
        Ok((y, layout.shape().clone()))
    }
}

impl CustomOp1 for Apply<'_> {
    fn name(&self) -> &'static str {
        self.norm.name()
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

/// A parameter's storage, locked.
pub(super) struct Locked<'t> {
    storage: StorageRef<'t>,
    layout: &'t Layout,
}

impl<'t> Locked<'t> {
    pub(super) fn new(parameter: Option<&'t Tensor>) -> Option<Locked<'t>> {
        let (storage, layout) = parameter?.storage_and_layout();
        Some(Locked { storage, layout })
    }

    /// A view of it, as `arg` of an operation on `x`.
    pub(super) fn read<'a, S: Store>(
        &'a self,
        arg: Arg,
        x: &S,
        queue: &'a S::Queue,
        op: &'static str,
    ) -> Result<S::Read<'a>> {
        let elsewhere = || {
            let (lhs, rhs) = (x.device().location(), self.storage.device().location());
            Error::DeviceMismatchBinaryOp { lhs, rhs, op }.bt()
        };
        let storage = S::of(&self.storage).ok_or_else(elsewhere)?;
        storage.read(queue, &Spot::new(arg, self.layout, self.layout.dims().len(), op)?)
    }
}

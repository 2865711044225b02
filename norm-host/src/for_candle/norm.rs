//! `Norm`: a norm over candle's tensors with all its options.

use std::{borrow::Cow, ops::Deref};

use candle_core::{D, Error, Layout, Result, Storage, Tensor, backend::BackendDevice};

use super::{
    scale::Scales,
    store::{Lend, Spot, Store},
};
use crate::{Arg, MAX_RANK, NormKind, Rounding, View, check::Form};

/// A normalization with its weights, described once and applied to any number of tensors: for
/// candle what [`crate::Norm`] is for views.
///
/// A clone shares the weights' storage.
#[derive(Clone, Debug)]
#[must_use = "a description does nothing until it is applied to tensors"]
pub struct Norm {
    pub(super) settings: Settings,
    weight: Option<Tensor>,
    bias: Option<Tensor>,
    pub(super) scales: Scales,
}

/// The options of a norm that are not tensors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) kind: NormKind,
    /// As given. The checks round it to f32.
    pub(super) eps: f64,
    pub(super) weight_offset: f32,
    pub(super) round_offset: bool,
    pub(super) rounding: Rounding,
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

    /// RMSNorm or LayerNorm, by `kind`.
    pub fn new(kind: NormKind, eps: impl Into<f64>) -> Norm {
        let (eps, weight_offset, round_offset, rounding) = (eps.into(), 0.0, false, Rounding::Single);
        let settings = Settings { kind, eps, weight_offset, round_offset, rounding };
        Norm { settings, weight: None, bias: None, scales: Scales::NONE }
    }

    /// With weights: `(dim,)` for rows; for heads `(heads, head_dim)`, or `(head_dim,)` shared by all
    /// heads. `None` removes them.
    pub fn weight(self, w: impl Into<Option<Tensor>>) -> Norm {
        Norm { weight: w.into(), ..self }
    }

    /// With this added to every weight, in f32: 1 for checkpoints that store `w - 1`, which are those of Gemma 1 to 3,
    /// Nemotron, Qwen3-Next and Qwen3.5 (except the gated norm of the last two). Those of Gemma 3n and 4, and GGUF files of any
    /// model, store `w`. An offset other than 0 needs weights.
    pub fn weight_offset(self, offset: f32) -> Norm {
        Norm { settings: Settings { weight_offset: offset, ..self.settings }, ..self }
    }

    /// Whether `w + offset` is rounded to the type of the weights before it is used, as by Nemotron's LayerNorm. With
    /// `true` it needs an offset other than 0.
    pub fn round_offset(self, round: bool) -> Norm {
        Norm { settings: Settings { round_offset: round, ..self.settings }, ..self }
    }

    /// The order of roundings, [`Rounding::Single`] unless given: what [`Norm::rounding`](crate::Norm::rounding) of
    /// views says of it holds. Results have the type of their input in every order. Gradients are those of
    /// `Single`: a rounding counts as if it changed nothing.
    pub fn rounding(self, rounding: Rounding) -> Norm {
        Norm { settings: Settings { rounding, ..self.settings }, ..self }
    }

    /// With biases, of the weights' type and of a shape that weights may have. `None` removes them.
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
        self.scales.refuse_without_residual()?;
        self.apply(xs, Form::Rows)
    }

    /// The norm over the last axis of `xs` `(…, heads, head_dim)`, each head with its own weights or
    /// all with the same.
    ///
    /// # Errors
    ///
    /// As for [`rows`](Norm::rows).
    pub fn heads(&self, xs: &Tensor) -> Result<Tensor> {
        self.scales.refuse_without_residual()?;
        self.apply(xs, Form::Heads)
    }

    pub(super) fn weights(&self) -> Option<&Tensor> {
        self.weight.as_ref()
    }

    pub(super) fn biases(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}

impl Settings {
    /// What candle's errors call the operation.
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            NormKind::Rms => "rms-norm",
            NormKind::Layer => "layer-norm",
        }
    }

    /// The norm without its parameters.
    pub(super) fn bare(&self) -> crate::Norm<'static> {
        self.over(None::<&View<'static>>, None::<&View<'static>>)
    }

    /// The norm over views of its parameters.
    pub(super) fn over<'a>(&self, w: Option<&'a impl Lend>, b: Option<&'a impl Lend>) -> crate::Norm<'a> {
        // A struct literal, because each builder method would move the description once.
        crate::Norm {
            weight: w.map(Lend::lend),
            weight_offset: self.weight_offset,
            round_offset: self.round_offset,
            rounding: self.rounding,
            bias: b.map(Lend::lend),
            ..crate::Norm::new(self.kind, self.eps)
        }
    }
}

/// `xs`, or a contiguous copy of it if a view cannot describe it.
pub(super) fn readable(xs: &Tensor) -> Result<Cow<'_, Tensor>> {
    let dense = xs.rank() > 0 && (xs.stride()[xs.rank() - 1] == 1 || xs.dim(D::Minus1)? < 2);
    let readable = dense && xs.rank() <= MAX_RANK || xs.is_contiguous();
    if readable { Ok(Cow::Borrowed(xs)) } else { xs.contiguous().map(Cow::Owned) }
}

/// A parameter's storage, locked. `G` is the guard, whose type differs between candle 0.10 and 0.11.
pub(super) struct Locked<'t, G> {
    storage: G,
    layout: &'t Layout,
}

/// Locks the parameter until the result is dropped.
pub(super) fn locked(parameter: Option<&Tensor>) -> Option<Locked<'_, impl Deref<Target = Storage>>> {
    let (storage, layout) = parameter?.storage_and_layout();
    Some(Locked { storage, layout })
}

impl<G: Deref<Target = Storage>> Locked<'_, G> {
    /// The storage for an operation on `x`, which is on the same device.
    pub(super) fn beside<S: Store>(&self, x: &S, op: &'static str) -> Result<(&S, &Layout)> {
        let elsewhere = || {
            let (lhs, rhs) = (x.device().location(), self.storage.device().location());
            Error::DeviceMismatchBinaryOp { lhs, rhs, op }.bt()
        };
        Ok((S::of(&self.storage).ok_or_else(elsewhere)?, self.layout))
    }

    /// A view of it, as `arg` of an operation on `x`.
    pub(super) fn read<'a, S: Store>(
        &'a self,
        arg: Arg,
        x: &S,
        queue: &'a S::Queue,
        op: &'static str,
    ) -> Result<S::Read<'a>> {
        let (storage, layout) = self.beside(x, op)?;
        storage.read(queue, &Spot::whole(arg, layout, op)?)
    }
}

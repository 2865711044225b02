//! candle-nn's modules for norms, computed by this crate.

use candle_core::{Module, Result, Tensor};
use candle_nn::{LayerNormConfig, VarBuilder};

use super::Norm;
use crate::Rounding;

/// RMSNorm with its weights, in the place of `candle_nn::RmsNorm`.
#[derive(Clone, Debug)]
pub struct RmsNorm(LayerNorm);

/// LayerNorm with its weights and biases, in the place of `candle_nn::LayerNorm`.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    norm: Norm,
    weight: Tensor,
    bias: Option<Tensor>,
    remove_mean: bool,
    eps: f64,
}

impl RmsNorm {
    /// RMSNorm with weights `(dim,)`.
    pub fn new(weight: Tensor, eps: f64) -> RmsNorm {
        RmsNorm(LayerNorm::rms_norm(weight, eps))
    }

    /// In another order of roundings than [`Rounding::Single`], as a model's own code has it:
    /// `rms_norm(size, eps, vb)?.rounding(Rounding::BeforeWeight)` for Llama, Mistral, Qwen and most others.
    /// [`Norm::rounding`] says the rest.
    #[must_use = "it gives a module, and changes none"]
    pub fn rounding(self, rounding: Rounding) -> RmsNorm {
        RmsNorm(self.0.rounding(rounding))
    }

    /// This norm as a [`LayerNorm`] that does not subtract the mean.
    pub fn into_inner(self) -> LayerNorm {
        self.0
    }

    /// The weights.
    pub fn weight(&self) -> &Tensor {
        self.0.weight()
    }

    /// What is added to the mean of squares.
    pub fn eps(&self) -> f64 {
        self.0.eps()
    }

    /// [`forward`](Module::forward), under the name of candle-nn's version with gradients. Here both have gradients. For f64,
    /// which these norms do not support, use [`rms_norm_slow`](super::ops::rms_norm_slow).
    ///
    /// # Errors
    ///
    /// As for [`Norm::rows`].
    pub fn forward_diff(&self, xs: &Tensor) -> Result<Tensor> {
        self.forward(xs)
    }

    /// `residual += xs`, in place; returns the norm of the sum.
    ///
    /// # Errors
    ///
    /// As for [`Norm::add_then_norm_in_place`].
    pub fn forward_add(&self, xs: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.0.forward_add(xs, residual)
    }

    /// Returns `xs + residual` and the norm of that sum: new tensors, with gradients.
    ///
    /// # Errors
    ///
    /// As for [`Norm::add_then_norm`].
    pub fn add_then_forward(&self, xs: &Tensor, residual: &Tensor) -> Result<(Tensor, Tensor)> {
        self.0.add_then_forward(xs, residual)
    }
}

impl LayerNorm {
    /// LayerNorm with weights and biases `(dim,)`.
    pub fn new(weight: Tensor, bias: Tensor, eps: f64) -> LayerNorm {
        LayerNorm::with(weight, Some(bias), true, eps)
    }

    /// LayerNorm with weights `(dim,)` alone.
    pub fn new_no_bias(weight: Tensor, eps: f64) -> LayerNorm {
        LayerNorm::with(weight, None, true, eps)
    }

    /// RMSNorm with weights `(dim,)`: the mean is not subtracted.
    pub fn rms_norm(weight: Tensor, eps: f64) -> LayerNorm {
        LayerNorm::with(weight, None, false, eps)
    }

    fn with(weight: Tensor, bias: Option<Tensor>, remove_mean: bool, eps: f64) -> LayerNorm {
        let norm = if remove_mean { Norm::layer(eps) } else { Norm::rms(eps) };
        let norm = norm.weight(weight.clone()).bias(bias.clone());
        LayerNorm { norm, weight, bias, remove_mean, eps }
    }

    /// In another order of roundings than [`Rounding::Single`]: [`Norm::rounding`].
    #[must_use = "it gives a module, and changes none"]
    pub fn rounding(self, rounding: Rounding) -> LayerNorm {
        LayerNorm { norm: self.norm.rounding(rounding), ..self }
    }

    /// The weights.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The biases.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// What is added to the variance.
    pub fn eps(&self) -> f64 {
        self.eps
    }

    /// Whether the mean is subtracted: false for RMSNorm.
    pub fn remove_mean(&self) -> bool {
        self.remove_mean
    }

    /// `residual += xs`, in place; returns the norm of the sum.
    ///
    /// # Errors
    ///
    /// As for [`Norm::add_then_norm_in_place`].
    pub fn forward_add(&self, xs: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.norm.add_then_norm_in_place(xs, residual)
    }

    /// Returns `xs + residual` and the norm of that sum: new tensors, with gradients.
    ///
    /// # Errors
    ///
    /// As for [`Norm::add_then_norm`].
    pub fn add_then_forward(&self, xs: &Tensor, residual: &Tensor) -> Result<(Tensor, Tensor)> {
        self.norm.add_then_norm(xs, residual)
    }
}

impl Module for RmsNorm {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.0.forward(xs)
    }
}

impl Module for LayerNorm {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.norm.rows(xs)
    }
}

impl From<candle_nn::RmsNorm> for RmsNorm {
    fn from(norm: candle_nn::RmsNorm) -> RmsNorm {
        RmsNorm::new(norm.weight().clone(), norm.eps())
    }
}

impl From<candle_nn::LayerNorm> for LayerNorm {
    fn from(norm: candle_nn::LayerNorm) -> LayerNorm {
        LayerNorm::with(norm.weight().clone(), norm.bias().cloned(), norm.remove_mean(), norm.eps())
    }
}

/// Loads an [`RmsNorm`] as `candle_nn::rms_norm` does.
///
/// # Errors
///
/// Those of candle-nn's function.
pub fn rms_norm(size: usize, eps: f64, vb: VarBuilder<'_>) -> Result<RmsNorm> {
    candle_nn::rms_norm(size, eps, vb).map(RmsNorm::from)
}

/// Loads a [`LayerNorm`] as `candle_nn::layer_norm` does.
///
/// # Errors
///
/// Those of candle-nn's function.
pub fn layer_norm(size: usize, config: impl Into<LayerNormConfig>, vb: VarBuilder<'_>) -> Result<LayerNorm> {
    candle_nn::layer_norm(size, config, vb).map(LayerNorm::from)
}

/// Loads a [`LayerNorm`] without biases as `candle_nn::layer_norm_no_bias` does.
///
/// # Errors
///
/// Those of candle-nn's function.
pub fn layer_norm_no_bias(size: usize, eps: f64, vb: VarBuilder<'_>) -> Result<LayerNorm> {
    candle_nn::layer_norm_no_bias(size, eps, vb).map(LayerNorm::from)
}

//! The description of a normalization, with every option. The module `apply` applies it to tensors.

mod gate;
mod quantization;
mod scale;

pub use gate::Gate;
use norm_kernels::abi::{NormKind, Rounding};
pub use quantization::Quantization;
pub(crate) use quantization::Scaling;
pub use scale::Scale;

use crate::tensor::View;

/// A normalization, described once and applied to any number of tensors.
///
/// Each row of `x` becomes
/// - [`Norm::rms`]: `y = x / sqrt(mean(x²) + eps) * w + b`,
/// - [`Norm::layer`]: `y = (x - mean(x)) / sqrt(var(x) + eps) * w + b`, `var` the biased variance
///   (the mean of squared differences),
///
/// computed in `f32` and rounded once, to nearest even, to the type of `y`. `w` is 1 and `b` is 0
/// unless given. `x`, `w` and `y` are each `f16`, `bf16` or `f32`, independent of each other; `b` has
/// the type of `w`. Some libraries round before they multiply by `w` or add `b`: [`rounding`](Norm::rounding)
/// has their orders, and `docs/ROUNDING.md` in the repository says whose is which.
/// An infinite `f16` in `x` counts as ±65504, the largest finite one; nothing else is clamped, and
/// NaN passes through.
///
/// The addition to a residual can be fused with a norm, so that each tensor is read or written once:
/// in front of the norm, `r += x; y = norm(r)` ([`add_then_norm`](Norm::add_then_norm)), behind it,
/// `y += norm(x)` ([`norm_then_add`](Norm::norm_then_add)), or between two norms
/// ([`sandwich_rows`](Norm::sandwich_rows)). Each updates the residual in place; the methods whose names end in
/// `_to` write the sum to a separate tensor. [`branch_scale`](Norm::branch_scale) and
/// [`sum_scale`](Norm::sum_scale) multiply what is added and the sum. A [`Gate`] multiplies a norm, or what is normalized
/// ([`gated_rows`](Norm::gated_rows)).
///
/// ```
/// use norm_host::{Cpu, Norm, View, ViewMut};
///
/// let x = [3.0_f32, 4.0, 6.0, 8.0];
/// let mut y = [0.0_f32; 4];
/// let x = View::from_slice(&x, &[2, 2])?;
/// Norm::rms(0.0).rows(x, &mut ViewMut::from_slice(&mut y, &[2, 2])?, &Cpu)?;
/// assert_eq!(y[..2], y[2..]);
/// # Ok::<(), norm_host::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a description does nothing until it is applied to tensors"]
pub struct Norm<'a> {
    pub(crate) kind: NormKind,
    /// As the caller gave it; the checks round it to `f32`.
    pub(crate) eps: f64,
    pub(crate) weight: Option<View<'a>>,
    pub(crate) weight_offset: f32,
    pub(crate) round_offset: bool,
    pub(crate) rounding: Rounding,
    pub(crate) bias: Option<View<'a>>,
    pub(crate) branch_scale: f32,
    pub(crate) sum_scale: Scale<'a>,
    pub(crate) overlap: bool,
}

impl<'a> Norm<'a> {
    /// RMSNorm with `eps` added to the mean of squares: 0 or a positive finite number, `f32` or `f64`,
    /// which is rounded to `f32` and must not become 0 or infinite there.
    pub fn rms(eps: impl Into<f64>) -> Norm<'a> {
        Norm::new(NormKind::Rms, eps)
    }

    /// LayerNorm with `eps` added to the variance: a number as for [`rms`](Norm::rms).
    pub fn layer(eps: impl Into<f64>) -> Norm<'a> {
        Norm::new(NormKind::Layer, eps)
    }

    /// RMSNorm or LayerNorm, by `kind`.
    pub fn new(kind: NormKind, eps: impl Into<f64>) -> Norm<'a> {
        Norm {
            kind,
            eps: eps.into(),
            weight: None,
            weight_offset: 0.0,
            round_offset: false,
            rounding: Rounding::Single,
            bias: None,
            branch_scale: 1.0,
            sum_scale: Scale::Number(1.0),
            overlap: true,
        }
    }

    /// Sets the weights: `(dim,)` for rows; for heads `(heads, head_dim)`, or `(head_dim,)` shared by all
    /// heads. `None` removes them.
    pub fn weight(self, w: impl Into<Option<View<'a>>>) -> Norm<'a> {
        Norm { weight: w.into(), ..self }
    }

    /// Sets what is added to every weight, in `f32`: 1 where a checkpoint stores `w - 1`, as those of Gemma 1
    /// to 3, Nemotron, Qwen3-Next and Qwen3.5 do (except in the gated norm of the last two). Gemma 3n and 4 do not,
    /// nor does a GGUF file of any model. [`models`](crate::models) lists the models. An offset other than 0 requires
    /// weights: an operation without them is refused.
    #[doc(alias = "gemma_rms_norm")]
    #[doc(alias = "zero_centered_gamma")]
    #[doc(alias = "layernorm_1p")]
    pub fn weight_offset(self, offset: f32) -> Norm<'a> {
        Norm { weight_offset: offset, ..self }
    }

    /// Sets whether `w + offset` is rounded to the type of the weights before it is used, as in Nemotron's LayerNorm
    /// (`LayerNorm1P`); false unless set. `true` requires a [`weight_offset`](Norm::weight_offset) other
    /// than 0: an operation without one is refused. For `f32` weights it makes no difference.
    pub fn round_offset(self, round: bool) -> Norm<'a> {
        Norm { round_offset: round, ..self }
    }

    /// Sets the order of roundings, [`Rounding::Single`] unless set: whether the normalized value, or its product with
    /// the weight, is rounded to 16 bits before the last rounding, to the type of `y`. It is for engines whose results
    /// have to agree bit for bit with those of another library; `Single` is the most accurate.
    ///
    /// The caller chooses the type of `y` in every order. To match another library, choose the type of that
    /// library's result: with [`BeforeWeight`](Rounding::BeforeWeight) the type of `x`, but `f32` where the
    /// weights are `f32` (transformers promotes); with [`BeforeBias`](Rounding::BeforeBias) that of `x`; with
    /// [`T5`](Rounding::T5) that of the weights. `T5` requires weights: an operation without them is refused.
    ///
    /// ```
    /// use half::bf16;
    /// use norm_host::{Cpu, Norm, Rounding, View, ViewMut};
    ///
    /// let [x, w] = [[1.0, 2.0, 4.0], [1.1, 0.9, 1.3]].map(|row| row.map(bf16::from_f32));
    /// let (x, w) = (View::from_slice(&x, &[1, 3])?, View::from_slice(&w, &[3])?);
    /// let norm = Norm::rms(1e-6).weight(w);
    /// let [mut single, mut before_weight] = [[bf16::ZERO; 3]; 2];
    /// norm.rows(x, &mut ViewMut::from_slice(&mut single, &[1, 3])?, &Cpu)?;
    /// let y = &mut ViewMut::from_slice(&mut before_weight, &[1, 3])?;
    /// norm.rounding(Rounding::BeforeWeight).rows(x, y, &Cpu)?;
    /// // The norm of the last element, 1.5118, is rounded to 1.5156 before the weight multiplies it.
    /// assert_ne!(single[2], before_weight[2]);
    /// # Ok::<(), norm_host::Error>(())
    /// ```
    pub fn rounding(self, rounding: Rounding) -> Norm<'a> {
        Norm { rounding, ..self }
    }

    /// Sets the biases, of the type of the weights and of a shape that weights may have. For heads the biases may be
    /// shared by all heads where the weights are not, and the other way round. `None` removes them.
    pub fn bias(self, b: impl Into<Option<View<'a>>>) -> Norm<'a> {
        Norm { bias: b.into(), ..self }
    }

    /// Sets whether, on a GPU of compute capability 9.0 or newer, the kernel may start before its predecessor in
    /// the stream has finished (programmatic dependent launch, PDL; [CUDA C++ Programming
    /// Guide](https://docs.nvidia.com/cuda/cuda-c-programming-guide/#programmatic-dependent-launch-and-synchronization)):
    /// true unless set. On older GPUs and on the CPU it has no effect.
    ///
    /// No result depends on it. The kernel reads and writes tensors only after its predecessor has
    /// completed and that one's writes are visible. Before that it does no more than prefetch into
    /// the L2 cache, which is coherent for the whole GPU.
    #[doc(alias = "PDL")]
    #[doc(alias = "enable_pdl")]
    #[doc(alias = "programmatic_dependent_launch")]
    pub fn overlap(self, overlap: bool) -> Norm<'a> {
        Norm { overlap, ..self }
    }
}

//! The gradients of a norm, by candle's own operations.
//!
//! Let `g` be the gradient of `y`, `n = g * (w + offset)`, and `x̂` the norm without weights, which is
//! `(x - mean(x)) * rstd` for LayerNorm and `x * rstd` for RMSNorm, where `rstd` is 1 over the root. Row
//! by row,
//!
//! - `dx = rstd * (n - mean(n) - x̂ * mean(n * x̂))`, for RMSNorm without `mean(n)`,
//! - `dw = g * x̂` and `db = g`, each summed over all rows that share the parameter,
//!
//! as the chain rule has it: the mean of `n` is what reaches `x` through the mean, that of `n * x̂` what
//! reaches it through the root (Ba, Kiros and Hinton, "Layer Normalization", 2016; Zhang and Sennrich,
//! "Root Mean Square Layer Normalization", 2019). `eps` is part of `rstd` alone.
//!
//! Everything is computed in f32 and rounded to the type of the tensor whose gradient it is. Roundings within the norm are
//! ignored (their derivative is taken as 1): these are the gradients of the formula.

use std::sync::LazyLock;

use candle_core::{D, DType, Result, Tensor};

use super::norm::Settings;
use crate::NormKind;

/// The gradients of x, w and b. Every tracked tensor needs one: `backward` of candle 0.11 panics if it is missing for a
/// tracked tensor that is not itself a variable.
pub(super) type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

/// The gradients of `norm` with these weights and biases, for those tensors that are tracked.
pub(super) fn gradients(
    norm: Settings,
    x: &Tensor,
    w: Option<&Tensor>,
    b: Option<&Tensor>,
    grad: &Tensor,
) -> Result<Gradients> {
    let tracked = |tensor: &&Tensor| tensor.track_op();
    let grad = &grad.to_dtype(DType::F32)?;
    let bias = b.filter(tracked).map(|b| summed(grad, b)).transpose()?;
    let weighted = w.filter(tracked);
    if weighted.is_none() && !x.track_op() {
        return Ok((None, None, bias));
    }
    let (x_hat, rstd) = normalized(norm, &recorded_no_further(x))?;
    let weight = weighted.map(|w| summed(&(grad * &x_hat)?, w)).transpose()?;
    let input = x.track_op().then(|| {
        let n = match w {
            Some(w) => {
                let w = recorded_no_further(w).to_dtype(DType::F32)?;
                &grad.broadcast_mul(&(w + f64::from(norm.weight_offset))?)?
            }
            None => grad,
        };
        let through_root = x_hat.broadcast_mul(&(n * &x_hat)?.mean_keepdim(D::Minus1)?)?;
        let n = match norm.kind {
            NormKind::Rms => n,
            NormKind::Layer => &without_mean(n)?,
        };
        (n - through_root)?.broadcast_mul(&rstd)?.to_dtype(x.dtype())
    });
    Ok((input.transpose()?, weight, bias))
}

/// `x̂` in the shape of `x`, and `rstd` with a last axis of 1.
fn normalized(norm: Settings, x: &Tensor) -> Result<(Tensor, Tensor)> {
    let wide = x.to_dtype(DType::F32)?.contiguous()?;
    let x = match x.dtype() {
        // As the norm itself has it: an infinite f16 counts as the largest finite one.
        DType::F16 => wide.clamp(-65504_f32, 65504_f32)?,
        _ => wide,
    };
    let x = match norm.kind {
        NormKind::Rms => x,
        // The f32 mean is off by its rounding. What remains of it is the mean of the differences, so subtract that too.
        NormKind::Layer => without_mean(&without_mean(&x)?)?,
    };
    let mean_sq = x.sqr()?.mean_keepdim(D::Minus1)?;
    // eps is rounded to f32 as the norm itself does, which refuses an eps that this would change to 0.
    let rstd = (mean_sq + f64::from(norm.eps as f32))?.sqrt()?.recip()?;
    Ok((x.broadcast_mul(&rstd)?, rstd))
}

fn without_mean(x: &Tensor) -> Result<Tensor> {
    x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)
}

/// `terms` `(…, axes of the parameter)` summed over the axes in front: the parameter's gradient.
fn summed(terms: &Tensor, parameter: &Tensor) -> Result<Tensor> {
    let rows = terms.reshape(((), parameter.elem_count()))?;
    rows.sum(0)?.reshape(parameter.shape())?.to_dtype(parameter.dtype())
}

/// The tensor detached from its history: otherwise candle would record the gradient's own operations, which would keep alive
/// all that the tensor was computed from. Not detached if `CANDLE_GRAD_DO_NOT_DETACH` is set, by which candle gives gradients
/// of gradients.
fn recorded_no_further(tensor: &Tensor) -> Tensor {
    static KEEP: LazyLock<bool> = LazyLock::new(|| {
        // As candle reads it.
        std::env::var("CANDLE_GRAD_DO_NOT_DETACH").is_ok_and(|value| !value.is_empty() && value != "0")
    });
    if *KEEP { tensor.clone() } else { tensor.detach() }
}

//! Norms with a residual whose sum is written to a tensor of its own, and two norms with a residual between them.

use norm_host::{Arg, Backend, Norm, NormKind, Result, Rounding};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{
    op::{Run, code},
    tensor::Tensor,
};

/// Where the residual is added.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Around {
    /// `sum = x + r; y = norm(sum)`.
    InFront,
    /// `sum = r + norm(x)`.
    Behind,
    /// `sum = r + norm(x); y = next(sum)`.
    Between,
}

impl Around {
    const ALL: [Around; 3] = [Around::InFront, Around::Behind, Around::Between];
}

/// An operation and its tensors.
#[derive(Clone, Copy)]
struct Operation {
    around: Around,
    /// The norm, or the first of two, without weights, biases and a scale in memory.
    norm: Norm<'static>,
    /// The second of two norms, without weights.
    next: Norm<'static>,
    x: Tensor,
    r: Tensor,
    sum: Tensor,
    /// `None` for [`Around::Behind`], whose result is the sum.
    y: Option<Tensor>,
    w: Option<Tensor>,
    b: Option<Tensor>,
    next_w: Option<Tensor>,
    scale: Option<Tensor>,
}

impl Run for Operation {
    fn x(&self) -> &Tensor {
        &self.x
    }

    fn on(&self, backend: &impl Backend) -> Result<()> {
        let Operation { around, norm, next, x, r, sum, y, w, b, next_w, scale } = self;
        // SAFETY: the numbers describe tensors that the caller keeps alive during the call, and that on a device it accesses
        // in the order of the stream. Operations return an error for tensors that overlap with one that is written, unless
        // they are the same.
        let (x, r, mut sum, y) = unsafe {
            (
                x.view(Arg::X)?,
                r.view(Arg::R)?,
                sum.view_mut(Arg::Sum)?,
                y.map(|y| y.view_mut(Arg::Y)).transpose()?,
            )
        };
        // SAFETY: the caller keeps weights, biases and the scale alive during the call, too; they are only read.
        let view =
            |arg, tensor: &Option<Tensor>| tensor.map(|tensor| unsafe { tensor.view(arg) }).transpose();
        let norm = norm.weight(view(Arg::W, w)?).bias(view(Arg::B, b)?);
        let norm = match view(Arg::SumScale, scale)? {
            Some(scale) => norm.sum_scale(scale),
            None => norm,
        };
        match (around, y) {
            (Around::InFront, Some(mut y)) => norm.add_then_norm_to(x, r, &mut sum, &mut y, backend),
            (Around::Between, Some(mut y)) => {
                let next = next.weight(view(Arg::W, next_w)?);
                norm.sandwich_rows_to(&next, x, r, &mut sum, &mut y, backend)
            }
            // `residual` has checked that `Behind` has no `y`, and that the others have one.
            (Around::Behind, _) | (_, None) => norm.norm_then_add_to(x, r, &mut sum, backend),
        }
    }
}

/// Runs an operation with a residual.
///
/// `around`: 0 `sum = x + r; y = norm(sum)`; 1 `sum = r + norm(x)`, without `y`; 2 `sum = r + norm(x); y = next(sum)`,
/// next being RMSNorm with `next_w` and `next_eps`. `sum` may be the same tensor as `r`. What is added to r is
/// multiplied by `branch_scale`, the sum by `sum_scale`, or by the one float32 in the tensor `scale`. `kind` is that of the
/// norm, or of the first of two. All else is as for `norm`.
///
/// Raises TypeError for element types, RuntimeError for errors of the driver, ValueError for every other argument.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "plain numbers, so that a call costs no object")]
pub fn residual(
    py: Python<'_>,
    around: usize,
    kind: usize,
    x: &Bound<'_, PyAny>,
    r: &Bound<'_, PyAny>,
    sum: &Bound<'_, PyAny>,
    y: Option<&Bound<'_, PyAny>>,
    w: Option<&Bound<'_, PyAny>>,
    b: Option<&Bound<'_, PyAny>>,
    next_w: Option<&Bound<'_, PyAny>>,
    scale: Option<&Bound<'_, PyAny>>,
    eps: f64,
    next_eps: f64,
    branch_scale: f32,
    sum_scale: f32,
    weight_offset: f32,
    round_offset: bool,
    rounding: usize,
    overlap: bool,
    stream: Option<u64>,
) -> PyResult<()> {
    let around = *code("around", &Around::ALL, around)?;
    let kind = *code("kind", &[NormKind::Rms, NormKind::Layer], kind)?;
    let rounding = *code("rounding", &Rounding::ALL, rounding)?;
    if y.is_some() == (around == Around::Behind) {
        let expected =
            if y.is_some() { "no tensor behind a norm" } else { "a tensor for the norm, given none" };
        return Err(PyValueError::new_err(format!("{}: expected {expected}", Arg::Y)));
    }
    let norm = |kind, eps| {
        Norm::new(kind, eps)
            .weight_offset(weight_offset)
            .round_offset(round_offset)
            .rounding(rounding)
            .overlap(overlap)
    };
    let operation = Operation {
        around,
        norm: norm(kind, eps).branch_scale(branch_scale).sum_scale(sum_scale),
        next: norm(NormKind::Rms, next_eps),
        x: Tensor::read(Arg::X, x)?,
        r: Tensor::read(Arg::R, r)?,
        sum: Tensor::written(Arg::Sum, sum)?,
        y: y.map(|y| Tensor::written(Arg::Y, y)).transpose()?,
        w: Tensor::optional(Arg::W, w)?,
        b: Tensor::optional(Arg::B, b)?,
        next_w: Tensor::optional(Arg::W, next_w)?,
        scale: Tensor::optional(Arg::SumScale, scale)?,
    };
    operation.run(py, stream)
}

//! RMSNorms with a gate.

use norm_host::{Activation, Arg, Backend, Gate, GateOrder, Norm, Result, Rounding};
use pyo3::prelude::*;

use crate::{
    op::{Run, code},
    tensor::Tensor,
};

/// An operation and its tensors.
#[derive(Clone, Copy)]
struct Operation {
    /// Whether each head has its own weights, and is normalized by itself.
    heads: bool,
    activation: Activation,
    order: GateOrder,
    /// The norm without weights.
    norm: Norm<'static>,
    x: Tensor,
    g: Tensor,
    /// `None` in place.
    y: Option<Tensor>,
    w: Option<Tensor>,
}

impl Run for Operation {
    fn x(&self) -> &Tensor {
        &self.x
    }

    fn on(&self, backend: &impl Backend) -> Result<()> {
        let Operation { heads, activation, order, norm, x, g, y, w } = self;
        // SAFETY: the numbers describe tensors that the caller keeps alive during the call, and that on a device it accesses
        // in the order of the stream; weights and the gate are only read. Operations return an error for tensors that overlap
        // with one that is written, unless they are the same.
        unsafe {
            let norm = norm.weight(w.map(|w| w.view(Arg::W)).transpose()?);
            let gate = Gate::new(g.view(Arg::G)?, *activation).order(*order);
            match (y, heads) {
                (Some(y), false) => norm.gated_rows(x.view(Arg::X)?, gate, &mut y.view_mut(Arg::Y)?, backend),
                (Some(y), true) => norm.gated_heads(x.view(Arg::X)?, gate, &mut y.view_mut(Arg::Y)?, backend),
                (None, false) => norm.gated_rows_in_place(&mut x.view_mut(Arg::X)?, gate, backend),
                (None, true) => norm.gated_heads_in_place(&mut x.view_mut(Arg::X)?, gate, backend),
            }
        }
    }
}

/// Runs an RMSNorm with a gate `g`, over rows or `heads`; without `y` in place.
///
/// `activation`: 0 SiLU, 1 sigmoid. `order`: 0 `y = norm(x) * act(g)`, 1 `y = norm(x * act(g))`. All else is as for `norm`.
///
/// Raises TypeError for element types, RuntimeError for errors of the driver, ValueError for every other argument.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "plain numbers, so that a call costs no object")]
pub fn gated(
    py: Python<'_>,
    heads: bool,
    activation: usize,
    order: usize,
    x: &Bound<'_, PyAny>,
    g: &Bound<'_, PyAny>,
    y: Option<&Bound<'_, PyAny>>,
    w: Option<&Bound<'_, PyAny>>,
    eps: f64,
    weight_offset: f32,
    round_offset: bool,
    rounding: usize,
    overlap: bool,
    stream: Option<u64>,
) -> PyResult<()> {
    let rounding = *code("rounding", &Rounding::ALL, rounding)?;
    let norm = Norm::rms(eps)
        .weight_offset(weight_offset)
        .round_offset(round_offset)
        .rounding(rounding)
        .overlap(overlap);
    let operation = Operation {
        heads,
        activation: *code("activation", &Activation::ALL, activation)?,
        order: *code("order", &GateOrder::ALL, order)?,
        norm,
        x: if y.is_some() { Tensor::read(Arg::X, x)? } else { Tensor::written(Arg::X, x)? },
        g: Tensor::read(Arg::G, g)?,
        y: y.map(|y| Tensor::written(Arg::Y, y)).transpose()?,
        w: Tensor::optional(Arg::W, w)?,
    };
    operation.run(py, stream)
}

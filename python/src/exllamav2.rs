//! The seven norms of exllamav2's extension, with its order of arguments (`ext_norm.h`).
//!
//! A bias on the meta device stands for no bias. The roundings are the extension's: with biases the product is rounded
//! before the bias is added ([`Rounding::BeforeBias`]). Unlike the extension, these functions check every argument.

use norm_host::{Arg, Norm, NormKind, Rounding};
use pyo3::prelude::*;

use crate::{
    op::{Form, Operation, Run},
    tensor::Tensor,
    tp,
};

/// `y = x / sqrt(mean(x²) + eps) * w`, row by row: x and y (rows, dim), w (dim,).
#[pyfunction]
#[pyo3(signature = (x, w, y, epsilon, /))]
pub fn rms_norm(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    w: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
    epsilon: f64,
) -> PyResult<()> {
    run(py, Form::Rows, Norm::rms(epsilon), (x, Some(y)), (w, None))
}

/// `rms_norm` in place.
#[pyfunction]
#[pyo3(signature = (x, w, epsilon, /))]
pub fn rms_norm_(py: Python<'_>, x: &Bound<'_, PyAny>, w: &Bound<'_, PyAny>, epsilon: f64) -> PyResult<()> {
    run(py, Form::Rows, Norm::rms(epsilon), (x, None), (w, None))
}

/// `rms_norm` of `x[i]` with `w[i]` to `y[i]`, on the context's stream of the device of `x[i]`.
#[pyfunction]
#[pyo3(signature = (x, w, y, epsilon, tp_context, /))]
pub fn rms_norm_tp(
    py: Python<'_>,
    x: Vec<Bound<'_, PyAny>>,
    w: Vec<Bound<'_, PyAny>>,
    y: Vec<Bound<'_, PyAny>>,
    epsilon: f64,
    tp_context: u64,
) -> PyResult<()> {
    tp::rms_norm(py, [&x, &w, &y], epsilon, tp_context)
}

/// `y = (x - mean(x)) / sqrt(var(x) + eps) * w + b`, row by row: x and y (rows, dim), w and b (dim,); b on the meta
/// device stands for none.
#[pyfunction]
#[pyo3(signature = (x, w, b, y, epsilon, /))]
pub fn layer_norm(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    w: &Bound<'_, PyAny>,
    b: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
    epsilon: f64,
) -> PyResult<()> {
    run(py, Form::Rows, Norm::layer(epsilon), (x, Some(y)), (w, Some(b)))
}

/// `layer_norm` in place.
#[pyfunction]
#[pyo3(signature = (x, w, b, epsilon, /))]
pub fn layer_norm_(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    w: &Bound<'_, PyAny>,
    b: &Bound<'_, PyAny>,
    epsilon: f64,
) -> PyResult<()> {
    run(py, Form::Rows, Norm::layer(epsilon), (x, None), (w, Some(b)))
}

/// RMSNorm (`rms` true) or LayerNorm of the last axis, each head with its own weights: x and y (…, heads, head_dim), w
/// and b (heads, head_dim); b on the meta device stands for none.
#[pyfunction]
#[pyo3(signature = (x, w, b, y, epsilon, rms, /))]
pub fn head_norm(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    w: &Bound<'_, PyAny>,
    b: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
    epsilon: f64,
    rms: bool,
) -> PyResult<()> {
    run(py, Form::Heads, Norm::new(kind(rms), epsilon), (x, Some(y)), (w, Some(b)))
}

/// `head_norm` in place.
#[pyfunction]
#[pyo3(signature = (x, w, b, epsilon, rms, /))]
pub fn head_norm_(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    w: &Bound<'_, PyAny>,
    b: &Bound<'_, PyAny>,
    epsilon: f64,
    rms: bool,
) -> PyResult<()> {
    run(py, Form::Heads, Norm::new(kind(rms), epsilon), (x, None), (w, Some(b)))
}

fn kind(rms: bool) -> NormKind {
    if rms { NormKind::Rms } else { NormKind::Layer }
}

/// A tensor as Python passes it.
type Given<'a, 'py> = &'a Bound<'py, PyAny>;

fn run<'a, 'py>(
    py: Python<'py>,
    form: Form,
    norm: Norm<'static>,
    (x, y): (Given<'a, 'py>, Option<Given<'a, 'py>>),
    (w, b): (Given<'a, 'py>, Option<Given<'a, 'py>>),
) -> PyResult<()> {
    let operation = Operation {
        form,
        norm: norm.rounding(Rounding::BeforeBias),
        x: if y.is_none() { Tensor::written(Arg::X, x)? } else { Tensor::read(Arg::X, x)? },
        y: y.map(|y| Tensor::written(Arg::Y, y)).transpose()?,
        r: None,
        w: Some(Tensor::read(Arg::W, w)?),
        b: b.map_or(Ok(None), |b| Tensor::unless_meta(Arg::B, b))?,
    };
    operation.run(py, None)
}

//! Norms whose output is quantized.

use norm_host::{Arg, Backend, Norm, NormKind, QuantFormat, QuantPreset, Quantization, Result, Scale};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{
    op::{Run, code},
    tensor::Tensor,
};

/// Which elements share a scale.
#[derive(Clone, Copy)]
enum Scaling {
    /// All, and it is given.
    Given(Tensor),
    /// Those of a row.
    Token,
    /// So many neighbours in a row.
    Block(usize),
}

/// An operation and its tensors.
#[derive(Clone, Copy)]
struct Operation {
    /// Without weights and biases.
    norm: Norm<'static>,
    format: QuantFormat,
    scaling: Scaling,
    preset: QuantPreset,
    bound: Option<f32>,
    bound_at: Option<Tensor>,
    x: Tensor,
    /// The residual, to which x is added, where it lies unless there is a `sum`.
    r: Option<Tensor>,
    sum: Option<Tensor>,
    y: Tensor<QuantFormat>,
    scales: Option<Tensor>,
    normed: Option<Tensor>,
    w: Option<Tensor>,
    b: Option<Tensor>,
}

impl Run for Operation {
    fn x(&self) -> &Tensor {
        &self.x
    }

    fn on(&self, backend: &impl Backend) -> Result<()> {
        let Operation { norm, x, r, sum, y, scales, normed, w, b, .. } = self;
        // SAFETY: the numbers describe tensors that the caller keeps alive during the call, and that on a device it accesses
        // in the order of the stream; weights, biases, a given scale and a bound are only read. Operations return an error
        // for tensors that overlap with one that is written.
        let view =
            |arg, tensor: &Option<Tensor>| tensor.map(|tensor| unsafe { tensor.view(arg) }).transpose();
        // SAFETY: the same holds for tensors that are written, of each of which one view is made.
        let (mut y, written) = unsafe {
            let written =
                |arg, tensor: &Option<Tensor>| tensor.map(|tensor| tensor.view_mut(arg)).transpose();
            let y = y.codes(Arg::Y)?.scales(written(Arg::Scales, scales)?);
            (y.normed(written(Arg::Normed, normed)?), written)
        };
        let quantization = match self.scaling {
            Scaling::Given(scale) => {
                // SAFETY: as for the views above.
                let scale = unsafe { scale.view(Arg::Scale)? };
                Quantization::per_tensor(self.format, scale)
            }
            Scaling::Token => Quantization::per_token(self.format),
            Scaling::Block(block) => Quantization::per_block(self.format, block),
        };
        let bound = match view(Arg::UpperBound, &self.bound_at)? {
            Some(memory) => Some(Scale::Memory(memory)),
            None => self.bound.map(Scale::Number),
        };
        let quantization = quantization.preset(self.preset).upper_bound(bound);
        let norm = norm.weight(view(Arg::W, w)?).bias(view(Arg::B, b)?);
        // SAFETY: as for the views above.
        let x = unsafe { x.view(Arg::X)? };
        match (r, written(Arg::Sum, sum)?) {
            (Some(r), Some(mut sum)) => {
                // SAFETY: as for the views above.
                let r = unsafe { r.view(Arg::R)? };
                norm.add_then_quantize_to(&quantization, x, r, &mut sum, &mut y, backend)
            }
            (Some(r), None) => {
                // SAFETY: as for the views above.
                let mut r = unsafe { r.view_mut(Arg::R)? };
                norm.add_then_quantize(&quantization, x, &mut r, &mut y, backend)
            }
            // `quantized` has checked that there is no sum.
            (None, _) => norm.quantize_rows(&quantization, x, &mut y, backend),
        }
    }
}

/// Runs a norm whose output is quantized, `y = quantize(norm(x))`; with `r` behind `r += x`, with `sum` besides behind
/// `sum = x + r`.
///
/// `kind`: 0 RMSNorm, 1 LayerNorm. `format`: 0 E4M3, 1 Int8. `preset`: 0 exact, 1 vLLM, 2 FlashInfer. `block`: elements that
/// share a scale, or None for those of a row; with the one float32 in `scale`, which is read, all do, and `block` is None. `y`
/// has elements of float8_e4m3fn or uint8 for E4M3, int8 for Int8. `scales` are written, `(…, 1)` or `(…, dim / block)`,
/// float32 of any strides; `normed` gets the values, of x's type. The bound of what a scale accounts for is a number, `bound`,
/// or one float32 in memory, `bound_at`. All else is as for `norm`.
///
/// Raises TypeError for element types, RuntimeError for errors of the driver, ValueError for every other argument.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "plain numbers, so that a call costs no object")]
pub fn quantized(
    py: Python<'_>,
    kind: usize,
    format: usize,
    preset: usize,
    block: Option<usize>,
    x: &Bound<'_, PyAny>,
    r: Option<&Bound<'_, PyAny>>,
    sum: Option<&Bound<'_, PyAny>>,
    y: &Bound<'_, PyAny>,
    scales: Option<&Bound<'_, PyAny>>,
    normed: Option<&Bound<'_, PyAny>>,
    w: Option<&Bound<'_, PyAny>>,
    b: Option<&Bound<'_, PyAny>>,
    scale: Option<&Bound<'_, PyAny>>,
    bound: Option<f32>,
    bound_at: Option<&Bound<'_, PyAny>>,
    eps: f64,
    weight_offset: f32,
    overlap: bool,
    stream: Option<u64>,
) -> PyResult<()> {
    let scaling = match (Tensor::optional(Arg::Scale, scale)?, block) {
        (Some(scale), None) => Scaling::Given(scale),
        (None, Some(block)) => Scaling::Block(block),
        (None, None) => Scaling::Token,
        (Some(_), Some(_)) => {
            return Err(PyValueError::new_err(format!(
                "{}: expected none, where each block has one, given a tensor",
                Arg::Scale
            )));
        }
    };
    if sum.is_some() && r.is_none() {
        return Err(PyValueError::new_err(format!("{}: expected a residual beside sum, given none", Arg::R)));
    }
    let written = |arg, tensor: Option<&Bound<'_, PyAny>>| {
        tensor.map(|tensor| Tensor::written(arg, tensor)).transpose()
    };
    let operation = Operation {
        norm: Norm::new(*code("kind", &[NormKind::Rms, NormKind::Layer], kind)?, eps)
            .weight_offset(weight_offset)
            .overlap(overlap),
        format: *code("format", &QuantFormat::ALL, format)?,
        scaling,
        preset: *code("preset", &QuantPreset::ALL, preset)?,
        bound,
        bound_at: Tensor::optional(Arg::UpperBound, bound_at)?,
        x: Tensor::read(Arg::X, x)?,
        r: if sum.is_some() { Tensor::optional(Arg::R, r)? } else { written(Arg::R, r)? },
        sum: written(Arg::Sum, sum)?,
        y: Tensor::written(Arg::Y, y)?,
        scales: written(Arg::Scales, scales)?,
        normed: written(Arg::Normed, normed)?,
        w: Tensor::optional(Arg::W, w)?,
        b: Tensor::optional(Arg::B, b)?,
    };
    operation.run(py, stream)
}

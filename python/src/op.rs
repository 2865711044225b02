//! The operations of norm-host on tensors of Python, without the GIL.

use norm_host::{Arg, Backend, Cpu, Device, Norm, NormKind, Place, Result, Rounding, Stream};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{error::to_python, host, tensor::Tensor};

/// Which of norm-host's forms it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `y = norm(x)`.
    Rows,
    /// `y = norm(x)`, with weights for each head.
    Heads,
    /// `r += x; y = norm(r)`.
    AddThenNorm,
    /// `y += norm(x)`.
    NormThenAdd,
}

impl Form {
    const ALL: [Form; 4] = [Form::Rows, Form::Heads, Form::AddThenNorm, Form::NormThenAdd];
}

/// An operation and its tensors.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) form: Form,
    /// Without weights and biases.
    pub(crate) norm: Norm<'static>,
    pub(crate) x: Tensor,
    /// `None` for an operation in place.
    pub(crate) y: Option<Tensor>,
    pub(crate) r: Option<Tensor>,
    pub(crate) w: Option<Tensor>,
    pub(crate) b: Option<Tensor>,
}

/// An operation that runs where its input is.
pub(crate) trait Run: Sync {
    /// The input, whose place decides where the operation runs.
    fn x(&self) -> &Tensor;

    /// Runs the operation on a backend, which for a stream means to enqueue it.
    fn on(&self, backend: &impl Backend) -> Result<()>;

    /// Runs the operation where `x` is: on the host at once; on a device by enqueueing it on `stream`, or if that is `None`
    /// on the device's current stream of the framework that `x` is of. The GIL is released meanwhile.
    fn run(&self, py: Python<'_>, stream: Option<u64>) -> PyResult<()> {
        let result = match self.x().place {
            Place::Cuda(ordinal) => {
                let stream = match stream {
                    Some(stream) => stream,
                    None => self.x().current_stream(py)?,
                };
                py.detach(|| {
                    let device = Device::new(ordinal)?;
                    // SAFETY: the stream is the caller's or the framework's, which keeps it alive, and is borrowed for this
                    // call only.
                    let stream = unsafe { Stream::from_raw(&device, stream as *mut _)? };
                    self.on(&stream)
                })
            }
            _ => py.detach(|| host::run(|| self.on(&Cpu))),
        };
        result.map_err(to_python)
    }
}

impl Run for Operation {
    fn x(&self) -> &Tensor {
        &self.x
    }

    fn on(&self, backend: &impl Backend) -> Result<()> {
        let Operation { form, norm, x, y, r, w, b } = self;
        // SAFETY: the numbers describe tensors that the caller keeps alive during the call, and that on a device it accesses
        // in the order of the stream. Callers of `norm_gpu.raw` guarantee the same for the numbers that they pass.
        let (w, b, r, y) = unsafe {
            (
                w.map(|w| w.view(Arg::W)).transpose()?,
                b.map(|b| b.view(Arg::B)).transpose()?,
                r.map(|r| r.view_mut(Arg::R)).transpose()?,
                y.map(|y| y.view_mut(Arg::Y)).transpose()?,
            )
        };
        let norm = norm.weight(w).bias(b);
        // SAFETY: the caller keeps `x`, too, alive during the call, and on a device accesses it in the
        // order of the stream. No second view of it exists in place, because one of the two closures is called, once.
        let (shared, alone) = unsafe { (|| x.view(Arg::X), || x.view_mut(Arg::X)) };
        match (form, r, y) {
            (Form::Rows, None, Some(mut y)) => norm.rows(shared()?, &mut y, backend),
            (Form::Rows, None, None) => norm.rows_in_place(&mut alone()?, backend),
            (Form::Heads, None, Some(mut y)) => norm.heads(shared()?, &mut y, backend),
            (Form::Heads, None, None) => norm.heads_in_place(&mut alone()?, backend),
            (Form::AddThenNorm, Some(mut r), Some(mut y)) => {
                norm.add_then_norm(shared()?, &mut r, &mut y, backend)
            }
            (Form::AddThenNorm, Some(mut r), None) => {
                norm.add_then_norm_in_place(&mut alone()?, &mut r, backend)
            }
            (Form::NormThenAdd, None, Some(mut y)) => norm.norm_then_add(shared()?, &mut y, backend),
            _ => unreachable!("`norm` has checked that the form has these tensors"),
        }
    }
}

/// Runs an operation.
///
/// `form`: 0 `y = norm(x)` over the last axis; 1 the same with weights for each head; 2 `r += x; y = norm(r)`; 3
/// `y += norm(x)`. `kind`: 0 RMSNorm, 1 LayerNorm. `rounding`: 0 single, 1 before the weight, 2 before the bias, 3 T5.
/// Without `y` the operation works in place. Tensors are torch's, arrays with `__array_interface__`, or tuples
/// `(address, dtype, shape, strides, device)`; on a device the work is enqueued on `stream`, a CUstream as an integer,
/// or if that is None on the current stream of x's device.
///
/// Raises TypeError for element types, RuntimeError for errors of the driver, ValueError for every other argument.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "plain numbers, so that a call costs no object")]
pub fn norm(
    py: Python<'_>,
    form: usize,
    kind: usize,
    x: &Bound<'_, PyAny>,
    y: Option<&Bound<'_, PyAny>>,
    r: Option<&Bound<'_, PyAny>>,
    w: Option<&Bound<'_, PyAny>>,
    b: Option<&Bound<'_, PyAny>>,
    eps: f64,
    weight_offset: f32,
    round_offset: bool,
    rounding: usize,
    overlap: bool,
    stream: Option<u64>,
) -> PyResult<()> {
    let form = *code("form", &Form::ALL, form)?;
    let kind = *code("kind", &[NormKind::Rms, NormKind::Layer], kind)?;
    let rounding = *code("rounding", &Rounding::ALL, rounding)?;
    if r.is_some() != (form == Form::AddThenNorm) {
        let expected = if r.is_some() { "no residual for this form" } else { "a residual for this form" };
        return Err(PyValueError::new_err(format!("{}: expected {expected}", Arg::R)));
    }
    if form == Form::NormThenAdd && y.is_none() {
        return Err(PyValueError::new_err(format!("{}: expected a tensor to add to, given none", Arg::Y)));
    }
    let norm = Norm::new(kind, eps)
        .weight_offset(weight_offset)
        .round_offset(round_offset)
        .rounding(rounding)
        .overlap(overlap);
    let x = if y.is_none() { Tensor::written(Arg::X, x)? } else { Tensor::read(Arg::X, x)? };
    let operation = Operation {
        form,
        norm,
        x,
        y: y.map(|y| Tensor::written(Arg::Y, y)).transpose()?,
        r: r.map(|r| Tensor::written(Arg::R, r)).transpose()?,
        w: Tensor::optional(Arg::W, w)?,
        b: Tensor::optional(Arg::B, b)?,
    };
    operation.run(py, stream)
}

/// The element of `list` with index `given`; ValueError, naming the argument `name`, if there is none.
pub(crate) fn code<'a, T>(name: &str, list: &'a [T], given: usize) -> PyResult<&'a T> {
    list.get(given).ok_or_else(|| {
        PyValueError::new_err(format!("{name}: expected a number below {}, given {given}", list.len()))
    })
}

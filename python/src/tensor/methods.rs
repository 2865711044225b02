//! Tensors of torch, by their methods: for versions of torch without an exchange table, and for what the table cannot
//! describe.

use norm_host::{Arg, Place};
use pyo3::{exceptions::PyValueError, intern, prelude::*, pybacked::PyBackedStr};

use super::{Element, Streams, Tensor, element};

pub(super) fn read<E: Element>(arg: Arg, object: &Bound<'_, PyAny>) -> PyResult<Tensor<E>> {
    let py = object.py();
    let device = object.getattr(intern!(py, "device"))?;
    let kind: PyBackedStr = device.getattr(intern!(py, "type"))?.extract()?;
    let place = match &*kind {
        "meta" => {
            return Err(PyValueError::new_err(format!(
                "{arg}: expected a tensor in memory, given one on the meta device"
            )));
        }
        "cpu" => Place::Host,
        "cuda" => Place::Cuda(device.getattr(intern!(py, "index"))?.extract()?),
        _ => {
            return Err(PyValueError::new_err(format!(
                "{arg}: expected a tensor on a CUDA device or the CPU, given one on {}",
                device.str()?
            )));
        }
    };
    let name = object.getattr(intern!(py, "dtype"))?.str()?.to_string();
    let dtype = element::named(arg, name.strip_prefix("torch.").unwrap_or(&name))?;
    let address = object.call_method0(intern!(py, "data_ptr"))?.extract()?;
    let shape: Vec<i64> = object.getattr(intern!(py, "shape"))?.extract()?;
    let strides: Vec<i64> = object.call_method0(intern!(py, "stride"))?.extract()?;
    Tensor::new(arg, (place, address, dtype), (&shape, &strides), Streams::Torch)
}

/// torch's current stream of a CUDA device.
pub(super) fn current_stream(py: Python<'_>, ordinal: u32) -> PyResult<u64> {
    let cuda = py.import(intern!(py, "torch"))?.getattr(intern!(py, "cuda"))?;
    let stream = cuda.call_method1(intern!(py, "current_stream"), (ordinal,))?;
    stream.getattr(intern!(py, "cuda_stream"))?.extract()
}

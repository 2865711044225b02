//! Arrays of numpy, by their `__array_interface__` (version 3, little-endian).

use norm_host::{Arg, Place};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    intern,
    prelude::*,
    types::PyDict,
};

use super::{Element, Streams, Tensor, element};

pub(super) fn read<E: Element>(arg: Arg, object: &Bound<'_, PyAny>) -> PyResult<Tensor<E>> {
    let py = object.py();
    let interface = object.getattr(intern!(py, "__array_interface__"))?;
    let interface = interface.cast_into::<PyDict>().map_err(PyErr::from)?;
    let entry = |name| -> PyResult<Bound<'_, PyAny>> {
        interface.get_item(name)?.ok_or_else(|| {
            PyTypeError::new_err(format!("{arg}: expected an array interface with {name}, given one without"))
        })
    };
    let kind: String = entry("typestr")?.extract()?;
    let dtype: E = match &*kind {
        "<f2" => element::named(arg, "float16")?,
        "<f4" => element::named(arg, "float32")?,
        // The interface describes ml_dtypes' types only by their size. The name of the dtype says which one it is.
        _ => {
            let name = object.getattr(intern!(py, "dtype"))?.str()?.to_string();
            element::named(arg, &name)?
        }
    };
    // numpy's arrays always have this entry. Other objects may leave it out and offer the buffer protocol instead.
    let (address, read_only): (u64, bool) = entry("data")?.extract()?;
    let shape: Vec<i64> = entry("shape")?.extract()?;
    let size = dtype.size() as i64;
    let bytes: Option<Vec<i64>> =
        interface.get_item("strides")?.map(|strides| strides.extract()).transpose()?.flatten();
    let strides = match bytes {
        None => row_major(&shape),
        Some(bytes) => {
            if bytes.iter().any(|bytes| bytes % size != 0) {
                return Err(PyValueError::new_err(format!(
                    "{arg}: expected strides of whole elements, {size} bytes each, given {bytes:?} bytes"
                )));
            }
            bytes.iter().map(|bytes| bytes / size).collect()
        }
    };
    if strides.len() != shape.len() {
        return Err(PyValueError::new_err(format!(
            "{arg}: expected {} strides, one an axis, given {}",
            shape.len(),
            strides.len()
        )));
    }
    let tensor = Tensor::new(arg, (Place::Host, address, dtype), (&shape, &strides), Streams::Caller)?;
    Ok(Tensor { read_only, ..tensor })
}

/// The strides of a contiguous array in C order, in elements.
fn row_major(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1_i64; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}

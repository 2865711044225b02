//! Tensors that are passed as plain numbers: `(address, dtype, shape, strides, device)`.

use norm_host::{Arg, Place};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::PyTuple,
};

use super::{Element, Streams, Tensor, element};

/// The tuple's items: the address of the first element; the name of the element type; extents and strides in elements,
/// outermost first; the ordinal of a CUDA device, or `None` for the host.
type Numbers = (u64, String, Vec<i64>, Vec<i64>, Option<u32>);

pub(super) fn read<E: Element>(arg: Arg, tuple: &Bound<'_, PyTuple>) -> PyResult<Tensor<E>> {
    let (address, name, shape, strides, device): Numbers = tuple.extract().map_err(|error| {
        PyTypeError::new_err(format!("{arg}: expected (address, dtype, shape, strides, device), {error}"))
    })?;
    if shape.len() != strides.len() {
        return Err(PyValueError::new_err(format!(
            "{arg}: expected {} strides, one an axis, given {}",
            shape.len(),
            strides.len()
        )));
    }
    let place = device.map_or(Place::Host, Place::Cuda);
    Tensor::new(arg, (place, address, element::named(arg, &name)?), (&shape, &strides), Streams::Caller)
}

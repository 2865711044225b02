//! norm-host's errors as Python's exceptions, with the same text.

use norm_host::Error;
use pyo3::{
    PyErr,
    exceptions::{PyRuntimeError, PyTypeError, PyValueError},
};

/// `TypeError` for element types, `RuntimeError` for errors of a driver or a device, `ValueError` for every other argument.
pub(crate) fn to_python(error: Error) -> PyErr {
    let text = error.to_string();
    match cause(&error) {
        Error::DType { .. } | Error::QuantizedInput { .. } | Error::QuantFormat { .. } => {
            PyTypeError::new_err(text)
        }
        Error::NoDevice { .. } => PyValueError::new_err(text),
        // Kernels that do not fit the device or are damaged, and failed collectives: no other argument would help.
        Error::Capability { .. }
        | Error::Target { .. }
        | Error::OtherKernels { .. }
        | Error::Bundle { .. }
        | Error::DuplicateKernel { .. }
        | Error::StrayPseudoInstruction { .. }
        | Error::Template(_)
        | Error::Communicator { .. }
        | Error::Reduction { .. } => PyRuntimeError::new_err(text),
        other if other.arg().is_some() => PyValueError::new_err(text),
        _ => PyRuntimeError::new_err(text),
    }
}

/// The error itself, or for a group of devices the error of the device that failed.
fn cause(error: &Error) -> &Error {
    match error {
        Error::Tp { source, .. } => cause(source),
        other => other,
    }
}

//! The extension module `norm_gpu._native`: norm-host's operations over tensors of Python.
//!
//! A tensor is described by plain numbers ([`tensor`]), an operation is carried out on them without the GIL ([`op`]), and
//! norm-host's errors become Python's exceptions ([`error`]). Users call the Python code in the folder `package`, which
//! calls this module; the functions of exllamav2 are exported by it directly ([`exllamav2`]).

mod doctor;
mod error;
mod exllamav2;
mod gated;
mod host;
mod op;
mod quantized;
mod residual;
mod rope;
mod tensor;
mod tp;

use pyo3::prelude::*;

/// Norms over tensors of torch, numpy and others. See the package `norm_gpu`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::doctor::{device_count, device_summary};
    #[pymodule_export]
    use crate::exllamav2::{
        head_norm, head_norm_, layer_norm, layer_norm_, rms_norm, rms_norm_, rms_norm_tp,
    };
    #[pymodule_export]
    use crate::gated::gated;
    #[pymodule_export]
    use crate::host::after_fork;
    #[pymodule_export]
    use crate::op::norm;
    #[pymodule_export]
    use crate::quantized::quantized;
    #[pymodule_export]
    use crate::residual::residual;
    #[pymodule_export]
    use crate::rope::qk_norm_rope;
    #[pymodule_export]
    use crate::tp::{free_tp_context, make_tp_context};

    /// The version of the package.
    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "the name that Python's packages give it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}

//! Types of elements, by the names and numbers that frameworks give them.

use norm_host::{Arg, DType, QuantFormat};
use pyo3::{exceptions::PyTypeError, prelude::*};

/// What a tensor has for elements.
pub(crate) trait Element: Copy {
    /// The names that users know the types by.
    const EXPECTED: &'static str;

    /// The type of a name of torch, numpy or norm-host.
    fn of_name(name: &str) -> Option<Self>;

    /// The type of DLPack's code and bits.
    fn of_dlpack(code: u8, bits: u8) -> Option<Self>;

    /// Bytes of an element.
    fn size(self) -> usize;
}

impl Element for DType {
    const EXPECTED: &'static str = "float16, bfloat16 or float32";

    fn of_name(name: &str) -> Option<Self> {
        match name {
            "float16" | "f16" => Some(DType::F16),
            "bfloat16" | "bf16" => Some(DType::BF16),
            "float32" | "f32" => Some(DType::F32),
            _ => None,
        }
    }

    fn of_dlpack(code: u8, bits: u8) -> Option<Self> {
        const FLOAT: u8 = 2;
        const BFLOAT: u8 = 4;
        match (code, bits) {
            (FLOAT, 16) => Some(DType::F16),
            (BFLOAT, 16) => Some(DType::BF16),
            (FLOAT, 32) => Some(DType::F32),
            _ => None,
        }
    }

    fn size(self) -> usize {
        DType::size(self)
    }
}

/// Codes of E4M3 are of the type that has this format, or bytes.
impl Element for QuantFormat {
    const EXPECTED: &'static str = "float8_e4m3fn, uint8 or int8";

    fn of_name(name: &str) -> Option<Self> {
        match name {
            "float8_e4m3fn" | "uint8" => Some(QuantFormat::E4m3),
            "int8" => Some(QuantFormat::Int8),
            _ => None,
        }
    }

    fn of_dlpack(code: u8, bits: u8) -> Option<Self> {
        const INT: u8 = 0;
        const UINT: u8 = 1;
        const FLOAT8_E4M3FN: u8 = 10;
        match (code, bits) {
            (INT, 8) => Some(QuantFormat::Int8),
            (UINT | FLOAT8_E4M3FN, 8) => Some(QuantFormat::E4m3),
            _ => None,
        }
    }

    fn size(self) -> usize {
        1
    }
}

/// The element type of a name.
///
/// # Errors
///
/// `TypeError` for names of other types.
pub(super) fn named<E: Element>(arg: Arg, name: &str) -> PyResult<E> {
    E::of_name(name)
        .ok_or_else(|| PyTypeError::new_err(format!("{arg}: expected dtype {}, given {name}", E::EXPECTED)))
}

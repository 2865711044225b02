//! Host memory of any of the three element types.

use half::{bf16, f16};
use norm_host::{
    DType, View, ViewMut,
    accuracy::{round_to_bf16, round_to_f16},
};

#[derive(Clone, Debug, PartialEq)]
pub enum Buffer {
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    F32(Vec<f32>),
}

/// The same expression for whichever vector is inside.
macro_rules! each {
    ($buffer:expr, $vec:ident => $e:expr) => {
        match $buffer {
            Buffer::F16($vec) => $e,
            Buffer::BF16($vec) => $e,
            Buffer::F32($vec) => $e,
        }
    };
}

impl Buffer {
    /// `values`, rounded to the type.
    pub fn new(dtype: DType, values: &[f64]) -> Buffer {
        match dtype {
            DType::F16 => Buffer::F16(values.iter().map(|&v| round_to_f16(v)).collect()),
            DType::BF16 => Buffer::BF16(values.iter().map(|&v| round_to_bf16(v)).collect()),
            DType::F32 => Buffer::F32(values.iter().map(|&v| v as f32).collect()),
        }
    }

    pub fn dtype(&self) -> DType {
        match self {
            Buffer::F16(_) => DType::F16,
            Buffer::BF16(_) => DType::BF16,
            Buffer::F32(_) => DType::F32,
        }
    }

    pub fn get(&self, index: usize) -> f64 {
        each!(self, v => v[index].into())
    }

    /// The bits of every element, so that NaN equals itself and -0 is not 0.
    pub fn bits(&self) -> Vec<u32> {
        match self {
            Buffer::F16(v) => v.iter().map(|v| v.to_bits().into()).collect(),
            Buffer::BF16(v) => v.iter().map(|v| v.to_bits().into()).collect(),
            Buffer::F32(v) => v.iter().map(|v| v.to_bits()).collect(),
        }
    }

    pub fn view(&self, shape: &[usize], strides: &[usize]) -> View<'_> {
        each!(self, v => View::from_slice_strided(v, shape, strides).unwrap())
    }

    pub fn view_mut(&mut self, shape: &[usize], strides: &[usize]) -> ViewMut<'_> {
        each!(self, v => ViewMut::from_slice(v, shape).unwrap().with_strides(strides).unwrap())
    }
}

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

    /// Copies these elements of a buffer of the same type.
    pub fn copy_from(&mut self, other: &Buffer, range: std::ops::Range<usize>) {
        match (self, other) {
            (Buffer::F16(to), Buffer::F16(from)) => to[range.clone()].copy_from_slice(&from[range]),
            (Buffer::BF16(to), Buffer::BF16(from)) => to[range.clone()].copy_from_slice(&from[range]),
            (Buffer::F32(to), Buffer::F32(from)) => to[range.clone()].copy_from_slice(&from[range]),
            _ => panic!("buffers of one type"),
        }
    }

    /// A view from element `from` on.
    pub fn view_from(&self, from: usize, shape: &[usize], strides: &[usize]) -> View<'_> {
        each!(self, v => View::from_slice_strided(&v[from..], shape, strides).unwrap())
    }

    /// The same to write. Its strides reach no further than a dense tensor of as many elements as there are.
    pub fn view_mut_from(&mut self, from: usize, shape: &[usize], strides: &[usize]) -> ViewMut<'_> {
        let (place, dtype) = (norm_host::Place::Host, self.dtype());
        let address = each!(self, v => v[from..].as_mut_ptr().expose_provenance()) as u64;
        let last: usize =
            shape.iter().zip(strides).map(|(extent, stride)| extent.saturating_sub(1) * stride).sum();
        let count = each!(self, v => v.len()) - from;
        assert!(shape.contains(&0) || last < count, "{shape:?} {strides:?} in {count}");
        // SAFETY: the vector holds all elements that the strides lead to, as has just been checked, and is borrowed for as
        // long as the view is.
        unsafe { ViewMut::from_raw_parts_strided(place, address, dtype, shape, strides).unwrap() }
    }

    pub fn view_mut(&mut self, shape: &[usize], strides: &[usize]) -> ViewMut<'_> {
        each!(self, v => ViewMut::from_slice(v, shape).unwrap().with_strides(strides).unwrap())
    }
}

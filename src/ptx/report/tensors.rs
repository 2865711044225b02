//! Memory for a kernel to run on.

use norm_host::{
    DType,
    problem::{Problem, SandwichProblem},
};

use super::shape::{ALIGN, Addresses, Shape};
use crate::bytes::AlignedBytes;
use crate::element;

/// Tensors of a shape, with numbers in them.
pub struct Tensors {
    shape: Shape,
    addresses: Addresses,
    /// One `f32` a row.
    sums: u64,
    /// What lies there.
    _memory: [AlignedBytes; 7],
}

impl Tensors {
    pub fn new(shape: Shape) -> Tensors {
        let Shape { dtypes: [x, w, y], rows, dim, residual, .. } = shape;
        let (rows, dim) = (rows as usize, dim as usize);
        let elements = rows * dim;
        let mut memory = [
            tensor(x, elements),
            tensor(w, dim),
            tensor(w, dim),
            tensor(y, elements),
            tensor(residual.unwrap_or(x), elements),
            tensor(w, dim),
            tensor(DType::F32, rows),
        ];
        let [x, w, b, y, r, next_w, sums] = memory.each_mut().map(start);
        Tensors { shape, addresses: Addresses { x, w, b, y, r, next_w }, sums, _memory: memory }
    }

    pub fn problem(&self) -> Problem {
        self.shape.problem(self.addresses)
    }

    pub fn sandwich(&self) -> SandwichProblem {
        self.shape.sandwich(self.addresses)
    }

    /// The address of one `f32` a row.
    pub fn sums(&self) -> u64 {
        self.sums
    }
}

/// Memory for that many elements behind an aligned place, with numbers in it.
fn tensor(dtype: DType, elements: usize) -> AlignedBytes {
    let mut bytes = AlignedBytes::zeroed(elements * dtype.size() + ALIGN);
    let first = skip(&bytes);
    let mut numbers = [0; 17 * size_of::<f32>()];
    let numbers = &mut numbers[..17 * dtype.size()];
    element::write(dtype, numbers, (-8..=8).map(f64::from));
    for place in bytes[first..][..elements * dtype.size()].chunks_mut(numbers.len()) {
        place.copy_from_slice(&numbers[..place.len()]);
    }
    bytes
}

/// Bytes in front of the first aligned place.
fn skip(bytes: &AlignedBytes) -> usize {
    bytes.as_ptr().align_offset(ALIGN)
}

fn start(bytes: &mut AlignedBytes) -> u64 {
    let skip = skip(bytes);
    (bytes.as_mut_ptr().expose_provenance() + skip) as u64
}

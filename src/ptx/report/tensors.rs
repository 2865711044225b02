//! Memory of the tensors that a kernel runs on.

use norm_host::{
    DType, Gating,
    problem::{GatedProblem, Problem, QuantizedProblem, SandwichProblem},
};
use norm_kernels::abi::QuantKernel;

use super::shape::{ALIGN, Addresses, Shape};
use crate::bytes::AlignedBytes;
use crate::element;

/// The tensors of a shape, filled with finite numbers, in memory that this owns.
pub struct Tensors {
    shape: Shape,
    addresses: Addresses,
    /// The address of the sums of a norm whose rows are split, one `f32` for each row.
    sums: u64,
    /// Keeps the memory at these addresses allocated.
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

    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The shape's norm on these tensors.
    pub fn problem(&self) -> Problem {
        self.shape.problem(self.addresses)
    }

    /// The shape's sandwich on these tensors.
    pub fn sandwich(&self) -> SandwichProblem {
        self.shape.sandwich(self.addresses)
    }

    /// The shape's norm with a gate in the place of the residual.
    pub fn gated(&self, gating: Gating) -> GatedProblem {
        self.shape.gated(self.addresses, gating)
    }

    /// The shape's norm on these tensors, with codes in place of `y`, and scales in place of the sums.
    pub fn quantized(&self, kernel: QuantKernel) -> QuantizedProblem {
        self.shape.quantized(kernel, self.addresses, self.sums)
    }

    /// The address of the sums, one `f32` for each row.
    pub fn sums(&self) -> u64 {
        self.sums
    }
}

/// Memory with that many elements from its first multiple of [`ALIGN`] on, filled with the whole numbers -8 to 8.
fn tensor(dtype: DType, elements: usize) -> AlignedBytes {
    let mut bytes = AlignedBytes::zeroed(elements * dtype.size() + ALIGN);
    let first = padding(&bytes);
    let mut numbers = [0; 17 * size_of::<f32>()];
    let numbers = &mut numbers[..17 * dtype.size()];
    element::write(dtype, numbers, (-8..=8).map(f64::from));
    for chunk in bytes[first..][..elements * dtype.size()].chunks_mut(numbers.len()) {
        chunk.copy_from_slice(&numbers[..chunk.len()]);
    }
    bytes
}

/// Bytes in front of the first multiple of [`ALIGN`].
fn padding(bytes: &AlignedBytes) -> usize {
    bytes.as_ptr().align_offset(ALIGN)
}

/// The address of the first element.
fn start(bytes: &mut AlignedBytes) -> u64 {
    let padding = padding(bytes);
    (bytes.as_mut_ptr().expose_provenance() + padding) as u64
}

//! The tour's inputs: activations and weights like Llama's, generated from a seed.

use half::f16;
use norm_host::accuracy::round_to_f16;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;
use rayon::prelude::*;

/// Elements of a row: the hidden size of Llama 2 7B and Llama 3 8B.
pub const DIM: usize = 4096;
/// Heads in a row, for head norm.
pub const HEADS: usize = 32;
/// Elements in a head.
pub const HEAD_DIM: usize = DIM / HEADS;
/// The eps of Llama 2.
pub const EPS: f32 = 1e-5;

/// One column in this many is an outlier.
const OUTLIER_COLUMNS: usize = 512;
/// The factor of an outlier column's elements.
const OUTLIER: f64 = 50.0;

/// The size of the inputs.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Rows of `x`, which a model has one of for each token.
    pub rows: usize,
}

impl Size {
    /// For a GPU: `x` has 32 MiB.
    pub const LARGE: Size = Size { rows: 4096 };
    /// For the simulator, which runs the same kernels some thousand times slower.
    pub const TINY: Size = Size { rows: 8 };
    /// For a CPU: the seven functions and their references take a few seconds.
    pub const SMALL: Size = Size { rows: 256 };
}

/// Activations, weights and biases, all f16. The weights serve as `(dim,)` and as
/// `(heads, head_dim)`.
pub struct Inputs {
    pub rows: usize,
    pub x: Vec<f16>,
    pub w: Vec<f16>,
    pub b: Vec<f16>,
}

impl Inputs {
    /// The inputs of this seed and size, the same on every machine.
    pub fn new(seed: u64, size: Size) -> Inputs {
        let rows = size.rows;
        let mut x = vec![f16::ZERO; rows * DIM];
        x.par_chunks_mut(DIM).enumerate().for_each(|(row, elements)| {
            // Each row has its own stream of random numbers, so that the values do not depend on the number of threads.
            let rng = &mut Pcg64::new(seed.into(), row as u128);
            for (column, element) in elements.iter_mut().enumerate() {
                let scale = if column % OUTLIER_COLUMNS == 7 { OUTLIER } else { 1.0 };
                *element = round_to_f16(normal(rng) * scale);
            }
        });
        let rng = &mut Pcg64::seed_from_u64(!seed);
        let w = (0..DIM).map(|_| round_to_f16(1.0 + 0.2 * normal(rng))).collect();
        let b = (0..DIM).map(|_| round_to_f16(0.1 * normal(rng))).collect();
        Inputs { rows, x, w, b }
    }

    /// The shape of `x` and `y`.
    pub fn shape(&self, heads: bool) -> Vec<usize> {
        Inputs::shape_for(self.rows, heads)
    }

    /// The shape of `x` and `y` with that many rows.
    pub fn shape_for(rows: usize, heads: bool) -> Vec<usize> {
        if heads { vec![rows, HEADS, HEAD_DIM] } else { vec![rows, DIM] }
    }
}

/// The shape of the weights and biases.
pub fn parameter_shape(heads: bool) -> Vec<usize> {
    if heads { vec![HEADS, HEAD_DIM] } else { vec![DIM] }
}

fn normal(rng: &mut Pcg64) -> f64 {
    StandardNormal.sample(rng)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the values that 4 of the 57 elements have that half's `from_f64`, which rounds twice, does not round to the
    /// nearest `f16`; and a hash of all values.
    #[test]
    fn seed_1_makes_these_tensors_on_every_machine() {
        let Inputs { x, w, b, .. } = Inputs::new(1, Size::SMALL);
        for (row, column, nearest) in
            [(1, 258, -0.27856445), (1, 2967, -0.39770508), (14, 1225, 0.7817383), (19, 2629, 0.021_682_74)]
        {
            assert_eq!(x[row * DIM + column].to_f32(), nearest, "row {row}, column {column}");
        }
        // FNV-1a, by elements.
        let hash = |elements: &[f16]| {
            let add = |hash: u64, element: &f16| {
                (hash ^ u64::from(element.to_bits())).wrapping_mul(0x0100_0000_01b3)
            };
            elements.iter().fold(0xcbf2_9ce4_8422_2325, add)
        };
        let expected = [0x46fe_b64e_20f8_ec37, 0x0e45_2909_c7d9_0b90, 0xcb64_0031_573a_3659];
        assert_eq!([&x, &w, &b].map(|tensor| hash(tensor)), expected);
    }
}

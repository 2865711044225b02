//! What tensors are filled with: random, never zeros, which a device moves and multiplies with less
//! power, and so at higher clocks.

use norm_host::DType;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;
use rayon::prelude::*;

use super::case::Case;
use crate::bytes::AlignedBytes;
use crate::element;

/// Elements after which inputs repeat: more than any row has but the very longest.
const PERIOD: usize = 4 << 20;
/// Elements of a thread's share.
const CHUNK: usize = 1 << 14;
const SEED: u64 = 3;

/// Standard normal inputs, `bytes` of them or as many as repeat.
pub fn inputs(dtype: DType, bytes: u64) -> AlignedBytes {
    let elements = usize::try_from(bytes.div_ceil(dtype.size() as u64)).unwrap_or(PERIOD).min(PERIOD);
    let mut values = AlignedBytes::zeroed(elements * dtype.size());
    values.par_chunks_mut(CHUNK * dtype.size()).enumerate().for_each(|(index, chunk)| {
        let rng = &mut Pcg64::new(SEED.into(), index as u128);
        let count = chunk.len() / dtype.size();
        element::write(dtype, chunk, (0..count).map(|_| normal(rng)));
    });
    values
}

/// The weights of a case: around 1; in place ±1, so that values neither grow nor vanish when the
/// output is normalized again and again.
pub fn weights(case: &Case) -> AlignedBytes {
    let in_place = case.op.is_in_place();
    parameters(case, SEED + 1, |rng| match in_place {
        true if rng.random() => -1.0,
        true => 1.0,
        false => 1.0 + 0.2 * normal(rng),
    })
}

/// The biases of a case, or the weights of its second norm.
pub fn biases(case: &Case) -> AlignedBytes {
    let is_second = case.op.is_sandwich();
    parameters(case, SEED + 2, |rng| match is_second {
        true => 1.0 + 0.2 * normal(rng),
        false => 0.1 * normal(rng),
    })
}

fn parameters(case: &Case, seed: u64, value: impl Fn(&mut Pcg64) -> f64) -> AlignedBytes {
    let rng = &mut Pcg64::seed_from_u64(seed);
    let dtype = case.types.w;
    let mut values = AlignedBytes::zeroed(case.parameters() * dtype.size());
    element::write(dtype, &mut values, (0..case.parameters()).map(|_| value(rng)));
    values
}

fn normal(rng: &mut Pcg64) -> f64 {
    StandardNormal.sample(rng)
}

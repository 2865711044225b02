//! The values of tensors. They are random: zeros would take a device less power to move and multiply, so that it would
//! run at higher clocks than on real data.

use norm_host::DType;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;
use rayon::prelude::*;

use super::case::BenchCase;
use super::heads;
use super::op::{Quantizes, Scaled};
use crate::bytes::AlignedBytes;
use crate::element;

/// Elements after which inputs repeat, so that large tensors are quickly filled. Only the very longest rows have more.
const PERIOD: usize = 4 << 20;
/// Elements that a thread generates at a time.
const CHUNK: usize = 1 << 14;
const SEED: u64 = 3;

/// Standard normal inputs of `bytes` bytes, or of the period if that is less.
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

/// The weights of a case, which are around 1. In place they are ±1, so that values neither grow nor vanish when the
/// output is normalized again and again.
pub fn weights(case: &BenchCase) -> AlignedBytes {
    let in_place = case.op.is_in_place();
    parameters(case, SEED + 1, |rng| match in_place {
        true if rng.random() => -1.0,
        true => 1.0,
        false => 1.0 + 0.2 * normal(rng),
    })
}

/// The biases of a case, which are around 0, or the weights of its second norm, which are around 1, or the scale of its output; or
/// tables and positions.
pub fn biases(case: &BenchCase) -> AlignedBytes {
    if case.op.rotates() {
        return heads::tables(case);
    }
    if let Some(Quantizes { scaled: Scaled::Tensor, .. }) = case.op.quantizes() {
        // The scale that is given: values of up to about 5 take all of the codes.
        let mut scale = AlignedBytes::zeroed(size_of::<f32>());
        scale.copy_from_slice(&0.012_f32.to_ne_bytes());
        return scale;
    }
    let is_second = case.op.is_sandwich();
    parameters(case, SEED + 2, |rng| match is_second {
        true => 1.0 + 0.2 * normal(rng),
        false => 0.1 * normal(rng),
    })
}

/// Weights or biases with values drawn by `value`.
fn parameters(case: &BenchCase, seed: u64, value: impl Fn(&mut Pcg64) -> f64) -> AlignedBytes {
    let rng = &mut Pcg64::seed_from_u64(seed);
    let dtype = case.types.w;
    let mut values = AlignedBytes::zeroed(case.parameters() * dtype.size());
    element::write(dtype, &mut values, (0..case.parameters()).map(|_| value(rng)));
    values
}

fn normal(rng: &mut Pcg64) -> f64 {
    StandardNormal.sample(rng)
}

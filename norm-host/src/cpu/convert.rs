//! Conversions between 16 bits and `f32`, slice by slice. Both slices are equally long.

#[cfg(test)]
mod tests;

use half::{bf16, f16};

use super::simd::{Floats, Simd, Vector, WIDTH};

/// Writes `from`, limited to ±`limit`, to `to`. NaN stays NaN.
#[inline(always)]
pub(super) fn widen_f16<S: Simd>(simd: S, from: &[f16], to: &mut [f32], limit: f32) {
    let (from, from_rest) = from.as_chunks::<WIDTH>();
    let (to, to_rest) = to.as_chunks_mut::<WIDTH>();
    for (to, from) in to.iter_mut().zip(from) {
        *to = simd.load_f16(from).clamp(limit).to_array();
    }
    for (to, from) in to_rest.iter_mut().zip(from_rest) {
        *to = from.to_f32().clamp(-limit, limit);
    }
}

/// Writes `from`, rounded to nearest even, to `to`.
#[inline(always)]
pub(super) fn narrow_f16<S: Simd>(simd: S, from: &[f32], to: &mut [f16]) {
    let (from, from_rest) = from.as_chunks::<WIDTH>();
    let (to, to_rest) = to.as_chunks_mut::<WIDTH>();
    for (to, from) in to.iter_mut().zip(from) {
        simd.load(from).store_f16(to);
    }
    for (to, from) in to_rest.iter_mut().zip(from_rest) {
        *to = f16::from_f32(*from);
    }
}

/// Writes `from` to `to`, which is exact.
#[inline(always)]
pub(super) fn widen_bf16(from: &[bf16], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = f32::from_bits(u32::from(from.to_bits()) << 16);
    }
}

/// Writes `from`, rounded to nearest even, to `to`. The result is that of [`bf16::from_f32`], but there is no branch, so
/// that the compiler can use vectors.
#[inline(always)]
pub(super) fn narrow_bf16(from: &[f32], to: &mut [bf16]) {
    for (to, from) in to.iter_mut().zip(from) {
        let bits = from.to_bits();
        let odd = (bits >> 16) & 1;
        let rounded = bits.wrapping_add(0x7fff + odd) >> 16;
        let quiet = (bits >> 16) | 0x40;
        *to = bf16::from_bits(if from.is_nan() { quiet } else { rounded } as u16);
    }
}

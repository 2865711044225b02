//! Conversions are those of `half`.

use super::{super::simd::Portable, *};

/// Each; under Miri every so many, which lead to the same memory.
fn all() -> impl Iterator<Item = u16> {
    (0..=u16::MAX).step_by(if cfg!(miri) { 251 } else { 1 })
}

#[test]
fn bf16_is_rounded_as_half_rounds_it() {
    // Every bf16, and between neighbours both ends, the middle and what lies beside it: NaN, infinity
    // and what rounds to it, zeros, subnormal numbers.
    let ends = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
    let values: Vec<f32> =
        all().flat_map(|high| ends.map(|low| f32::from_bits(u32::from(high) << 16 | low))).collect();
    let mut rounded = vec![bf16::ZERO; values.len()];
    narrow_bf16(&values, &mut rounded);
    for (value, rounded) in values.iter().zip(rounded) {
        assert_eq!(rounded.to_bits(), bf16::from_f32(*value).to_bits(), "{:08x}", value.to_bits());
    }
}

fn every_f16() -> Vec<f16> {
    all().map(f16::from_bits).collect()
}

/// Runs `f16` to `f32` within ±65504 and, of those and their neighbours, back.
fn round_trip(simd: impl Simd) -> (Vec<u32>, Vec<u16>) {
    let halves = every_f16();
    let mut wide = vec![0.0; halves.len()];
    widen_f16(simd, &halves, &mut wide, 65504.0);
    let bits: Vec<u32> = wide.iter().map(|x| x.to_bits()).collect();
    let ends = [0, 1, 0x0fff, 0x1000, 0x1001, 0x1fff];
    let between: Vec<f32> = bits.iter().flat_map(|bits| ends.map(|low| f32::from_bits(bits | low))).collect();
    let mut narrow = vec![f16::ZERO; between.len()];
    narrow_f16(simd, &between, &mut narrow);
    (bits, narrow.into_iter().map(f16::to_bits).collect())
}

#[test]
fn f16_infinities_become_the_largest_and_nan_stays() {
    let (bits, _) = round_trip(Portable);
    for (half, bits) in every_f16().into_iter().zip(bits) {
        let (half, wide) = (half.to_f32(), f32::from_bits(bits));
        assert!(wide == half || wide == 65504_f32.copysign(half) || (wide.is_nan() && half.is_nan()));
        assert!(!wide.is_infinite());
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn f16_is_converted_alike_by_every_version() {
    if let Some(avx2) = crate::cpu::simd::Avx2::detect() {
        assert_eq!(round_trip(avx2), round_trip(Portable));
    }
}

//! Roundings are those of `half`, in every version.

use half::{bf16, f16};

use super::{super::simd::Portable, *};

/// Every number of 16 bits, and between neighbours both ends, the middle and what lies beside it, as either type has
/// them; under Miri every so many.
fn values() -> Vec<f32> {
    let all = (0..=u16::MAX).step_by(if cfg!(miri) { 251 } else { 1 });
    let lows = [0, 1, 0x0fff, 0x1000, 0x1001, 0x1fff, 0x7fff, 0x8000, 0x8001, 0xffff];
    all.flat_map(|high| lows.map(|low| f32::from_bits(u32::from(high) << 16 | low))).collect()
}

/// The bits, any NaN for NaN.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| if value.is_nan() { f32::NAN } else { *value }.to_bits()).collect()
}

fn check(simd: impl Simd) {
    let values = values();
    // One element is left for the end of a vector.
    for values in [&values[..], &values[..values.len() - 7]] {
        for (to, rounded) in [
            (DType::F16, (|x| f16::from_f32(x).to_f32()) as fn(f32) -> f32),
            (DType::BF16, |x| bf16::from_f32(x).to_f32()),
        ] {
            for offset in [-0.0, 1.0] {
                let expected: Vec<f32> = values.iter().map(|&value| rounded(value + offset)).collect();
                let mut given = values.to_vec();
                let (source, dest) = Dest::in_place(&mut given);
                add_and_round(simd, source, offset, to, dest);
                assert!(bits(&given) == bits(&expected), "{offset} added, {to}");
            }
            // Zeros keep their signs.
            let expected: Vec<f32> = values.iter().map(|&value| rounded(value)).collect();
            let mut given = values.to_vec();
            let (source, dest) = Dest::in_place(&mut given);
            round(simd, source, to, dest);
            assert!(bits(&given) == bits(&expected), "{to}");
        }
    }
}

#[test]
fn values_are_rounded_as_half_rounds_them() {
    check(Portable);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn values_are_rounded_alike_by_every_version() {
    if let Some(avx2) = crate::cpu::simd::Avx2::detect() {
        check(avx2);
    }
}

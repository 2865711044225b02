//! The order of the sums in `f64`: their bits, which a rounding to `f32` hides.

use super::{
    super::{chunk::CHUNK, simd::Portable},
    *,
};

/// Numbers of all magnitudes from 2⁻¹⁴ to 2¹⁵, and of both signs: in another order their sums have other bits.
fn elements(len: usize) -> Vec<f32> {
    let mut state = 5_u64;
    let mut element = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (sign, exponent) = (state >> 63, 113 + (state >> 40) % 29);
        f32::from_bits((sign << 31 | exponent << 23 | (state >> 9) & 0x7f_ffff) as u32)
    };
    (0..len).map(|_| element()).collect()
}

/// The sum of the terms as `loops::sum` describes it, one number after the other: lane `i` of 16 adds up each 16th
/// element from the `i`th on, but the last 8 whole ones go to the first 8 lanes; lanes 8 apart come together, then those
/// 4, 2 and 1 apart, and what is left of the row follows one by one.
fn in_order(terms: &[f64]) -> f64 {
    let (whole, rest) = terms.split_at(terms.len() / 8 * 8);
    let mut lanes = [0.0; 16];
    for (at, term) in whole.iter().enumerate() {
        lanes[at % 16] += term;
    }
    let mut left = 8;
    while left > 0 {
        for lane in 0..left {
            lanes[lane] += lanes[lane + left];
        }
        left /= 2;
    }
    rest.iter().fold(lanes[0], |sum, term| sum + term)
}

const LENGTHS: [usize; 14] = [1, 7, 8, 9, 15, 16, 17, 24, 31, 40, 100, 1000, CHUNK - 1, CHUNK];

fn have_the_order(simd: impl Simd) {
    // Under Miri the longest take long.
    for len in LENGTHS.into_iter().filter(|&len| !cfg!(miri) || len <= 100) {
        let x = elements(len);
        let wide = |center: f64| x.iter().map(move |&x| f64::from(x) - center);
        let squares = |center| wide(center).map(|x| x * x).collect::<Vec<f64>>();
        let Moments { sum, sum_sq: about_0 } = moments(simd, Source::of(&x));
        assert_eq!(sum.to_bits(), in_order(&wide(0.0).collect::<Vec<f64>>()).to_bits(), "{len} elements");
        assert_eq!(about_0.to_bits(), in_order(&squares(0.0)).to_bits(), "{len} squares");
        let about_origin = sum_sq(simd, Origin, Source::of(&x));
        assert_eq!(about_origin.to_bits(), about_0.to_bits(), "{len} squares by themselves");
    }
}

#[test]
fn sums_have_the_order_that_is_described() {
    have_the_order(Portable);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn sums_of_every_version_have_it() {
    if let Some(avx2) = super::super::simd::Avx2::detect() {
        have_the_order(avx2);
    }
}

/// What the test above relies on: that it can tell orders apart.
#[test]
fn another_order_has_other_bits() {
    for len in [100, 1000, CHUNK] {
        let terms: Vec<f64> = elements(len).into_iter().map(|x| f64::from(x) * f64::from(x)).collect();
        let one_by_one: f64 = terms.iter().sum();
        let expected = in_order(&terms);
        assert_ne!(expected.to_bits(), one_by_one.to_bits(), "{len}");
        assert_eq!(expected as f32, one_by_one as f32, "{len}: rounded to f32 they are the same");
    }
}

/// The squares about a mean of two `f32`, which are both taken away, one after the other.
#[test]
fn squares_about_a_mean_have_the_order_too() {
    let x: Vec<f32> = (0..1000).map(|i| 1000.1 + ((i * 7919) % 1013) as f32 / 997.0).collect();
    let total = in_order(&x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>());
    let mean = Mean::of_sum(total, 1000.0, 1.0 / 1000.0);
    assert_ne!(mean.low, 0.0);
    let squares: Vec<f64> = x.iter().map(|&x| f64::from(x - mean.high - mean.low).powi(2)).collect();
    let found = sum_sq(Portable, mean, Source::of(&x));
    assert_eq!(found.to_bits(), in_order(&squares).to_bits());
}

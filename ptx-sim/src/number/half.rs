//! f16 and bf16: conversions by their bits, arithmetic through `f64`.

use super::round::{BFLOAT, Format, HALF, Rounding, round, round_flushed, to_odd, two_sum};

/// A 16-bit float format, as bits.
pub trait Half: Copy + Send + Sync + 'static {
    const FORMAT: Format;
    /// The NaN that arithmetic gives.
    const NAN: u16 = 0x7fff;
    /// The bits of an infinity: those above are NaNs.
    const INFINITY: u16;
    /// The bits of the smallest normal number.
    const NORMAL: u16;
    /// The bits of 1.
    const ONE: u16;

    fn to_f32(bits: u16) -> f32;
    /// The bits of a number that rounds to nearest.
    fn from_f32(value: f32) -> u16;

    /// The bits of a number in that direction.
    fn round_from_f64(value: f64, rounding: Rounding) -> u16 {
        if value.is_nan() { Self::NAN } else { Self::from_f32(round(value, Self::FORMAT, rounding) as f32) }
    }
}

/// IEEE 754 binary16.
#[derive(Clone, Copy, Debug)]
pub struct F16;

/// bfloat16: the upper half of an `f32`.
#[derive(Clone, Copy, Debug)]
pub struct Bf16;

impl Half for F16 {
    const FORMAT: Format = HALF;
    const INFINITY: u16 = 0x7c00;
    const NORMAL: u16 = 0x0400;
    const ONE: u16 = 0x3c00;

    // No branches in either direction: loops over lanes become vector code.
    fn to_f32(bits: u16) -> f32 {
        let magnitude = u32::from(bits & 0x7fff) << 13;
        // As an f32's bits the magnitude is 2^-112 of the number, subnormals included.
        let finite = (f32::from_bits(magnitude) * f32::from_bits(0x7780_0000)).to_bits();
        let infinite = if magnitude > 0x0f80_0000 { 0x7fff_ffff } else { 0x7f80_0000 };
        let special = magnitude >= 0x0f80_0000;
        let sign = if magnitude > 0x0f80_0000 { 0 } else { u32::from(bits & 0x8000) << 16 };
        f32::from_bits(if special { infinite } else { finite } | sign)
    }

    fn from_f32(value: f32) -> u16 {
        let sign = (value.to_bits() >> 16 & 0x8000) as u16;
        let magnitude = value.to_bits() & 0x7fff_ffff;
        // The last place of 0.5 is that of f16's subnormals, so the addition rounds.
        let small = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
        let odd = magnitude >> 13 & 1;
        let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + odd) >> 13;
        let finite = if magnitude < 0x3880_0000 { small } else { normal };
        let rounded = if magnitude >= 0x4780_0000 { 0x7c00 } else { finite as u16 };
        if magnitude > 0x7f80_0000 { Self::NAN } else { rounded | sign }
    }
}

impl Half for Bf16 {
    const FORMAT: Format = BFLOAT;
    const INFINITY: u16 = 0x7f80;
    const NORMAL: u16 = 0x0080;
    const ONE: u16 = 0x3f80;

    fn to_f32(bits: u16) -> f32 {
        f32::from_bits(u32::from(bits) << 16)
    }

    fn from_f32(value: f32) -> u16 {
        let bits = value.to_bits();
        let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
        if bits & 0x7fff_ffff > 0x7f80_0000 { Self::NAN } else { rounded }
    }
}

/// Rounds what an instruction computed, with `ftz` to zero where that is subnormal.
fn rounded<H: Half>(value: f64, ftz: bool) -> u16 {
    let value = if ftz { round_flushed(value, H::FORMAT, Rounding::Nearest) } else { value };
    H::round_from_f64(value, Rounding::Nearest)
}

/// Sum, product and the like, rounded once: `f64` has more than twice the bits and two, so
/// rounding to it first changes nothing (Figueroa 1995, "When is double rounding innocuous?").
pub fn arithmetic<H: Half>(a: u16, b: u16, ftz: bool, operation: impl Fn(f64, f64) -> f64) -> u16 {
    let value = operation(f64::from(H::to_f32(a)), f64::from(H::to_f32(b)));
    rounded::<H>(value, ftz)
}

/// `a * b + c`, rounded once.
pub fn fused<H: Half>(a: u16, b: u16, c: u16, ftz: bool) -> u16 {
    let [a, b, c] = [a, b, c].map(|bits| f64::from(H::to_f32(bits)));
    let (sum, error) = two_sum(a * b, c);
    rounded::<H>(to_odd(sum, error), ftz)
}

pub fn is_nan<H: Half>(bits: u16) -> bool {
    bits & 0x7fff > H::INFINITY
}

/// Subnormals as zeros of their sign.
pub fn flush<H: Half>(bits: u16) -> u16 {
    if bits & 0x7fff < H::NORMAL { bits & 0x8000 } else { bits }
}

/// Held to `[0, 1]`, NaN as 0.
pub fn saturate<H: Half>(bits: u16) -> u16 {
    if is_nan::<H>(bits) || bits & 0x8000 != 0 { 0 } else { bits.min(H::ONE) }
}

/// Negative numbers as 0, NaN as the NaN of arithmetic.
pub fn relu<H: Half>(bits: u16) -> u16 {
    if is_nan::<H>(bits) {
        H::NAN
    } else if bits & 0x8000 != 0 {
        0
    } else {
        bits
    }
}

/// The lesser, or with `greater` the greater; -0 is less than +0. A NaN loses, or with
/// `propagate` wins.
pub fn extreme<H: Half>(a: u16, b: u16, greater: bool, propagate: bool) -> u16 {
    match (is_nan::<H>(a), is_nan::<H>(b)) {
        (true, true) => H::NAN,
        (true, false) => {
            if propagate {
                H::NAN
            } else {
                b
            }
        }
        (false, true) => {
            if propagate {
                H::NAN
            } else {
                a
            }
        }
        (false, false) => {
            // Sign and magnitude as an integer that orders as the numbers do.
            let key = |bits: u16| if bits & 0x8000 != 0 { !bits } else { bits | 0x8000 };
            if (key(a) > key(b)) == greater { a } else { b }
        }
    }
}

/// The lesser or greater magnitude with both signs' product (`.xorsign.abs`).
pub fn extreme_magnitude<H: Half>(a: u16, b: u16, greater: bool, propagate: bool) -> u16 {
    let magnitude = extreme::<H>(a & 0x7fff, b & 0x7fff, greater, propagate);
    if is_nan::<H>(magnitude) { magnitude } else { magnitude | ((a ^ b) & 0x8000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lesser_magnitude_has_the_signs_product() {
        let [one, two, inf] = [0x3c00, 0x4000, 0x7c00];
        let least = |a, b| extreme_magnitude::<F16>(a, b, false, true);
        assert_eq!((least(one, two), least(0x8000 | one, two)), (one, 0x8000 | one));
        assert_eq!((least(0x8000 | inf, two), least(0x8000, two)), (0x8000 | two, 0x8000));
        assert_eq!(least(0x7e01, two), F16::NAN);
    }

    #[test]
    fn every_f16_and_bf16_survives_the_way_through_f32() {
        for bits in 0..=u16::MAX {
            let expected = if is_nan::<F16>(bits) { F16::NAN } else { bits };
            assert_eq!(F16::from_f32(F16::to_f32(bits)), expected);
            assert_eq!(F16::to_f32(bits).is_nan(), is_nan::<F16>(bits));
            let exact = ::half::f16::from_bits(bits).to_f32();
            assert!(exact.is_nan() || exact.to_bits() == F16::to_f32(bits).to_bits());
            let expected = if is_nan::<Bf16>(bits) { Bf16::NAN } else { bits };
            assert_eq!(Bf16::from_f32(Bf16::to_f32(bits)), expected);
        }
    }

    #[test]
    fn conversions_round_as_the_general_rounding_does() {
        // Every 4099th float: all exponents, ties and neighbours of ties.
        for bits in (0..u32::MAX).step_by(4099).chain((0..u32::MAX - 0x1fff).step_by(0x1000)) {
            let value = f32::from_bits(bits);
            if value.is_nan() {
                continue;
            }
            let half = F16::to_f32(F16::from_f32(value));
            assert_eq!(f64::from(half), round(f64::from(value), HALF, Rounding::Nearest), "{value:e}");
            let bfloat = Bf16::to_f32(Bf16::from_f32(value));
            assert_eq!(f64::from(bfloat), round(f64::from(value), BFLOAT, Rounding::Nearest), "{value:e}");
        }
    }

    #[test]
    fn extremes_order_zeros_and_treat_nan_as_told() {
        assert_eq!(extreme::<F16>(0x8000, 0, false, false), 0x8000);
        assert_eq!(extreme::<F16>(0x8000, 0, true, false), 0);
        assert_eq!(extreme::<F16>(0x7e00, 0x3c00, true, false), 0x3c00);
        assert_eq!(extreme::<F16>(0x7e00, 0x3c00, true, true), F16::NAN);
        assert_eq!(extreme::<F16>(0xbc00, 0x3c00, false, true), 0xbc00);
    }

    /// What an NVIDIA H200 gave (2026-11-23).
    #[test]
    fn what_is_subnormal_but_for_its_rounding_is_flushed() {
        for (a, b, flushed, kept) in
            [(0x8b3f, 0xb46a, 0, 0x0400), (0x3bff, 0x0400, 0, 0x0400), (0x3801, 0x07fe, 0x0400, 0x0400)]
        {
            for (ftz, expected) in [(true, flushed), (false, kept)] {
                assert_eq!(arithmetic::<F16>(a, b, ftz, |a, b| a * b), expected);
                assert_eq!(fused::<F16>(a, b, 0, ftz), expected);
            }
        }
    }
}

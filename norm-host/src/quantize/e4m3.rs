//! FP8 E4M3 in its variant `fn`, one number at a time.
//!
//! The crate float8 has the same codes and goes through `f64` with branches, of which the compiler makes no vectors.

/// The code of NaN, whatever its sign.
pub(super) const NAN: u8 = 0x7f;
/// The code of the largest number, 448.
pub(super) const LARGEST: u8 = 0x7e;

/// Bits of an `f32`'s significand that a code has no room for.
const DROPPED: u32 = 23 - 3;
/// What is added to exponents: that of `f32` less that of a code.
const REBIAS: u32 = 127 - 7;
/// The smallest normal number, 2⁻⁶, as an `f32`'s bits.
const NORMAL: u32 = (REBIAS + 1) << 23;
/// 2¹⁴, whose last place is 2⁻⁹, as that of a code below 2⁻⁶.
const SUBNORMAL: f32 = 16384.0;

/// The code of `value` rounded to nearest even, as `cvt.rn.satfinite.e4m3x2.f32` gives it on a GPU: numbers beyond ±448 and
/// infinities give ±448 (0x7e and 0xfe), any NaN gives 0x7f, and zeros keep their sign.
///
/// ```
/// use norm_host::quantize::encode_e4m3;
///
/// assert_eq!(encode_e4m3(1.0), 0x38);
/// assert_eq!(encode_e4m3(-1e9), 0xfe);
/// ```
// No branches, so that loops over elements become vector code.
#[inline(always)]
pub fn encode_e4m3(value: f32) -> u8 {
    let sign = value.to_bits() >> 24 & 0x80;
    let magnitude = value.to_bits() & 0x7fff_ffff;
    // This addition rounds where the number is subnormal as a code. Its result may be 2⁻⁶, whose code follows theirs.
    let small = (f32::from_bits(magnitude) + SUBNORMAL).to_bits().wrapping_sub(SUBNORMAL.to_bits());
    let odd = magnitude >> DROPPED & 1;
    let half = (1 << (DROPPED - 1)) - 1;
    let normal = magnitude.wrapping_sub(REBIAS << 23).wrapping_add(half + odd) >> DROPPED;
    let finite = if magnitude < NORMAL { small } else { normal };
    let rounded = finite.min(u32::from(LARGEST)) | sign;
    if magnitude > f32::INFINITY.to_bits() { NAN } else { rounded as u8 }
}

/// The number with that code; NaN for 0x7f and 0xff.
///
/// ```
/// use norm_host::quantize::decode_e4m3;
///
/// assert_eq!(decode_e4m3(0x7e), 448.0);
/// ```
pub fn decode_e4m3(code: u8) -> f32 {
    let magnitude = u32::from(code & 0x7f);
    let sign = if code & 0x80 == 0 { 1.0 } else { -1.0 };
    if magnitude == u32::from(NAN) {
        return f32::NAN;
    }
    // As an f32's bits the magnitude is 2⁻¹²⁰ of the number, subnormal codes included.
    f32::from_bits(magnitude << DROPPED) * f32::from_bits((REBIAS + 127) << 23) * sign
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_the_code_of_its_number() {
        for code in 0..=u8::MAX {
            let expected = if code & 0x7f == NAN { NAN } else { code };
            assert_eq!(encode_e4m3(decode_e4m3(code)), expected);
        }
        // Micikevicius et al. 2022, table 1.
        let numbers =
            [(0x7e, 448.0), (0x08, 2f32.powi(-6)), (0x07, 0.875 * 2f32.powi(-6)), (0x01, 2f32.powi(-9))];
        for (code, number) in numbers {
            assert_eq!((decode_e4m3(code), decode_e4m3(code | 0x80)), (number, -number));
        }
    }

    /// Between two neighbouring numbers lies one f32 that is a tie, and codes change there alone.
    #[test]
    fn codes_change_at_ties_which_go_to_the_even_code() {
        for code in 0..LARGEST {
            let middle = (decode_e4m3(code) + decode_e4m3(code + 1)) / 2.0;
            for (sign, bit) in [(1.0, 0), (-1.0, 0x80)] {
                let encode = |magnitude: f32| encode_e4m3(sign * magnitude);
                assert_eq!(encode(middle.next_down()), code | bit);
                assert_eq!(encode(middle), (code + (code & 1)) | bit);
                assert_eq!(encode(middle.next_up()), (code + 1) | bit);
            }
        }
    }

    #[test]
    fn codes_are_in_the_order_of_numbers_and_end_at_448() {
        let magnitudes = (0..=0x7f80u32).map(|high| f32::from_bits(high << 16));
        let mut before = 0;
        for magnitude in magnitudes {
            for value in [magnitude.next_down().max(0.0), magnitude, magnitude.next_up()] {
                let code = encode_e4m3(value);
                assert!(value.is_nan() || before <= code && code <= LARGEST, "{value:e}");
                before = if value.is_nan() { before } else { code };
                assert_eq!(encode_e4m3(-value), if value.is_nan() { NAN } else { code | 0x80 });
            }
        }
        assert_eq!(before, LARGEST);
        let nans = [0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0xffff_ffff];
        assert!(nans.into_iter().all(|bits| encode_e4m3(f32::from_bits(bits)) == NAN));
    }
}

//! e4m3 and e5m2: conversions to them, by their bits.

/// An 8-bit float format, as `cvt` writes it (PTX ISA, "Alternate Floating-Point Data Formats").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// What is added to an exponent.
    bias: u32,
    /// Bits of the significand behind the hidden one.
    fraction: u32,
    /// The bits of the largest finite number.
    largest: u8,
}

/// 4 bits of exponent, 3 of the significand, no infinity; the largest number is 448.
pub const E4M3: Format = Format { bias: 7, fraction: 3, largest: 0x7e };
/// 5 bits of exponent, 2 of the significand; the largest number is 57344.
pub const E5M2: Format = Format { bias: 15, fraction: 2, largest: 0x7b };

/// The NaN that `cvt` gives, of either format and whatever sign the operand's has.
pub const NAN: u8 = 0x7f;

/// The bits of a number that rounds to nearest, ties to even; what is larger than the largest number, infinities
/// included, gives that (`.satfinite`).
pub fn from_f32(value: f32, format: Format) -> u8 {
    let Format { bias, fraction, largest } = format;
    let sign = (value.to_bits() >> 24 & 0x80) as u8;
    let magnitude = value.to_bits() & 0x7fff_ffff;
    // The places of an f32 with this exponent are those of the format's subnormals, so the addition rounds.
    let subnormal = f32::from_bits((127 + 1 - bias - fraction + 23) << 23);
    let small = (f32::from_bits(magnitude) + subnormal).to_bits().wrapping_sub(subnormal.to_bits());
    let dropped = 23 - fraction;
    let odd = magnitude >> dropped & 1;
    let half = (1 << (dropped - 1)) - 1;
    let normal = magnitude.wrapping_sub((127 - bias) << 23).wrapping_add(half + odd) >> dropped;
    let finite = if magnitude < (127 + 1 - bias) << 23 { small } else { normal };
    let rounded = finite.min(u32::from(largest)) as u8;
    if magnitude > 0x7f80_0000 { NAN } else { rounded | sign }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number with those bits, of the format's definition: for finite ones.
    fn number(bits: u8, format: Format) -> f64 {
        let fraction = f64::from(bits & ((1 << format.fraction) - 1)) / f64::from(1u32 << format.fraction);
        let exponent = i32::from(bits & 0x7f) >> format.fraction;
        let (hidden, exponent) = if exponent == 0 { (0.0, 1) } else { (1.0, exponent) };
        let magnitude = (hidden + fraction) * 2f64.powi(exponent - format.bias as i32);
        if bits & 0x80 == 0 { magnitude } else { -magnitude }
    }

    /// Of every f32 whose lower half is 0, which has every tie there is, and of both its neighbours.
    #[test]
    fn every_number_goes_to_the_nearest_and_ties_to_the_even_one() {
        for format in [E4M3, E5M2] {
            let largest = number(format.largest, format);
            for bits in (0..=u16::MAX).map(|high| u32::from(high) << 16) {
                for value in [bits.wrapping_sub(1), bits, bits + 1].map(f32::from_bits) {
                    let given = from_f32(value, format);
                    if value.is_nan() {
                        assert_eq!(given, NAN);
                        continue;
                    }
                    assert_eq!(given & 0x80 != 0, value.is_sign_negative(), "{value:e}");
                    let clamped = f64::from(value).clamp(-largest, largest);
                    let error = |bits: u8| (number(bits, format) - clamped).abs();
                    let magnitude = given & 0x7f;
                    let nearer = |other: u8| error(given & 0x80 | other) < error(given);
                    let tied = |other: u8| error(given & 0x80 | other) == error(given);
                    assert!(magnitude <= format.largest, "{value:e}");
                    if magnitude > 0 {
                        assert!(!nearer(magnitude - 1), "{value:e}");
                        assert!(!tied(magnitude - 1) || magnitude & 1 == 0, "{value:e}");
                    }
                    if magnitude < format.largest {
                        assert!(!nearer(magnitude + 1), "{value:e}");
                        assert!(!tied(magnitude + 1) || magnitude & 1 == 0, "{value:e}");
                    }
                }
            }
        }
    }

    #[test]
    fn formats_have_the_numbers_that_their_definitions_list() {
        assert_eq!((number(0x7e, E4M3), number(0x01, E4M3), number(0x38, E4M3)), (448.0, 2f64.powi(-9), 1.0));
        assert_eq!(
            (number(0x7b, E5M2), number(0x01, E5M2), number(0x3c, E5M2)),
            (57344.0, 2f64.powi(-16), 1.0)
        );
    }
}

//! Rounding to a narrower format, in any direction.

/// Where a result goes that its format cannot hold (PTX ISA, "Rounding Modifiers").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// `.rn`: to nearest, ties to even.
    Nearest,
    /// `.rz`: towards zero.
    Zero,
    /// `.rm`: towards negative infinity.
    Down,
    /// `.rp`: towards positive infinity.
    Up,
}

/// A binary format that `f64` contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Bits of a significand, the hidden one counted.
    precision: i32,
    /// The exponent of the smallest normal number.
    lowest: i32,
    /// The exponent of the largest number.
    highest: i32,
}

/// IEEE 754 binary16.
pub const HALF: Format = Format { precision: 11, lowest: -14, highest: 15 };
/// bfloat16.
pub const BFLOAT: Format = Format { precision: 8, lowest: -126, highest: 127 };
/// IEEE 754 binary32.
pub const SINGLE: Format = Format { precision: 24, lowest: -126, highest: 127 };

/// The number of that format which `value` rounds to.
pub fn round(value: f64, format: Format, rounding: Rounding) -> f64 {
    if !value.is_finite() || value == 0.0 {
        return value;
    }
    // Doubles below 2^-1022 are far below any format's smallest number: their own exponent,
    // which this gets wrong, does not matter.
    let exponent = ((value.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(format.lowest);
    let places = exponent - format.precision + 1;
    let scaled = value * power(-places);
    let whole = match rounding {
        Rounding::Nearest => scaled.round_ties_even(),
        Rounding::Zero => scaled.trunc(),
        Rounding::Down => scaled.floor(),
        Rounding::Up => scaled.ceil(),
    };
    let rounded = (whole * power(places)).copysign(value);
    if rounded.abs() < power(format.highest + 1) {
        return rounded;
    }
    let outward = match rounding {
        Rounding::Nearest => true,
        Rounding::Zero => false,
        Rounding::Down => value < 0.0,
        Rounding::Up => value > 0.0,
    };
    let largest = power(format.highest + 1) - power(format.highest + 1 - format.precision);
    if outward { f64::INFINITY.copysign(value) } else { largest.copysign(value) }
}

/// The same for `.ftz`: what is below the smallest normal number is zero. An NVIDIA H200 rounds as if
/// exponents had no end and looks then, so that half of what would round up to that number is zero too
/// (2026-11-23, f32 and f16).
pub fn round_flushed(value: f64, format: Format, rounding: Rounding) -> f64 {
    let rounded = round(value, Format { lowest: -1000, ..format }, rounding);
    if rounded.abs() < power(format.lowest) { 0f64.copysign(value) } else { rounded }
}

/// A double that rounds to any narrower format as `value + error` would, when `value` is that
/// sum to nearest: of the two doubles around the sum, the odd one (Boldo and Melquiond 2008,
/// "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd").
pub fn to_odd(value: f64, error: f64) -> f64 {
    let bits = value.to_bits();
    if error == 0.0 || !value.is_finite() || bits & 1 == 1 {
        value
    } else if (error > 0.0) == (value > 0.0) {
        f64::from_bits(bits + 1)
    } else {
        f64::from_bits(bits - 1)
    }
}

/// The sum to nearest, and what it lacks, exactly (Knuth's TwoSum). For sums that do not
/// overflow.
pub fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let from_b = sum - a;
    let from_a = sum - from_b;
    (sum, (a - from_a) + (b - from_b))
}

/// Two to that power, which is a normal double's.
fn power(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nearest_agrees_with_the_processor(bits: u64) {
            let value = f64::from_bits(bits);
            let rounded = round(value, SINGLE, Rounding::Nearest);
            prop_assert!(rounded.is_nan() && value.is_nan() || rounded as f32 == value as f32);
        }

        #[test]
        fn directed_modes_enclose(value in -1e39f64..1e39) {
            let low = round(value, SINGLE, Rounding::Down);
            let high = round(value, SINGLE, Rounding::Up);
            prop_assert!(low <= value && value <= high);
            prop_assert!(low == high || (low as f32).next_up() == high as f32);
            let zero = round(value, SINGLE, Rounding::Zero);
            prop_assert_eq!(zero, if value > 0.0 { low } else { high });
        }
    }
}

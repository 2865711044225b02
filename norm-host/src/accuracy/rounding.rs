//! The numbers of each floating-point format, as f64.

#[cfg(test)]
mod tests;

use half::{bf16, f16};

use crate::DType;

/// A binary floating-point format.
struct Format {
    /// Bits of the significand that are stored.
    fraction_bits: i32,
    /// The exponent of the smallest normal number.
    min_exponent: i32,
    /// The exponent of the largest number.
    max_exponent: i32,
}

fn format(dtype: DType) -> Format {
    match dtype {
        DType::F16 => Format { fraction_bits: 10, min_exponent: -14, max_exponent: 15 },
        DType::BF16 => Format { fraction_bits: 7, min_exponent: -126, max_exponent: 127 },
        DType::F32 => Format { fraction_bits: 23, min_exponent: -126, max_exponent: 127 },
    }
}

/// The distance between neighbours of type `dtype` around `value`: the unit in the last place of
/// the numbers with its exponent. For 0 and subnormals it is the smallest subnormal, beyond the
/// largest finite number that number's; NaN for NaN.
///
/// ```
/// use norm_host::{DType, accuracy::ulp};
///
/// assert_eq!(ulp(DType::F16, 1.0), 2_f64.powi(-10));
/// ```
#[doc(alias = "unit in the last place")]
pub fn ulp(dtype: DType, value: f64) -> f64 {
    if value.is_nan() {
        return f64::NAN;
    }
    let format = format(dtype);
    exp2(exponent(value).clamp(format.min_exponent, format.max_exponent) - format.fraction_bits)
}

/// The largest finite number of type `dtype`: 65504 for `f16`.
///
/// ```
/// use norm_host::{DType, accuracy::largest};
///
/// assert_eq!(largest(DType::F32), f64::from(f32::MAX));
/// ```
pub fn largest(dtype: DType) -> f64 {
    let Format { fraction_bits, max_exponent, .. } = format(dtype);
    (2.0 - exp2(-fraction_bits)) * exp2(max_exponent)
}

/// `value` rounded to nearest even in type `dtype`: exact for subnormals, infinite from half a
/// ULP beyond the largest finite number on.
///
/// ```
/// use norm_host::{DType, accuracy::round};
///
/// assert_eq!(round(DType::F16, 2049.0), 2048.0); // between 2048 and 2050
/// assert_eq!(round(DType::F16, 65520.0), f64::INFINITY);
/// ```
pub fn round(dtype: DType, value: f64) -> f64 {
    if !value.is_finite() {
        return value;
    }
    if exponent(value) > format(dtype).max_exponent {
        return f64::INFINITY.copysign(value);
    }
    // Beside 1.5 · 2⁵² ULP an f64 has no digit below an ULP, so that the sum is rounded to one, to nearest even, as is to be
    // done; the difference is exact. Tests round so many numbers that `round_ties_even`, which is a function call on
    // machines that may lack an instruction for it, took a sixth of their time.
    let shift = 1.5 * exp2(52) * ulp(dtype, value);
    let rounded = ((value + shift) - shift).copysign(value);
    if rounded.abs() > largest(dtype) { f64::INFINITY.copysign(value) } else { rounded }
}

/// [`round`] to `f16`, as the type itself. NaN, of whichever sign and payload, is `f16::NAN`.
///
/// The same bits on every machine, which `f16::from_f64` (half 2.7) does not give: where the CPU has F16C it
/// goes through `f32`, which rounds twice, and elsewhere it may drop the lowest 32 bits, so that
/// `1 + 2⁻¹¹ + 2⁻⁴⁰`, above the middle of two neighbours, goes to the lower one.
///
/// ```
/// use half::f16;
/// use norm_host::accuracy::round_to_f16;
///
/// let above_the_middle = 1.0 + 2_f64.powi(-11) + 2_f64.powi(-40);
/// assert_eq!(round_to_f16(above_the_middle), f16::ONE + f16::EPSILON);
/// ```
pub fn round_to_f16(value: f64) -> f16 {
    // The rounded value is an f16 and therefore an f32, so that neither conversion rounds again.
    if value.is_nan() { f16::NAN } else { f16::from_f32(round(DType::F16, value) as f32) }
}

/// [`round`] to `bf16`, as the type itself. NaN, of whichever sign and payload, is `bf16::NAN`.
///
/// The same bits on every machine; `bf16::from_f64` (half 2.7) drops the lowest 32 bits of some values.
///
/// ```
/// use half::bf16;
/// use norm_host::accuracy::round_to_bf16;
///
/// assert_eq!(round_to_bf16(1.0 + 2_f64.powi(-8)), bf16::ONE); // the middle of two, of which this is the even one
/// ```
pub fn round_to_bf16(value: f64) -> bf16 {
    // The rounded value is a bf16 and therefore an f32, so that neither conversion rounds again.
    if value.is_nan() { bf16::NAN } else { bf16::from_f32(round(DType::BF16, value) as f32) }
}

/// The number of steps from one number of type `dtype` to the next between `a` and `b`:
/// 0 if they are equal, if one is -0 and the other 0, or if both are NaN. One step beyond the
/// largest finite number is infinity. Infinite if only one of them is NaN.
///
/// Values that are not numbers of the type are rounded first.
///
/// ```
/// use norm_host::{DType, accuracy::ulp_distance};
///
/// assert_eq!(ulp_distance(DType::F16, 2048.0, 2052.0), 2.0);
/// assert_eq!(ulp_distance(DType::F16, -0.0, 0.0), 0.0);
/// ```
pub fn ulp_distance(dtype: DType, a: f64, b: f64) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => 0.0,
        (false, false) => (steps(dtype, a) - steps(dtype, b)).abs(),
        _ => f64::INFINITY,
    }
}

/// The next number of type `dtype` above `number`, which is one itself. After the largest comes infinity, which is its own
/// next.
pub(super) fn next_up(dtype: DType, number: f64) -> f64 {
    let largest = largest(dtype);
    if number == f64::NEG_INFINITY {
        -largest
    } else if number < 0.0 {
        // Towards 0 the step has the size of the smaller magnitude's.
        number + ulp(dtype, number.next_up())
    } else if number >= largest {
        f64::INFINITY
    } else {
        number + ulp(dtype, number)
    }
}

/// Steps from 0 to `value`, negative below 0.
fn steps(dtype: DType, value: f64) -> f64 {
    let Format { fraction_bits, min_exponent, max_exponent } = format(dtype);
    let value = round(dtype, value);
    let magnitude = value.abs().min(exp2(max_exponent + 1));
    // Below the smallest normal number, steps are equal; above, each exponent has 2^fraction_bits.
    let exponent = exponent(magnitude).clamp(min_exponent, max_exponent + 1);
    let in_exponent = magnitude / exp2(exponent - fraction_bits);
    let before = f64::from(exponent - min_exponent) * exp2(fraction_bits);
    (before + in_exponent).copysign(value)
}

/// The exponent of `value` as a normal number, the lowest there is for 0 and subnormals of f64.
fn exponent(value: f64) -> i32 {
    let biased = (value.to_bits() >> 52) & 0x7ff;
    biased as i32 - 1023
}

/// 2 to the power of `exponent`, from -1022 to 1023.
fn exp2(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

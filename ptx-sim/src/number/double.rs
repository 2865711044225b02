//! f64 arithmetic in every rounding mode. Nearest is the processor's; the other modes, which no
//! compiler emits by itself, are LLVM's software floats.
//!
//! Unlike those of narrower floats, NaNs keep their bits. PTX leaves open whose; here it is those that
//! an NVIDIA H200 gives (measured on 2026-11-23, driver 580, ptxas 13.0).

use rustc_apfloat::{Float, Round, ieee::Double};

use super::round::Rounding;

fn direction(rounding: Rounding) -> Round {
    match rounding {
        Rounding::Nearest => Round::NearestTiesToEven,
        Rounding::Zero => Round::TowardZero,
        Rounding::Down => Round::TowardNegative,
        Rounding::Up => Round::TowardPositive,
    }
}

fn soft(value: f64) -> Double {
    Double::from_bits(u128::from(value.to_bits()))
}

fn hard(value: Double) -> f64 {
    f64::from_bits(value.to_bits() as u64)
}

/// The NaN of operations that have none as an operand.
const NAN: f64 = f64::from_bits(0xfff8_0000_0000_0000);

/// A NaN as it is after an operation: quiet.
pub fn quiet(nan: f64) -> f64 {
    f64::from_bits(nan.to_bits() | 1 << 51)
}

/// The result, or, where that is a NaN, the one it is to be: of the first operand that is one.
fn settled<const N: usize>(result: f64, operands: [f64; N]) -> f64 {
    if result.is_nan() { operands.into_iter().find(|a| a.is_nan()).map_or(NAN, quiet) } else { result }
}

pub fn add(a: f64, b: f64, rounding: Rounding) -> f64 {
    settled(sum(a, b, rounding), [b, a])
}

pub fn sub(a: f64, b: f64, rounding: Rounding) -> f64 {
    settled(sum(a, -b, rounding), [b, a])
}

fn sum(a: f64, b: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => a + b,
        _ => hard(soft(a).add_r(soft(b), direction(rounding)).value),
    }
}

pub fn mul(a: f64, b: f64, rounding: Rounding) -> f64 {
    let product = match rounding {
        Rounding::Nearest => a * b,
        _ => hard(soft(a).mul_r(soft(b), direction(rounding)).value),
    };
    settled(product, [b, a])
}

pub fn fma(a: f64, b: f64, c: f64, rounding: Rounding) -> f64 {
    let sum = match rounding {
        Rounding::Nearest => a.mul_add(b, c),
        _ => hard(soft(a).mul_add_r(soft(b), soft(c), direction(rounding)).value),
    };
    settled(sum, [b, c, a])
}

pub fn div(a: f64, b: f64, rounding: Rounding) -> f64 {
    let quotient = match rounding {
        Rounding::Nearest => a / b,
        _ => hard(soft(a).div_r(soft(b), direction(rounding)).value),
    };
    settled(quotient, [a, b])
}

pub fn sqrt(a: f64, rounding: Rounding) -> f64 {
    let root = a.sqrt();
    if rounding == Rounding::Nearest || !root.is_finite() || root == 0.0 {
        return settled(root, [a]);
    }
    // Scaled so that the rest of a tiny number is none of the subnormals, which would drop bits.
    let scale = if a < 1e-200 { 2f64.powi(400) } else { 1.0 };
    let scaled_root = root * scale.sqrt();
    let rest = (-scaled_root).mul_add(scaled_root, a * scale);
    match rounding {
        Rounding::Up if rest > 0.0 => root.next_up(),
        Rounding::Down | Rounding::Zero if rest < 0.0 => root.next_down(),
        _ => root,
    }
}

/// The sign set by `f`; a NaN keeps its own.
pub fn flip(a: f64, f: fn(u64) -> u64) -> f64 {
    if a.is_nan() { quiet(a) } else { f64::from_bits(f(a.to_bits())) }
}

/// A NaN of 32 bits, with the upper ones of its payload.
pub fn nan_to_single(nan: f64) -> u32 {
    let bits = quiet(nan).to_bits();
    (bits >> 32) as u32 & 0x8000_0000 | 0x7f80_0000 | (bits >> 29) as u32 & 0x7f_ffff
}

/// A NaN of f16, with the upper bits of its payload.
pub fn nan_to_half(nan: f64) -> u16 {
    let bits = quiet(nan).to_bits();
    (bits >> 48) as u16 & 0x8000 | 0x7c00 | (bits >> 42) as u16 & 0x3ff
}

/// An f32 as an f64, exactly; a NaN with its payload.
pub fn from_single(a: f32) -> f64 {
    let bits = u64::from(a.to_bits());
    if a.is_nan() {
        quiet(f64::from_bits((bits & 0x8000_0000) << 32 | 0x7ff0_0000_0000_0000 | (bits & 0x7f_ffff) << 29))
    } else {
        f64::from(a)
    }
}

/// The lesser, or with `greater` the greater; -0 is less than +0, and a NaN loses.
pub fn extreme(a: f64, b: f64, greater: bool) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => quiet(b),
        (true, false) => b,
        (false, true) => a,
        (false, false) if a.total_cmp(&b).is_gt() == greater => a,
        (false, false) => b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quiet and signalling NaNs of either sign, with payloads.
    const NANS: [u64; 4] =
        [0x7ff8_a000_0000_0001, 0xfff8_b000_0000_0002, 0x7ff4_c000_0000_0003, 0xfff2_d000_0000_0004];

    /// What an H200 made of them.
    #[test]
    fn nans_keep_the_bits_of_the_operand_that_a_device_takes() {
        let [a, b, c, d] = NANS.map(f64::from_bits);
        let given = [
            add(a, b, Rounding::Nearest),
            sub(a, b, Rounding::Nearest),
            mul(c, 1.0, Rounding::Down),
            div(c, d, Rounding::Nearest),
            fma(a, b, c, Rounding::Nearest),
            fma(a, 0.0, c, Rounding::Nearest),
            fma(f64::INFINITY, 0.0, d, Rounding::Nearest),
            sub(f64::INFINITY, f64::INFINITY, Rounding::Nearest),
            sqrt(-1.0, Rounding::Nearest),
            extreme(a, d, false),
            flip(c, |bits| bits ^ 1 << 63),
            from_single(f32::from_bits(0xfff2_d000)),
        ];
        let expected: [u64; 12] = [
            0xfff8_b000_0000_0002,
            0xfff8_b000_0000_0002,
            0x7ffc_c000_0000_0003,
            0x7ffc_c000_0000_0003,
            0xfff8_b000_0000_0002,
            0x7ffc_c000_0000_0003,
            0xfffa_d000_0000_0004,
            0xfff8_0000_0000_0000,
            0xfff8_0000_0000_0000,
            0xfffa_d000_0000_0004,
            0x7ffc_c000_0000_0003,
            0xfffe_5a00_0000_0000,
        ];
        assert_eq!(given.map(f64::to_bits), expected);
        assert_eq!([a, b, c, d].map(nan_to_single), [0x7fc5_0000, 0xffc5_8000, 0x7fe6_0000, 0xffd6_8000]);
        assert_eq!([a, b, c, d].map(nan_to_half), [0x7e28, 0xfe2c, 0x7f30, 0xfeb4]);
    }
}

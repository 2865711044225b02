//! f64 arithmetic in every rounding mode. Nearest is the processor's; the other modes, which no
//! compiler emits by itself, are LLVM's software floats.

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

pub fn add(a: f64, b: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => a + b,
        _ => hard(soft(a).add_r(soft(b), direction(rounding)).value),
    }
}

pub fn mul(a: f64, b: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => a * b,
        _ => hard(soft(a).mul_r(soft(b), direction(rounding)).value),
    }
}

pub fn fma(a: f64, b: f64, c: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => a.mul_add(b, c),
        _ => hard(soft(a).mul_add_r(soft(b), soft(c), direction(rounding)).value),
    }
}

pub fn div(a: f64, b: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => a / b,
        _ => hard(soft(a).div_r(soft(b), direction(rounding)).value),
    }
}

pub fn sqrt(a: f64, rounding: Rounding) -> f64 {
    let root = a.sqrt();
    if rounding == Rounding::Nearest || !root.is_finite() || root == 0.0 {
        return root;
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

/// The lesser, or with `greater` the greater; -0 is less than +0, and a NaN loses.
pub fn extreme(a: f64, b: f64, greater: bool) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => f64::NAN,
        (true, false) => b,
        (false, true) => a,
        (false, false) if a.total_cmp(&b).is_gt() == greater => a,
        (false, false) => b,
    }
}

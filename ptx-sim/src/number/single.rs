//! f32 arithmetic in every rounding mode.

use super::round::{Rounding, SINGLE, round, round_flushed, to_odd, two_sum};

/// The NaN that f32 arithmetic gives.
pub const NAN: u32 = 0x7fff_ffff;

/// The same number, or the one NaN there is.
pub fn canonical(value: f32) -> f32 {
    // A test of the value, `is_nan`, LLVM drops behind a square root, and the constant with it: one NaN is as good as another to it
    // (LLVM Language Reference, 'Behavior of Floating-Point NaN values'). So this tests the bits.
    let bits = value.to_bits();
    f32::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { NAN } else { bits })
}

/// Subnormals as zeros of their sign.
pub fn flush(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits(if bits & 0x7f80_0000 == 0 { bits & 0x8000_0000 } else { bits })
}

/// Held to `[0, 1]`, NaN as 0.
pub fn saturate(value: f32) -> f32 {
    // `max` drops the NaN.
    if value > 0.0 { value.min(1.0) } else { 0.0 }
}

/// How a result is rounded, and whether one that is subnormal becomes zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    pub rounding: Rounding,
    pub ftz: bool,
}

impl Mode {
    /// What processors do, too.
    pub const NEAREST: Mode = Mode { rounding: Rounding::Nearest, ftz: false };

    pub fn round(self, value: f64) -> f32 {
        let round = if self.ftz { round_flushed } else { round };
        round(value, SINGLE, self.rounding) as f32
    }
}

pub fn add(a: f32, b: f32, mode: Mode) -> f32 {
    match mode {
        Mode::NEAREST => a + b,
        _ => sum(f64::from(a), f64::from(b), mode),
    }
}

pub fn mul(a: f32, b: f32, mode: Mode) -> f32 {
    match mode {
        Mode::NEAREST => a * b,
        // The product of two f32 is exact in f64.
        _ => mode.round(f64::from(a) * f64::from(b)),
    }
}

pub fn fma(a: f32, b: f32, c: f32, mode: Mode) -> f32 {
    match mode {
        Mode::NEAREST => a.mul_add(b, c),
        _ => sum(f64::from(a) * f64::from(b), f64::from(c), mode),
    }
}

pub fn div(a: f32, b: f32, mode: Mode) -> f32 {
    if mode == Mode::NEAREST {
        return a / b;
    }
    let (a, b) = (f64::from(a), f64::from(b));
    let quotient = a / b;
    if !quotient.is_finite() || b.is_infinite() {
        return quotient as f32;
    }
    let rest = (-quotient).mul_add(b, a);
    mode.round(to_odd(quotient, if b < 0.0 { -rest } else { rest }))
}

pub fn sqrt(a: f32, mode: Mode) -> f32 {
    if mode == Mode::NEAREST {
        return a.sqrt();
    }
    let a = f64::from(a);
    let root = a.sqrt();
    if !root.is_finite() {
        return root as f32;
    }
    mode.round(to_odd(root, (-root).mul_add(root, a)))
}

fn sum(a: f64, b: f64, mode: Mode) -> f32 {
    let (sum, error) = two_sum(a, b);
    if sum == 0.0 {
        // Opposite numbers cancel to +0, rounding down to -0 (IEEE 754-2019, 6.3).
        let negative = mode.rounding == Rounding::Down && !(a.is_sign_positive() && b.is_sign_positive());
        return if negative { -0.0 } else { sum as f32 };
    }
    mode.round(to_odd(sum, error))
}

/// The lesser, or with `greater` the greater; -0 is less than +0. A NaN loses, or with
/// `propagate` wins.
pub fn extreme(a: f32, b: f32, greater: bool, propagate: bool) -> f32 {
    if a.is_nan() || b.is_nan() {
        return if propagate || a.is_nan() && b.is_nan() {
            f32::from_bits(NAN)
        } else if a.is_nan() {
            b
        } else {
            a
        };
    }
    if (a.total_cmp(&b).is_gt()) == greater { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustc_apfloat::{Float, Round, ieee::Single};

    #[test]
    fn a_root_that_is_not_a_number_is_the_nan_of_arithmetic() {
        let root = canonical(std::hint::black_box(-1.0_f32).sqrt());
        assert_eq!(root.to_bits(), NAN);
    }

    const MODES: [(Rounding, Round); 4] = [
        (Rounding::Nearest, Round::NearestTiesToEven),
        (Rounding::Zero, Round::TowardZero),
        (Rounding::Down, Round::TowardNegative),
        (Rounding::Up, Round::TowardPositive),
    ];

    fn same(ours: f32, theirs: Single) -> bool {
        ours.is_nan() && theirs.is_nan() || u128::from(ours.to_bits()) == theirs.to_bits()
    }

    proptest! {
        #[test]
        fn arithmetic_rounds_as_an_independent_implementation(bits: [u32; 3], near: bool) {
            let mut bits = bits;
            if near {
                // Of one magnitude, so that sums cancel and round.
                bits[1] = bits[0] & 0xff80_0000 | bits[1] & 0x807f_ffff;
            }
            let [a, b, c] = bits.map(f32::from_bits);
            let [x, y, z] = bits.map(|bits| Single::from_bits(u128::from(bits)));
            for (rounding, theirs) in MODES {
                let ours = Mode { rounding, ftz: false };
                prop_assert!(same(add(a, b, ours), x.add_r(y, theirs).value));
                prop_assert!(same(mul(a, b, ours), x.mul_r(y, theirs).value));
                prop_assert!(same(div(a, b, ours), x.div_r(y, theirs).value));
                prop_assert!(same(fma(a, b, c, ours), x.mul_add_r(y, z, theirs).value));
            }
        }

        #[test]
        fn directed_roots_enclose(a in 0f32..) {
            let low = f64::from(sqrt(a, Mode { rounding: Rounding::Down, ftz: false }));
            let high = f64::from(sqrt(a, Mode { rounding: Rounding::Up, ftz: false }));
            prop_assert!(low * low <= f64::from(a) && f64::from(a) <= high * high);
        }
    }

    /// What an NVIDIA H200 gave (2026-11-23).
    #[test]
    fn what_is_subnormal_but_for_its_rounding_is_flushed() {
        let least = f32::MIN_POSITIVE;
        let [zero, kept] = [0.0, least].map(f32::to_bits);
        let mul = |a, b, rounding| {
            mul(f32::from_bits(a), f32::from_bits(b), Mode { rounding, ftz: true }).to_bits()
        };
        for rounding in [Rounding::Nearest, Rounding::Zero, Rounding::Up] {
            assert_eq!(mul(0x3f7f_ffff, 0x0080_0000, rounding), zero);
        }
        assert_eq!(mul(0x00ff_ffff, 0x3f00_0000, Rounding::Nearest), zero);
        for rounding in [Rounding::Nearest, Rounding::Up] {
            assert_eq!(mul(0x3f00_0001, 0x00ff_fffe, rounding), kept);
        }
        let nearest = Mode { rounding: Rounding::Nearest, ftz: true };
        assert_eq!(div(f32::from_bits(0x00ff_ffff), 2.0, nearest).to_bits(), zero);
        assert_eq!(fma(f32::from_bits(0x3f7f_ffff), least, 0.0, nearest).to_bits(), zero);
        assert_eq!(nearest.round(f64::from(least) * (1.0 - 2f64.powi(-24))).to_bits(), zero);
        assert_eq!(nearest.round(f64::from(least) * (1.0 - 2f64.powi(-26))).to_bits(), kept);
    }
}

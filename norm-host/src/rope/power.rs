//! Powers of a number as PyTorch computes them.
//!
//! On a CPU with AVX2, PyTorch raises 16 elements at a time to a power by a function of SLEEF (Shibata and Petrogalli 2020,
//! "SLEEF: A Portable Vectorized Library of C Standard Mathematical Functions"), whose error is below one ULP, and what is left
//! over one by one by the C library. 1 % of the former's results are not the nearest `f32`, so that frequencies have the bits of
//! transformers' only if they are computed in the same steps: the logarithm, its product with the exponent and the
//! exponential function are polynomials, and everything is a sum of two `f32`, the second of which holds what rounding took
//! from the first.

/// Elements that PyTorch takes at a time: two vectors of AVX2.
const AT_A_TIME: usize = 16;

/// `theta^(2p / rotary)` for the pairs `p` from 0 to below `pairs`.
pub(super) fn powers(theta: f32, rotary: usize, pairs: usize) -> Vec<f32> {
    let vectors = pairs / AT_A_TIME * AT_A_TIME;
    let power = |p: usize| {
        let exponent = (2 * p) as f32 / rotary as f32;
        if p < vectors { vector_power(theta, exponent) } else { nearest_power(theta, exponent) }
    };
    (0..pairs).map(power).collect()
}

/// The power rounded correctly, as the C library's is in nearly all cases.
fn nearest_power(base: f32, exponent: f32) -> f32 {
    f64::from(base).powf(exponent.into()) as f32
}

/// The power of a finite base above 1 and an exponent from 0 to below 1.
fn vector_power(base: f32, exponent: f32) -> f32 {
    if exponent == 0.0 { 1.0 } else { exponential(logarithm(base).times(exponent)) }
}

/// The sum of two `f32`, the second small beside the first.
#[derive(Clone, Copy)]
struct Double {
    high: f32,
    low: f32,
}

impl Double {
    const fn new(high: f32, low: f32) -> Double {
        Double { high, low }
    }

    /// The exact sum of two `f32` (Knuth 1969).
    fn sum(a: f32, b: f32) -> Double {
        let high = a + b;
        let part = high - a;
        Double { high, low: (a - (high - part)) + (b - part) }
    }

    /// The sum with an `f32` of any size.
    fn plus_single(self, b: f32) -> Double {
        let Double { high, low } = Double::sum(self.high, b);
        Double { high, low: low + self.low }
    }

    /// The sum with a number of any size.
    fn plus_any(self, b: Double) -> Double {
        let Double { high, low } = Double::sum(self.high, b.high);
        Double { high, low: low + (self.low + b.low) }
    }

    /// The sum with a smaller number.
    fn plus(self, b: Double) -> Double {
        let high = self.high + b.high;
        Double { high, low: (((self.high - high) + b.high) + self.low) + b.low }
    }

    /// The same number with as much of it as possible in the first.
    fn normalized(self) -> Double {
        let high = self.high + self.low;
        Double { high, low: (self.high - high) + self.low }
    }

    fn times(self, b: f32) -> Double {
        let high = self.high * b;
        Double { high, low: self.low.mul_add(b, self.high.mul_add(b, -high)) }
    }

    fn times_double(self, b: Double) -> Double {
        let high = self.high * b.high;
        let low = self.low.mul_add(b.high, self.high.mul_add(b.high, -high));
        Double { high, low: self.high.mul_add(b.low, low) }
    }

    fn square(self) -> Double {
        let high = self.high * self.high;
        let low = self.high.mul_add(self.high, -high);
        Double { high, low: (self.high + self.high).mul_add(self.low, low) }
    }

    fn doubled(self) -> Double {
        Double { high: self.high * 2.0, low: self.low * 2.0 }
    }

    fn over(self, d: Double) -> Double {
        let reciprocal = 1.0 / d.high;
        let high = self.high * reciprocal;
        let rounding = reciprocal.mul_add(self.high, -high);
        let rest = (-d.low).mul_add(reciprocal, (-d.high).mul_add(reciprocal, 1.0));
        Double { high, low: high.mul_add(rest, self.low.mul_add(reciprocal, rounding)) }
    }
}

/// The natural logarithm of a normal number: that of a power of two, and of `m` from 0.75 to 1.5 by a polynomial in
/// `(m - 1) / (m + 1)`.
fn logarithm(value: f32) -> Double {
    let exponent = ((value * (1.0 / 0.75)).to_bits() >> 23) as i32 - 127;
    let m = f32::from_bits((value.to_bits() as i32 - (exponent << 23)) as u32);
    let x = Double::sum(-1.0, m).over(Double::sum(1.0, m));
    let square = x.square();
    let t = 0.240_320_36_f32.mul_add(square.high, 0.285_112_68).mul_add(square.high, 0.400_008);
    let third = Double::new(0.666_666_6, 3.691_838_6e-9);
    let ln_2 = Double::new(std::f32::consts::LN_2, -1.904_654_3e-9);
    ln_2.times(exponent as f32)
        .plus(x.doubled())
        .plus(square.times_double(x).times_double(square.times(t).plus_any(third)))
}

/// The exponential function: of the multiple of ln 2 that is nearest a power of two, and of the rest a polynomial.
fn exponential(value: Double) -> f32 {
    let quotient = ((value.high + value.low) * std::f32::consts::LOG2_E).round_ties_even();
    // ln 2 in two parts, of which the first has so few bits that its product is exact.
    let [most, others] = [f32::from_bits(0x3f31_7200), 1.428_606_8e-6];
    let rest = value.plus_single(quotient * -most).plus_single(quotient * -others).normalized();
    let mut polynomial = 0.001_363_246_5_f32;
    for coefficient in [0.008_365_969_f32, 0.041_671_082, 0.166_665_52, 0.499_999_85] {
        polynomial = polynomial.mul_add(rest.high, coefficient);
    }
    let terms = rest.plus(rest.square().times(polynomial));
    let sum = Double::new(1.0, 0.0).plus(terms);
    let power = f32::from_bits(((127 + quotient as i32) << 23) as u32);
    (sum.high + sum.low) * power
}

//! What PTX lets hardware approximate: computed in `f64` and rounded to nearest, which is
//! within every bound that the PTX ISA states for these. A GPU's last bits may differ.

/// `1 / x` (`rcp.approx`: 1 ULP).
pub fn reciprocal(x: f64) -> f64 {
    1.0 / x
}

/// `1 / sqrt(x)` (`rsqrt.approx`: relative error 2^-22.9). Zeros keep their sign.
pub fn reciprocal_root(x: f64) -> f64 {
    if x == 0.0 { f64::INFINITY.copysign(x) } else { 1.0 / x.sqrt() }
}

/// `sin(x)` (`sin.approx`: absolute error 2^-20.5 in `[-π, π]`).
pub fn sine(x: f64) -> f64 {
    x.sin()
}

/// `cos(x)` (`cos.approx`: absolute error 2^-20.5 in `[-π, π]`).
pub fn cosine(x: f64) -> f64 {
    x.cos()
}

/// `2^x` (`ex2.approx`: 2 ULP).
pub fn power_of_two(x: f64) -> f64 {
    x.exp2()
}

/// `log2(x)` (`lg2.approx`: relative error 2^-22).
pub fn logarithm(x: f64) -> f64 {
    x.log2()
}

/// `tanh(x)` (`tanh.approx`: relative error 2^-11).
pub fn hyperbolic_tangent(x: f64) -> f64 {
    x.tanh()
}

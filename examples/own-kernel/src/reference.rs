//! What the kernel is to compute, in f64, and how far it may be off.

use crate::args::{VECTOR, threads};

/// An element that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrong {
    /// Its row.
    pub row: usize,
    /// Its place in the row.
    pub column: usize,
    /// What f64 gives.
    pub expected: f64,
    /// What the kernel gave.
    pub given: f32,
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Wrong { row, column, expected, given } = self;
        write!(f, "row {row}, column {column}: expected {expected:e}, given {given:e}")
    }
}

impl std::error::Error for Wrong {}

/// A row divided by its norm, or by `eps` where the norm is less. NaN in a row makes all of it NaN, as PyTorch's
/// `functional.normalize` does. Squares that add up to more than an `f32` holds count as infinite: the kernel sums in
/// `f32`, and rows whose norm is above 1.8e19 become zeros.
pub fn normalize(x: &[f32], eps: f32) -> impl Iterator<Item = f64> {
    let sum: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let norm = if sum > f64::from(f32::MAX) { f64::INFINITY } else { sum.sqrt() };
    // By a comparison, because `f64::max` would drop a NaN.
    let divisor = if norm < f64::from(eps) { f64::from(eps) } else { norm };
    x.iter().map(move |&x| f64::from(x) / divisor)
}

/// How far an element may be off, as a part of it, by the roundings on its way: `rsqrt.approx` is off by 2^-22.9 at most,
/// and the product by 2^-24. Each addition to the sum of squares is off by 2^-24 of it, of which the root leaves half: as
/// many as a thread has elements, five among the lanes of a warp, and four over the warps.
pub fn tolerance(dim: usize) -> f64 {
    let vectors = dim.div_ceil((VECTOR * threads(dim as u32)) as usize);
    let additions = vectors * VECTOR as usize + 9;
    2_f64.powf(-22.9) + 2_f64.powi(-24) + additions as f64 * 2_f64.powi(-25)
}

/// Holds `y` to the reference, row by row.
///
/// # Errors
/// The first element that is wrong.
pub fn check(x: &[f32], y: &[f32], dim: usize, eps: f32) -> Result<(), Wrong> {
    assert_eq!(x.len(), y.len(), "a y for each x");
    for (row, (x, y)) in x.chunks(dim).zip(y.chunks(dim)).enumerate() {
        for (column, (expected, &given)) in normalize(x, eps).zip(y).enumerate() {
            let is_right = if expected.is_finite() {
                // Results below the normal numbers are rounded to a multiple of the least one.
                let allowed = expected.abs() * tolerance(dim) + f64::from(f32::from_bits(1));
                (f64::from(given) - expected).abs() <= allowed
            } else {
                f64::from(given) == expected || given.is_nan() && expected.is_nan()
            };
            if !is_right {
                return Err(Wrong { row, column, expected, given });
            }
        }
    }
    Ok(())
}

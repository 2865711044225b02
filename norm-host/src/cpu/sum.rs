//! Sums of a part of a row.

/// Sums that run side by side: four vectors of four `f64`, which hide the latency of adding.
const LANES: usize = 16;

/// The sum of `f(x)` over a part of a row, in `f64`.
///
/// A lane adds at most 512 terms, a row of 2²⁰ elements at most 128 parts, each addition within
/// 2⁻⁵³: the result is within 2⁻⁴³ of the sum of magnitudes. The order depends on the number of elements alone.
#[inline(always)]
pub(super) fn sum(x: &[f32], f: &impl Fn(f32) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        for (lane, x) in lanes.iter_mut().zip(x) {
            *lane += f(*x);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += f(*x);
    }
    let mut count = LANES;
    while count > 1 {
        count /= 2;
        for lane in 0..count {
            lanes[lane] += lanes[lane + count];
        }
    }
    lanes[0]
}

//! Sums in two `f32`, which together have twice the precision of one ('double-word arithmetic').
//!
//! GPUs have 32 to 64 times as many lanes of `f32` as of `f64`, but for those that are made for `f64`. A sum is an `f32` and
//! beside it the sum of what its roundings lost, each of which is an `f32` exactly (Møller 1965; Knuth, TAOCP 2, 4.2.2).

/// A number as two `f32`, whose sum it is: the first is the number, nearly, and the second what is left.
pub type DoubleWord = [f32; 2];

/// The rounded sum of two numbers, and what the rounding took off, exactly, whichever of the two is larger. The same for
/// either order of the two.
#[inline(always)]
pub fn two_sum(a: f32, b: f32) -> DoubleWord {
    let sum = a + b;
    let of_b = sum - a;
    let of_a = sum - of_b;
    [sum, (a - of_a) + (b - of_b)]
}

/// The sum of both, with the same bits for either order of them.
#[inline(always)]
pub fn plus([a, a_low]: DoubleWord, [b, b_low]: DoubleWord) -> DoubleWord {
    let [sum, lost] = two_sum(a, b);
    [sum, (a_low + b_low) + lost]
}

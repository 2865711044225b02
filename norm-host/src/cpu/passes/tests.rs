//! The order in which the sums of chunks are added, by their bits in `f64`.

use super::*;

/// Sums of a chunk: in another order they add up to other bits.
fn of_chunk(index: usize) -> [f64; 2] {
    let x = (index * 7919 % 10_007) as f64 / 997.0 - 5.0;
    [x.powi(9), x * 1e-3]
}

#[test]
fn sums_of_chunks_are_added_in_the_order_of_the_chunks() {
    for chunks in [1, 2, 3, 5, 128, MAX_CHUNKS] {
        let mut expected = [0.0; 2];
        for [a, b] in (0..chunks).map(of_chunk) {
            expected = [expected[0] + a, expected[1] + b];
        }
        let bits = |sums: [f64; 2]| sums.map(f64::to_bits);
        // Under Miri threads take long.
        for parallel in [false, true].into_iter().filter(|&parallel| !(cfg!(miri) && parallel)) {
            assert_eq!(bits(sum_over(chunks, parallel, &of_chunk)), bits(expected), "{chunks}, {parallel}");
        }
        let backwards = (0..chunks).rev().map(of_chunk).fold([0.0; 2], |[a, b], [c, d]| [a + c, b + d]);
        assert!(chunks < 128 || bits(backwards) != bits(expected), "another order has other bits");
    }
}

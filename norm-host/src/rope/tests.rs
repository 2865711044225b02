//! Numbers out of range are refused; frequencies that can be worked out by hand.

use super::*;

#[test]
fn frequencies_of_two_pairs_are_as_computed_by_hand() {
    let plain = RopeTables::new(16.0, 4);
    assert_eq!(plain.frequencies().unwrap(), [1.0, 0.25]);
    let linear = plain.scaling(RopeScaling::Linear { factor: 4.0 });
    assert_eq!(linear.frequencies().unwrap(), [0.25, 0.0625]);
    let part = plain.scaling(RopeScaling::Proportional { share: 0.5, factor: 1.0 });
    assert_eq!(part.frequencies().unwrap(), [1.0, 0.0]);
    // The ratio 2 · 2 - 1 = 3 to the power of 4 / 2: theta is 144.
    let scaling = |length| RopeScaling::DynamicNtk { factor: 2.0, original_length: 100, length };
    assert_eq!(plain.scaling(scaling(200)).frequencies().unwrap(), [1.0, 1.0 / 12.0]);
    assert_eq!(plain.scaling(scaling(50)).frequencies().unwrap(), [1.0, 0.25]);
    // Waves of 2π and 8π: shorter than 32 / 4 and longer than 32 / 2; then 2π alone between 20 / 5 and 20 / 2, of which 20 has
    // 10 / π: (10 / π - 2) / 3 of the frequency stays.
    let llama3 = |low_freq_factor, high_freq_factor, original_length| RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor,
        high_freq_factor,
        original_length,
    };
    assert_eq!(plain.scaling(llama3(2.0, 4.0, 32)).frequencies().unwrap(), [1.0, 0.25 / 8.0]);
    let between = plain.scaling(llama3(2.0, 5.0, 20)).frequencies().unwrap();
    let kept = (10.0 / std::f32::consts::PI - 2.0) / 3.0;
    assert!((between[0] - (kept + (1.0 - kept) / 8.0)).abs() < 1e-6, "{between:?}");
    assert_eq!(between[1], 0.25 / 8.0);
}

#[test]
fn tables_hold_a_row_for_each_position() {
    let scaling = RopeScaling::Yarn {
        factor: 1.0,
        original_length: 4096,
        beta_fast: 32.0,
        beta_slow: 1.0,
        truncate: true,
        attention_factor: 2.0,
    };
    let [cos, sin] = RopeTables::new(16.0, 4).scaling(scaling).tables(3..5).unwrap();
    let expected = |of: fn(f64) -> f64| [3.0, 0.75, 4.0, 1.0].map(|angle| of(angle) as f32 * 2.0);
    assert_eq!((cos, sin), (expected(f64::cos).to_vec(), expected(f64::sin).to_vec()));
}

#[test]
fn numbers_out_of_range_are_refused() {
    let llama3 = |low_freq_factor, high_freq_factor| RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor,
        high_freq_factor,
        original_length: 8192,
    };
    let plain = RopeTables::new(1e4, 128);
    for (tables, message) in [
        (RopeTables::new(1.0, 128), "scaling: expected a finite theta above 1, given 1"),
        (RopeTables::new(f64::NAN, 128), "scaling: expected a finite theta above 1, given NaN"),
        (
            RopeTables::new(1e39, 128),
            "scaling: expected a finite theta above 1, given 1000000000000000000000000000000000000000",
        ),
        (
            RopeTables::new(1e4, 1 << 62),
            "scaling: expected an even number of rotated elements, 2 to 2^24, given 4611686018427388000",
        ),
        (RopeTables::new(1e4, 0), "scaling: expected an even number of rotated elements, 2 to 2^24, given 0"),
        (RopeTables::new(1e4, 7), "scaling: expected an even number of rotated elements, 2 to 2^24, given 7"),
        (
            plain.scaling(RopeScaling::Linear { factor: 0.5 }),
            "scaling: expected a finite factor of 1 or more, given 0.5",
        ),
        (
            plain.scaling(RopeScaling::DynamicNtk { factor: 2.0, original_length: 0, length: 1 }),
            "scaling: expected an original length of 1 or more, given 0",
        ),
        (plain.scaling(llama3(0.0, 4.0)), "scaling: expected a low_freq_factor above 0, given 0"),
        (
            plain.scaling(llama3(1.0, 1.0)),
            "scaling: expected a high_freq_factor above low_freq_factor, given 1",
        ),
        (
            plain.scaling(RopeScaling::Proportional { share: 1.5, factor: 1.0 }),
            "scaling: expected a share from 0 to 1, given 1.5",
        ),
    ] {
        assert_eq!(tables.frequencies().unwrap_err().to_string(), message);
        assert!(tables.tables(0..1).is_err());
    }
}

#[test]
fn a_theta_that_grows_beyond_f32_is_refused() {
    let scaling = RopeScaling::DynamicNtk { factor: 1e30, original_length: 1, length: 1 << 40 };
    let error = RopeTables::new(1e4, 128).scaling(scaling).frequencies().unwrap_err().to_string();
    assert!(error.starts_with("scaling: expected a theta that stays finite in f32, given "), "{error}");
}

/// Each of the numbers can be counted, but not their product, or memory has not so many.
#[test]
fn tables_without_memory_are_refused() {
    let tables = RopeTables::new(1e4, 64);
    for positions in [usize::MAX, usize::MAX / 32] {
        let error = tables.tables(0..positions).unwrap_err();
        let expected = "as many positions as there is memory for";
        assert_eq!(error, Error::RopeScaling { expected, given: positions as f64 });
    }
}

//! The kernels against the f64 reference, on the simulator and, by `cargo test -- --ignored`, on a GPU.

use std::error::Error;

use own_kernel::reference::{self, Wrong, check};
use own_kernel::{gpu, simulator};

type Result = std::result::Result<(), Box<dyn Error>>;

const EPS: f32 = 1e-12;

/// Numbers of any magnitude from 2^-20 to 2^20, of either sign.
fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        // A linear congruential generator (Knuth, MMIX).
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let [mantissa, exponent, sign] = [state >> 41, state >> 36 & 31, state >> 35 & 1];
        let magnitude = (1.0 + mantissa as f32 / (1 << 23) as f32) * 2_f32.powi(exponent as i32 - 16);
        if sign == 0 { magnitude } else { -magnitude }
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Lengths of less than a vector, a warp, a block and more, and what is left over behind each.
const LENGTHS: [usize; 13] = [1, 3, 4, 31, 32, 127, 128, 129, 1020, 1024, 1025, 4096, 5003];

#[test]
fn rows_of_any_length_are_right() -> Result {
    for dim in LENGTHS {
        let x = random(3 * dim, dim as u64);
        for kernel in ["l2_normalize_scalar", simulator::kernel_for(dim as u32)] {
            let (y, _) = simulator::l2_normalize(kernel, &x, dim as u32, EPS)?;
            check(&x, &y, dim, EPS).map_err(|wrong| format!("{kernel}, rows of {dim}: {wrong}"))?;
        }
    }
    Ok(())
}

/// Rows of zeros, of tiny and of huge numbers, of infinities and of NaN, each with one such element or with nothing else.
fn special_rows(dim: usize) -> Vec<f32> {
    let values =
        [0.0, -0.0, f32::from_bits(1), 1e-30, 2e-14, 1e-10, 1e18, 1e25, f32::MAX, f32::INFINITY, f32::NAN];
    let rows = values.into_iter().flat_map(|value| {
        let mut one_of_them = random(dim, 7);
        one_of_them[dim / 2] = value;
        [vec![value; dim], one_of_them]
    });
    rows.flatten().collect()
}

#[test]
fn special_values_are_those_of_the_reference() -> Result {
    for dim in [5, 256] {
        let x = special_rows(dim);
        let (y, _) = simulator::l2_normalize(simulator::kernel_for(dim as u32), &x, dim as u32, EPS)?;
        check(&x, &y, dim, EPS).map_err(|wrong| format!("rows of {dim}: {wrong}"))?;
    }
    Ok(())
}

#[test]
fn each_element_is_read_twice_and_written_once() -> Result {
    let (rows, dim) = (4, 2048);
    let x = random(rows * dim, 1);
    let (_, counts) = simulator::l2_normalize("l2_normalize_vector", &x, dim as u32, EPS)?;
    let bytes = (rows * dim * 4) as u64;
    let (loads, stores) = (&counts.global["x"].loads, &counts.global["y"].stores);
    assert_eq!((loads.factor(bytes), stores.factor(bytes)), (2.0, 1.0));
    assert_eq!(loads.distinct_factor(bytes), 1.0);
    assert_eq!(counts.shared.conflicts, 0);
    Ok(())
}

/// The check is worth something: it finds an element that is off by more than roundings account for.
#[test]
fn an_element_that_is_off_is_found() {
    let x = random(256, 3);
    let mut y: Vec<f32> = reference::normalize(&x, EPS).map(|y| y as f32).collect();
    assert_eq!(
        check(&x, &y, 128, EPS).map_err(|wrong| wrong.column),
        Err(0),
        "rows of 256, taken for two of 128"
    );
    assert_eq!(check(&x, &y, 256, EPS), Ok(()));
    let expected = reference::normalize(&x, EPS).nth(200).unwrap();
    y[200] *= 1.0 + 4.0 * reference::tolerance(256) as f32;
    assert_eq!(check(&x, &y, 256, EPS), Err(Wrong { row: 0, column: 200, expected, given: y[200] }));
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn a_gpu_is_right() -> Result {
    for dim in LENGTHS {
        let x = [random(1000 * dim, dim as u64), special_rows(dim)].concat();
        for kernel in ["l2_normalize_scalar", simulator::kernel_for(dim as u32)] {
            let y = gpu::l2_normalize(kernel, &x, dim as u32, EPS)?;
            check(&x, &y, dim, EPS).map_err(|wrong| format!("{kernel}, rows of {dim}: {wrong}"))?;
        }
    }
    Ok(())
}

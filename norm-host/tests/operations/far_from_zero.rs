//! LayerNorm of rows whose mean is large beside what their elements differ by: the shipped PTX on the simulator, and
//! the CPU backend. One `f32` holds too little of such a mean.

use std::sync::LazyLock;

use norm_host::accuracy::{judge_row, round_to_bf16, round_to_f16};
use norm_host::ptx::EMBEDDED;
use norm_host::reference::{self, Factors, Parameters, widen};
use norm_host::{Backend, Cpu, DType, Element, Norm, NormKind, Simulator, View, ViewMut, problem::Roundings};

const EPS: f32 = 1e-5;

/// `y` of one row, by whatever `on` is.
fn layer_norm<E: Element>(x: &[E], on: &impl Backend) -> Vec<f64> {
    let mut y = vec![0.0_f32; x.len()];
    let shape = [1, x.len()];
    let mut view = ViewMut::from_slice(&mut y, &shape).unwrap();
    Norm::layer(EPS).rows(View::from_slice(x, &shape).unwrap(), &mut view, on).unwrap();
    widen(&y)
}

/// The same by every backend that needs no device, with a name for each.
fn everywhere<E: Element>(x: &[E]) -> Vec<(String, Vec<f64>)> {
    let simulated = SIMULATORS.iter().map(|(name, simulator)| (name.clone(), layer_norm(x, simulator)));
    [("cpu".to_owned(), layer_norm(x, &Cpu))].into_iter().chain(simulated).collect()
}

/// Simulators of devices with many lanes of f64 and with few, whose totals have other forms, with a name for each.
static SIMULATORS: LazyLock<Vec<(String, Simulator)>> = LazyLock::new(|| {
    let many = EMBEDDED.iter().map(|ptx| (ptx.target.to_owned(), Simulator::with_ptx(*ptx)));
    let few = EMBEDDED
        .iter()
        .map(|ptx| (format!("{} for few doubles", ptx.target), Simulator::with_ptx(ptx.for_few_doubles())));
    many.chain(few).collect()
});

/// Holds a row to the promise, and its largest error, in units of a normalized row, to `most`.
fn holds<E: Element>(x: &[E], most: f64) {
    let (x_f64, eps) = (widen(x), f64::from(EPS));
    let expected = reference::layer_norm(&x_f64, None, None, eps);
    let kind = NormKind::Layer;
    let roundings = Roundings::NONE;
    let parameters = Parameters {
        kind,
        eps,
        weight: None,
        weight_offset: 0.0,
        roundings,
        bias: None,
        onto: None,
        factors: Factors::NONE,
    };
    for (backend, y) in everywhere(x) {
        let judged = judge_row(&x_f64, &parameters, DType::F32, &y);
        assert!(judged.promised && judged.is_kept(), "{} of {} on {backend}: {judged:?}", x.len(), E::DTYPE);
        let worst = y.iter().zip(&expected).map(|(y, expected)| (y - expected).abs()).fold(0.0, f64::max);
        assert!(worst <= most, "{} of {} on {backend}: off by {worst:e}", x.len(), E::DTYPE);
    }
}

/// Rows of lanes, warps, blocks, shared memory and clusters, of whole vectors and not.
const DIMS: [usize; 10] = [4, 7, 128, 1000, 1024, 4096, 4099, 16_384, 40_000, 131_072];

#[test]
fn four_neighbours_of_ten_million_are_told_apart() {
    let x = [1e7_f32, 1e7 + 1.0, 1e7 + 2.0, 1e7 + 3.0];
    for (backend, y) in everywhere(&x) {
        for (y, expected) in y.iter().zip([-1.341_635_4, -0.447_211_8, 0.447_211_8, 1.341_635_4]) {
            assert!((y - expected).abs() < 1e-6, "{backend}: {y}");
        }
    }
}

#[test]
fn a_ramp_of_thousandths_on_ten_thousand_is_straight() {
    for dim in DIMS {
        let x: Vec<f32> = (0..dim).map(|i| 10_000.0 + (i % 4096) as f32 * 1e-3).collect();
        holds(&x, 3e-6);
    }
}

#[test]
fn one_element_that_differs_is_as_far_off_as_its_row_is_long() {
    for dim in DIMS {
        let mut x = vec![1000.0_f32; dim];
        x[dim / 2] = 1000.5;
        // The one that differs is sqrt(dim) deviations off.
        let one = (dim as f64).sqrt();
        holds(&x, 1e-6 * one);
        let x: Vec<_> = x.iter().map(|&x| round_to_f16(f64::from(x))).collect();
        holds(&x, 1e-6 * one);
    }
}

#[test]
fn one_value_throughout_leaves_nothing() {
    // 1 / 391 is rounded, and so is a mean that is a product with it.
    for dim in DIMS.into_iter().chain([3, 391, 131_071]) {
        for value in [1e12_f32, -3e7, 0.1] {
            for (backend, y) in everywhere(&vec![value; dim]) {
                assert!(y.iter().all(|&y| y == 0.0), "{dim} times {value} on {backend}: {:?}", &y[..3]);
            }
        }
    }
}

/// Their sums are beyond `f32`.
#[test]
fn one_huge_value_throughout_leaves_nothing() {
    for dim in [2, 100, 4096, 40_000] {
        for (backend, y) in everywhere(&vec![-3e38_f32; dim]) {
            assert!(y.iter().all(|&y| y == 0.0), "{dim} on {backend}: {:?}", &y[..2]);
        }
        for (backend, y) in everywhere(&vec![round_to_bf16(3e38); dim]) {
            assert!(y.iter().all(|&y| y == 0.0), "{dim} of bf16 on {backend}: {:?}", &y[..2]);
        }
    }
}

/// From the largest f16 to the smallest, which no f32 holds the sum of: what cancels leaves the small ones, exactly.
#[test]
fn the_largest_and_the_smallest_elements_of_sixteen_bits_add_up() {
    for dim in DIMS {
        let element = |i: usize| match i % 4 {
            0 => 65504.0,
            1 => -65504.0,
            2 => 2_f64.powi(-24) * (1 + i % 1000) as f64,
            _ => 0.1 * (i % 17) as f64,
        };
        let row: Vec<f64> = (0..dim).map(element).collect();
        holds(&row.iter().map(|&x| round_to_f16(x)).collect::<Vec<_>>(), 1e-6 * 4.0);
        holds(&row.iter().map(|&x| round_to_bf16(x)).collect::<Vec<_>>(), 1e-6 * 4.0);
        // All of one sign, far beyond what 24 bits hold.
        let row: Vec<f64> = row.iter().map(|x| x.abs()).collect();
        holds(&row.iter().map(|&x| round_to_f16(x)).collect::<Vec<_>>(), 1e-6 * 4.0);
    }
}

#[test]
fn squares_beyond_f32_do_not_matter_where_those_about_the_mean_are_not() {
    // 2^70 and its neighbours: their squares add up beyond f32, those of their differences do not.
    let x: Vec<f32> = (0..4096).map(|i| 2_f32.powi(70) * (1.0 + (i % 3) as f32 * f32::EPSILON)).collect();
    holds(&x, 3e-6);
}

#[test]
fn the_cpu_backend_needs_no_sum_of_squares_in_f32() {
    for magnitude in [3e17_f32, 1e30, 3e38, 1e-25, 1e-30] {
        let x: Vec<f32> = (0..4096).map(|i| magnitude * (1.0 - (i % 7) as f32 / 8.0)).collect();
        let expected = reference::rms_norm(&widen(&x), None, 0.0);
        let mut y = vec![0.0_f32; x.len()];
        let shape = [1, x.len()];
        let mut view = ViewMut::from_slice(&mut y, &shape).unwrap();
        Norm::rms(0.0).rows(View::from_slice(&x, &shape).unwrap(), &mut view, &Cpu).unwrap();
        for (y, expected) in widen(&y).iter().zip(&expected) {
            assert!((y - expected).abs() <= 1e-6 * expected.abs(), "{magnitude:e}: {y} for {expected}");
        }
    }
}

/// Their squares are 0 in `f32`, those of the rows that share a warp with them are not: what rounding added to their mean
/// is taken away all the same.
#[test]
fn tiny_rows_beside_ordinary_ones_keep_what_rounding_added_to_their_mean() {
    for dim in [3, 8, 64] {
        let rows = 64;
        let element = |row: usize, column: usize| match row % 2 {
            0 => 1000.0 + (row + column) as f32,
            _ => 1e-37 * (1.0 + ((row * 31 + column * 17) % 101) as f32 * 1e-5),
        };
        let x: Vec<f32> = (0..rows * dim).map(|at| element(at / dim, at % dim)).collect();
        let parameters = Parameters {
            kind: NormKind::Layer,
            eps: f64::from(EPS),
            weight: None,
            weight_offset: 0.0,
            roundings: Roundings::NONE,
            bias: None,
            onto: None,
            factors: Factors::NONE,
        };
        let shape = [rows, dim];
        let normalize = |on: &Simulator| {
            let mut y = vec![0.0_f32; x.len()];
            let mut view = ViewMut::from_slice(&mut y, &shape).unwrap();
            Norm::layer(EPS).rows(View::from_slice(&x, &shape).unwrap(), &mut view, on).unwrap();
            y
        };
        for ptx in EMBEDDED.into_iter().flat_map(|ptx| [ptx, ptx.for_few_doubles()]) {
            let y = normalize(&Simulator::with_ptx(ptx));
            for (row, (x, y)) in x.chunks(dim).zip(y.chunks(dim)).enumerate() {
                let judged = judge_row(&widen(x), &parameters, DType::F32, &widen(y));
                assert!(
                    judged.promised && judged.is_kept(),
                    "{}: row {row} of {dim}: {judged:?}",
                    ptx.target
                );
            }
        }
    }
}

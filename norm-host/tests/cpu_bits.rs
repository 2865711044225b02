//! What an output's bits may depend on: its row, the parameters, the dtypes and dim. Nothing else.

mod common;

use common::config;
use common::{
    buffer::Buffer,
    case::{Case, case},
};
use norm_host::{Cpu, Norm, NormKind, View, ViewMut};
use proptest::prelude::*;

/// The case's `x` alone, in place of `x` and `y`.
fn run_in_place(case: &Case) -> Buffer {
    let mut tensors = case.tensors();
    let norm = case.norm(&tensors.w, &tensors.b);
    let mut x = tensors.x.view_mut(&case.shape(), &case.x_strides());
    if case.heads { norm.heads_in_place(&mut x, &Cpu) } else { norm.rows_in_place(&mut x, &Cpu) }.unwrap();
    tensors.x
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn in_place_equals_out_of_place(case in case(3000)) {
        // The same type and strides on both sides: what in place means.
        let gaps = case.gaps.iter().map(|&(x, _)| (x, x)).collect();
        let case = Case { y: case.x, gaps, ..case };
        let mut apart = case.tensors();
        case.run(&mut apart, &Cpu).unwrap();
        let (apart, in_place) = (apart.y.bits(), run_in_place(&case).bits());
        for row in 0..case.rows() {
            let start = case.start(row, &case.x_strides());
            prop_assert_eq!(&apart[start..start + case.dim], &in_place[start..start + case.dim]);
        }
    }

    #[test]
    fn rows_alone_equal_rows_together(case in case(3000)) {
        let mut together = case.tensors();
        case.run(&mut together, &Cpu).unwrap();
        let bits = together.y.bits();
        for row in 0..case.rows() {
            let alone = alone(&case, row);
            let start = case.start(row, &case.y_strides());
            prop_assert_eq!(&bits[start..start + case.dim], &alone[..]);
        }
    }
}

/// Row `row` of the case, computed as the only row there is.
fn alone(case: &Case, row: usize) -> Vec<u32> {
    let tensors = case.tensors();
    let take = |buffer: &Buffer, start: usize| {
        let values: Vec<f64> = (start..start + case.dim).map(|i| buffer.get(i)).collect();
        Buffer::new(buffer.dtype(), &values)
    };
    let x = take(&tensors.x, case.start(row, &case.x_strides()));
    let param = |p: &Option<Buffer>| p.as_ref().map(|p| take(p, case.param_start(row)));
    let (w, b) = (param(&tensors.w), param(&tensors.b));
    let mut y = Buffer::new(case.y, &vec![0.0; case.dim]);
    let one = Case { heads: false, front: vec![], ..case.clone() };
    one.norm(&w, &b).rows(x.view(&[case.dim], &[1]), &mut y.view_mut(&[case.dim], &[1]), &Cpu).unwrap();
    y.bits()
}

/// Enough rows that they are spread over threads, and fewer long rows than threads, of which each is
/// spread itself; in pools of different sizes.
#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for (rows, dim) in [(701, 777), (2, 100_003)] {
        for kind in NormKind::ALL {
            let one = with_threads(1, kind, rows, dim);
            assert_eq!(one, with_threads(2, kind, rows, dim));
            assert_eq!(one, with_threads(7, kind, rows, dim));
        }
    }
}

fn with_threads(threads: usize, kind: NormKind, rows: usize, dim: usize) -> Vec<u32> {
    let x: Vec<f32> = (0..rows * dim).map(|i| ((i * 7919) % 10007) as f32 / 1000.0 - 5.0).collect();
    let mut y = vec![0.0_f32; rows * dim];
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let x = View::from_slice(&x, &[rows, dim]).unwrap();
        let mut y = ViewMut::from_slice(&mut y, &[rows, dim]).unwrap();
        Norm::new(kind, 1e-6).rows(x, &mut y, &Cpu).unwrap();
    });
    y.iter().map(|y| y.to_bits()).collect()
}

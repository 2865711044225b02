//! When the squares about the mean follow from the sums, and when a pass of its own has to tell.

use norm_kernels::abi::{Axis, NormKind, Rounding};

use super::{super::form::Any, *};

/// What the sums of a row in `f64` say of the squares about its mean.
fn sum_sq_centered(row: &[f64]) -> Option<f64> {
    let operand = Operand { address: 1 << 12, dtype: DType::F32 };
    let problem = Problem {
        kind: NormKind::Layer,
        x: operand,
        y: operand,
        residual: None,
        w: None,
        b: None,
        axes: [Axis::ONE; 3],
        rows: 1,
        dim: row.len() as u32,
        eps: 0.0,
        weight_offset: 0.0,
        round_offset: false,
        rounding: Rounding::Single,
        overlap: true,
    };
    // SAFETY: nothing reads or writes the row's elements.
    let mut rows = unsafe { RowRange::new(&problem, &Roundings::NONE, 0..1) };
    let moments = Moments { sum: row.iter().sum(), sum_sq: row.iter().map(|x| x * x).sum() };
    rows.iter::<Any<true>>().next().expect("there is a row").sum_sq_centered(moments)
}

#[test]
fn they_follow_where_the_mean_accounts_for_few_of_them() {
    assert_eq!(sum_sq_centered(&[0.0; 4]), Some(0.0));
    assert_eq!(sum_sq_centered(&[1.0, -1.0, 3.0, -3.0]), Some(20.0));
    assert_eq!(sum_sq_centered(&[99.0, 101.0, 99.0, 101.0]), Some(4.0));
    // Of 4 · 300², 4 are less than one in 65536.
    assert_eq!(sum_sq_centered(&[299.0, 301.0, 299.0, 301.0]), None);
}

#[test]
fn equal_infinite_and_unknown_elements_take_a_pass() {
    assert_eq!(sum_sq_centered(&[0.1; 3]), None);
    assert_eq!(sum_sq_centered(&[f64::INFINITY, 1.0]), None);
    assert_eq!(sum_sq_centered(&[f64::NAN, 1.0]), None);
}

//! In which order results are rounded: what docs/ROUNDING.md says of it, and how far other orders are off.

mod common;

use common::values::Random;
use half::f16;
use norm_host::{
    Cpu, DType, Norm, View, ViewMut,
    accuracy::{round, round_to_f16, ulp_distance},
};

const ROWS: usize = 16;
const DIM: usize = 4096;
const EPS: f32 = 1e-6;

fn f16s(values: impl Iterator<Item = f64>) -> Vec<f16> {
    values.map(round_to_f16).collect()
}

/// Rows of x, weights of 1 ± 0.3, and each row's 1 over the root, in f64.
fn rows() -> (Vec<f16>, Vec<f16>, Vec<f64>) {
    let mut random = Random(1);
    let x = f16s((0..ROWS * DIM).map(|_| random.signed(4.0)));
    let w = f16s((0..DIM).map(|_| 1.0 + random.signed(0.3)));
    let rstd = x.chunks(DIM).map(|row| {
        let squares: f64 = row.iter().map(|x| x.to_f64() * x.to_f64()).sum();
        (squares / DIM as f64 + f64::from(EPS)).sqrt().recip()
    });
    let rstd = rstd.collect();
    (x, w, rstd)
}

/// The share of elements that `order` of (x / root, w) gives otherwise, none by more than an ULP.
fn share_apart(
    y: &[f16],
    (x, w, rstd): &(Vec<f16>, Vec<f16>, Vec<f64>),
    order: impl Fn(f64, f64) -> f64,
) -> f64 {
    let apart = y.iter().enumerate().filter(|&(index, y)| {
        let expected = order(x[index].to_f64() * rstd[index / DIM], w[index % DIM].to_f64());
        let ulps = ulp_distance(DType::F16, y.to_f64(), expected);
        assert!(ulps <= 1.0, "{y} for {expected}");
        ulps > 0.0
    });
    apart.count() as f64 / y.len() as f64
}

fn to_f16(value: f64) -> f64 {
    round(DType::F16, value)
}

#[test]
fn the_product_is_rounded_once() -> norm_host::Result<()> {
    let rows = rows();
    let (x, w) = (View::from_slice(&rows.0, &[ROWS, DIM])?, View::from_slice(&rows.1, &[DIM])?);
    let mut y = vec![f16::ZERO; ROWS * DIM];
    Norm::rms(EPS).weight(w).rows(x, &mut ViewMut::from_slice(&mut y, &[ROWS, DIM])?, &Cpu)?;
    // Products that are all but a tie are rounded as f32's own rounding has them.
    let single = share_apart(&y, &rows, |v, w| to_f16(v * w));
    assert!(single < 2e-4, "{single}");
    let before_the_weight = share_apart(&y, &rows, |v, w| to_f16(to_f16(v) * w));
    assert!((0.2..0.3).contains(&before_the_weight), "{before_the_weight}");
    Ok(())
}

/// 'Before the weight' in two steps: a norm without weights, and a product of one's own.
#[test]
fn without_weights_the_other_order_is_left_to_the_caller() -> norm_host::Result<()> {
    let rows = rows();
    let x = View::from_slice(&rows.0, &[ROWS, DIM])?;
    let mut y = vec![f16::ZERO; ROWS * DIM];
    Norm::rms(EPS).rows(x, &mut ViewMut::from_slice(&mut y, &[ROWS, DIM])?, &Cpu)?;
    let products = y.iter().enumerate().map(|(index, y)| y.to_f64() * rows.1[index % DIM].to_f64());
    let apart = share_apart(&f16s(products), &rows, |v, w| to_f16(to_f16(v) * w));
    assert!(apart < 2e-4, "{apart}");
    Ok(())
}

/// The result has the type of `y`, whatever x and w have, and is rounded to no other.
#[test]
fn the_type_of_y_is_the_callers() -> norm_host::Result<()> {
    let (x, w, rstd) = rows();
    let wide_w: Vec<f32> = w.iter().map(|w| w.to_f32() + 1e-5).collect();
    let (x_view, w_view) = (View::from_slice(&x, &[ROWS, DIM])?, View::from_slice(&wide_w, &[DIM])?);
    let norm = Norm::rms(EPS).weight(w_view);
    let (mut narrow, mut wide) = (vec![f16::ZERO; ROWS * DIM], vec![0.0_f32; ROWS * DIM]);
    norm.rows(x_view, &mut ViewMut::from_slice(&mut narrow, &[ROWS, DIM])?, &Cpu)?;
    norm.rows(x_view, &mut ViewMut::from_slice(&mut wide, &[ROWS, DIM])?, &Cpu)?;
    for (index, (narrow, wide)) in narrow.iter().zip(wide).enumerate() {
        let exact = x[index].to_f64() * rstd[index / DIM] * f64::from(wide_w[index % DIM]);
        assert!((f64::from(wide) - exact).abs() <= 1e-6 * exact.abs(), "{wide} for {exact}");
        assert_eq!(narrow.to_f64(), to_f16(wide.into()), "{index}");
    }
    Ok(())
}

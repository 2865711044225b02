//! In which order results are rounded: what docs/ROUNDING.md says of it, and how far other orders are off.

use half::f16;
use norm_host::{
    Cpu, DType, Norm, Rounding, View, ViewMut,
    accuracy::{round, round_to_f16, ulp_distance},
};
use norm_testing::values::Random;

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

/// The norm of rows of f16 by this description, in f16.
fn norm_of(x: &[f16], norm: Norm<'_>) -> norm_host::Result<Vec<f16>> {
    let mut y = vec![f16::ZERO; ROWS * DIM];
    let x = View::from_slice(x, &[ROWS, DIM])?;
    norm.rows(x, &mut ViewMut::from_slice(&mut y, &[ROWS, DIM])?, &Cpu)?;
    Ok(y)
}

/// Elements as they are by `step` of each and the parameter of its column, rounded to f16.
fn then(y: &[f16], parameter: &[f16], step: impl Fn(f64, f64) -> f64) -> Vec<f16> {
    f16s(y.iter().enumerate().map(|(index, y)| step(y.to_f64(), parameter[index % DIM].to_f64())))
}

/// As eager code has it: a norm without weights, stored, and a product.
#[test]
fn before_the_weight_is_a_norm_without_weights_and_a_product() -> norm_host::Result<()> {
    let rows = rows();
    let weighted = Norm::rms(EPS).weight(View::from_slice(&rows.1, &[DIM])?);
    let steps = then(&norm_of(&rows.0, Norm::rms(EPS))?, &rows.1, |n, w| n * w);
    let before_weight = norm_of(&rows.0, weighted.rounding(Rounding::BeforeWeight))?;
    assert!(before_weight == steps);
    // The weights have the type of x.
    assert!(norm_of(&rows.0, weighted.rounding(Rounding::T5))? == steps);
    let formula = share_apart(&before_weight, &rows, |v, w| to_f16(to_f16(v) * w));
    assert!(formula < 2e-4, "{formula}");
    let single = share_apart(&before_weight, &rows, |v, w| to_f16(v * w));
    assert!((0.2..0.3).contains(&single), "{single}");
    Ok(())
}

#[test]
fn before_the_bias_is_a_norm_with_weights_and_a_sum() -> norm_host::Result<()> {
    let (x, w, _) = rows();
    let mut random = Random(2);
    let b = f16s((0..DIM).map(|_| random.signed(1.0)));
    let [w, b_view] = [&w, &b].map(|param| View::from_slice(param, &[DIM]).expect("it has as many"));
    for weighted in [Norm::rms(EPS).weight(w), Norm::layer(EPS).weight(w)] {
        let steps = then(&norm_of(&x, weighted)?, &b, |product, b| product + b);
        assert!(norm_of(&x, weighted.bias(b_view).rounding(Rounding::BeforeBias))? == steps);
        assert!(norm_of(&x, weighted.bias(b_view))? != steps);
        // Without biases it is a single rounding.
        assert!(norm_of(&x, weighted.rounding(Rounding::BeforeBias))? == norm_of(&x, weighted)?);
    }
    Ok(())
}

#[test]
fn a_rounded_offset_is_a_weight_that_was_rounded_when_it_was_loaded() -> norm_host::Result<()> {
    let (x, w, _) = rows();
    let prepared = then(&w, &w, |w, _| w + 1.0);
    let weight = |w| Norm::layer(EPS).weight(View::from_slice(w, &[DIM]).expect("it has as many"));
    let expected = norm_of(&x, weight(&prepared))?;
    assert!(norm_of(&x, weight(&w).weight_offset(1.0).round_offset(true))? == expected);
    assert!(norm_of(&x, weight(&w).weight_offset(1.0))? != expected);
    Ok(())
}

/// Where x is f32, or T5's weights are, there is nothing to round to; nor before the bias, with y in f32.
#[test]
fn orders_that_round_to_f32_are_single() -> norm_host::Result<()> {
    let (x, w, _) = rows();
    let wide: Vec<f32> = x.iter().map(|x| x.to_f32()).collect();
    let wide_w: Vec<f32> = w.iter().map(|w| w.to_f32() + 1e-5).collect();
    let [narrow_w, wide_w] = [View::from_slice(&w, &[DIM])?, View::from_slice(&wide_w, &[DIM])?];
    let wide_x = View::from_slice(&wide, &[ROWS, DIM])?;
    let of = |norm: Norm<'_>| -> norm_host::Result<Vec<f32>> {
        let mut y = vec![0.0; ROWS * DIM];
        norm.rows(wide_x, &mut ViewMut::from_slice(&mut y, &[ROWS, DIM])?, &Cpu)?;
        Ok(y)
    };
    let norm = Norm::layer(EPS).weight(narrow_w).bias(narrow_w);
    for rounding in [Rounding::BeforeWeight, Rounding::BeforeBias] {
        assert!(of(norm.rounding(rounding))? == of(norm)?);
    }
    assert!(of(norm.rounding(Rounding::T5))? != of(norm)?);
    let norm = Norm::rms(EPS).weight(wide_w);
    assert!(norm_of(&x, norm.rounding(Rounding::T5))? == norm_of(&x, norm)?);
    Ok(())
}

/// f32 weights beside f16: numbers of f32 that were rounded to f16 in between.
#[test]
fn before_f32_weights_nearly_every_element_differs() -> norm_host::Result<()> {
    let (x, w, _) = rows();
    let wide_w: Vec<f32> = w.iter().map(|w| w.to_f32() + 1e-5).collect();
    let norm = Norm::rms(EPS).weight(View::from_slice(&wide_w, &[DIM])?);
    let of = |norm: Norm<'_>| -> norm_host::Result<Vec<f32>> {
        let mut y = vec![0.0_f32; ROWS * DIM];
        let x = View::from_slice(&x, &[ROWS, DIM])?;
        norm.rows(x, &mut ViewMut::from_slice(&mut y, &[ROWS, DIM])?, &Cpu)?;
        Ok(y)
    };
    let (single, before_weight) = (of(norm)?, of(norm.rounding(Rounding::BeforeWeight))?);
    let apart = single.iter().zip(&before_weight).filter(|(single, rounded)| single != rounded).count();
    assert!(apart as f64 > 0.98 * single.len() as f64, "{apart}");
    let narrow = norm_of(&x, Norm::rms(EPS))?;
    let steps = narrow.iter().enumerate().map(|(index, n)| n.to_f32() * wide_w[index % DIM]);
    assert!(before_weight == steps.collect::<Vec<_>>());
    Ok(())
}

/// In every order but `Single` what is added to y has its type first.
#[test]
fn behind_a_norm_all_orders_but_one_round_it_first() -> norm_host::Result<()> {
    let (x, w, _) = rows();
    let mut random = Random(3);
    let before = f16s((0..ROWS * DIM).map(|_| random.signed(2.0)));
    let weighted = Norm::rms(EPS).weight(View::from_slice(&w, &[DIM])?);
    for rounding in Rounding::ALL {
        let norm = weighted.rounding(rounding);
        let mut y = before.clone();
        let x_view = View::from_slice(&x, &[ROWS, DIM])?;
        norm.norm_then_add(x_view, &mut ViewMut::from_slice(&mut y, &[ROWS, DIM])?, &Cpu)?;
        let norms = norm_of(&x, norm)?;
        let steps = f16s(norms.iter().zip(&before).map(|(norm, y)| norm.to_f64() + y.to_f64()));
        assert_eq!(y == steps, rounding != Rounding::Single, "{rounding}");
    }
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

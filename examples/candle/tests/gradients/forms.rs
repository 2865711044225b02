//! Modules, operations and residuals, beside candle-nn's in f32, differences of the f64 reference, and rows that
//! are hard.

use candle_core::{DType, Module, Result, Tensor, Var};
use candle_nn::ops::{layer_norm_slow, rms_norm_slow};
use norm_host::{
    NormKind,
    for_candle::{LayerNorm, Norm, RmsNorm, ops},
    reference,
};

use crate::{CPU, EPS, assert_same, backward, largest, ones, random, variable, variables, wide};

#[test]
fn modules_have_the_gradients_of_candles() -> Result<()> {
    let (x, w, b) = (variable(&[2, 7, 96])?, variable(&[96])?, variable(&[96])?);
    let by = wide(&random(&[2, 7, 96], DType::F32)?)?;
    let of = |ys: Result<Tensor>| backward(&ys?, &by);
    let (w_of, b_of) = (|| w.as_tensor().clone(), || b.as_tensor().clone());

    let candles = candle_nn::RmsNorm::new(w_of(), 1e-5);
    let expected = of(candles.forward_diff(&x))?;
    let ours = RmsNorm::from(candles);
    for given in [ours.forward(&x), ours.forward_diff(&x), ops::rms_norm(&x, &w, EPS)] {
        assert_same(&of(given)?, &expected, &[("x", &x), ("w", &w)])?;
    }

    let expected = of(layer_norm_slow(&x, &w, &b, EPS))?;
    let ours = LayerNorm::new(w_of(), b_of(), 1e-5);
    for given in [ours.forward(&x), ops::layer_norm(&x, &w, &b, EPS)] {
        assert_same(&of(given)?, &expected, &[("x", &x), ("w", &w), ("b", &b)])?;
    }

    let candles = candle_nn::LayerNorm::new_no_bias(w_of(), 1e-5);
    let expected = of(candles.forward(&x))?;
    assert_same(&of(LayerNorm::from(candles).forward(&x))?, &expected, &[("x", &x), ("w", &w)])
}

#[test]
fn one_weight_for_all_heads_has_the_sum_of_their_gradients() -> Result<()> {
    let (x, w) = (variable(&[3, 5, 4, 32])?, variable(&[32])?);
    let by = wide(&random(&[3, 5, 4, 32], DType::F32)?)?;
    let given = ops::head_norm(&x, &w.broadcast_as((4, 32))?, None, EPS, NormKind::Rms)?;
    let expected = backward(&rms_norm_slow(&x, &w, EPS)?, &by)?;
    assert_same(&backward(&given, &by)?, &expected, &[("x", &x), ("w", &w)])
}

#[test]
fn residuals_have_gradients() -> Result<()> {
    let shape = [2, 5, 64];
    let (x, r, w, b) = (variable(&shape)?, variable(&shape)?, variable(&[64])?, variable(&[64])?);
    let (by, by_sum) = (wide(&random(&shape, DType::F32)?)?, wide(&random(&shape, DType::F32)?)?);
    // What goes on in the residual stream counts, too.
    let of =
        |(sum, y): &(Tensor, Tensor)| ((wide(sum)? * &by_sum)? + (wide(y)? * &by)?)?.sum_all()?.backward();
    let (of_rms, of_layer) =
        ([("x", &x), ("r", &r), ("w", &w)], [("x", &x), ("r", &r), ("w", &w), ("b", &b)]);
    let sum = Tensor::add(&x, &r)?;
    let rms = |x: &Tensor| rms_norm_slow(x, &w, EPS);
    let layer = |x: &Tensor| layer_norm_slow(x, &w, &b, EPS);

    let before = ops::add_then_rms_norm(&x, &r, &w, EPS)?;
    assert_same(&of(&before)?, &of(&(sum.clone(), rms(&sum)?))?, &of_rms)?;
    let module = RmsNorm::new(w.as_tensor().clone(), 1e-5).add_then_forward(&x, &r)?;
    assert_same(&of(&module)?, &of(&before)?, &of_rms)?;
    let before = ops::add_then_layer_norm(&x, &r, &w, &b, EPS)?;
    assert_same(&of(&before)?, &of(&(sum.clone(), layer(&sum)?))?, &of_layer)?;

    let behind = ops::rms_norm_then_add(&x, &w, &r, EPS)?;
    assert_same(&backward(&behind, &by)?, &backward(&(rms(&x)? + &*r)?, &by)?, &of_rms)?;
    let behind = ops::layer_norm_then_add(&x, &w, &b, &r, EPS)?;
    assert_same(&backward(&behind, &by)?, &backward(&(layer(&x)? + &*r)?, &by)?, &of_layer)
}

#[test]
fn residuals_out_of_place_are_those_in_place() -> Result<()> {
    for dtype in [DType::F16, DType::BF16, DType::F32] {
        let (x, r, w) = (random(&[3, 64], dtype)?, random(&[3, 64], dtype)?, random(&[64], DType::F32)?);
        let bits = |tensor: &Tensor| wide(tensor)?.flatten_all()?.to_vec1::<f64>();
        let (sum, y) = ops::add_then_rms_norm(&x, &r, &w, EPS)?;
        let out_of_place = ops::rms_norm_then_add(&x, &w, &r, EPS)?;
        let in_place = r.copy()?;
        ops::rms_norm_add(&x, &w, &in_place, EPS)?;
        assert_eq!(bits(&out_of_place)?, bits(&in_place)?);
        let in_place = ops::add_rms_norm(&x, &r, &w, EPS)?;
        assert_eq!((bits(&sum)?, bits(&y)?), (bits(&r)?, bits(&in_place)?));
    }
    Ok(())
}

/// Not by candle's differentiation: by differences of the f64 reference.
#[test]
fn gradients_are_the_slopes_of_the_reference() -> Result<()> {
    const DIM: usize = 24;
    let (x, w, by) = (variable(&[1, DIM])?, variable(&[DIM])?, wide(&random(&[1, DIM], DType::F32)?)?);
    let values = |tensor: &Tensor| wide(tensor)?.flatten_all()?.to_vec1::<f64>();
    let (x_values, w_values, by_values) = (values(&x)?, values(&w)?, values(&by)?);
    let loss = |kind: NormKind, x: &[f64], w: &[f64]| -> f64 {
        let y = match kind {
            NormKind::Rms => reference::rms_norm(x, Some(w), EPS.into()),
            NormKind::Layer => reference::layer_norm(x, Some(w), None, EPS.into()),
        };
        y.iter().zip(&by_values).map(|(y, by)| y * by).sum()
    };
    let moved = |values: &[f64], index: usize, step: f64| {
        let mut values = values.to_vec();
        values[index] += step;
        values
    };
    const STEP: f64 = 1e-5;
    for kind in [NormKind::Rms, NormKind::Layer] {
        let given = backward(&Norm::new(kind, EPS).weight(w.as_tensor().clone()).rows(&x)?, &by)?;
        let [of_x, of_w] = [&x, &w].map(|variable| values(given.get(variable).expect("a variable")));
        for (index, (of_x, of_w)) in of_x?.into_iter().zip(of_w?).enumerate() {
            let [up, down] = [STEP, -STEP].map(|step| loss(kind, &moved(&x_values, index, step), &w_values));
            assert!((of_x - (up - down) / (2.0 * STEP)).abs() < 2e-5, "{kind:?}, x[{index}]: {of_x}");
            let [up, down] = [STEP, -STEP].map(|step| loss(kind, &x_values, &moved(&w_values, index, step)));
            assert!((of_w - (up - down) / (2.0 * STEP)).abs() < 2e-5, "{kind:?}, w[{index}]: {of_w}");
        }
    }
    Ok(())
}

/// Far from zero, where a mean that is rounded to f32 before it is taken away costs all but a few digits.
#[test]
fn gradients_of_layer_norm_hold_far_from_zero() -> Result<()> {
    let source = (random(&[4, 512], DType::F32)? + 1e5)?;
    let [x, x64] = variables(&source)?;
    let ([w, w64], by) = (variables(&random(&[512], DType::F32)?)?, wide(&random(&[4, 512], DType::F32)?)?);
    let given = backward(&LayerNorm::new_no_bias(w.as_tensor().clone(), 1e-5).forward(&x)?, &by)?;
    let expected = backward(&layer_norm_slow(&x64, &w64, &w64.zeros_like()?, EPS)?, &by)?;
    for (given, expected) in [(&x, &x64), (&w, &w64)].map(|(v, v64)| (given.get(v), expected.get(v64))) {
        let (given, expected) = (given.expect("a variable"), expected.expect("a variable"));
        let apart = largest(&(wide(given)? - expected)?)?;
        assert!(apart <= 1e-5 * (1.0 + largest(expected)?), "off by {apart}");
    }
    Ok(())
}

#[test]
fn an_infinite_f16_counts_as_the_largest_finite_one() -> Result<()> {
    let w = Var::from_tensor(&ones(&[4]))?;
    let of = |first: f32| -> Result<Vec<f32>> {
        let x = Tensor::new(&[[first, 30000.0, -30000.0, 1.0]], &CPU)?.to_dtype(DType::F16)?;
        let x = Var::from_tensor(&x)?;
        let y = Norm::rms(EPS).weight(w.as_tensor().clone()).rows(&x)?;
        backward(&y, &wide(&y.ones_like()?)?)?.get(&w).expect("w").to_vec1()
    };
    assert_eq!(of(f32::INFINITY)?, of(65504.0)?);
    assert!(of(f32::INFINITY)?.iter().all(|gradient| gradient.is_finite()));
    Ok(())
}

#[test]
fn no_rows_give_gradients_of_zero() -> Result<()> {
    let (x, w) = (Var::from_tensor(&ones(&[0, 8]))?, Var::from_tensor(&ones(&[8]))?);
    let gradients = ops::rms_norm(&x, &w, EPS)?.sum_all()?.backward()?;
    assert_eq!(gradients.get(&x).expect("x").dims(), [0, 8]);
    assert_eq!(gradients.get(&w).expect("w").to_vec1::<f32>()?, [0.0; 8]);
    Ok(())
}

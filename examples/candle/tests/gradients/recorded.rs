//! What candle records, and what refuses to be.

use std::process::Command;

use candle_core::{DType, Module, Result, Tensor, Var, backprop::GradStore};
use candle_nn::{VarBuilder, VarMap, ops::layer_norm_slow};
use norm_host::for_candle::{LayerNorm, ops};

use crate::{CPU, EPS, assert_same, ones, random, variable, wide};

/// What the message names in place of `add_then_norm_in_place` and of what is named after it.
const ADD_THEN: &str =
    "add_then_norm (of a module add_then_forward; of ops add_then_rms_norm, add_then_layer_norm)";
/// The same for `norm_then_add_in_place`.
const THEN_ADD: &str = "norm_then_add (of ops rms_norm_then_add, layer_norm_then_add)";

#[test]
fn only_what_leads_to_a_variable_is_recorded() -> Result<()> {
    let (x, w) = (ones(&[2, 8]), ones(&[8]));
    assert!(!ops::rms_norm(&x, &w, EPS)?.track_op());
    assert!(!ops::add_rms_norm(&x, &ones(&[2, 8]), &w, EPS)?.track_op());
    // A frozen input, trained weights; and the other way round.
    let trained = Var::from_tensor(&w)?;
    let gradients = ops::rms_norm(&x, &trained, EPS)?.sum_all()?.backward()?;
    assert!(gradients.get(&trained).is_some() && gradients.get(&x).is_none());
    let trained = Var::from_tensor(&x)?;
    let gradients = ops::rms_norm(&trained, &w, EPS)?.sum_all()?.backward()?;
    assert!(gradients.get(&trained).is_some() && gradients.get(&w).is_none());
    // A gradient holds on to nothing that it was computed from.
    assert!(!gradients.get(&trained).expect("x").track_op());
    Ok(())
}

#[test]
fn what_is_updated_in_place_takes_no_variables() -> Result<()> {
    let error = |result: Result<()>| {
        let text = result.unwrap_err().to_string();
        text.lines().next().unwrap_or_default().to_owned()
    };
    for (index, name) in ["x", "r", "w", "b"].into_iter().enumerate() {
        // Computed from a variable counts as the variable does.
        for computed in [false, true] {
            let tensor = |at: usize, shape: &[usize]| -> Result<Tensor> {
                let variable = Var::from_tensor(&ones(shape))?;
                match (at == index, computed) {
                    (true, true) => variable.affine(2.0, 1.0),
                    (true, false) => Ok(variable.as_tensor().clone()),
                    (false, _) => Ok(variable.detach()),
                }
            };
            let (x, r) = (tensor(0, &[2, 8])?, tensor(1, &[2, 8])?);
            let (w, b) = (tensor(2, &[8])?, tensor(3, &[8])?);
            let before = r.to_vec2::<f32>()?;
            let expected = |name: &str, written: &str, instead: &str| {
                format!(
                    "{name}: expected a tensor without gradients, since {written} is updated in place, given one \
                     that candle records for backpropagation: call {instead}, or detach() the tensor"
                )
            };
            let given = error(ops::add_layer_norm(&x, &r, &w, &b, EPS).map(drop));
            assert_eq!(given, expected(name, "r", ADD_THEN));
            let module = LayerNorm::new(w.clone(), b.clone(), 1e-5);
            assert_eq!(error(module.forward_add(&x, &r).map(drop)), expected(name, "r", ADD_THEN));
            let given = error(ops::layer_norm_add(&x, &w, &b, &r, EPS));
            assert_eq!(given, expected(if name == "r" { "y" } else { name }, "y", THEN_ADD));
            assert_eq!(r.to_vec2::<f32>()?, before);
        }
    }
    Ok(())
}

/// A layer between two norms, trained for some steps from the same weights.
#[test]
fn training_goes_as_with_candles_norms() -> Result<()> {
    fn losses<M: Module>(norm: impl Fn(VarBuilder<'_>) -> Result<M>) -> Result<Vec<f32>> {
        let at = |shape: &[usize]| -> Result<Tensor> {
            let values =
                (0..shape.iter().product()).map(|i: usize| ((i * 37 % 101) as f32 / 50.0 - 1.0) * 0.8);
            Tensor::from_iter(values, &CPU)?.reshape(shape)
        };
        let weights = VarMap::new();
        let builder = VarBuilder::from_varmap(&weights, DType::F32, &CPU);
        let (first, second) = (norm(builder.pp("first"))?, norm(builder.pp("second"))?);
        let layer = Var::from_tensor(&at(&[16, 16])?)?;
        let (x, target) = (at(&[12, 16])?, (at(&[16, 12])?.t()? * 0.5)?);
        let mut losses = vec![];
        for _ in 0..20 {
            let y = second.forward(&first.forward(&x)?.matmul(&layer)?)?;
            let loss = (y - &target)?.sqr()?.mean_all()?;
            let gradients = loss.backward()?;
            for variable in weights.all_vars().iter().chain([&layer]) {
                let gradient = gradients.get(variable).expect("every weight has a gradient");
                variable.set(&(variable.as_tensor() - (gradient * 0.5)?)?)?;
            }
            losses.push(loss.to_scalar()?);
        }
        Ok(losses)
    }
    let given = losses(|weights| norm_host::for_candle::layer_norm_no_bias(16, 1e-5, weights))?;
    let expected = losses(|weights| candle_nn::layer_norm_no_bias(16, 1e-5, weights))?;
    assert!(given[19] < 0.5 * given[0], "{given:?}");
    for (given, expected) in given.iter().zip(&expected) {
        assert!((given - expected).abs() < 1e-4, "{given} for {expected}");
    }
    Ok(())
}

/// candle gives gradients of gradients in processes that ask for them by an environment variable.
#[test]
fn gradients_of_gradients_are_candles() {
    let this = std::env::current_exe().unwrap();
    let child = Command::new(this)
        .args(["--exact", "recorded::second_order", "--ignored", "--nocapture"])
        .env("CANDLE_GRAD_DO_NOT_DETACH", "1")
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && out.contains("1 passed"), "{out}");
}

#[test]
#[ignore = "run by gradients_of_gradients_are_candles, in a process of its own"]
fn second_order() -> Result<()> {
    let (x, w, b) = (variable(&[3, 32])?, variable(&[32])?, variable(&[32])?);
    let by = wide(&random(&[3, 32], DType::F32)?)?;
    // The loss is no linear one: else candle has nothing in front of the norm to differentiate by.
    let twice = |y: Tensor| -> Result<GradStore> {
        let once = (wide(&y)?.sqr()? * &by)?.sum_all()?.backward()?;
        let (of_x, of_w) = (once.get(&x).expect("x"), once.get(&w).expect("w"));
        (of_x.sqr()?.sum_all()? + of_w.sqr()?.sum_all()?)?.backward()
    };
    let given = twice(ops::layer_norm(&x, &w, &b, EPS)?)?;
    assert_same(&given, &twice(layer_norm_slow(&x, &w, &b, EPS)?)?, &[("x", &x), ("w", &w), ("b", &b)])
}

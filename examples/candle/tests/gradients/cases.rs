//! Random shapes, layouts, types and options, beside candle's operations in f64.

use candle_core::{D, DType, Result, Tensor, Var, backprop::GradStore};
use candle_nn::ops::{layer_norm_slow, rms_norm_slow};
use norm_host::{NormKind, Rounding, for_candle::Norm};
use proptest::{prelude::*, test_runner::TestCaseError};

use crate::{backward, largest, random, variables, wide};

/// How the input lies in the variable that it is taken from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    Whole,
    RowsApart,
    LastApart,
    Broadcast,
}

#[derive(Clone, Debug)]
struct Case {
    shape: Vec<usize>,
    lie: Lie,
    x: DType,
    w: DType,
    layer: bool,
    heads: bool,
    /// Whether all heads share the weights and biases.
    shared: bool,
    weight: bool,
    bias: bool,
    eps: f32,
    offset: f32,
    round_offset: bool,
    rounding: Rounding,
}

fn case() -> impl Strategy<Value = Case> {
    let dtype = || prop::sample::select(vec![DType::F16, DType::BF16, DType::F32]);
    let lies = vec![Lie::Whole, Lie::RowsApart, Lie::LastApart, Lie::Broadcast];
    let shape = (prop::collection::vec(1_usize..5, 0..4), 1_usize..200)
        .prop_map(|(front, dim)| [front, vec![dim]].concat());
    let numbers = (prop::sample::select(vec![1e-5_f32, 0.5]), prop::sample::select(vec![0_f32, 1.0]));
    let order = (prop::sample::select(Rounding::ALL.to_vec()), any::<bool>());
    (shape, prop::sample::select(lies), dtype(), dtype(), any::<[bool; 5]>(), numbers, order).prop_map(
        |(
            shape,
            lie,
            x,
            w,
            [layer, heads, shared, weight, bias],
            (eps, offset),
            (rounding, round_offset),
        )| {
            let heads = heads && shape.len() > 1;
            // candle adds up what reaches the one row in the row's type.
            let x = if lie == Lie::Broadcast { DType::F32 } else { x };
            // An offset is added to weights.
            let offset = if weight { offset } else { 0.0 };
            let round_offset = round_offset && offset != 0.0;
            let rounding = if weight { rounding } else { Rounding::BeforeWeight };
            Case { shape, lie, x, w, layer, heads, shared, weight, bias, eps, offset, round_offset, rounding }
        },
    )
}

impl Case {
    /// What the input is taken from, by [`input`](Case::input).
    fn source(&self) -> Result<Tensor> {
        let mut shape = self.shape.clone();
        let rank = shape.len();
        match self.lie {
            Lie::RowsApart => shape[rank - 1] += 5,
            Lie::LastApart if rank > 1 => shape.swap(rank - 2, rank - 1),
            Lie::Broadcast => drop(shape.drain(..rank - 1)),
            Lie::Whole | Lie::LastApart => {}
        }
        random(&shape, self.x)
    }

    fn input(&self, source: &Tensor) -> Result<Tensor> {
        match self.lie {
            Lie::RowsApart => source.narrow(D::Minus1, 2, self.shape[self.shape.len() - 1]),
            Lie::LastApart if self.shape.len() > 1 => source.transpose(D::Minus1, D::Minus2),
            Lie::Broadcast => source.broadcast_as(self.shape.as_slice()),
            Lie::Whole | Lie::LastApart => Ok(source.clone()),
        }
    }

    fn parameter_shape(&self) -> &[usize] {
        &self.shape[self.shape.len() - 1 - usize::from(self.heads && !self.shared)..]
    }

    fn norm(&self, w: &Tensor, b: &Tensor) -> Norm {
        Norm::new(if self.layer { NormKind::Layer } else { NormKind::Rms }, self.eps)
            .weight(self.weight.then(|| w.clone()))
            .weight_offset(self.offset)
            .round_offset(self.round_offset)
            .rounding(self.rounding)
            .bias(self.bias.then(|| b.clone()))
    }

    fn apply(&self, w: &Tensor, b: &Tensor, x: &Tensor) -> Result<Tensor> {
        let norm = self.norm(w, b);
        if self.heads { norm.heads(x) } else { norm.rows(x) }
    }

    /// The same of candle's operations, one by one.
    fn slow(&self, w: &Tensor, b: &Tensor, x: &Tensor) -> Result<Tensor> {
        let w = if self.weight { (w + f64::from(self.offset))? } else { w.ones_like()? };
        let b = if self.bias { b.clone() } else { b.zeros_like()? };
        match self.layer {
            true => layer_norm_slow(x, &w, &b, self.eps),
            false => rms_norm_slow(x, &w, self.eps)?.broadcast_add(&b),
        }
    }
}

/// Gradients that agree to 1e-5 of the terms that they are the sum of, the largest of which is `terms`, and to
/// one rounding of their type.
fn assert_close(
    given: &Tensor,
    expected: &Tensor,
    dtype: DType,
    terms: f64,
) -> std::result::Result<(), TestCaseError> {
    prop_assert_eq!((given.dtype(), given.shape()), (dtype, expected.shape()));
    // Of their size, and among the least numbers of the type.
    let (rounding, least) = match dtype {
        DType::F16 => (2.0_f64.powi(-11), 2.0_f64.powi(-24)),
        DType::BF16 => (2.0_f64.powi(-8), 0.0),
        _ => (0.0, 0.0),
    };
    let values = |tensor: &Tensor| wide(tensor)?.flatten_all()?.to_vec1::<f64>();
    for (given, expected) in values(given)?.into_iter().zip(values(expected)?) {
        let allowed = 1e-5 * terms + 1.01 * rounding * expected.abs() + least;
        // NaN is not.
        let is_close = (given - expected).abs() <= allowed;
        prop_assert!(is_close, "{} for {}, allowed {}", given, expected, allowed);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn gradients_agree_with_those_of_candles_operations_in_f64(case in case()) {
        let [x, x64] = variables(&case.source()?)?;
        let [w, w64] = variables(&random(case.parameter_shape(), case.w)?)?;
        let [b, b64] = variables(&random(case.parameter_shape(), case.w)?)?;
        // Of the type of y, so that no gradient is rounded on its way to the norm.
        let by = wide(&random(&case.shape, case.x)?)?;
        let given = backward(&case.apply(&w, &b, &case.input(&x)?)?, &by)?;
        let expected = backward(&case.slow(&w64, &b64, &case.input(&x64)?)?, &by)?;

        // How large the terms are: of a parameter's gradient those of its rows, of x's those of its row.
        let x_hat = Case { weight: false, bias: false, ..case.clone() }.slow(&w64, &b64, &case.input(&x64)?)?;
        let rows = by.elem_count() / case.parameter_shape().iter().product::<usize>();
        let w_terms = largest(&(&by * x_hat)?)? * rows as f64;
        let source = case.input(&x64)?;
        let centered = match case.layer {
            true => source.broadcast_sub(&source.mean_keepdim(D::Minus1)?)?,
            false => source,
        };
        let rstd = largest(&(centered.sqr()?.mean_keepdim(D::Minus1)? + f64::from(case.eps))?.sqrt()?.recip()?)?;
        let weight = if case.weight { largest(&w64)? + 1.0 } else { 1.0 };
        let repeats = by.elem_count().div_ceil(x.elem_count());
        let x_terms = largest(&by)? * weight * rstd * repeats as f64;

        let of = |gradients: &GradStore, variable: &Var| gradients.get(variable).cloned();
        let pairs = [
            (of(&given, &x), of(&expected, &x64), case.x, x_terms, true),
            (of(&given, &w), of(&expected, &w64), case.w, w_terms, case.weight),
            (of(&given, &b), of(&expected, &b64), case.w, largest(&by)? * rows as f64, case.bias),
        ];
        for (given, expected, dtype, terms, is_there) in pairs {
            prop_assert_eq!(given.is_some(), is_there);
            if let (Some(given), Some(expected)) = (given, expected) {
                assert_close(&given, &expected, dtype, terms)?;
            }
        }
    }
}

//! The operations over candle's tensors agree with candle's own, whatever the layout.

use candle_core::{D, DType, Device, Module, Result, Tensor, Var};
use candle_nn::ops::{layer_norm_slow, rms_norm_slow};
use norm_host::{
    Activation, GateOrder, Gating, NormKind, Pairing, Rounding,
    for_candle::{LayerNorm, Norm, QkNormRope, RmsNorm, Rotary, ops},
};
use proptest::{prelude::*, test_runner::TestCaseError};

const EPS: f32 = 1e-5;

/// How a tensor lies in its storage.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    /// As candle makes it.
    Contiguous,
    /// Rows with other elements in front and behind.
    RowsApart,
    /// The first two axes swapped, as heads and positions are.
    Swapped,
    /// Elements of a row apart.
    LastApart,
    /// Rows that are all the same one.
    Broadcast,
}

#[derive(Clone, Debug)]
struct Case {
    shape: Vec<usize>,
    lie: Lie,
    dtype: DType,
    w_dtype: DType,
    layer: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let dtype = || prop::sample::select(vec![DType::F16, DType::BF16, DType::F32]);
    let lies = vec![Lie::Contiguous, Lie::RowsApart, Lie::Swapped, Lie::LastApart, Lie::Broadcast];
    let shape = prop::collection::vec(1_usize..5, 1..6)
        .prop_flat_map(|front| (1_usize..300).prop_map(move |dim| [&front[1..], &[dim]].concat()));
    (shape, prop::sample::select(lies), dtype(), dtype(), any::<bool>())
        .prop_map(|(shape, lie, dtype, w_dtype, layer)| Case { shape, lie, dtype, w_dtype, layer })
}

impl Case {
    /// A tensor of this shape, type and layout.
    fn tensor(&self, dtype: DType) -> Result<Tensor> {
        let random = |shape: &[usize]| Tensor::randn(0.3_f32, 1.5, shape, &Device::Cpu)?.to_dtype(dtype);
        let shape = &self.shape;
        let rank = shape.len();
        match self.lie {
            Lie::RowsApart => {
                let mut wider = shape.clone();
                wider[rank - 1] += 5;
                random(&wider)?.narrow(rank - 1, 2, shape[rank - 1])
            }
            Lie::Swapped | Lie::LastApart if rank > 1 => {
                let axes = if self.lie == Lie::Swapped && rank > 2 { (0, 1) } else { (rank - 2, rank - 1) };
                let mut swapped = shape.clone();
                swapped.swap(axes.0, axes.1);
                random(&swapped)?.transpose(axes.0, axes.1)
            }
            Lie::Broadcast => random(&shape[rank - 1..])?.broadcast_as(shape.as_slice()),
            _ => random(shape),
        }
    }

    /// The same, lying so that it can be written: what cannot is refused, as shown below.
    fn writable(self) -> Case {
        let lie = match (self.lie, self.shape.len()) {
            (_, 5..) => Lie::Contiguous,
            (Lie::Broadcast | Lie::LastApart, _) | (Lie::Swapped, ..=2) => Lie::RowsApart,
            (lie, _) => lie,
        };
        Case { lie, ..self }
    }

    fn dim(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }

    /// Weights or biases.
    fn parameter(&self) -> Result<Tensor> {
        Tensor::randn(1_f32, 0.5, self.dim(), &Device::Cpu)?.to_dtype(self.w_dtype)
    }

    /// candle's norm of `x`, in f64: in f32 its LayerNorm of elements that are almost the same is far off.
    fn expected(&self, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
        let [x, w, b] = [x, w, b].map(|tensor| tensor.to_dtype(DType::F64));
        if self.layer { layer_norm_slow(&x?, &w?, &b?, EPS) } else { rms_norm_slow(&x?, &w?, EPS) }
    }

    fn norm(&self, w: &Tensor, b: &Tensor) -> Norm {
        match self.layer {
            true => Norm::layer(EPS).weight(w.clone()).bias(b.clone()),
            false => Norm::rms(EPS).weight(w.clone()),
        }
    }
}

/// Elements agree to f32's rounding of terms of a few, and to one rounding of the result's type.
fn assert_close(given: &Tensor, expected: &Tensor, dtype: DType) -> std::result::Result<(), TestCaseError> {
    prop_assert_eq!((given.dtype(), given.shape()), (dtype, expected.shape()));
    let values = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
    let rounding = match dtype {
        DType::F16 => 2.0_f32.powi(-11),
        DType::BF16 => 2.0_f32.powi(-8),
        _ => 0.0,
    };
    for (given, expected) in values(given)?.into_iter().zip(values(expected)?) {
        // The least f16s are further apart than that.
        let allowed = expected.abs() * (1.01 * rounding + 1e-5) + 1e-5;
        prop_assert!((given - expected).abs() <= allowed, "{} for {}", given, expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn rows_agree(case in case()) {
        let (x, w, b) = (case.tensor(case.dtype)?, case.parameter()?, case.parameter()?);
        let given = case.norm(&w, &b).rows(&x)?;
        prop_assert!(given.is_contiguous());
        assert_close(&given, &case.expected(&x, &w, &b)?, case.dtype)?;
    }

    #[test]
    fn a_residual_in_front_becomes_the_sum(case in case()) {
        let case = case.writable();
        let (x, w, b) = (case.tensor(case.dtype)?, case.parameter()?, case.parameter()?);
        let r = case.tensor(case.dtype)?;
        let sum = (&r + &x)?;
        let given = case.norm(&w, &b).add_then_norm_in_place(&x, &r)?;
        prop_assert_eq!(bits(&r)?, bits(&sum)?);
        assert_close(&given, &case.expected(&sum, &w, &b)?, case.dtype)?;
    }

    #[test]
    fn forms_out_of_place_have_the_bits_of_their_parts(case in case()) {
        let (x, r) = (case.tensor(case.dtype)?, case.tensor(case.dtype)?);
        let (w, b) = (case.parameter()?, case.parameter()?);
        let (norm, next) = (case.norm(&w, &b), Norm::rms(EPS).weight(b.clone()));
        let before = bits(&r)?;
        let (sum, y) = norm.add_then_norm(&x, &r)?;
        prop_assert_eq!(bits(&sum)?, bits(&(&x + &r)?)?);
        prop_assert_eq!(bits(&y)?, bits(&norm.rows(&sum)?)?);

        let in_place = r.force_contiguous()?.copy()?;
        norm.norm_then_add_in_place(&x, &in_place)?;
        prop_assert_eq!(bits(&norm.norm_then_add(&x, &r)?)?, bits(&in_place)?);

        let (sum, y) = norm.sandwich_rows(&next, &x, &r)?;
        prop_assert_eq!(bits(&sum)?, bits(&in_place)?);
        prop_assert_eq!(bits(&y)?, bits(&next.rows(&in_place)?)?);
        prop_assert_eq!(bits(&r)?, before);
        for given in [sum, y] {
            prop_assert!(given.is_contiguous());
            prop_assert_eq!((given.dims(), given.dtype()), (x.dims(), x.dtype()));
        }
    }

    #[test]
    fn a_result_is_added_to_what_is_there(case in case()) {
        let case = case.writable();
        let (x, w, b) = (case.tensor(case.dtype)?, case.parameter()?, case.parameter()?);
        // Its type is chosen apart.
        let y = case.tensor(case.w_dtype)?;
        let before = y.to_dtype(DType::F64)?.copy()?;
        case.norm(&w, &b).norm_then_add_in_place(&x, &y)?;
        assert_close(&y, &(before + case.expected(&x, &w, &b)?)?, case.w_dtype)?;
    }

    #[test]
    fn heads_agree_with_each_by_itself(case in case(), heads in 1_usize..6, shared: bool) {
        let case = Case { shape: [&case.shape[..case.shape.len() - 1], &[heads, case.dim()]].concat(), ..case };
        prop_assume!(case.shape.len() <= 5);
        let x = case.tensor(case.dtype)?;
        let (w, b) = match shared {
            true => {
                let all = (heads, case.dim());
                (case.parameter()?.broadcast_as(all)?, case.parameter()?.broadcast_as(all)?)
            }
            false => {
                let all = |_| case.parameter();
                let stack = || Tensor::stack(&(0..heads).map(all).collect::<Result<Vec<_>>>()?, 0);
                (stack()?, stack()?)
            }
        };
        let given = case.norm(&w, &b).heads(&x)?;
        let axis = case.shape.len() - 2;
        for head in 0..heads {
            let expected = case.expected(&x.narrow(axis, head, 1)?, &w.get(head)?, &b.get(head)?)?;
            assert_close(&given.narrow(axis, head, 1)?, &expected, case.dtype)?;
        }
    }

    #[test]
    fn modules_take_the_place_of_candles(case in case()) {
        let case = Case { w_dtype: case.dtype, ..case };
        let (x, w, b) = (case.tensor(case.dtype)?, case.parameter()?, case.parameter()?);
        let (given, expected) = if case.layer {
            let candles = candle_nn::LayerNorm::new(w, b, EPS.into());
            (LayerNorm::from(candles.clone()).forward(&x)?, candles.forward(&x)?)
        } else {
            let candles = candle_nn::RmsNorm::new(w, EPS.into());
            (RmsNorm::from(candles.clone()).forward(&x)?, candles.forward(&x)?)
        };
        // candle rounds on the way too.
        let wide = [given, expected].map(|tensor| tensor.to_dtype(DType::F32));
        let [given, expected] = wide;
        let (given, expected) = (given?, expected?);
        let apart = (&given - &expected)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
        let largest = expected.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
        let rounding = match case.dtype { DType::F16 => 4e-3, DType::BF16 => 3e-2, _ => 1e-5 };
        let allowed = (rounding + 4.0 * f32::EPSILON * narrowness(&x, case.layer)?) * (1.0 + largest);
        prop_assert!(apart <= allowed, "{} of {}, allowed {}", apart, largest, allowed);
    }
}

/// How much a row's norm enlarges what is off in its elements, at most: LayerNorm's of elements that are almost
/// the same is that of their small differences, and candle rounds their mean to f32.
fn narrowness(x: &Tensor, layer: bool) -> Result<f32> {
    if !layer {
        return Ok(0.0);
    }
    let x = x.to_dtype(DType::F32)?;
    let variance = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?.sqr()?.mean_keepdim(D::Minus1)?;
    let deviation = (variance + f64::from(EPS))?.sqrt()?;
    x.abs()?.max_keepdim(D::Minus1)?.div(&deviation)?.flatten_all()?.max(0)?.to_scalar()
}

fn bits(tensor: &Tensor) -> Result<Vec<u32>> {
    let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.into_iter().map(f32::to_bits).collect())
}

fn ones(shape: &[usize]) -> Tensor {
    Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap()
}

/// The text of the error that an operation ends with, without the backtrace that candle may add.
fn error<T: std::fmt::Debug>(result: Result<T>) -> String {
    let text = result.unwrap_err().to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn no_rows_give_no_rows() {
    let y = ops::rms_norm(&ones(&[0, 8]), &ones(&[8]), EPS).unwrap();
    assert_eq!(y.dims(), [0, 8]);
}

#[test]
fn weight_offsets_are_added() {
    let (x, w) = (Tensor::new(&[[3_f32, 4.0]], &Device::Cpu).unwrap(), ones(&[2]));
    let plain = Norm::rms(0.0).weight(w.clone()).rows(&x).unwrap();
    let twice = Norm::rms(0.0).weight(w).weight_offset(1.0).rows(&x).unwrap();
    assert_eq!(bits(&twice).unwrap(), bits(&(plain * 2.0).unwrap()).unwrap());
}

/// What a model's own code computes, operation by operation.
#[test]
fn orders_of_roundings_are_those_of_the_steps_in_their_types() {
    let device = &Device::Cpu;
    let random = |shape: &[usize]| Tensor::randn(0.2_f32, 1.5, shape, device).unwrap();
    let (x, residual) = (random(&[6, 96]).to_dtype(DType::BF16).unwrap(), random(&[6, 96]));
    let residual = residual.to_dtype(DType::BF16).unwrap();
    let w = random(&[96]).to_dtype(DType::BF16).unwrap();
    let norm = Norm::rms(EPS).weight(w.clone()).rounding(Rounding::BeforeWeight);
    // Without weights the norm is rounded to the type of x; the product is candle's.
    let steps = |x: &Tensor| Norm::rms(EPS).rows(x).unwrap().broadcast_mul(&w).unwrap();
    let same = |given: &Tensor, expected: &Tensor| assert_eq!(bits(given).unwrap(), bits(expected).unwrap());

    let expected = steps(&x);
    same(&norm.rows(&x).unwrap(), &expected);
    let single = RmsNorm::new(w.clone(), EPS.into());
    assert_ne!(bits(&single.forward(&x).unwrap()).unwrap(), bits(&expected).unwrap());
    same(&single.clone().rounding(Rounding::BeforeWeight).forward(&x).unwrap(), &expected);
    // w has the type of x.
    same(&single.rounding(Rounding::T5).into_inner().forward(&x).unwrap(), &expected);

    let sum = (&x + &residual).unwrap();
    same(&norm.add_then_norm_in_place(&x, &residual.copy().unwrap()).unwrap(), &steps(&sum));
    let added = (&residual + steps(&x)).unwrap();
    same(&norm.norm_then_add(&x, &residual).unwrap(), &added);
    let in_place = residual.copy().unwrap();
    norm.norm_then_add_in_place(&x, &in_place).unwrap();
    same(&in_place, &added);

    let rounded = (w.clone() + 1.0).unwrap();
    let offset = Norm::rms(EPS).weight(w.clone()).weight_offset(1.0);
    let expected = Norm::rms(EPS).weight(rounded).rows(&x).unwrap();
    same(&offset.clone().round_offset(true).rows(&x).unwrap(), &expected);
    assert_ne!(bits(&offset.rows(&x).unwrap()).unwrap(), bits(&expected).unwrap());

    let b = random(&[96]).to_dtype(DType::BF16).unwrap();
    let layer = LayerNorm::new(w.clone(), b.clone(), EPS.into());
    let expected = Norm::layer(EPS).weight(w).rows(&x).unwrap().broadcast_add(&b).unwrap();
    same(&layer.rounding(Rounding::BeforeBias).forward(&x).unwrap(), &expected);
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let given = error(ops::rms_norm(&ones(&[2, 3]), &ones(&[4]), EPS));
    assert_eq!(given, "w: expected shape (3,), given (4,)");
    let given = error(ops::layer_norm(&ones(&[2, 3]), &ones(&[3]), &ones(&[1, 3]), EPS));
    assert_eq!(given, "b: expected rank 1, given rank 2");
    let given = error(ops::head_norm(&ones(&[4, 2, 3]), &ones(&[2]), None, EPS, NormKind::Rms));
    assert_eq!(given, "w: expected shape (2, 3), or (3,) for all heads, given (2,)");
    let given = error(Norm::rms(EPS).weight_offset(1.0).rows(&ones(&[2, 3])));
    assert_eq!(given, "weight_offset: expected weights to add it to, or 0, given 1 without weights");
    let given = error(Norm::rms(EPS).rounding(Rounding::T5).rows(&ones(&[2, 3])));
    assert_eq!(given, "rounding: expected weights, to whose type t5 rounds, given none");
}

#[test]
fn tensors_that_no_view_leads_to_are_named() {
    let (x, scalar) = (ones(&[2, 3]), Tensor::new(1_f32, &Device::Cpu).unwrap());
    for (result, argument) in [
        (ops::rms_norm(&scalar, &ones(&[1]), EPS), "x"),
        (ops::rms_norm(&x, &scalar, EPS), "w"),
        (ops::layer_norm(&x, &ones(&[3]), &scalar, EPS), "b"),
        (ops::head_norm(&x, &scalar, None, EPS, NormKind::Rms), "w"),
    ] {
        assert_eq!(error(result), format!("{argument}: expected rank 1 to 4, given rank 0"));
    }
    assert_eq!(
        error(ops::add_rms_norm(&ones(&[1]), &scalar, &ones(&[1]), EPS)),
        "r: expected rank 1 to 4, given rank 0"
    );
    let five = ones(&[1, 1, 1, 1, 3]);
    assert_eq!(error(ops::rms_norm(&x, &five, EPS)), "w: expected rank 1 to 4, given rank 5");
}

/// candle-nn's modules keep `eps` in f64, the kernels add it in f32.
#[test]
fn an_eps_that_is_0_in_f32_is_refused() {
    let (x, w) = (ones(&[2, 3]), ones(&[3]));
    let expected = "eps: expected 0 or a positive finite number in the range of f32, given 1e-50";
    assert_eq!(error(RmsNorm::new(w.clone(), 1e-50).forward(&x)), expected);
    assert_eq!(error(LayerNorm::new(w.clone(), w.clone(), 1e-50).forward(&x)), expected);
    assert_eq!(error(RmsNorm::new(w.clone(), 1e-50).forward_add(&x, &x.copy().unwrap())), expected);
    assert!(RmsNorm::new(w, 1e-45).forward(&x).is_ok());
}

#[test]
fn weights_shared_by_heads_have_the_bits_of_repeated_ones() {
    let x = Tensor::randn(0_f32, 1.0, (2, 3, 4, 20), &Device::Cpu).unwrap();
    let w = Tensor::randn(1_f32, 0.5, 20, &Device::Cpu).unwrap();
    for kind in [NormKind::Rms, NormKind::Layer] {
        let norm = |w: Tensor| Norm::new(kind, EPS).weight(w.clone()).bias(w).heads(&x);
        let repeated = w.broadcast_as((4, 20)).unwrap().contiguous().unwrap();
        assert_eq!(bits(&norm(w.clone()).unwrap()).unwrap(), bits(&norm(repeated).unwrap()).unwrap());
    }
}

#[test]
fn numbers_and_types_without_a_norm_are_refused() {
    assert_eq!(
        error(ops::rms_norm(&ones(&[2, 3]), &ones(&[3]), -1.0)),
        "eps: expected 0 or a positive finite number in the range of f32, given -1.0"
    );
    let given = error(ops::rms_norm(&ones(&[2, 3]).to_dtype(DType::F64).unwrap(), &ones(&[3]), EPS));
    assert_eq!(given, "unsupported dtype F64 for op rms-norm");
    let given = error(ops::rms_norm(&ones(&[2, 3]), &ones(&[3]).to_dtype(DType::U8).unwrap(), EPS));
    assert_eq!(given, "unsupported dtype U8 for op rms-norm");
    let given = error(ops::rms_norm(&Tensor::new(1_f32, &Device::Cpu).unwrap(), &ones(&[1]), EPS));
    assert_eq!(given, "x: expected rank 1 to 4, given rank 0");
}

#[test]
fn residuals_that_do_not_fit_are_refused_and_left_alone() {
    let (x, w) = (ones(&[2, 3]), ones(&[3]));
    let r = ones(&[2, 4]);
    assert_eq!(error(ops::add_rms_norm(&x, &r, &w, EPS)), "r: expected shape (2, 3), given (2, 4)");
    let r = ones(&[2, 3]).to_dtype(DType::F16).unwrap();
    assert_eq!(error(ops::add_rms_norm(&x, &r, &w, EPS)), "r: expected dtype f32, given f16");
    assert_eq!(bits(&r).unwrap(), bits(&x).unwrap());
    let r = ones(&[3, 2]).t().unwrap();
    let given = error(ops::add_rms_norm(&x, &r, &w, EPS));
    assert_eq!(given, "r: expected a dense last axis (stride 1), given stride 2");
    let r = ones(&[3]).broadcast_as((2, 3)).unwrap();
    // candle 0.11.1 has a check of its own in front.
    let given = error(ops::add_rms_norm(&x, &r, &w, EPS));
    let ours = "r: expected strides that keep elements apart, given (0, 1) for shape (2, 3)";
    assert!(given.contains("repeated elements") || given == ours, "{given}");
}

#[test]
fn tensors_that_share_storage_with_one_that_is_written_are_refused() {
    let (x, w) = (ones(&[2, 3]), ones(&[3]));
    assert!(error(ops::add_rms_norm(&x, &x.clone(), &w, EPS)).contains("shares storage"));
    let (first, second) = (x.get(0).unwrap(), x.get(1).unwrap());
    assert!(error(ops::rms_norm_add(&first, &w, &second, EPS)).contains("shares storage"));
    let r = ones(&[2, 3]);
    let given = error(ops::add_rms_norm(&x, &r, &r.get(0).unwrap(), EPS));
    assert_eq!(given, "w and r: expected no common memory, given tensors that overlap");
    let given = error(ops::layer_norm_add(&x, &w, &r.get(0).unwrap(), &r, EPS));
    assert_eq!(given, "b and y: expected no common memory, given tensors that overlap");
    assert_eq!(bits(&r).unwrap(), bits(&x).unwrap());
    // The last axis of what is only read may be anything.
    let sum = ops::add_rms_norm(&ones(&[3, 2]).t().unwrap(), &r, &w, EPS).unwrap();
    assert_eq!(sum.dim(D::Minus1).unwrap(), 3);
}

/// Written as for candle-nn, against whatever modules are named: what compiles with candle's compiles here.
macro_rules! candles_interface {
    ($test:ident, $modules:path, $ops:path) => {
        #[test]
        fn $test() -> Result<()> {
            use $modules as nn;
            use $ops as ops;

            let x = Tensor::new(&[[3_f32, 4.0], [-8.0, 6.0]], &Device::Cpu)?;
            let (w, b) =
                (Tensor::new(&[1_f32, 2.0], &Device::Cpu)?, Tensor::new(&[0.5_f32, 0.0], &Device::Cpu)?);
            let weights = candle_nn::VarBuilder::from_tensors(
                [("weight".to_owned(), w.clone()), ("bias".to_owned(), b.clone())].into(),
                DType::F32,
                &Device::Cpu,
            );
            let config = nn::LayerNormConfig { remove_mean: false, ..1e-5.into() };
            let rms = nn::rms_norm(2, 0.0, weights.clone())?;
            let norms: [nn::LayerNorm; 6] = [
                nn::LayerNorm::new(w.clone(), b.clone(), 0.0),
                nn::LayerNorm::new_no_bias(w.clone(), 0.0),
                nn::LayerNorm::rms_norm(w.clone(), 0.0),
                nn::layer_norm(2, config, weights.clone())?,
                nn::layer_norm_no_bias(2, 0.0, weights)?,
                rms.clone().into_inner(),
            ];
            let kept = |norm: &nn::LayerNorm| (norm.bias().is_some(), norm.remove_mean(), norm.eps());
            let expected = [
                (true, true, 0.0),
                (false, true, 0.0),
                (false, false, 0.0),
                (true, false, 1e-5),
                (false, true, 0.0),
                (false, false, 0.0),
            ];
            assert_eq!([0, 1, 2, 3, 4, 5].map(|i| kept(&norms[i])), expected);
            assert_eq!((norms[5].weight().dims(), rms.weight().dims(), rms.eps()), (&[2][..], &[2][..], 0.0));

            // (-1, 1) twice by the deviation; (3, 4) and (-8, 6) by the root of 12.5 and 50.
            let layer = [[-1_f32, 2.0]; 2];
            let root = [[0.848_528_1_f32, 2.262_741_7], [-1.131_370_9, 1.697_056_3]];
            let with = |rows: [[f32; 2]; 2], first: f32| rows.map(|row| [row[0] + first, row[1]]);
            let given = [
                (norms[0].forward(&x)?, with(layer, 0.5)),
                (norms[1].forward(&x)?, layer),
                (norms[2].forward(&x)?, root),
                (norms[3].forward(&x)?, with(root, 0.5)),
                (norms[4].forward(&x)?, layer),
                (norms[5].forward(&x)?, root),
                (rms.forward(&x)?, root),
                (rms.forward_diff(&x)?, root),
                (ops::rms_norm(&x, &w, 0.0)?, root),
                (ops::rms_norm_slow(&x, &w, 0.0)?, root),
                (ops::layer_norm(&x, &w, &b, 0.0)?, with(layer, 0.5)),
                (ops::layer_norm_slow(&x, &w, &b, 0.0)?, with(layer, 0.5)),
            ];
            for (index, (given, expected)) in given.into_iter().enumerate() {
                let apart = (given - Tensor::new(&expected, &Device::Cpu)?)?.abs()?.max_all()?;
                assert!(apart.to_scalar::<f32>()? < 1e-5, "{index}: off by {apart}");
            }
            assert_eq!(ops::softmax(&x.zeros_like()?, D::Minus1)?.to_vec2::<f32>()?, [[0.5; 2]; 2]);
            Ok(())
        }
    };
}

candles_interface!(candles_own_interface, candle_nn, candle_nn::ops);
candles_interface!(the_interface_is_candles, norm_host::for_candle, norm_host::for_candle::ops);
candles_interface!(candles_own_module_of_norms, candle_nn::layer_norm, candle_nn::ops);
candles_interface!(
    the_module_of_norms_is_candles,
    norm_host::for_candle::layer_norm,
    norm_host::for_candle::ops
);

/// A gated norm in candle's operations, in f32.
fn gated_slow(x: &Tensor, g: &Tensor, w: &Tensor, gating: Gating) -> Result<Tensor> {
    let [x, g, w] = [x, g, w].map(|tensor| tensor.to_dtype(DType::F32));
    let (x, g, w) = (x?, g?, w?);
    let activated = match gating.activation {
        Activation::Silu => candle_nn::ops::silu(&g)?,
        Activation::Sigmoid => candle_nn::ops::sigmoid(&g)?,
    };
    let norm = |x: &Tensor| {
        let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
        x.broadcast_div(&(mean + f64::from(EPS))?.sqrt()?)?.broadcast_mul(&w)
    };
    match gating.order {
        GateOrder::NormFirst => norm(&x)?.mul(&activated),
        GateOrder::GateFirst => norm(&x.mul(&activated)?),
    }
}

#[test]
fn gated_norms_agree_with_candles_operations() -> Result<()> {
    // A gate out of a packed tensor, and one weight for each group of a row.
    for (x, w) in [(DType::BF16, DType::BF16), (DType::F16, DType::F32), (DType::F32, DType::F32)] {
        let of = |shape: &[usize]| Tensor::randn(0.2_f32, 1.5, shape, &Device::Cpu);
        let (xs, gate) =
            (of(&[2, 5, 3, 40])?.to_dtype(x)?, of(&[2, 5, 3, 90])?.to_dtype(x)?.narrow(3, 7, 40)?);
        let weight = of(&[3, 40])?.to_dtype(w)?;
        for gating in Gating::ALL {
            let norm = Norm::rms(EPS).weight(weight.clone());
            let ys = norm.gated_heads(&xs, &gate, gating)?;
            assert_eq!((ys.dims(), ys.dtype()), (xs.dims(), x));
            let apart = (ys.to_dtype(DType::F32)? - gated_slow(&xs, &gate, &weight, gating)?)?;
            let apart = apart.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
            let allowed = match x {
                DType::F32 => 1e-4,
                DType::F16 => 2e-2,
                _ => 0.15,
            };
            assert!(apart <= allowed, "{x:?} {gating:?}: {apart}");
            let rows = norm.weight(weight.get(0)?).gated_rows(&xs, &gate, gating)?;
            assert_eq!(
                rows.get(1)?.get(2)?.get(0)?.to_dtype(DType::F32)?.to_vec1::<f32>()?,
                ys.get(1)?.get(2)?.get(0)?.to_dtype(DType::F32)?.to_vec1::<f32>()?
            );
        }
    }
    let (x, g) =
        (Tensor::zeros((2, 8), DType::F32, &Device::Cpu)?, Tensor::zeros((2, 4), DType::F32, &Device::Cpu)?);
    let error = Norm::rms(EPS).gated_rows(&x, &g, Gating::DEFAULT).unwrap_err().to_string();
    assert!(error.starts_with("g: expected shape (2, 8), given (2, 4)"), "{error}");
    Ok(())
}

#[test]
fn gated_norms_have_the_gradients_of_candles_operations() -> Result<()> {
    let of = |shape: &[usize]| Var::from_tensor(&Tensor::randn(0.2_f32, 1.5, shape, &Device::Cpu)?);
    let (x, g, w) = (of(&[4, 24])?, of(&[4, 24])?, of(&[24])?);
    for gating in Gating::ALL {
        let ours = Norm::rms(EPS).weight(w.as_tensor().clone()).gated_rows(&x, &g, gating)?;
        let (ours, slow) = (
            ours.sqr()?.sum_all()?.backward()?,
            gated_slow(&x, &g, &w, gating)?.sqr()?.sum_all()?.backward()?,
        );
        for var in [&x, &g, &w] {
            let [a, b] = [&ours, &slow].map(|grads| grads.get(var).expect("it has a gradient"));
            let apart = (a - b)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
            let size = b.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
            assert!(apart <= 1e-4 * size.max(1.0), "{gating:?}: {apart} of {size}");
        }
    }
    Ok(())
}

/// Heads `(tokens, heads, head_dim)` as candle's own functions norm and rotate them.
fn slow_heads(x: &Tensor, w: &Tensor, cos: &Tensor, sin: &Tensor, pairs: bool) -> Result<Tensor> {
    let normed = rms_norm_slow(x, w, EPS)?.transpose(0, 1)?.unsqueeze(0)?.contiguous()?;
    let turned = match pairs {
        true => candle_nn::rotary_emb::rope_i_slow(&normed, cos, sin)?,
        false => candle_nn::rotary_emb::rope_slow(&normed, cos, sin)?,
    };
    turned.squeeze(0)?.transpose(0, 1)
}

#[test]
fn heads_are_normed_and_rotated_as_by_candles_own() -> Result<()> {
    let cpu = &Device::Cpu;
    let (tokens, dim) = (5, 32);
    for (pairing, positions) in [
        (Pairing::Halves, Tensor::arange(0_u32, tokens as u32, cpu)?),
        (Pairing::Neighbours, Tensor::arange(0_i64, tokens as i64, cpu)?),
    ] {
        let random = |shape: &[usize]| Tensor::randn(0_f32, 1.0, shape, cpu);
        // As projections leave them: slices of one tensor.
        let packed = random(&[tokens, 6 * dim])?;
        let q = packed.narrow(1, 0, 4 * dim)?.reshape((tokens, 4, dim))?;
        let (k, v) = (packed.narrow(1, 4 * dim, dim)?, packed.narrow(1, 5 * dim, dim)?);
        let (k, v) = (k.reshape((tokens, 1, dim))?, v.reshape((tokens, 1, dim))?);
        let (w, angles) = (random(&[dim])?, random(&[tokens, dim / 2])?);
        let (cos, sin) = (angles.cos()?, angles.sin()?);
        let norm = || Norm::rms(f64::from(EPS)).weight(w.clone());
        let operation = QkNormRope::new()
            .q_norm(norm())
            .k_norm(norm())
            .v_norm(Norm::rms(f64::from(EPS)))
            .rotary(Rotary::new(&cos, &sin, &positions).pairing(pairing));
        let (q_out, k_out, v_out) = operation.apply_with_values(&q, &k, &v)?;
        let is_pairs = pairing == Pairing::Neighbours;
        let ones = Tensor::ones(dim, DType::F32, cpu)?;
        for (given, expected) in [
            (&q_out, slow_heads(&q, &w, &cos, &sin, is_pairs)?),
            (&k_out, slow_heads(&k, &w, &cos, &sin, is_pairs)?),
            (&v_out, rms_norm_slow(&v, &ones, EPS)?),
        ] {
            assert_eq!(given.dims(), expected.dims());
            let apart = (given - expected)?.abs()?.flatten_all()?.max(D::Minus1)?.to_scalar::<f32>()?;
            assert!(apart < 1e-5, "{pairing}: {apart}");
        }
        // Packed, as attention takes them: one sequence by a path of its own, two by that of all others, and with gradients.
        let packed = packed.reshape((1, tokens, 6, dim))?;
        let no_values = operation.clone().v_norm(None);
        let first = no_values.apply_packed(&packed, [4, 1])?;
        let both = Tensor::cat(&[&packed.zeros_like()?, &packed], 0)?;
        let second = no_values.apply_packed(&both, [4, 1])?;
        let tracked = candle_core::Var::from_tensor(&both)?;
        let recorded = no_values.apply_packed(&tracked, [4, 1])?;
        for (of, expected) in [(0, &q_out), (1, &k_out)] {
            let [first, second, recorded] =
                [&first, &second, &recorded].map(|both| if of == 0 { &both.0 } else { &both.1 });
            assert!([first, second, recorded].iter().all(|heads| heads.is_contiguous()));
            let expected = expected.transpose(0, 1)?.contiguous()?.to_vec3::<f32>()?;
            assert_eq!(first.squeeze(0)?.to_vec3::<f32>()?, expected);
            assert_eq!(second.get(1)?.to_vec3::<f32>()?, expected);
            let apart = (recorded - second)?.abs()?.flatten_all()?.max(D::Minus1)?.to_scalar::<f32>()?;
            assert!(apart < 1e-5 && recorded.track_op(), "{pairing}: {apart}");
        }
        // Heads first, in memory, and no values.
        let heads_first = q.transpose(0, 1)?.contiguous()?.transpose(0, 1)?;
        let (strided, _) = operation.clone().v_norm(None).apply(&heads_first, &k)?;
        assert_eq!(strided.to_vec3::<f32>()?, q_out.to_vec3::<f32>()?);
    }
    Ok(())
}

/// Tensors that repeat one element have any number of them: together more than 64 bits count, or more than an allocation has.
#[test]
fn results_that_no_memory_holds_are_refused() -> Result<()> {
    let cpu = &Device::Cpu;
    let operation = QkNormRope::new().q_norm(Norm::rms(0.0));
    // Three times as many are two more than 2^64.
    let third = 0x5555_5555_5555_5556;
    let ones = |heads| Tensor::ones((1, heads, 1), DType::F16, cpu);
    let one = ones(1)?.broadcast_as((third, 1, 1))?;
    let error = operation.apply_with_values(&one, &one, &one).unwrap_err().to_string();
    assert!(error.contains("q_out: expected fewer than 2^64 bytes"), "{error}");
    let error = operation.apply(&one, &one).unwrap_err().to_string();
    assert!(error.contains("expected a result of fewer than 2^63 bytes"), "{error}");
    let packed = ones(3)?.unsqueeze(0)?.broadcast_as((1, third, 3, 1))?;
    let error = operation.apply_packed(&packed, [2, 1]).unwrap_err().to_string();
    assert!(error.contains("q_out: expected fewer than 2^64 bytes"), "{error}");
    let error = operation.apply_packed(&packed, [1, 1]).unwrap_err().to_string();
    assert!(error.contains("expected a result of fewer than 2^63 bytes"), "{error}");
    let row = Tensor::ones((1, 4), DType::F32, cpu)?.broadcast_as((1 << 60, 4))?;
    let error = Norm::rms(0.0).rows(&row).unwrap_err().to_string();
    assert!(error.contains("expected a result of fewer than 2^63 bytes"), "{error}");
    Ok(())
}

#[test]
fn heads_that_cannot_be_rotated_are_refused() -> Result<()> {
    let cpu = &Device::Cpu;
    let (q, k) = (Tensor::ones((2, 1, 4), DType::F32, cpu)?, Tensor::ones((2, 1, 4), DType::F32, cpu)?);
    let table = Tensor::ones((3, 2), DType::F32, cpu)?;
    let operation = |positions: Tensor| QkNormRope::new().rotary(Rotary::new(&table, &table, &positions));
    let error = |operation: QkNormRope, q: &Tensor| operation.apply(q, &k).unwrap_err().to_string();
    let past = operation(Tensor::new(&[0_u32, 3], cpu)?);
    assert!(error(past, &q).contains("positions: expected rows of the tables, 0 to 2, given 3 for token 1"));
    let few = operation(Tensor::new(&[0_u32], cpu)?);
    assert!(error(few, &q).contains("positions: expected a list of 2, given 1"));
    let floats = operation(Tensor::new(&[0_f32, 1.0], cpu)?);
    assert!(error(floats, &q).contains("qk-norm-rope"));
    let tracked = candle_core::Var::ones((3, 2), DType::F32, cpu)?;
    let learned = Rotary::new(&table, &tracked, &Tensor::new(&[0_u32, 1], cpu)?);
    assert!(error(QkNormRope::new().rotary(learned), &q).contains("without gradients"));
    // What the short path for packed heads does not take goes the long one, whose errors these are.
    let packed = Tensor::ones((1, 2, 3, 4), DType::F32, cpu)?;
    let error =
        |operation: QkNormRope, heads| operation.apply_packed(&packed, heads).unwrap_err().to_string();
    let rotation = |positions: &[i64]| operation(Tensor::new(positions, cpu).expect("a tensor of the host"));
    assert!(
        error(rotation(&[0, -1]), [2, 1])
            .contains("positions: expected rows of the tables, 0 to 2, given -1 for token 1")
    );
    assert!(
        error(rotation(&[0, 3]), [2, 1])
            .contains("positions: expected rows of the tables, 0 to 2, given 3 for token 1")
    );
    assert!(error(rotation(&[0]), [2, 1]).contains("positions: expected a list of 2, given 1"));
    assert!(
        error(rotation(&[0, 1]), [2, 2])
            .contains("expected 2 heads of queries and 2 of keys, given 3 in all")
    );
    let normed = |norm: Norm| rotation(&[0, 1]).k_norm(norm);
    assert!(error(normed(Norm::rms(-1.0)), [2, 1]).contains("eps: expected"));
    let w = |dim: usize, dtype| Tensor::ones(dim, dtype, cpu).expect("a tensor of the host");
    assert!(error(normed(Norm::rms(0.0).weight(w(3, DType::F32))), [2, 1]).contains("k_weight: expected"));
    assert!(
        error(normed(Norm::rms(0.0).weight(w(4, DType::F16))), [2, 1]).contains("k_weight: expected dtype")
    );
    // With gradients or without.
    let recorded = candle_core::Var::ones((1, 2, 3, 4), DType::F32, cpu)?;
    let norm = || Norm::rms(0.0).weight(w(4, DType::F32));
    for (norm, option) in [
        (norm().branch_scale(0.5), "branch_scale"),
        (norm().sum_scale(0.5), "sum_scale"),
        (norm().bias(w(4, DType::F32)), "b"),
        (norm().weight_offset(1.0).round_offset(true), "round_offset"),
    ] {
        let expected = format!("k_norm: expected a norm without {option}, given one with it");
        for packed in [&packed, &recorded] {
            let operation = normed(norm.clone());
            assert!(operation.apply_packed(packed, [2, 1]).unwrap_err().to_string().contains(&expected));
            let heads = packed.squeeze(0)?;
            assert!(operation.apply(&heads, &heads).unwrap_err().to_string().contains(&expected));
        }
    }
    let wide = Tensor::ones((3, 3), DType::F32, cpu)?;
    let wide = Rotary::new(&wide, &wide, &Tensor::new(&[0_u32, 1], cpu)?);
    assert!(error(QkNormRope::new().rotary(wide), [2, 1]).contains("cos: expected"));
    Ok(())
}

/// Gradients of heads and weights are those of candle's own functions, and the results those without gradients.
#[test]
fn rotated_heads_have_gradients() -> Result<()> {
    let cpu = &Device::Cpu;
    let (tokens, dim, half) = (3, 12, 4);
    let random = |shape: &[usize]| candle_core::Var::randn(0_f32, 1.0, shape, cpu);
    let (q, k) = (random(&[tokens, 2, dim])?, random(&[tokens, 1, dim])?);
    let w = random(&[dim])?;
    let angles = random(&[tokens, half])?.detach();
    let (cos, sin) = (angles.cos()?, angles.sin()?);
    let positions = Tensor::arange(0_u32, tokens as u32, cpu)?;
    for (pairing, norm_behind) in
        [(Pairing::Halves, false), (Pairing::Neighbours, false), (Pairing::Halves, true)]
    {
        let operation = |w: Tensor| {
            QkNormRope::new()
                .q_norm(Norm::rms(f64::from(EPS)).weight(w))
                .rotary(Rotary::new(&cos, &sin, &positions).pairing(pairing))
                .norm_behind(norm_behind)
        };
        let (q_out, k_out) = operation(w.as_tensor().clone()).apply(&q, &k)?;
        // Rotated elements in front, and the others as they are.
        let turned = |x: &Tensor| {
            let front = x.narrow(2, 0, 2 * half)?.transpose(0, 1)?.unsqueeze(0)?.contiguous()?;
            let front = match pairing {
                Pairing::Neighbours => candle_nn::rotary_emb::rope_i_slow(&front, &cos, &sin)?,
                Pairing::Halves => candle_nn::rotary_emb::rope_slow(&front, &cos, &sin)?,
            };
            let rest = x.narrow(2, 2 * half, dim - 2 * half)?;
            Tensor::cat(&[front.squeeze(0)?.transpose(0, 1)?, rest], 2)
        };
        let q_slow = match norm_behind {
            true => rms_norm_slow(&turned(&q)?, &w, EPS)?,
            false => turned(&rms_norm_slow(&q, &w, EPS)?)?,
        };
        let k_slow = turned(&k)?;
        let apart = |a: &Tensor, b: &Tensor| (a - b)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
        let (fast, _) = operation(w.detach()).apply(&q.detach(), &k.detach())?;
        for (given, expected) in [(&q_out, &q_slow), (&k_out, &k_slow), (&q_out, &fast)] {
            let apart = apart(given, expected)?;
            assert!(apart < 1e-5, "{pairing}, {norm_behind}: {apart}");
        }
        // Gradients that differ from element to element.
        let loss =
            |q: &Tensor, k: &Tensor| (q.sqr()?.sqr()?.sum_all()? + k.sqr()?.sqr()?.sum_all()?)?.backward();
        let (given, expected) = (loss(&q_out, &k_out)?, loss(&q_slow, &k_slow)?);
        for var in [&q, &k, &w] {
            let [given, expected] =
                [&given, &expected].map(|grads| grads.get(var).expect("it has a gradient"));
            let size = expected.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
            let apart = apart(given, expected)?;
            assert!(apart <= 1e-4 * size.max(1.0), "{pairing}, {norm_behind}: {apart} of {size}");
        }
    }
    Ok(())
}

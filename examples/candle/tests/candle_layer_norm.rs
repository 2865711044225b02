//! The functions by the names of the crate `candle-layer-norm`, held to the formulas in f64.

use candle_core::{DType, Device, Result, Tensor};
use norm_host::for_candle::candle_layer_norm;

const EPS: f32 = 1e-5;

/// What the crate's functions are, as an engine may keep them: a change of arguments or results does not compile.
type Norm = fn(&Tensor, &Tensor, Option<&Tensor>, f32) -> Result<Tensor>;
type FusedAdd = fn(&Tensor, &Tensor, &Tensor, Option<&Tensor>, f32) -> Result<(Tensor, Tensor)>;

/// Whether the mean is taken away, and the functions that do.
const PAIRS: [(bool, Norm, FusedAdd); 2] = [
    (true, candle_layer_norm::layer_norm, candle_layer_norm::fused_add_layer_norm),
    (false, candle_layer_norm::rms_norm, candle_layer_norm::fused_add_rms_norm),
];

fn random(shape: &[usize], dtype: DType) -> Tensor {
    Tensor::randn(0.3_f32, 1.5, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The norm of every row, in f64.
fn expected(x: &Tensor, gamma: &Tensor, beta: Option<&Tensor>, layer: bool) -> Vec<f64> {
    let (gamma, beta) = (values(gamma), beta.map(values));
    let dim = gamma.len();
    let mut all = Vec::new();
    for row in values(x).chunks(dim) {
        let mean = |of: &dyn Fn(f64) -> f64| row.iter().map(|&v| of(v)).sum::<f64>() / dim as f64;
        let center = if layer { mean(&|v| v) } else { 0.0 };
        let deviation = (mean(&|v| (v - center).powi(2)) + f64::from(EPS)).sqrt();
        let norm = |i: usize| (row[i] - center) / deviation * gamma[i] + beta.as_ref().map_or(0.0, |b| b[i]);
        all.extend((0..dim).map(norm));
    }
    all
}

/// Elements agree to f32's rounding of terms of a few, and to one rounding of the result's type.
#[track_caller]
fn assert_close(given: &Tensor, expected: &[f64], dtype: DType) {
    assert_eq!(given.dtype(), dtype);
    let rounding = match dtype {
        DType::F16 => 2.0_f64.powi(-11),
        DType::BF16 => 2.0_f64.powi(-8),
        _ => 0.0,
    };
    let given = values(given);
    assert_eq!(given.len(), expected.len());
    for (given, expected) in given.into_iter().zip(expected) {
        let allowed = expected.abs() * (1.01 * rounding + 1e-5) + 1e-5;
        assert!((given - expected).abs() <= allowed, "{given} for {expected}");
    }
}

/// Of every type, norm and number of axes, with biases and without.
fn for_each_case(mut check: impl FnMut(bool, Norm, FusedAdd, &[usize], DType, Option<&Tensor>)) {
    for (layer, norm, fused) in PAIRS {
        for dtype in [DType::F16, DType::BF16, DType::F32] {
            // 8 columns and rank 2 are the crate's own; 83 columns, and other ranks, are refused there.
            for shape in [&[5, 8][..], &[3, 768], &[4, 83], &[2, 3, 64], &[1, 2, 3, 16], &[96]] {
                let beta = random(&shape[shape.len() - 1..], dtype);
                for beta in [None, Some(&beta)] {
                    check(layer, norm, fused, shape, dtype, beta);
                }
            }
        }
    }
}

#[test]
fn norms_are_those_of_the_formulas() {
    for_each_case(|layer, norm, _, shape, dtype, beta| {
        let (x, gamma) = (random(shape, dtype), random(&shape[shape.len() - 1..], dtype));
        let given = norm(&x, &gamma, beta, EPS).unwrap();
        assert_eq!(given.dims(), shape);
        assert_close(&given, &expected(&x, &gamma, beta, layer), dtype);
    });
}

#[test]
fn fused_ones_give_the_norm_first_and_then_the_sum() {
    for_each_case(|layer, norm, fused, shape, dtype, beta| {
        let (x, res) = (random(shape, dtype), random(shape, dtype));
        let gamma = random(&shape[shape.len() - 1..], dtype);
        let kept = (values(&x), values(&res));
        let (normed, sum) = fused(&x, &res, &gamma, beta, EPS).unwrap();
        // The sum is exact but for one rounding; as many f32 sums of two 16-bit numbers are, f64 has them all.
        let exact = (x.to_dtype(DType::F64).unwrap() + res.to_dtype(DType::F64).unwrap()).unwrap();
        assert_eq!(values(&sum), values(&exact.to_dtype(DType::F32).unwrap().to_dtype(dtype).unwrap()));
        assert_eq!((sum.dtype(), sum.dims(), normed.dims()), (dtype, shape, shape));
        // What is normalized is the sum that is given.
        assert_close(&normed, &expected(&sum, &gamma, beta, layer), dtype);
        assert_eq!(values(&normed), values(&norm(&sum, &gamma, beta, EPS).unwrap()));
        // Nothing is written where it lies.
        assert_eq!((values(&x), values(&res)), kept);
    });
}

/// The crate reads rows as if one followed the other, so that engines hand it copies of what is none.
#[test]
fn rows_may_lie_anywhere() {
    for (_, norm, fused) in PAIRS {
        let wide = random(&[6, 40], DType::F32);
        let (x, res) = (wide.narrow(1, 3, 24).unwrap(), random(&[24, 6], DType::F32).t().unwrap());
        let gamma = random(&[24], DType::F32);
        let (x_copy, res_copy) = (x.contiguous().unwrap(), res.contiguous().unwrap());
        let plain = [norm(&x, &gamma, None, EPS).unwrap(), norm(&x_copy, &gamma, None, EPS).unwrap()];
        assert_eq!(values(&plain[0]), values(&plain[1]));
        let (normed, sum) = fused(&x, &res, &gamma, None, EPS).unwrap();
        let (normed_copy, sum_copy) = fused(&x_copy, &res_copy, &gamma, None, EPS).unwrap();
        assert_eq!((values(&normed), values(&sum)), (values(&normed_copy), values(&sum_copy)));
        assert!(normed.is_contiguous() && sum.is_contiguous());
    }
}

#[test]
fn parameters_may_be_of_another_type() {
    for (layer, norm, fused) in PAIRS {
        let (x, gamma, beta) =
            (random(&[3, 32], DType::BF16), random(&[32], DType::F32), random(&[32], DType::F32));
        let given = norm(&x, &gamma, Some(&beta), EPS).unwrap();
        assert_close(&given, &expected(&x, &gamma, Some(&beta), layer), DType::BF16);
        let (normed, sum) = fused(&x, &x, &gamma, Some(&beta), EPS).unwrap();
        assert_close(&normed, &expected(&sum, &gamma, Some(&beta), layer), DType::BF16);
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let text = |result: Result<String>| result.unwrap_err().to_string();
    let first = |error: String| error.lines().next().unwrap_or_default().to_owned();
    let (x, gamma) = (random(&[2, 8], DType::F32), random(&[8], DType::F32));
    let (long, double) = (random(&[9], DType::F32), x.to_dtype(DType::F64).unwrap());
    let (narrow, half) = (random(&[2, 4], DType::F32), random(&[2, 8], DType::F16));
    for (layer, norm, fused) in PAIRS {
        let norm = |x, gamma, beta, eps| first(text(norm(x, gamma, beta, eps).map(|y| y.to_string())));
        let fused = |x, res| first(text(fused(x, res, &gamma, None, EPS).map(|(y, _)| y.to_string())));
        assert_eq!(norm(&x, &long, None, EPS), "w: expected shape (8,), given (9,)");
        assert_eq!(norm(&x, &gamma, Some(&long), EPS), "b: expected shape (8,), given (9,)");
        let name = if layer { "layer-norm" } else { "rms-norm" };
        assert_eq!(norm(&double, &gamma, None, EPS), format!("unsupported dtype F64 for op {name}"));
        let eps = "eps: expected 0 or a positive finite number in the range of f32, given -1.0";
        assert_eq!(norm(&x, &gamma, None, -1.0), eps);
        // Both shapes, and both types, are named.
        let (shapes, types) = (fused(&x, &narrow), fused(&x, &half).to_lowercase());
        assert!(["2, 8", "2, 4"].iter().all(|shape| shapes.contains(shape)), "{shapes}");
        assert!(["f32", "f16"].iter().all(|dtype| types.contains(dtype)), "{types}");
    }
}

//! Measures the error and the time of one function.

use std::time::{Duration, Instant};

use half::f16;
use norm_host::accuracy::Terms;
use norm_host::reference::{Factors, Parameters, Statistics, widen, widen_input};
use norm_host::{DType, Error, accuracy, problem::Roundings};
use rayon::prelude::*;

use super::function::Function;
use super::inputs::{EPS, Inputs};
use super::tensors::Tensors;

/// How long calls are repeated to time a function.
const TIMED: Duration = Duration::from_millis(200);

/// The error and the time of one function.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub error: WorstError,
    /// The shortest time of a call, if it was timed.
    pub time: Option<Duration>,
    /// The bytes that a call moves: `x` read once and `y` written once.
    pub bytes: usize,
}

/// The largest error of any output.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorstError {
    /// In ULP of f16 around the f64 result.
    pub ulp: f64,
    /// What the accuracy promise allows the output with that error, in ULP.
    pub allowed_ulp: f64,
    /// The number of outputs that break the promise.
    pub broken: usize,
}

impl WorstError {
    /// The larger of two errors, and the sum of their broken outputs.
    fn worse_of(self, other: WorstError) -> WorstError {
        // `total_cmp` orders NaN last, so that an output of NaN counts as the largest error.
        let worse = if self.ulp.total_cmp(&other.ulp).is_lt() { other } else { self };
        WorstError { broken: self.broken + other.broken, ..worse }
    }
}

/// Calls the function once and checks its outputs. Then, if there is a `batch`, times it in batches of that many calls.
/// `wait` returns when the work of all calls is done.
pub fn measure(
    function: Function,
    inputs: &Inputs,
    tensors: &mut Tensors,
    batch: Option<u32>,
    call: impl Fn(&mut Tensors) -> Result<(), Error>,
    wait: impl Fn() -> Result<(), Error>,
) -> Result<Measured, Error> {
    // Waits even after an error, so that work that was enqueued is done before the tensors can be freed.
    let call_and_wait = |tensors: &mut Tensors, times: u32| {
        let called = (0..times).try_for_each(|_| call(tensors));
        called.and(wait())
    };
    call_and_wait(tensors, 1)?;
    let error = worst_error(function, inputs, &tensors.output(function)?);

    let timed = |batch: u32| -> Result<Duration, Error> {
        let start = Instant::now();
        let mut time = Duration::MAX;
        while start.elapsed() < TIMED {
            let before = Instant::now();
            call_and_wait(tensors, batch)?;
            time = time.min(before.elapsed() / batch);
        }
        Ok(time)
    };
    let time = batch.map(timed).transpose()?;
    Ok(Measured { error, time, bytes: 2 * size_of_val(inputs.x.as_slice()) })
}

/// Compares the outputs with the f64 reference.
fn worst_error(function: Function, inputs: &Inputs, outputs: &[f16]) -> WorstError {
    let (w, b) = (widen(&inputs.w), widen(&inputs.b));
    let dim = inputs.shape(function.heads()).pop().unwrap_or(1);
    let rows = inputs.x.par_chunks(dim).zip(outputs.par_chunks(dim)).enumerate();
    rows.map(|(row, (x, given))| {
        let first = row * dim % w.len();
        let parameters = Parameters {
            kind: function.kind(),
            eps: EPS.into(),
            weight: Some(&w[first..first + dim]),
            weight_offset: 0.0,
            roundings: Roundings::NONE,
            bias: function.bias().then_some(&b[first..first + dim]),
            onto: None,
            factors: Factors::NONE,
        };
        row_error(x, &parameters, given)
    })
    .reduce(WorstError::default, WorstError::worse_of)
}

/// The largest error of one row.
fn row_error(x: &[f16], parameters: &Parameters<'_>, given: &[f16]) -> WorstError {
    let x = widen_input(x);
    let statistics = Statistics::of(&x, parameters.kind, parameters.eps);
    let promise = accuracy::Promise::new(statistics, parameters, DType::F16);
    x.iter()
        .zip(widen(given))
        .enumerate()
        .map(|(column, (&x, given))| {
            let (w, b) = (parameters.factor(column), parameters.bias(column));
            let verdict = promise.judge(Terms { x, w, b, onto: 0.0 }, given);
            let distance = (given - verdict.expected).abs();
            let ulp = distance / accuracy::ulp(DType::F16, verdict.expected);
            let broken = usize::from(!verdict.is_kept());
            WorstError { ulp, allowed_ulp: verdict.allowed_ulp, broken }
        })
        .fold(WorstError::default(), WorstError::worse_of)
}

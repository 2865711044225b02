//! One function's error and time.

use std::time::{Duration, Instant};

use half::f16;
use norm_host::accuracy::Terms;
use norm_host::reference::{Factors, Parameters, Statistics, widen, widen_input};
use norm_host::{DType, Error, accuracy, problem::Roundings};
use rayon::prelude::*;

use super::data::{Data, EPS};
use super::function::Function;
use super::stage::Stage;

/// How long a function is timed.
const TIMED: Duration = Duration::from_millis(200);

/// How one function did.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub error: WorstError,
    /// The shortest time of one call, where it was timed.
    pub time: Option<Duration>,
    /// `x` read once and `y` written once.
    pub bytes: usize,
}

/// The largest error of any output.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorstError {
    /// In ULP of f16 around the f64 result.
    pub ulp: f64,
    /// What the accuracy promise allows the output with that error, in ULP.
    pub allowed_ulp: f64,
    /// Outputs that break the promise.
    pub broken: usize,
}

impl WorstError {
    fn or(self, other: WorstError) -> WorstError {
        // The order of `total_cmp` has NaN last, so that it is not lost.
        let worse = if self.ulp.total_cmp(&other.ulp).is_lt() { other } else { self };
        WorstError { broken: self.broken + other.broken, ..worse }
    }
}

/// Calls the function once to check it, then, if there is a `batch`, so many times at a time to time it.
/// `wait` returns when all that was called is done.
pub fn measure(
    function: Function,
    data: &Data,
    stage: &mut Stage,
    batch: Option<u32>,
    call: impl Fn(&mut Stage) -> Result<(), Error>,
    wait: impl Fn() -> Result<(), Error>,
) -> Result<Measured, Error> {
    // Whatever happens, the stage's memory outlives the work on it.
    let call_and_wait = |stage: &mut Stage, times: u32| {
        let called = (0..times).try_for_each(|_| call(stage));
        called.and(wait())
    };
    call_and_wait(stage, 1)?;
    let error = worst_error(function, data, &stage.output(function)?);

    let timed = |batch: u32| -> Result<Duration, Error> {
        let start = Instant::now();
        let mut time = Duration::MAX;
        while start.elapsed() < TIMED {
            let before = Instant::now();
            call_and_wait(stage, batch)?;
            time = time.min(before.elapsed() / batch);
        }
        Ok(time)
    };
    let time = batch.map(timed).transpose()?;
    Ok(Measured { error, time, bytes: 2 * size_of_val(data.x.as_slice()) })
}

/// Holds the outputs against the f64 reference.
fn worst_error(function: Function, data: &Data, outputs: &[f16]) -> WorstError {
    let (w, b) = (widen(&data.w), widen(&data.b));
    let dim = data.shape(function.heads()).pop().unwrap_or(1);
    let rows = data.x.par_chunks(dim).zip(outputs.par_chunks(dim)).enumerate();
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
    .reduce(WorstError::default, WorstError::or)
}

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
        .fold(WorstError::default(), WorstError::or)
}

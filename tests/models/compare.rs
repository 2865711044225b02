//! What was computed beside what was recorded.

use std::fmt;

use norm_host::{
    DType, NormKind, Rounding,
    accuracy::{judge_row, ulp_distance},
    problem::Roundings,
    reference::{Factors, Parameters, Statistics},
};

use crate::{
    Result,
    recorded::{Record, Recorded, Tensor},
    replay::Form,
};

/// An f32 result may differ by that of itself, of twice the bias, and in a LayerNorm of the weight: sums in another order
/// move `rstd` by some 3e-7 of itself, and the mean by less than that of the row's spread.
const F32: f64 = 1e-6;
/// A row of LayerNorm whose mean is that many times its spread is held to the exact result in place of the recorded
/// one: PyTorch's on a CPU cancels there.
const FAR_FROM_ZERO: f64 = 4.0;

/// Elements of one width, and how many of them are not as recorded: a neighbour of it, where they have 16 bits; beyond
/// the bound, where they are f32 and a value was rounded to 16 bits on the way.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    elements: usize,
    apart: usize,
}

impl Count {
    fn add(&mut self, other: Count) {
        self.elements += other.elements;
        self.apart += other.apart;
    }

    fn share(&self) -> f64 {
        self.apart as f64 / self.elements.max(1) as f64
    }
}

/// The elements of records, judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    narrow: Count,
    wide: Count,
    by_reference: usize,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.narrow.add(other.narrow);
        self.wide.add(other.wide);
        self.by_reference += other.by_reference;
    }

    /// The larger share of elements that are apart.
    pub fn share(&self) -> f64 {
        self.narrow.share().max(self.wide.share())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { narrow, wide, by_reference } = self;
        write!(
            f,
            "{} of {} with 16 bits apart, {} of {} in f32, {by_reference} by the f64 reference",
            narrow.apart, narrow.elements, wide.apart, wide.elements
        )
    }
}

/// Holds each element to what was recorded, of as many rows as there are in `given`.
pub fn hold(recorded: &Recorded, record: &Record, form: &Form, given: &Tensor) -> Result<Tally> {
    let expected = recorded.tensor(&record.name)?;
    if given.dtype() != expected.dtype() || given.dim() != expected.dim() {
        return Err(
            format!("{}: {:?} recorded, {:?} given", record.name, expected.dtype(), given.dtype()).into()
        );
    }
    let mut tally = Tally::default();
    for row in 0..given.rows() {
        if is_far_from_zero(recorded, record, form, row)? {
            hold_to_reference(recorded, record, form, given, row)?;
            tally.by_reference += given.dim();
        } else {
            tally.add(hold_row(recorded, record, form, given, row)?);
        }
    }
    Ok(tally)
}

fn hold_row(recorded: &Recorded, record: &Record, form: &Form, given: &Tensor, row: usize) -> Result<Tally> {
    let (given, dtype) = (given.row(row), given.dtype());
    let expected = recorded.tensor(&record.name)?.row(row);
    let (weight, bias) = (param(recorded, &record.weight, row)?, param(recorded, &record.bias, row)?);
    let is_centred = form.spec().kind == NormKind::Layer;
    let steps = steps_on_the_way(recorded, record, form)?;
    let mut count = Count { elements: given.len(), apart: 0 };
    for (column, (&given, &expected)) in given.iter().zip(&expected).enumerate() {
        let off = (given - expected).abs();
        let is_near = match dtype {
            DType::F32 => {
                let bias = bias.as_ref().map_or(0.0, |bias| bias[column].abs());
                let weight = weight.as_ref().map_or(1.0, |weight| weight[column].abs());
                let spread = if is_centred { weight } else { 0.0 };
                let is_apart = off > F32 * (expected.abs() + 2.0 * bias + spread);
                count.apart += usize::from(is_apart);
                !is_apart || off <= steps * expected.abs() * 1.001
            }
            _ => {
                let steps = ulp_distance(dtype, given, expected);
                count.apart += usize::from(steps > 0.0);
                steps <= 1.0
            }
        };
        if !is_near {
            let place = format!("{}, row {row}, column {column}", record.name);
            return Err(format!("{place}: {expected:e} recorded, {given:e} given ({form:?})").into());
        }
    }
    Ok(match dtype {
        DType::F32 => Tally { wide: count, ..Tally::default() },
        _ => Tally { narrow: count, ..Tally::default() },
    })
}

/// Weights or biases of a row.
fn param(recorded: &Recorded, name: &Option<String>, row: usize) -> Result<Option<Vec<f64>>> {
    let tensor = name.as_ref().map(|name| recorded.tensor(name)).transpose()?;
    Ok(tensor.map(|tensor| tensor.row(row % tensor.rows())))
}

/// The distance between neighbours of the type that is rounded to on the way, relative to the value; 0 without one.
fn steps_on_the_way(recorded: &Recorded, record: &Record, form: &Form) -> Result<f64> {
    let dtype = match (form.spec().rounding, &record.weight) {
        (Rounding::BeforeWeight, _) => recorded.tensor(&record.x)?.dtype(),
        (Rounding::T5, Some(weight)) => recorded.tensor(weight)?.dtype(),
        _ => DType::F32,
    };
    Ok(match dtype {
        DType::F16 => 1.0 / 1024.0,
        DType::BF16 => 1.0 / 128.0,
        DType::F32 => 0.0,
    })
}

fn is_far_from_zero(recorded: &Recorded, record: &Record, form: &Form, row: usize) -> Result<bool> {
    if form.spec().kind == NormKind::Rms {
        return Ok(false);
    }
    let statistics = Statistics::of(&recorded.tensor(&record.x)?.row(row), NormKind::Layer, 0.0);
    Ok(statistics.mean.abs() > FAR_FROM_ZERO * statistics.mean_square.sqrt())
}

fn hold_to_reference(
    recorded: &Recorded,
    record: &Record,
    form: &Form,
    given: &Tensor,
    row: usize,
) -> Result {
    let spec = form.spec();
    let (weight, bias) = (param(recorded, &record.weight, row)?, param(recorded, &record.bias, row)?);
    let dtype = |name: &String| recorded.tensor(name).map(Tensor::dtype);
    let (x, w) = (dtype(&record.x)?, record.weight.as_ref().map(dtype).transpose()?);
    let parameters = Parameters {
        kind: spec.kind,
        eps: record.eps,
        weight: weight.as_deref(),
        weight_offset: spec.weight_offset.into(),
        roundings: Roundings::of(spec.rounding, spec.round_offset, x, w, given.dtype()),
        bias: bias.as_deref(),
        onto: None,
        factors: Factors::NONE,
    };
    let x = recorded.tensor(&record.x)?.row(row);
    let worst = judge_row(&x, &parameters, given.dtype(), &given.row(row));
    if !worst.promised || !worst.is_kept() {
        return Err(format!("{}, row {row}: {worst:?}", record.name).into());
    }
    Ok(())
}

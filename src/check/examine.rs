//! One case, examined: against the reference, in place, alone, and for bytes it must not touch.

use std::fmt;
use std::mem::discriminant;

use norm_host::accuracy::{Verdict, WorstRow};
use norm_host::reference::{self, Operation, Row};
use norm_host::{Arg, DType, Error, SimulatorError};
use ptx_sim::LaunchError;

use super::call::{Addition, Call, Executor, Operand, Side};
use super::case::{Case, MAX_LEADING, Placement, Residual};
use super::layout::Layout;
use super::outputs::{Outputs, difference, execute, row_bytes};
use crate::bytes::AlignedBytes;
use crate::element;

/// What is wrong with a case.
#[derive(Debug)]
pub enum Fault {
    /// It is a case that must be accepted, but was not.
    Refused(Error),
    /// An output breaks the accuracy promise.
    Inaccurate { row: usize, column: usize, dtype: DType, verdict: Verdict },
    /// An element of the sum with a residual in front is not what it must be.
    Sum { row: usize, column: usize, expected: f64, given: f64 },
    /// A byte changed that is no element of the output, or of the sum.
    Touched { tensor: &'static str, byte: isize },
    /// In place gives other bits than out of place.
    InPlace { row: usize, column: usize },
    /// A row alone gives other bits than among the others.
    Alone { row: usize, column: usize },
}

impl Fault {
    /// What is wrong with the kernels that were asked for, if that is why: no case can pass, and none is at fault.
    pub fn of_kernels(&self) -> Option<&Error> {
        match self {
            Fault::Refused(error) if is_of_kernels(error) => Some(error),
            _ => None,
        }
    }
}

/// Whether an error says that a kernel is not there or cannot be loaded.
fn is_of_kernels(error: &Error) -> bool {
    match error {
        Error::KernelMissing { .. } | Error::Load { .. } => true,
        Error::Simulated(error) => matches!(**error, SimulatorError::Load(_)),
        error => error.arg() == Some(Arg::Ptx),
    }
}

impl Fault {
    /// Whether another fault is of the same kind, so that a simpler case that has it fails for the same reason.
    pub fn is_like(&self, other: &Fault) -> bool {
        match (self, other) {
            (Fault::Refused(Error::Simulated(a)), Fault::Refused(Error::Simulated(b))) => {
                match (&**a, &**b) {
                    (
                        SimulatorError::Launch(LaunchError::Fault(a)),
                        SimulatorError::Launch(LaunchError::Fault(b)),
                    ) => discriminant(&a.kind) == discriminant(&b.kind),
                    (SimulatorError::Launch(a), SimulatorError::Launch(b)) => {
                        discriminant(a) == discriminant(b)
                    }
                    (a, b) => discriminant(a) == discriminant(b),
                }
            }
            (Fault::Refused(a), Fault::Refused(b)) => discriminant(a) == discriminant(b),
            (a, b) => discriminant(a) == discriminant(b),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Refused(error) => write!(f, "a valid call was refused: {error}"),
            Fault::Inaccurate { row, column, dtype, verdict } => {
                let Verdict { expected, given, error_ulp, allowed_ulp } = verdict;
                write!(
                    f,
                    "row {row}, column {column}: expected {expected:e}, given {given:e}: \
                     {error_ulp:.3} ULP of {dtype}, allowed are {allowed_ulp:.3}"
                )
            }
            Fault::Sum { row, column, expected, given } => {
                write!(f, "row {row}, column {column} of the sum: expected {expected:e}, given {given:e}")
            }
            Fault::Touched { tensor, byte } => {
                write!(
                    f,
                    "byte {byte} from the start of {tensor} was changed, where no element of the output is"
                )
            }
            Fault::InPlace { row, column } => {
                write!(f, "row {row}, column {column}: in place gives other bits than out of place")
            }
            Fault::Alone { row, column } => {
                write!(f, "row {row}, column {column}: the row alone gives other bits than among the others")
            }
        }
    }
}

/// What was found in cases without a fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct Findings {
    /// Outputs that were held against the reference.
    pub outputs: u64,
    /// The largest part of what the promise allows that an f32 output used. f16 and bf16 outputs
    /// use all of it as soon as one is rounded to the other neighbour.
    pub f32_ratio: f64,
}

impl Findings {
    pub fn and(self, other: Findings) -> Findings {
        Findings { outputs: self.outputs + other.outputs, f32_ratio: self.f32_ratio.max(other.f32_ratio) }
    }
}

/// Memory that is used again from case to case.
#[derive(Default)]
pub struct Memory {
    before: AlignedBytes,
    image: AlignedBytes,
}

/// Examines one case.
pub fn examine(case: &Case, executor: &mut impl Executor, memory: &mut Memory) -> Result<Findings, Fault> {
    let layout = Layout::of(case);
    let Memory { before, image } = memory;
    layout.fill(case, before);

    let outputs = execute(case, &layout.call, before, image, executor)?;
    let findings = judge(case, &layout.call, before, &outputs)?;

    if case.in_place {
        let call = Call { y: None, ..layout.call.clone() };
        let in_place = execute(case, &call, before, image, executor)?;
        if let Some((row, column)) = difference(case, &outputs, &in_place) {
            return Err(Fault::InPlace { row, column });
        }
    }
    if let Some(row) = case.alone {
        let alone = alone(case, &layout, row, before, executor)?;
        if let Some((_, column)) = difference(case, &outputs.row(case, row), &alone) {
            return Err(Fault::Alone { row, column });
        }
    }
    Ok(findings)
}

/// Holds the outputs against the reference.
fn judge(case: &Case, call: &Call, before: &AlignedBytes, outputs: &Outputs) -> Result<Findings, Fault> {
    let mut findings = Findings::default();
    let heads = |param: &Option<Operand>| -> Option<Vec<Vec<f64>>> {
        let param = param.as_ref()?;
        Some((0..case.heads()).map(|head| head_values(case, param, head, before)).collect())
    };
    let (w, b) = (heads(&call.w), heads(&call.b));
    let operation = case.operation();
    let addition = call.addition.as_ref();
    let row_len = case.dim() * case.y.dtype.size();
    for (index, given) in outputs.y.chunks_exact(row_len).enumerate() {
        let head = case.head_of(index);
        let elements =
            |operand: &Operand| element::read(operand.dtype, &before[row_bytes(case, operand, index)]);
        let x = elements(&call.x);
        let r = addition.and_then(|addition| match &addition.side {
            Side::Behind { r: None } => call.y.as_ref().map(elements),
            Side::InFront { r } | Side::Behind { r: Some(r) } | Side::Between { r, .. } => Some(elements(r)),
        });
        let row = Row {
            x: &x,
            w: w.as_ref().map(|heads| heads[head].as_slice()),
            b: b.as_ref().map(|heads| heads[head].as_slice()),
            r: r.as_deref(),
        };
        let normalized = operation.normalized(&row);
        let sum = element::read(case.sum_dtype(), &outputs.row(case, index).sum);
        if case.adds_in_front()
            && let Some(column) = reference::first_difference(&normalized, &sum)
        {
            return Err(Fault::Sum { row: index, column, expected: normalized[column], given: sum[column] });
        }
        let given = element::read(case.y.dtype, given);
        let judged = |operation: &Operation, normalized: &[f64], row: &Row<'_>, given: &[f64]| {
            let judged = operation.judge_normalized(normalized, row, given);
            found(index, judged, operation.y, given)
        };
        let Residual::Between { next, .. } = case.residual else {
            findings = findings.and(judged(&operation, &normalized, &row, &given)?);
            continue;
        };
        // Of two norms the second is that of what the first gave.
        let of_first = judged(&operation, &normalized, &row, &sum)?;
        let w = addition.and_then(Addition::next).and_then(|next| next.w.as_ref());
        let w = w.map(|w| head_values(case, w, 0, before));
        let row = Row { x: &sum, w: w.as_deref(), b: None, r: None };
        let of_second = judged(&case.next_operation(next), &sum, &row, &given)?;
        findings = findings.and(of_first).and(of_second);
    }
    Ok(findings)
}

/// What the judgement of a row of outputs of that type comes to.
fn found(row: usize, judged: WorstRow, dtype: DType, given: &[f64]) -> Result<Findings, Fault> {
    if !judged.promised {
        return Ok(Findings::default());
    }
    if !judged.is_kept() {
        let (column, verdict) = (judged.index, judged.worst);
        return Err(Fault::Inaccurate { row, column, dtype, verdict });
    }
    let f32_ratio = if dtype == DType::F32 { judged.worst.ratio() } else { 0.0 };
    Ok(Findings { outputs: given.len() as u64, f32_ratio })
}

/// The weights or biases of a head.
fn head_values(case: &Case, param: &Operand, head: usize, image: &AlignedBytes) -> Vec<f64> {
    element::read(param.dtype, &image[head_bytes(case, param, head)])
}

fn head_bytes(case: &Case, param: &Operand, head: usize) -> std::ops::Range<usize> {
    let size = param.dtype.size();
    let start = param.byte + head % param.heads() * param.strides[0] * size;
    start..start + case.dim() * size
}

/// The outputs of one row of the case, with nothing around it and at aligned addresses.
fn alone(
    case: &Case,
    among: &Layout,
    row: usize,
    before: &AlignedBytes,
    executor: &mut impl Executor,
) -> Result<Outputs, Fault> {
    let mut single = Case {
        shape: if case.heads { vec![1, case.dim()] } else { vec![case.dim()] },
        in_place: false,
        alone: None,
        ..case.clone()
    };
    for placement in [&mut single.x, &mut single.y] {
        placement.gaps = [0; MAX_LEADING];
        placement.at = 0;
    }
    match &mut single.residual {
        Residual::Before { gaps, at } | Residual::Between { r: Placement { gaps, at, .. }, .. } => {
            (*gaps, *at) = ([0; MAX_LEADING], 0);
        }
        Residual::None | Residual::Behind => {}
    }
    single.addition.own = single.addition.own.map(|_| ([0; MAX_LEADING], 0));
    for param in [&mut single.w, &mut single.b].into_iter().flatten() {
        param.gap = 0;
        param.at = 0;
    }
    let layout = Layout::of(&single);
    let mut start = AlignedBytes::default();
    layout.blank(&mut start);
    let mut copy = |from: std::ops::Range<usize>, to: &Operand| {
        start[to.byte..][..from.len()].copy_from_slice(&before[from]);
    };
    copy(row_bytes(case, &among.call.x, row), &layout.call.x);
    let additions = among.call.addition.as_ref().zip(layout.call.addition.as_ref());
    if let Some((from, to)) = additions.and_then(|(from, to)| from.r().zip(to.r())) {
        copy(row_bytes(case, from, row), to);
    }
    let onto_output = additions.is_some_and(|(addition, _)| addition.is_onto_output());
    if let (Some(from), Some(to), true) = (&among.call.y, &layout.call.y, onto_output) {
        copy(row_bytes(case, from, row), to);
    }
    let next = additions.and_then(|(from, to)| from.next().zip(to.next()));
    if let Some((from, to)) = next.and_then(|(from, to)| from.w.as_ref().zip(to.w.as_ref())) {
        copy(head_bytes(case, from, 0), to);
    }
    let head = case.head_of(row);
    for (from, to) in [(&among.call.w, &layout.call.w), (&among.call.b, &layout.call.b)] {
        if let (Some(from), Some(to)) = (from, to) {
            copy(head_bytes(case, from, head), to);
        }
    }
    execute(&single, &layout.call, &start, &mut AlignedBytes::default(), executor)
}

//! Examines one case: compares its outputs with the reference, with those of the call in place and with those of one
//! row alone, and looks for bytes that the call must not change.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;

use norm_host::accuracy::{Verdict, WorstRow, WrongElement, judge_gated_row};
use norm_host::reference::{self, Operation, Row};
use norm_host::{Arg, DType, Error, GroupFailure, SimulatorError, Stray};
use ptx_sim::LaunchError;

use super::call::{AdditionOperands, Call, Executor, ImageTensor, ResidualOperands};
use super::case::{CheckCase, MAX_LEADING, Placement, ResidualForm};
use super::layout::ImageLayout;
use super::outputs::{Outputs, difference, execute, row_bytes};
use super::quantized;
use crate::bytes::AlignedBytes;
use crate::element;

/// Why a case fails.
#[derive(Debug)]
pub enum CaseFault {
    /// The call is valid, but returned an error.
    Refused(Error),
    /// An output breaks the accuracy promise. `dtype` is the output's.
    Inaccurate { row: usize, column: usize, dtype: DType, verdict: Verdict },
    /// An element of the sum with a pre-norm residual is not exactly the reference's, as it must be.
    Sum { row: usize, column: usize, expected: f64, given: f64 },
    /// A code, a scale or a copied value is none that the promise allows.
    Quantized { row: usize, wrong: WrongElement },
    /// A byte changed that belongs to no element of an output. `byte` counts from the first element of `tensor`.
    Touched { tensor: &'static str, byte: isize },
    /// The call in place wrote other bits than the one out of place.
    InPlace { row: usize, column: usize },
    /// A rank of a group is not told of one that strays, or something else.
    Told { rank: usize, told: Option<GroupFailure>, stray: Stray },
    /// A rank of a group wrote other bits than the first.
    Rank { rank: usize, row: usize, column: usize },
    /// The call with one row alone wrote other bits than the call with all rows.
    Alone { row: usize, column: usize },
}

impl CaseFault {
    /// The error, if the requested kernels are missing or cannot be loaded. Then the fault is not the case's.
    pub fn of_kernels(&self) -> Option<&Error> {
        match self {
            CaseFault::Refused(error) if is_of_kernels(error) => Some(error),
            _ => None,
        }
    }
}

/// Whether an error says that a kernel is missing or cannot be loaded.
fn is_of_kernels(error: &Error) -> bool {
    match error {
        Error::KernelMissing { .. } | Error::Load { .. } => true,
        Error::Simulated(error) => matches!(**error, SimulatorError::Load(_)),
        error => error.arg() == Some(Arg::Ptx),
    }
}

impl CaseFault {
    /// Whether another fault is of the same kind. Shrinking keeps only simpler cases that fail for the same reason.
    pub fn is_like(&self, other: &CaseFault) -> bool {
        match (self, other) {
            (CaseFault::Refused(Error::Simulated(a)), CaseFault::Refused(Error::Simulated(b))) => {
                match (of_launch(a), of_launch(b)) {
                    (Some(LaunchError::Fault(a)), Some(LaunchError::Fault(b))) => {
                        discriminant(&a.kind) == discriminant(&b.kind)
                    }
                    (Some(a), Some(b)) => discriminant(a) == discriminant(b),
                    _ => discriminant(&**a) == discriminant(&**b),
                }
            }
            (CaseFault::Refused(a), CaseFault::Refused(b)) => discriminant(a) == discriminant(b),
            (a, b) => discriminant(a) == discriminant(b),
        }
    }
}

/// What is wrong with a launch, by itself or beside those of other ranks.
fn of_launch(error: &SimulatorError) -> Option<&LaunchError> {
    match error {
        SimulatorError::Launch(error) => Some(error),
        SimulatorError::Rank(rank) => Some(&rank.error),
        _ => None,
    }
}

impl fmt::Display for CaseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaseFault::Refused(error) => write!(f, "a valid call was refused: {error}"),
            CaseFault::Inaccurate { row, column, dtype, verdict } => {
                let Verdict { expected, given, error_ulp, allowed_ulp } = verdict;
                write!(
                    f,
                    "row {row}, column {column}: expected {expected:e}, given {given:e}: \
                     {error_ulp:.3} ULP of {dtype}, allowed are {allowed_ulp:.3}"
                )
            }
            CaseFault::Sum { row, column, expected, given } => {
                write!(f, "row {row}, column {column} of the sum: expected {expected:e}, given {given:e}")
            }
            CaseFault::Quantized { row, wrong } => quantized::explain(f, *row, wrong),
            CaseFault::Touched { tensor, byte } => {
                write!(
                    f,
                    "byte {byte} from the start of {tensor} was changed, where no element of the output is"
                )
            }
            CaseFault::InPlace { row, column } => {
                write!(f, "row {row}, column {column}: in place gives other bits than out of place")
            }
            CaseFault::Told { rank, told, stray } => {
                let told = told.map_or("nothing, or two things".to_owned(), |told| told.to_string());
                write!(f, "rank {rank} is told {told}, where the last rank strays: {stray:?}")
            }
            CaseFault::Rank { rank, row, column } => {
                write!(f, "row {row}, column {column}: rank {rank} has other bits than the first rank")
            }
            CaseFault::Alone { row, column } => {
                write!(f, "row {row}, column {column}: the row alone gives other bits than among the others")
            }
        }
    }
}

/// Statistics of cases that passed.
#[derive(Clone, Copy, Debug, Default)]
pub struct CaseStats {
    /// The number of outputs that were compared with the reference.
    pub outputs: u64,
    /// The largest error of an f32 output, as a fraction of the error that the accuracy promise allows. Outputs of 16
    /// bits are left out: a single one that is rounded to the other neighbour has all of the allowed error.
    pub f32_ratio: f64,
}

impl CaseStats {
    /// The statistics of both.
    pub fn merged(self, other: CaseStats) -> CaseStats {
        CaseStats { outputs: self.outputs + other.outputs, f32_ratio: self.f32_ratio.max(other.f32_ratio) }
    }
}

/// Images, reused from case to case.
#[derive(Default)]
pub struct ImageBuffers {
    /// The image before the call.
    pub before: AlignedBytes,
    /// A copy that the call works on.
    pub image: AlignedBytes,
    /// Of the outputs of all cases so far that were examined with these, by which two runs of them are told apart.
    pub digest: DefaultHasher,
}

impl ImageBuffers {
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }
}

/// Examines one case, and returns its statistics or the first fault.
pub fn examine(
    case: &CheckCase,
    executor: &mut impl Executor,
    memory: &mut ImageBuffers,
) -> Result<CaseStats, CaseFault> {
    if case.quantize.is_some() {
        return quantized::examine(case, executor, memory);
    }
    let layout = ImageLayout::of(case);
    let ImageBuffers { before, image, digest } = memory;
    layout.fill(case, before);

    let outputs = execute(case, &layout.call, before, image, executor)?;
    (&outputs.y, &outputs.sum).hash(digest);
    let stats = judge(case, &layout.call, before, &outputs)?;

    if case.in_place {
        let call = Call { y: None, ..layout.call.clone() };
        let in_place = execute(case, &call, before, image, executor)?;
        if let Some((row, column)) = difference(case, &outputs, &in_place) {
            return Err(CaseFault::InPlace { row, column });
        }
    }
    if let Some(row) = case.alone {
        let alone = alone(case, &layout, row, before, executor)?;
        if let Some((_, column)) = difference(case, &outputs.row(case, row), &alone) {
            return Err(CaseFault::Alone { row, column });
        }
    }
    Ok(stats)
}

/// Compares the outputs with the f64 reference.
pub fn judge(
    case: &CheckCase,
    call: &Call,
    before: &AlignedBytes,
    outputs: &Outputs,
) -> Result<CaseStats, CaseFault> {
    let mut stats = CaseStats::default();
    let heads = |param: &Option<ImageTensor>| -> Option<Vec<Vec<f64>>> {
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
            |tensor: &ImageTensor| element::read(tensor.dtype, &before[row_bytes(case, tensor, index)]);
        let x = elements(&call.x);
        let r = addition.and_then(|addition| match &addition.residual {
            ResidualOperands::PostNorm { r: None } => call.y.as_ref().map(elements),
            ResidualOperands::PreNorm { r }
            | ResidualOperands::PostNorm { r: Some(r) }
            | ResidualOperands::Sandwich { r, .. } => Some(elements(r)),
        });
        let row = Row {
            x: &x,
            w: w.as_ref().map(|heads| heads[head].as_slice()),
            b: b.as_ref().map(|heads| heads[head].as_slice()),
            r: r.as_deref(),
        };
        if let Some((gating, g)) = &call.gate {
            let (x, g): (Vec<_>, _) =
                (x.iter().map(|&x| reference::input(case.x.dtype, x)).collect(), elements(g));
            let given = element::read(case.y.dtype, given);
            let judged = judge_gated_row(&x, &g, *gating, &operation.parameters(&row), case.y.dtype, &given);
            stats = stats.merged(stats_of(index, judged, case.y.dtype, &given)?);
            continue;
        }
        let normalized = operation.normalized(&row);
        let sum = element::read(case.sum_dtype(), &outputs.row(case, index).sum);
        if case.is_pre_norm()
            && let Some(column) = reference::first_difference(&normalized, &sum)
        {
            return Err(CaseFault::Sum {
                row: index,
                column,
                expected: normalized[column],
                given: sum[column],
            });
        }
        let given = element::read(case.y.dtype, given);
        let judge_row = |operation: &Operation, normalized: &[f64], row: &Row<'_>, given: &[f64]| {
            let judged = operation.judge_normalized(normalized, row, given);
            stats_of(index, judged, operation.y, given)
        };
        let ResidualForm::Sandwich { next, .. } = case.residual else {
            stats = stats.merged(judge_row(&operation, &normalized, &row, &given)?);
            continue;
        };
        // The second norm's reference starts from the sum that the call wrote, with that sum's own error.
        let of_first = judge_row(&operation, &normalized, &row, &sum)?;
        let w = addition.and_then(AdditionOperands::next).and_then(|next| next.w.as_ref());
        let w = w.map(|w| head_values(case, w, 0, before));
        let row = Row { x: &sum, w: w.as_deref(), b: None, r: None };
        let of_second = judge_row(&case.next_operation(next), &sum, &row, &given)?;
        stats = stats.merged(of_first).merged(of_second);
    }
    Ok(stats)
}

/// The statistics of one row of outputs of that dtype, or its fault.
fn stats_of(row: usize, judged: WorstRow, dtype: DType, given: &[f64]) -> Result<CaseStats, CaseFault> {
    if !judged.promised {
        return Ok(CaseStats::default());
    }
    if !judged.is_kept() {
        let (column, verdict) = (judged.index, judged.worst);
        return Err(CaseFault::Inaccurate { row, column, dtype, verdict });
    }
    let f32_ratio = if dtype == DType::F32 { judged.worst.ratio() } else { 0.0 };
    Ok(CaseStats { outputs: given.len() as u64, f32_ratio })
}

/// The weights or biases of a head.
pub fn head_values(case: &CheckCase, param: &ImageTensor, head: usize, image: &AlignedBytes) -> Vec<f64> {
    element::read(param.dtype, &image[head_bytes(case, param, head)])
}

pub fn head_bytes(case: &CheckCase, param: &ImageTensor, head: usize) -> std::ops::Range<usize> {
    let size = param.dtype.size();
    let start = param.byte_offset + head % param.heads() * param.strides[0] * size;
    start..start + case.dim() * size
}

/// The outputs of one row of the case, run as a call of its own on dense tensors at aligned addresses.
fn alone(
    case: &CheckCase,
    among: &ImageLayout,
    row: usize,
    before: &AlignedBytes,
    executor: &mut impl Executor,
) -> Result<Outputs, CaseFault> {
    let mut single = CheckCase {
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
        ResidualForm::PreNorm { gaps, at } | ResidualForm::Sandwich { r: Placement { gaps, at, .. }, .. } => {
            (*gaps, *at) = ([0; MAX_LEADING], 0);
        }
        ResidualForm::None | ResidualForm::PostNorm => {}
    }
    if let Some(gate) = &mut single.gate {
        (gate.g.gaps, gate.g.at) = ([0; MAX_LEADING], 0);
    }
    single.addition.separate = single.addition.separate.map(|_| ([0; MAX_LEADING], 0));
    for param in [&mut single.w, &mut single.b].into_iter().flatten() {
        param.gap = 0;
        param.at = 0;
    }
    let layout = ImageLayout::of(&single);
    let mut start = AlignedBytes::default();
    layout.blank(&mut start);
    let mut copy = |from: std::ops::Range<usize>, to: &ImageTensor| {
        start[to.byte_offset..][..from.len()].copy_from_slice(&before[from]);
    };
    copy(row_bytes(case, &among.call.x, row), &layout.call.x);
    if let (Some((_, from)), Some((_, to))) = (&among.call.gate, &layout.call.gate) {
        copy(row_bytes(case, from, row), to);
    }
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

//! Measuring the CPU backend, beside a copy that all cores share.

use std::fs;
use std::time::Instant;

use norm_host::{Cpu, Error, Place};
use rayon::prelude::*;

use super::call::{self, TensorAddresses};
use super::case::BenchCase;
use super::error::BenchError;
use super::record::median_of;
use super::{values, verify};
use crate::bytes::AlignedBytes;

/// Timed calls in a round.
pub const REPLAYS: u32 = 5;

/// The method, in words.
pub const DESCRIPTION: &str = "wall time of a call, median of 5, all lines once a round, each round on fresh buffers; the copy is shared by all cores";

/// Bytes of each part of the copy: small enough to be distributed evenly over cores, large enough to outweigh that cost.
const PART: usize = 1 << 20;

/// The outcome of a case, as on a device.
pub type Outcome = Result<Vec<f64>, String>;

/// Checks that each case fits in free memory. The system may allow larger allocations, and end the process when they are
/// used.
///
/// # Errors
/// [`BenchError::Memory`] where it does not.
pub fn fits(cases: &[BenchCase], copy: u64) -> Result<(), BenchError> {
    let Some(free) = free_memory() else { return Ok(()) };
    let most = |what: &'static str, bytes: u64| -> Result<(), BenchError> {
        let mib = |bytes: u64| bytes >> 20;
        if bytes <= free {
            Ok(())
        } else {
            Err(BenchError::Memory { what, needed: mib(bytes), free: mib(free) })
        }
    };
    most("--copy", copy.saturating_mul(2))?;
    cases.iter().try_for_each(|case| most("--shape", memory(case)))
}

/// Bytes of a case's tensors, with a copy of the residual, if one is written, from before the call.
fn memory(case: &BenchCase) -> u64 {
    let parameters = (2 * case.parameters() * case.types.w.size()) as u64;
    case.bytes() + parameters
}

/// Bytes that can be allocated without swapping, if the system reports them.
fn free_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Measures a copy of `copy` bytes and every case once in each round. Returns the copy's samples and each
/// case's.
pub fn measure(cases: &[BenchCase], copy: u64, rounds: u32, step: impl Fn()) -> (Vec<f64>, Vec<Outcome>) {
    let mut copies = Vec::new();
    let mut outcomes: Vec<Outcome> = cases.iter().map(|_| Ok(Vec::new())).collect();
    for round in 0..rounds {
        copies.push(sample_copy(usize::try_from(copy).unwrap_or(usize::MAX)));
        step();
        for (case, outcome) in cases.iter().zip(&mut outcomes) {
            if let Ok(samples) = outcome {
                match sample(case, round == 0) {
                    Ok(sample) => samples.push(sample),
                    Err(wrong) => *outcome = Err(wrong),
                }
            }
            step();
        }
    }
    (copies, outcomes)
}

/// Microseconds for a call: the median of several, after one that is not timed.
fn time<E>(mut call: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    call()?;
    let times: Result<Vec<f64>, E> = (0..REPLAYS)
        .map(|_| {
            let start = Instant::now();
            call()?;
            Ok(start.elapsed().as_secs_f64() * 1e6)
        })
        .collect();
    times.map(median_of)
}

fn sample_copy(bytes: usize) -> f64 {
    let (from, mut to) = (filled(norm_host::DType::F32, bytes), AlignedBytes::zeroed(bytes));
    let copied = time(|| {
        let parts = to.par_chunks_mut(PART).zip(from.par_chunks(PART));
        parts.for_each(|(to, from)| to.copy_from_slice(from));
        std::hint::black_box(&mut to);
        Ok::<(), std::convert::Infallible>(())
    });
    match copied {
        Ok(sample) => sample,
        Err(never) => match never {},
    }
}

fn sample(case: &BenchCase, check: bool) -> Result<f64, String> {
    let text = |error: Error| error.to_string();
    let x = filled(case.types.x, case.x_bytes() as usize);
    let mut y = if case.op.is_in_place() { x.clone() } else { AlignedBytes::zeroed(case.y_bytes() as usize) };
    let mut r = if case.residual_bytes() > 0 { residual(case) } else { AlignedBytes::default() };
    let mut sum = AlignedBytes::zeroed(if case.op.has_sum() { r.len() } else { 0 });
    let (w, b) = (values::weights(case), values::biases(case));
    let address = |bytes: &AlignedBytes| bytes.as_ptr().expose_provenance() as u64;
    let tensors = TensorAddresses {
        place: Place::Host,
        x: address(&x),
        y: y.as_mut_ptr().expose_provenance() as u64,
        w: address(&w),
        b: address(&b),
        r: r.as_mut_ptr().expose_provenance() as u64,
        sum: if case.op.has_sum() { &mut sum } else { &mut r }.as_mut_ptr().expose_provenance() as u64,
    };
    // SAFETY: the buffers were created above with the case's types and extents, and nothing else uses them.
    let call = || unsafe { call::call(case, tensors, &Cpu) };
    if check {
        let before = r.clone();
        call().map_err(text)?;
        let dim = case.extents.dim();
        let [x_row, r_row] = [case.types.x, case.residual_type()].map(|dtype| dim * dtype.size());
        let y_row = case.y_row_bytes();
        let after = if case.op.has_sum() { &sum } else { &r };
        for index in verify::rows(case) {
            let row = verify::RowBytes {
                x: &x[index * x_row..][..x_row],
                g: case.op.gating().map(|_| &before[index * r_row..][..r_row]),
                r: case.op.has_residual().then(|| [&before, after].map(|r| &r[index * r_row..][..r_row])),
                y: &y[index * y_row..][..y_row],
                apart: false,
            };
            verify::judge(case, index, &row, &w, &b)?;
        }
    }
    time(call).map_err(text)
}

/// Other numbers than the inputs are, or a residual read in their place would not show.
fn residual(case: &BenchCase) -> AlignedBytes {
    let mut r = filled(case.residual_type(), case.residual_bytes() as usize);
    r.rotate_left(case.extents.elements() / 2 * case.residual_type().size());
    r
}

/// Random numbers, repeated to fill that many bytes.
fn filled(dtype: norm_host::DType, bytes: usize) -> AlignedBytes {
    let pattern = values::inputs(dtype, bytes as u64);
    let mut filled = AlignedBytes::zeroed(bytes);
    filled.par_chunks_mut(pattern.len().max(1)).for_each(|part| part.copy_from_slice(&pattern[..part.len()]));
    filled
}

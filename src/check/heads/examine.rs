//! Examines one case: every head against the f64 reference, in place against out of place, and what must not change.

use std::hash::Hash;

use norm_host::reference::{Head, HeadOperation, HeadParameters};

use super::super::call::Executor;
use super::super::examine::{CaseFault, CaseStats, ImageBuffers};
use super::super::outputs::first_change;
use super::{HeadsCall, HeadsCase};
use crate::bytes::AlignedBytes;
use crate::element;

/// Examines one case, and returns its statistics or the first fault.
pub fn examine(
    case: &HeadsCase,
    executor: &mut impl Executor,
    memory: &mut ImageBuffers,
) -> Result<CaseStats, CaseFault> {
    let call = HeadsCall::of(case);
    let ImageBuffers { before, image, digest } = memory;
    call.fill(before);
    let outputs = execute(&call, before, image, executor)?;
    outputs.hash(digest);
    let stats = judge(&call, before, &outputs)?;
    if case.in_place {
        let in_place = execute(&HeadsCall { y: call.x, ..call.clone() }, before, image, executor)?;
        if let Some(row) = outputs.iter().zip(&in_place).position(|(a, b)| a != b) {
            let differs = outputs[row].iter().zip(&in_place[row]).position(|(a, b)| a != b);
            return Err(CaseFault::InPlace { row, column: differs.unwrap_or(0) / case.x.size() });
        }
    }
    Ok(stats)
}

/// The bytes of every head that is written.
fn execute(
    call: &HeadsCall,
    before: &AlignedBytes,
    image: &mut AlignedBytes,
    executor: &mut impl Executor,
) -> Result<Vec<Vec<u8>>, CaseFault> {
    image.clone_from(before);
    executor.execute_heads(call, image).map_err(CaseFault::Refused)?;
    // What was written goes back, so that every difference that is left is a fault.
    let mut outputs = Vec::new();
    for at in call.heads() {
        let range = call.head(call.y, at);
        outputs.push(image[range.clone()].to_vec());
        image[range.clone()].copy_from_slice(&before[range]);
    }
    match first_change(image, before) {
        None => Ok(outputs),
        Some(byte) => Err(CaseFault::Touched { tensor: "y", byte: byte.wrapping_sub(call.y) as isize }),
    }
}

fn judge(call: &HeadsCall, before: &AlignedBytes, outputs: &[Vec<u8>]) -> Result<CaseStats, CaseFault> {
    let case = &call.case;
    let HeadsCase { dim, x, w, own, pairs, table, .. } = *case;
    let operation = HeadOperation {
        dtype: x,
        pairing: case.pairing,
        norm_behind: case.behind,
        before_weight: case.before_weight,
        rounding: case.rounding,
    };
    let row_of = |start: usize, position: usize| {
        element::read(table, &before[start + position * pairs * table.size()..][..pairs * table.size()])
    };
    let mut stats = CaseStats::default();
    for (row, (at, given)) in call.heads().zip(outputs).enumerate() {
        let [part, token, head] = at;
        let elements = element::read(x, &before[call.head(call.x, at)]);
        let weight = w.map(|w| {
            let from = call.w[part] + if own { head * dim * w.size() } else { 0 };
            element::read(w, &before[from..][..dim * w.size()])
        });
        let norm = case.norms[part].map(|kind| HeadParameters {
            kind,
            eps: case.eps.into(),
            weight: weight.as_deref(),
            weight_offset: case.weight_offset.into(),
        });
        let position = call.position(token);
        let rows = (part < 2 && pairs > 0).then(|| [row_of(call.cos, position), row_of(call.sin, position)]);
        let turn = rows.as_ref().map(|[cos, sin]| [&cos[..], &sin[..]]);
        let judged = operation.judge(&Head { x: &elements, norm, turn }, &element::read(x, given));
        if !judged.promised {
            continue;
        }
        if !judged.is_kept() {
            return Err(CaseFault::Inaccurate { row, column: judged.index, dtype: x, verdict: judged.worst });
        }
        let f32_ratio = if x == norm_host::DType::F32 { judged.worst.ratio() } else { 0.0 };
        stats = stats.merged(CaseStats { outputs: dim as u64, f32_ratio });
    }
    Ok(stats)
}

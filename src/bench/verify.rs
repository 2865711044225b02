//! Holding a few rows of an output against the reference, before anything is timed.

use norm_host::reference::{self, Factors, Parameters};
use norm_host::{Roundings, accuracy};

use super::call::EPS;
use super::case::Case;
use crate::element;

/// The normalized rows that are looked at: both ends and the middle.
pub fn rows(case: &Case) -> Vec<usize> {
    let rows = case.extents.rows();
    let mut picked = vec![0, 1.min(rows - 1), rows / 2, rows - 1];
    picked.dedup();
    picked
}

/// A row of the tensors that differ from row to row, as bytes.
pub struct Row<'a> {
    pub x: &'a [u8],
    /// A residual before the call and after it.
    pub r: Option<[&'a [u8]; 2]>,
    pub y: &'a [u8],
}

/// Judges the row of that index; the text says what is wrong.
pub fn judge(case: &Case, index: usize, row: &Row<'_>, w: &[u8], b: &[u8]) -> Result<(), String> {
    let types = case.types;
    let (dim, head) = (case.extents.dim(), index % case.extents.heads());
    let parameter = |bytes: &[u8]| -> Vec<f64> {
        let bytes_a_head = dim * types.w.size();
        element::read(types.w, &bytes[head * bytes_a_head..][..bytes_a_head])
    };
    let weight = parameter(w);
    let bias = case.op.has_bias().then(|| parameter(b));
    let parameters = Parameters {
        kind: case.op.kind(),
        eps: EPS.into(),
        weight: Some(&weight),
        weight_offset: 0.0,
        roundings: Roundings::of(case.rounding, false, types.x, Some(types.w), types.y),
        bias: bias.as_deref(),
        onto: None,
        factors: Factors::NONE,
    };
    let mut x = element::read(types.x, row.x);
    if let Some([before, after]) = row.r {
        x = reference::add(types.x, &x, &element::read(types.x, before));
        let after = element::read(types.x, after);
        if let Some(column) = x.iter().zip(&after).position(|(expected, given)| expected != given) {
            let (expected, given) = (x[column], after[column]);
            return Err(format!(
                "row {index}, column {column} of the residual: expected {expected:e}, given {given:e}"
            ));
        }
    }
    x.iter_mut().for_each(|x| *x = reference::input(types.x, *x));
    let judged = accuracy::judge_row(&x, &parameters, types.y, &element::read(types.y, row.y));
    if judged.is_kept() {
        return Ok(());
    }
    let worst = judged.worst;
    Err(format!(
        "row {index}, column {}: expected {:e}, given {:e}, {:.2} ULP off where {:.2} are allowed",
        judged.index, worst.expected, worst.given, worst.error_ulp, worst.allowed_ulp
    ))
}

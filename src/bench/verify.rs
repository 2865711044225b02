//! Holding a few rows of an output against the reference, before anything is timed.

use norm_host::accuracy;
use norm_host::reference::{self, Parameters};

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

/// Judges one row; the text says what is wrong.
pub fn judge(case: &Case, row: usize, x: &[u8], w: &[u8], b: &[u8], y: &[u8]) -> Result<(), String> {
    let types = case.types;
    let (dim, head) = (case.extents.dim(), row % case.extents.heads());
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
        bias: bias.as_deref(),
    };
    let x: Vec<f64> = element::read(types.x, x).into_iter().map(|x| reference::input(types.x, x)).collect();
    let judged = accuracy::judge_row(&x, &parameters, types.y, &element::read(types.y, y));
    if judged.is_kept() {
        return Ok(());
    }
    let worst = judged.worst;
    Err(format!(
        "row {row}, column {}: expected {:e}, given {:e}, {:.2} ULP off where {:.2} are allowed",
        judged.index, worst.expected, worst.given, worst.error_ulp, worst.allowed_ulp
    ))
}

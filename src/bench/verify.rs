//! Compares a few rows of an output with the f64 reference, before anything is timed.

use norm_host::{
    Cpu, Place, QuantFormat,
    accuracy::{WorstRow, judge_gated_row},
    quantize::decode_e4m3,
    reference,
};

use super::call::{TensorAddresses, call};
use super::case::BenchCase;
use super::heads;
use super::op::{Extents, Quantizes};
use crate::bytes::AlignedBytes;
use crate::element;

/// The indices of the rows to compare: the first two, the middle one and the last.
pub fn rows(case: &BenchCase) -> Vec<usize> {
    let rows = case.extents.rows();
    let mut picked = vec![0, 1.min(rows - 1), rows / 2, rows - 1];
    picked.dedup();
    picked
}

/// The bytes of one row of each tensor that has rows.
pub struct RowBytes<'a> {
    pub x: &'a [u8],
    /// The gate, if there is one.
    pub g: Option<&'a [u8]>,
    /// The residual before the call, and the sum after it.
    pub r: Option<[&'a [u8]; 2]>,
    pub y: &'a [u8],
    /// Whether it is the result of the operation's parts, one after the other.
    pub apart: bool,
}

/// Compares row `index` of a quantized output with what the CPU backend makes of it: the sum bit for bit, each code up to one
/// step, and nearly all codes bit for bit.
fn judge_quantized(
    case: &BenchCase,
    quantizes: Quantizes,
    index: usize,
    row: &RowBytes<'_>,
    [w, b]: [&[u8]; 2],
) -> Result<(), String> {
    let dim = case.extents.dim();
    let one = BenchCase { extents: Extents::new(&[1, dim]), ..case.clone() };
    let aligned = |bytes: &[u8]| {
        let mut aligned = AlignedBytes::zeroed(bytes.len());
        aligned.copy_from_slice(bytes);
        aligned
    };
    let (x, w, b) = (aligned(row.x), aligned(w), aligned(b));
    let mut sum = row.r.map_or_else(AlignedBytes::default, |[before, _]| aligned(before));
    let mut y = AlignedBytes::zeroed(usize::try_from(one.y_bytes()).unwrap_or(usize::MAX));
    let address = |bytes: &AlignedBytes| bytes.as_ptr().expose_provenance() as u64;
    let sum_address = sum.as_mut_ptr().expose_provenance() as u64;
    let tensors = TensorAddresses {
        place: Place::Host,
        x: address(&x),
        y: y.as_mut_ptr().expose_provenance() as u64,
        w: address(&w),
        b: address(&b),
        r: sum_address,
        sum: sum_address,
    };
    // SAFETY: the buffers were created above with the types and extents of one row, and nothing else uses them.
    unsafe { call(&one, tensors, &Cpu) }.map_err(|error| error.to_string())?;
    if let Some([_, after]) = row.r
        && *after != sum[..]
    {
        return Err(format!("row {index} of the residual has other bits than on the CPU"));
    }
    let decode = |code: u8| match quantizes.format {
        QuantFormat::E4m3 => decode_e4m3(code),
        QuantFormat::Int8 => f32::from(code as i8),
    };
    let mut others = 0;
    for (column, (&given, &expected)) in row.y.iter().zip(&y[..dim]).enumerate() {
        others += usize::from(given != expected);
        let (given, expected) = (decode(given), decode(expected));
        let step = match quantizes.format {
            QuantFormat::E4m3 => f32::max(expected.abs() / 7.9, 1.0 / 512.0),
            QuantFormat::Int8 => 1.0,
        };
        let is_near = (given - expected).abs() <= step;
        if !is_near {
            return Err(format!(
                "row {index}, column {column}: expected a code of {expected:e}, given {given:e}"
            ));
        }
    }
    // An error in the last place changes a code only next to a tie.
    if others > 2 + dim / 20 {
        return Err(format!("row {index}: {others} of {dim} codes are not those of the CPU"));
    }
    Ok(())
}

/// Compares row `index` with the reference. The error says what is wrong.
pub fn judge(case: &BenchCase, index: usize, row: &RowBytes<'_>, w: &[u8], b: &[u8]) -> Result<(), String> {
    if case.op.rotates() {
        return check_promise(index, "", &heads::judge(case, index, row, w));
    }
    if let Some(quantizes) = case.op.quantizes() {
        return judge_quantized(case, quantizes, index, row, [w, b]);
    }
    let (op, types, r_type) = (case.op, case.types, case.residual_type());
    let (dim, head) = (case.extents.dim(), index % case.extents.heads());
    let parameter = |bytes: &[u8]| -> Vec<f64> {
        let bytes_per_head = dim * types.w.size();
        element::read(types.w, &bytes[head * bytes_per_head..][..bytes_per_head])
    };
    let (weight, bias_or_next) = (parameter(w), parameter(b));
    let read = |bytes: Option<&[u8]>| bytes.map(|bytes| element::read(r_type, bytes));
    let [before, after] = [read(row.r.map(|[before, _]| before)), read(row.r.map(|[_, after]| after))];
    let (x, y) = (element::read(types.x, row.x), element::read(types.y, row.y));
    let b = op.has_bias().then_some(&bias_or_next[..]);
    let read = reference::Row { x: &x, w: Some(&weight), b, r: before.as_deref() };
    let operation = case.operation();
    if let (Some(gating), Some(g)) = (op.gating(), row.g) {
        let x: Vec<f64> = x.iter().map(|&x| reference::input(types.x, x)).collect();
        let g = element::read(r_type, g);
        let judged = judge_gated_row(&x, &g, gating, &operation.parameters(&read), types.y, &y);
        return check_promise(index, "", &judged);
    }
    let Some(after) = after else {
        return check_promise(index, "", &operation.judge(&read, &y));
    };
    // The second norm's reference starts from the rounded sum that the call wrote.
    if op.is_sandwich() {
        check_promise(index, " of the residual", &operation.judge(&read, &after))?;
        let next = reference::Row { x: &after, w: Some(&bias_or_next), b, r: None };
        return check_promise(index, "", &case.next_operation().judge(&next, &y));
    }
    let sum = operation.normalized(&read);
    if let Some(column) = reference::first_difference(&sum, &after) {
        let (expected, given) = (sum[column], after[column]);
        return Err(format!(
            "row {index}, column {column} of the residual: expected {expected:e}, given {given:e}"
        ));
    }
    check_promise(index, "", &operation.judge_normalized(&sum, &read, &y))
}

/// An error if a row breaks the accuracy promise. `of` names the tensor, if it is not the output.
fn check_promise(index: usize, of: &str, judged: &WorstRow) -> Result<(), String> {
    if judged.is_kept() {
        return Ok(());
    }
    let worst = judged.worst;
    Err(format!(
        "row {index}, column {}{of}: expected {:e}, given {:e}, {:.2} ULP off where {:.2} are allowed",
        judged.index, worst.expected, worst.given, worst.error_ulp, worst.allowed_ulp
    ))
}

#[cfg(test)]
mod tests {
    use super::super::op::{Op, Types};
    use super::*;
    use norm_host::{DType, Rounding};

    /// One f32 row of a sandwich, computed by hand: `r = [1, 1] + [2, 2] / 2`, then its norm times `[1, 3]`.
    #[test]
    fn both_results_of_a_sandwich_are_judged() {
        let extents = Extents::new(&[1, 2]);
        let rounding = Rounding::Single;
        let case = BenchCase { op: Op::SandwichRms, types: Types::of(DType::F32), extents, rounding };
        let bytes = |values: [f32; 2]| values.map(f32::to_ne_bytes).concat();
        let (x, before) = (bytes([2.0, 2.0]), bytes([1.0, 1.0]));
        let (w, next) = (bytes([1.0, 1.0]), bytes([1.0, 3.0]));
        let judged = |after: [f32; 2], y: [f32; 2]| {
            let (after, y) = (bytes(after), bytes(y));
            judge(
                &case,
                0,
                &RowBytes { x: &x, g: None, r: Some([&before, &after]), y: &y, apart: false },
                &w,
                &next,
            )
        };
        assert_eq!(judged([2.0, 2.0], [1.0, 3.0]), Ok(()));
        let sum = judged([2.0, 2.5], [1.0, 3.0]).unwrap_err();
        assert!(sum.contains("row 0, column 1 of the residual"), "{sum}");
        let norm = judged([2.0, 2.0], [1.0, 1.0]).unwrap_err();
        assert!(norm.contains("row 0, column 1: expected"), "{norm}");
    }
}

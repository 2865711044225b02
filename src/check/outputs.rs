//! What a call writes, and that it writes nothing else.

use super::call::{Addition, Call, Executor, Operand, Step};
use super::case::Case;
use super::examine::Fault;
use crate::bytes::AlignedBytes;
use crate::element;

/// What a call writes, row by row without gaps.
pub struct Outputs {
    pub y: Vec<u8>,
    /// The sum with a residual, empty where there is none but the output.
    pub sum: Vec<u8>,
}

impl Outputs {
    /// Those of one row.
    pub fn row(&self, case: &Case, row: usize) -> Outputs {
        let take = |bytes: &[u8], size: usize| {
            bytes.chunks_exact(case.dim() * size).nth(row).unwrap_or_default().to_vec()
        };
        Outputs { y: take(&self.y, case.y.dtype.size()), sum: take(&self.sum, case.sum_dtype().size()) }
    }
}

/// Carries `call` out on a copy of `before`, makes sure that nothing but its outputs changed, and
/// returns those.
pub fn execute(
    case: &Case,
    call: &Call,
    before: &AlignedBytes,
    image: &mut AlignedBytes,
    executor: &mut impl Executor,
) -> Result<Outputs, Fault> {
    image.clone_from(before);
    executor.execute(call, image).map_err(Fault::Refused)?;
    if let Some(sums) = &call.sums {
        add_up(sums, call.shards, image);
        let apply = Call { step: Step::Apply, ..call.clone() };
        executor.execute(&apply, image).map_err(Fault::Refused)?;
        let sums = sums.byte..sums.byte + sums.shape[0] * sums.dtype.size();
        image[sums.clone()].copy_from_slice(&before[sums]);
    }

    let mut take = |written: &Operand| {
        let mut bytes = Vec::with_capacity(case.rows() * case.dim() * written.dtype.size());
        for row in 0..case.rows() {
            let range = row_bytes(case, written, row);
            bytes.extend_from_slice(&image[range.clone()]);
            image[range.clone()].copy_from_slice(&before[range]);
        }
        bytes
    };
    let y = take(call.y.as_ref().unwrap_or(&call.x));
    let sum = call.addition.as_ref().and_then(Addition::sum);
    let outputs = Outputs { y, sum: sum.map(take).unwrap_or_default() };
    match image.iter().zip(before.iter()).position(|(after, before)| after != before) {
        None => Ok(outputs),
        Some(byte) => Err(touched(call, byte)),
    }
}

/// What a communicator does: for each row the sum over all shards, in place of the first shard's.
fn add_up(sums: &Operand, shards: usize, image: &mut AlignedBytes) {
    let mut values: Vec<f32> =
        element::read(sums.dtype, &image[sums.byte..][..sums.shape[0] * sums.dtype.size()])
            .into_iter()
            .map(|sum| sum as f32)
            .collect();
    let rows = values.len() / shards;
    for row in 0..rows {
        values[row] = (0..shards).map(|shard| values[shard * rows + row]).sum();
    }
    element::write(sums.dtype, &mut image[sums.byte..], values.into_iter().map(f64::from));
}

/// The fault of a changed byte, told from the tensor that starts last before it.
fn touched(call: &Call, byte: usize) -> Fault {
    let addition = call.addition.as_ref();
    let next = addition.and_then(Addition::next);
    let tensors = [
        ("x", Some(&call.x)),
        ("y", call.y.as_ref()),
        ("w", call.w.as_ref()),
        ("b", call.b.as_ref()),
        ("r", addition.and_then(Addition::r)),
        ("sum", addition.and_then(|addition| addition.s.as_ref())),
        ("scale", addition.and_then(|addition| addition.scale_at.as_ref())),
        ("next's w", next.and_then(|next| next.w.as_ref())),
        ("sums", call.sums.as_ref()),
    ];
    let distance = |operand: &Operand| byte.wrapping_sub(operand.byte) as isize;
    let nearest = tensors
        .into_iter()
        .filter_map(|(name, operand)| Some((name, distance(operand?))))
        // Behind a tensor's start is likelier its own than a little before another's.
        .min_by_key(|&(_, byte)| if byte < 0 { 16 * byte.unsigned_abs() } else { byte as usize });
    let (tensor, byte) = nearest.unwrap_or(("x", 0));
    Fault::Touched { tensor, byte }
}

/// The bytes of a row's elements in the image.
pub fn row_bytes(case: &Case, operand: &Operand, row: usize) -> std::ops::Range<usize> {
    let size = operand.dtype.size();
    let start = operand.byte + case.row_start(row, &operand.strides) * size;
    start..start + case.dim() * size
}

/// The row and column of the first element in which two outputs differ.
pub fn difference(case: &Case, a: &Outputs, b: &Outputs) -> Option<(usize, usize)> {
    let first = |a: &[u8], b: &[u8], size: usize| {
        let byte = a.iter().zip(b).position(|(a, b)| a != b)?;
        let element = byte / size;
        Some((element / case.dim(), element % case.dim()))
    };
    first(&a.y, &b.y, case.y.dtype.size()).or_else(|| first(&a.sum, &b.sum, case.sum_dtype().size()))
}

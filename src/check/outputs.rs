//! Executes a call, collects its outputs, and checks that it changed nothing else.

use super::call::{AdditionOperands, Call, Executor, ImageTensor, Step};
use super::case::CheckCase;
use super::examine::CaseFault;
use crate::bytes::AlignedBytes;
use crate::element;

/// The outputs of a call, as bytes of dense rows.
pub struct Outputs {
    pub y: Vec<u8>,
    /// The sum with a residual. Empty if there is none, or if it is the output.
    pub sum: Vec<u8>,
}

impl Outputs {
    /// The outputs of one row.
    pub fn row(&self, case: &CheckCase, row: usize) -> Outputs {
        let take = |bytes: &[u8], size: usize| {
            bytes.chunks_exact(case.dim() * size).nth(row).unwrap_or_default().to_vec()
        };
        Outputs { y: take(&self.y, case.y.dtype.size()), sum: take(&self.sum, case.sum_dtype().size()) }
    }
}

/// Executes `call` on `image`, a copy of `before`, checks that nothing but its outputs changed, and returns those.
pub fn execute(
    case: &CheckCase,
    call: &Call,
    before: &AlignedBytes,
    image: &mut AlignedBytes,
    executor: &mut impl Executor,
) -> Result<Outputs, CaseFault> {
    image.clone_from(before);
    executor.execute(call, image).map_err(CaseFault::Refused)?;
    if let Some(sums) = &call.sums {
        all_reduce(sums, call.shards, image);
        let apply = Call { step: Step::Apply, ..call.clone() };
        executor.execute(&apply, image).map_err(CaseFault::Refused)?;
        let sums = sums.byte_offset..sums.byte_offset + sums.shape[0] * sums.dtype.size();
        image[sums.clone()].copy_from_slice(&before[sums]);
    }

    let outputs = take(case, call, ImageTensor::clone, before, image);
    match first_change(image, before) {
        None => Ok(outputs),
        Some(byte) => Err(touched(call, byte)),
    }
}

/// The first byte that differs between two images. Almost all are the same, which is told much faster.
pub fn first_change(image: &AlignedBytes, before: &AlignedBytes) -> Option<usize> {
    if image[..] == before[..] {
        return None;
    }
    image.iter().zip(before.iter()).position(|(after, before)| after != before)
}

/// The outputs of a call, whose tensors lie where `place` says. Restores each output's elements in the image after copying them,
/// so that every difference that is left is a fault.
pub fn take(
    case: &CheckCase,
    call: &Call,
    place: impl Fn(&ImageTensor) -> ImageTensor,
    before: &AlignedBytes,
    image: &mut AlignedBytes,
) -> Outputs {
    let mut take = |written: &ImageTensor| {
        let written = place(written);
        let mut bytes = Vec::with_capacity(case.rows() * case.dim() * written.dtype.size());
        for row in 0..case.rows() {
            let range = row_bytes(case, &written, row);
            bytes.extend_from_slice(&image[range.clone()]);
            image[range.clone()].copy_from_slice(&before[range]);
        }
        bytes
    };
    let y = take(call.y.as_ref().unwrap_or(&call.x));
    let sum = call.addition.as_ref().and_then(AdditionOperands::sum);
    Outputs { y, sum: sum.map(take).unwrap_or_default() }
}

/// Stands in for the all-reduce between devices: for each row, the sum over all shards replaces the first shard's.
fn all_reduce(sums: &ImageTensor, shards: usize, image: &mut AlignedBytes) {
    let mut values: Vec<f32> =
        element::read(sums.dtype, &image[sums.byte_offset..][..sums.shape[0] * sums.dtype.size()])
            .into_iter()
            .map(|sum| sum as f32)
            .collect();
    let rows = values.len() / shards;
    for row in 0..rows {
        values[row] = (0..shards).map(|shard| values[shard * rows + row]).sum();
    }
    element::write(sums.dtype, &mut image[sums.byte_offset..], values.into_iter().map(f64::from));
}

/// The fault of a changed byte, located relative to the tensor that it most likely belongs to.
pub fn touched(call: &Call, byte: usize) -> CaseFault {
    let addition = call.addition.as_ref();
    let next = addition.and_then(AdditionOperands::next);
    let tensors = [
        ("x", Some(&call.x)),
        ("y", call.y.as_ref()),
        ("w", call.w.as_ref()),
        ("b", call.b.as_ref()),
        ("r", addition.and_then(AdditionOperands::r)),
        ("sum", addition.and_then(|addition| addition.s.as_ref())),
        ("scale", addition.and_then(|addition| addition.scale.as_ref())),
        ("next's w", next.and_then(|next| next.w.as_ref())),
        ("sums", call.sums.as_ref()),
    ];
    nearest(tensors.into_iter().filter_map(|(name, tensor)| Some((name, tensor?.byte_offset))), byte)
}

/// The fault of a changed byte, located relative to the likeliest of tensors that begin at these places.
pub fn nearest(tensors: impl Iterator<Item = (&'static str, usize)>, byte: usize) -> CaseFault {
    let nearest = tensors
        .map(|(name, start)| (name, byte.wrapping_sub(start) as isize))
        // A byte behind a tensor's start is more likely that tensor's than one that is a little in front of another.
        .min_by_key(|&(_, byte)| if byte < 0 { 16 * byte.unsigned_abs() } else { byte as usize });
    let (tensor, byte) = nearest.unwrap_or(("x", 0));
    CaseFault::Touched { tensor, byte }
}

/// The bytes of a row's elements in the image.
pub fn row_bytes(case: &CheckCase, tensor: &ImageTensor, row: usize) -> std::ops::Range<usize> {
    let size = tensor.dtype.size();
    let start = tensor.byte_offset + case.row_start(row, &tensor.strides) * size;
    start..start + case.dim() * size
}

/// The row and column of the first element whose bits differ in two outputs.
pub fn difference(case: &CheckCase, a: &Outputs, b: &Outputs) -> Option<(usize, usize)> {
    let first = |a: &[u8], b: &[u8], size: usize| {
        let byte = a.iter().zip(b).position(|(a, b)| a != b)?;
        let element = byte / size;
        Some((element / case.dim(), element % case.dim()))
    };
    first(&a.y, &b.y, case.y.dtype.size()).or_else(|| first(&a.sum, &b.sum, case.sum_dtype().size()))
}

//! Norm and rotation of queries and keys: the call of a benchmark case, and its judgement.
//!
//! Of the heads of each token, packed in one tensor, four fifths are queries and the rest are keys. All of a head is rotated,
//! by halves, and weights are shared by all heads. Tables have the weights' type; prompts have their tokens at positions one
//! behind the other, a few tokens, as in decoding, anywhere.

use norm_host::{
    Backend, DType, Error, NormKind, Pairing, Positions, QkNormRope, Qkv, RopeRounding, Rotary, Rounding,
    View, ViewMut,
    accuracy::WorstRow,
    reference::{Head, HeadOperation, HeadParameters},
};

use super::call::TensorAddresses;
use super::case::{BenchCase, EPS};
use super::verify::RowBytes;
use crate::bytes::AlignedBytes;
use crate::element;

/// Rows of the tables: at least those of a short context, and no more than of a long one.
const ROWS: std::ops::RangeInclusive<usize> = 4096..=32_768;

/// Tokens that are decoded at a time, at most.
const DECODED: usize = 256;

/// What lies where in the tensor of tables and positions.
struct Layout {
    tokens: usize,
    dim: usize,
    rows: usize,
    dtype: DType,
    /// Bytes in front of the positions.
    positions: usize,
}

impl Layout {
    fn of(case: &BenchCase) -> Layout {
        let (tokens, dim, dtype) =
            (case.extents.rows() / case.extents.heads(), case.extents.dim(), case.types.w);
        let rows = tokens.clamp(*ROWS.start(), *ROWS.end());
        Layout { tokens, dim, rows, dtype, positions: (rows * dim * dtype.size()).next_multiple_of(16) }
    }

    fn position(&self, token: usize) -> usize {
        if self.tokens <= DECODED { 1237 * (token + 1) % self.rows } else { token % self.rows }
    }

    /// A row of both tables, cosines first: those of RoPE with a base of 10000.
    fn row(&self, position: usize) -> Vec<f64> {
        let half = self.dim / 2;
        let angle = |p: usize| position as f64 / 10_000_f64.powf(p as f64 / half as f64);
        let (cos, sin) = ((0..half).map(|p| angle(p).cos()), (0..half).map(|p| angle(p).sin()));
        cos.chain(sin).collect()
    }
}

/// Both tables, side by side, and the positions behind them.
pub fn tables(case: &BenchCase) -> AlignedBytes {
    let layout = Layout::of(case);
    let mut bytes = AlignedBytes::zeroed(layout.positions + layout.tokens * size_of::<u32>());
    let row_bytes = layout.dim * layout.dtype.size();
    for position in 0..layout.rows {
        let row = &mut bytes[position * row_bytes..][..row_bytes];
        element::write(layout.dtype, row, layout.row(position).into_iter());
    }
    for token in 0..layout.tokens {
        let at = layout.positions + token * size_of::<u32>();
        bytes[at..][..size_of::<u32>()].copy_from_slice(&(layout.position(token) as u32).to_ne_bytes());
    }
    bytes
}

/// Heads of queries and of keys.
fn heads(case: &BenchCase) -> [usize; 3] {
    let all = case.extents.heads();
    let k = all / 5;
    [all - k, k, 0]
}

/// The order of roundings of transformers' modules where the norm has theirs.
fn rounding(case: &BenchCase) -> RopeRounding {
    match case.rounding {
        Rounding::Single => RopeRounding::Single,
        _ => RopeRounding::Products,
    }
}

/// The call, from `x` to `y`.
///
/// # Safety
/// As [`super::call::call`], with the tensor of [`tables`] at `b`.
pub unsafe fn call(case: &BenchCase, tensors: TensorAddresses, on: &impl Backend) -> Result<(), Error> {
    // SAFETY: the caller guarantees these tensors at their addresses.
    let (weight, rotary) = unsafe { (weight(case, tensors)?, rotary(case, tensors)?) };
    let norm = case.operation().norm().weight(weight);
    let description = QkNormRope::new().rounding(rounding(case)).q_norm(norm);
    let description = description.k_norm((heads(case)[1] > 0).then_some(norm)).rotary(rotary);
    // SAFETY: the caller guarantees these tensors at their addresses, and that nothing else uses `y`.
    let (read, written) = unsafe { (packed(case, tensors)?, packed_output(case, tensors)?) };
    description.to(Qkv::<View<'_>>::packed(read, heads(case), case.extents.dim())?, written, on)
}

/// The same as an engine without the fused operation calls it: the norm of the queries, that of the keys, both from `x` to `y`, and
/// the rotation in `y`, each a launch.
///
/// # Safety
/// As [`call`].
pub unsafe fn call_unfused(
    case: &BenchCase,
    tensors: TensorAddresses,
    on: &impl Backend,
) -> Result<(), Error> {
    let TensorAddresses { place, x, y, .. } = tensors;
    let (tokens, dim, dtype) = (Layout::of(case).tokens, case.extents.dim(), case.types.x);
    // SAFETY: the caller guarantees these tensors at their addresses.
    let (weight, rotary) = unsafe { (weight(case, tensors)?, rotary(case, tensors)?) };
    let norm = case.operation().norm().weight(weight);
    let [queries, keys, _] = heads(case);
    let strides = [case.extents.heads() * dim, dim, 1];
    for (first, count) in [(0, queries), (queries, keys)] {
        if count == 0 {
            continue;
        }
        let (shape, offset) = ([tokens, count, dim], (first * dim * dtype.size()) as u64);
        // SAFETY: these heads of each token lie in the tensors that the caller guarantees at `x` and `y`. Nothing else uses them,
        // and the view that is written has left when the next is made.
        let (read, mut written) = unsafe {
            (
                View::from_raw_parts_strided(place, x + offset, dtype, &shape, &strides)?,
                ViewMut::from_raw_parts_strided(place, y + offset, dtype, &shape, &strides)?,
            )
        };
        norm.rows(read, &mut written, on)?;
    }
    // SAFETY: the caller guarantees the packed tensor at `y`, and the norms' views have left.
    let written = unsafe { packed_output(case, tensors)? };
    QkNormRope::new().rounding(rounding(case)).rotary(rotary).in_place(written, on)
}

/// The norms' weights, `(dim,)`.
///
/// # Safety
/// As [`call`].
unsafe fn weight<'a>(case: &BenchCase, tensors: TensorAddresses) -> Result<View<'a>, Error> {
    // SAFETY: the caller guarantees the weights at `w`.
    unsafe { View::from_raw_parts(tensors.place, tensors.w, case.types.w, &[case.extents.dim()]) }
}

/// The tables and positions of [`tables`].
///
/// # Safety
/// As [`call`].
unsafe fn rotary<'a>(case: &BenchCase, tensors: TensorAddresses) -> Result<Rotary<'a>, Error> {
    let TensorAddresses { place, b, .. } = tensors;
    let layout = Layout::of(case);
    let (dim, half) = (layout.dim, layout.dim / 2);
    // SAFETY: the caller guarantees the tables at `b`, with the positions behind them.
    unsafe {
        let table = |first: usize| {
            let address = b + (first * layout.dtype.size()) as u64;
            View::from_raw_parts_strided(place, address, layout.dtype, &[layout.rows, half], &[dim, 1])
        };
        let positions = Positions::from_raw_parts::<u32>(place, b + layout.positions as u64, layout.tokens)?;
        Ok(Rotary::new(table(0)?, table(half)?, positions))
    }
}

/// Extents of the packed tensor: tokens, and the elements of all heads of one.
fn packed_shape(case: &BenchCase) -> [usize; 2] {
    [Layout::of(case).tokens, case.extents.heads() * case.extents.dim()]
}

/// All heads at `x`.
///
/// # Safety
/// As [`call`].
unsafe fn packed<'a>(case: &BenchCase, tensors: TensorAddresses) -> Result<View<'a>, Error> {
    // SAFETY: the caller guarantees the packed tensor at `x`.
    unsafe { View::from_raw_parts(tensors.place, tensors.x, case.types.x, &packed_shape(case)) }
}

/// All heads at `y`.
///
/// # Safety
/// As [`call`].
unsafe fn packed_output<'a>(case: &BenchCase, tensors: TensorAddresses) -> Result<Qkv<ViewMut<'a>>, Error> {
    let TensorAddresses { place, y, .. } = tensors;
    // SAFETY: the caller guarantees the packed tensor at `y`, which nothing else uses while the view lives.
    let written = unsafe { ViewMut::from_raw_parts(place, y, case.types.x, &packed_shape(case))? };
    Qkv::<ViewMut<'_>>::packed(written, heads(case), case.extents.dim())
}

/// Judges one head. What is normed first and then rotated is rounded in between.
pub fn judge(case: &BenchCase, index: usize, row: &RowBytes<'_>, w: &[u8]) -> WorstRow {
    let RowBytes { x, y, apart, .. } = *row;
    let layout = Layout::of(case);
    let half = layout.dim / 2;
    let weight = element::read(case.types.w, w);
    let row = layout.row(layout.position(index / case.extents.heads()));
    // As they are in memory.
    let mut bytes = AlignedBytes::zeroed(row.len() * layout.dtype.size());
    element::write(layout.dtype, &mut bytes, row.into_iter());
    let row = element::read(layout.dtype, &bytes);
    let (x, y) = (element::read(case.types.x, x), element::read(case.types.y, y));
    let operation = HeadOperation {
        dtype: case.types.x,
        pairing: Pairing::Halves,
        norm_behind: false,
        before_weight: case.rounding == Rounding::BeforeWeight,
        rounding: match (apart, rounding(case)) {
            (true, RopeRounding::Single) => RopeRounding::Between,
            (_, rounding) => rounding,
        },
    };
    let norm =
        HeadParameters { kind: NormKind::Rms, eps: EPS.into(), weight: Some(&weight), weight_offset: 0.0 };
    let head = Head { x: &x, norm: Some(norm), turn: Some([&row[..half], &row[half..]]) };
    operation.judge(&head, &y)
}

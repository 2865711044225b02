//! The checks of QK norm and RoPE.

use norm_kernels::abi::RopeKernel;

use super::{fit, memory, numbers, overlap};
use crate::{
    DType, MAX_HEAD_DIM, Rounding,
    error::{Arg, Error, Result},
    norm::{Norm, Scale},
    problem::{HeadNorm, Heads, HeadsOperand, Param, QkRopeProblem, Rotation, Table},
    qk_rope::{QkNormRope, Rotary},
    tensor::{Place, Raw, Shape},
};

/// A tensor that is read and, where it is another, the one that is written.
type Tensors<'a> = (&'a Raw, Option<&'a Raw>);

/// What arguments of queries, keys and values are called.
struct Names {
    x: Arg,
    y: Arg,
    norm: Arg,
    weight: Arg,
}

const NAMES: [Names; 3] = [
    Names { x: Arg::Q, y: Arg::QOut, norm: Arg::QNorm, weight: Arg::QWeight },
    Names { x: Arg::K, y: Arg::KOut, norm: Arg::KNorm, weight: Arg::KWeight },
    Names { x: Arg::V, y: Arg::VOut, norm: Arg::VNorm, weight: Arg::VWeight },
];

/// Queries, keys or values with all that is known of them.
struct Part<'a> {
    names: &'static Names,
    x: &'a Raw,
    /// What is written, and its name.
    written: (Arg, &'a Raw),
    norm: Option<&'a Norm<'a>>,
}

/// Each tensor that is read with the one that is written of it. An error where there is one without the other.
pub(crate) fn qk_rope_pairs<'a>(
    read: [Option<&'a Raw>; 3],
    written: [Option<&'a Raw>; 3],
) -> Result<[Option<Tensors<'a>>; 3]> {
    let mut pairs = [None; 3];
    for (at, names) in NAMES.iter().enumerate() {
        pairs[at] = match (read[at], written[at]) {
            (Some(x), Some(y)) => Some((x, Some(y))),
            (None, None) => None,
            (Some(_), None) => return Err(Error::Unpaired { arg: names.y, other: names.x }),
            (None, Some(_)) => return Err(Error::Unpaired { arg: names.x, other: names.y }),
        };
    }
    Ok(pairs)
}

/// Checks norms and rotation of queries, keys and values, each with the tensor that is written where it is another, to run at
/// `place`.
pub(crate) fn qk_rope(
    operation: &QkNormRope<'_>,
    tensors: [Option<Tensors<'_>>; 3],
    place: Place,
) -> Result<QkRopeProblem> {
    let mut parts: [Option<Part<'_>>; 3] = [None, None, None];
    for (at, names) in NAMES.iter().enumerate() {
        let norm = operation.norms[at].as_ref();
        parts[at] = match (tensors[at], norm) {
            (None, None) => None,
            (None, Some(_)) => return Err(Error::NormWithoutHeads { arg: names.norm, heads: names.x }),
            (Some((x, y)), _) => {
                let written = y.map_or((names.x, x), |y| (names.y, y));
                Some(Part { names, x, written, norm })
            }
        };
    }
    let there = || parts.iter().flatten();
    let before_weight = order(there())?;
    let Some(Part { x: q, .. }) = there().next() else {
        return Err(Error::Unpaired { arg: Arg::Q, other: Arg::QOut });
    };
    for part in there() {
        shape(part, q, place)?;
    }
    apart(&parts)?;
    let mut w_dtype = None;
    let mut heads = [None; 3];
    for (at, part) in parts.iter().enumerate() {
        let Some(part) = part else { continue };
        let norm = match part.norm {
            Some(norm) => Some(head_norm(part, norm, &parts, &mut w_dtype, place)?),
            None => None,
        };
        let [_, of_token, _] = *part.x.layout.shape else { continue };
        let [x, y] = [part.x, part.written.1].map(operand);
        heads[at] = Some(Heads { heads: of_token as u64, x, y, norm });
    }
    let [tokens, _, head_dim] = *q.layout.shape else {
        return Err(Error::Rank { arg: Arg::Q, expected: 3..=3, given: q.layout.shape.len() });
    };
    let rotation = match &operation.rotary {
        Some(rotary) => Some(rotation(rotary, (tokens, head_dim, q.dtype), &parts, place)?),
        None => None,
    };
    let [Some(q_heads), k, v] = heads else {
        return Err(Error::Rank { arg: Arg::Q, expected: 3..=3, given: q.layout.shape.len() });
    };
    Ok(QkRopeProblem {
        q: q_heads,
        k,
        v,
        dtype: q.dtype,
        tokens: tokens as u64,
        head_dim: head_dim as u32,
        rotation,
        norm_behind: operation.norm_behind,
        before_weight,
        rounding: operation.rounding,
        overlap: operation.overlap,
    })
}

/// Checks the options of all norms, and returns whether they round before the weight.
fn order<'a, 'b: 'a>(parts: impl Iterator<Item = &'a Part<'b>>) -> Result<bool> {
    let mut expected = None;
    for (arg, norm) in parts.filter_map(|part| Some((part.names.norm, part.norm?))) {
        numbers(norm, norm.weight.is_some())?;
        let is_scaled = !matches!(norm.sum_scale, Scale::Number(1.0));
        for (is_set, option) in [
            (norm.bias.is_some(), Arg::B),
            (norm.branch_scale != 1.0, Arg::BranchScale),
            (is_scaled, Arg::SumScale),
            (norm.round_offset, Arg::RoundOffset),
        ] {
            if is_set {
                return Err(Error::HeadNormOption { arg, option });
            }
        }
        let given = norm.rounding;
        let orders = [Rounding::Single, Rounding::BeforeWeight];
        let expected = *expected.get_or_insert(if orders.contains(&given) { given } else { orders[0] });
        if given != expected {
            return Err(Error::HeadNormRounding { arg, expected, given });
        }
    }
    Ok(expected == Some(Rounding::BeforeWeight))
}

/// Checks shapes, types and memory of queries, keys or values, given the queries.
fn shape(part: &Part<'_>, q: &Raw, place: Place) -> Result<()> {
    let (arg, x) = (part.names.x, part.x);
    fit::rank(arg, 3..=3, x)?;
    if let ([tokens, _, head_dim], [_, heads, _]) = (&*q.layout.shape, &*x.layout.shape) {
        let expected = Shape::new(&[*tokens, *heads, *head_dim]).expect("three axes");
        fit::same_shape(arg, expected, x)?;
    }
    let max = MAX_HEAD_DIM as usize;
    match x.layout.shape.split_last() {
        (_, 0) => return Err(Error::EmptyRow { arg }),
        (_, dim) if dim > max => return Err(Error::RowTooLong { arg, dim, max }),
        _ => {}
    }
    if x.dtype != q.dtype {
        return Err(Error::DType { arg, expected: q.dtype, given: x.dtype });
    }
    memory::usable(arg, x, place)?;
    fit::dense_rows(arg, x)?;
    let (arg, y) = part.written;
    if arg != part.names.x {
        fit::same_shape(arg, x.layout.shape, y)?;
        if y.dtype != x.dtype {
            return Err(Error::DType { arg, expected: x.dtype, given: y.dtype });
        }
        memory::usable(arg, y, place)?;
        fit::dense_rows(arg, y)?;
        overlap::same_or_apart((part.names.x, x), (arg, y))?;
    }
    overlap::within(arg, y)
}

/// Checks that nothing that is written of one of queries, keys and values lies in another of them.
fn apart(parts: &[Option<Part<'_>>; 3]) -> Result<()> {
    for (at, part) in parts.iter().enumerate() {
        let Some(part) = part else { continue };
        for (other_at, other) in parts.iter().enumerate().filter(|(other_at, _)| *other_at != at) {
            let Some(other) = other else { continue };
            overlap::apart((other.names.x, other.x), part.written)?;
            if other_at < at {
                overlap::apart(other.written, part.written)?;
            }
        }
    }
    Ok(())
}

/// Checks that a tensor which is only read shares no memory with what is written.
fn not_written(arg: Arg, tensor: &Raw, parts: &[Option<Part<'_>>; 3]) -> Result<()> {
    parts.iter().flatten().try_for_each(|part| overlap::apart((arg, tensor), part.written))
}

/// Checks a norm's weights; `w_dtype` is the type of those in front of it.
fn head_norm(
    part: &Part<'_>,
    norm: &Norm<'_>,
    parts: &[Option<Part<'_>>; 3],
    w_dtype: &mut Option<DType>,
    place: Place,
) -> Result<HeadNorm> {
    let w = match norm.weight {
        Some(w) => {
            let (arg, w) = (part.names.weight, w.raw);
            fit::head_shape(arg, part.x.layout.shape.last_axes(2), &w)?;
            fits(arg, &w, part.x.dtype)?;
            let expected = *w_dtype.get_or_insert(w.dtype);
            if w.dtype != expected {
                return Err(Error::DType { arg, expected, given: w.dtype });
            }
            memory::usable(arg, &w, place)?;
            fit::dense_rows(arg, &w)?;
            not_written(arg, &w, parts)?;
            let stride = match *w.layout.shape {
                [heads, _] if heads > 1 => w.layout.strides[0] as u64,
                _ => 0,
            };
            Some(Param { address: w.address, dtype: w.dtype, stride })
        }
        None => None,
    };
    Ok(HeadNorm { kind: norm.kind, eps: norm.eps as f32, w, weight_offset: norm.weight_offset })
}

/// Checks that weights or a table are of the heads' type or `f32`.
fn fits(arg: Arg, tensor: &Raw, heads: DType) -> Result<()> {
    if RopeKernel::takes(heads, tensor.dtype) {
        return Ok(());
    }
    Err(Error::OtherDType { arg, expected: heads, given: tensor.dtype })
}

/// Checks tables and positions.
fn rotation(
    Rotary { cos, sin, positions, pairing }: &Rotary<'_>,
    (tokens, head_dim, dtype): (usize, usize, DType),
    parts: &[Option<Part<'_>>; 3],
    place: Place,
) -> Result<Rotation> {
    let (cos, sin) = (&cos.raw, &sin.raw);
    fit::rank(Arg::Cos, 2..=2, cos)?;
    fits(Arg::Cos, cos, dtype)?;
    let (front, half) = cos.layout.shape.split_last();
    if half == 0 {
        return Err(Error::EmptyRow { arg: Arg::Cos });
    }
    if half > head_dim / 2 {
        return Err(Error::RotaryWidth { arg: Arg::Cos, head_dim, pairs: half });
    }
    fit::same_shape(Arg::Sin, cos.layout.shape, sin)?;
    if sin.dtype != cos.dtype {
        return Err(Error::DType { arg: Arg::Sin, expected: cos.dtype, given: sin.dtype });
    }
    for (arg, table) in [(Arg::Cos, cos), (Arg::Sin, sin)] {
        memory::usable(arg, table, place)?;
        fit::dense_rows(arg, table)?;
        not_written(arg, table, parts)?;
    }
    let (expected, given) = (tokens, positions.len());
    if given != expected {
        return Err(Error::ListLength { arg: Arg::Positions, expected, given });
    }
    let (words, bytes) = positions.raw();
    memory::usable(Arg::Positions, words, place)?;
    if !words.address.is_multiple_of(bytes as u64) {
        return Err(Error::Misaligned { arg: Arg::Positions, align: bytes, address: words.address });
    }
    not_written(Arg::Positions, words, parts)?;
    // Positions have 32 bits, so that rows beyond them are out of reach.
    let rows = u32::try_from(front[0]).unwrap_or(u32::MAX);
    positions.check_values(rows as usize)?;
    let table = |raw: &Raw| Table { address: raw.address, stride: raw.layout.strides[0] as u64 };
    Ok(Rotation {
        cos: table(cos),
        sin: table(sin),
        dtype: cos.dtype,
        rows,
        half: half as u32,
        pairing: *pairing,
        positions: words.address,
        position_bytes: bytes as u32,
    })
}

fn operand(raw: &Raw) -> HeadsOperand {
    let [token_stride, head_stride, _] = *raw.layout.strides else {
        return HeadsOperand { address: raw.address, token_stride: 0, head_stride: 0 };
    };
    HeadsOperand { address: raw.address, token_stride: token_stride as u64, head_stride: head_stride as u64 }
}

//! The fast path for packed heads on the host: from candle's storage to a problem, without views.
//!
//! In a decode step the operation runs once for each layer, on a few heads, behind code that has taken the caches. By views and
//! their checks it touches 632 cache lines of code, where candle's norms and rotation touch 200, and takes twice as long as
//! these. Here candle's layouts imply most of what the checks would look at, and what is written is new, so that it overlaps
//! nothing. What does not fit this path is left to the views, whose errors say why.

use candle_core::{CpuStorage, Layout, Storage, Tensor};

use super::{
    super::{
        dense::{filled, room_like},
        norm::{Norm, Settings},
    },
    PackedOp, QkNormRope, Rotary, elements,
};
use crate::{
    Backend, Cpu, DType, MAX_HEAD_DIM, Rounding,
    problem::{HeadNorm, Heads, HeadsOperand, Operand, Param, QkRopeProblem, Rotation, Table},
};

/// The result of the operation on one sequence; `None` if something does not fit this path.
pub(super) fn on_host(op: &PackedOp<'_>, x: &CpuStorage, layout: &Layout) -> Option<CpuStorage> {
    let PackedOp { description: QkNormRope { norms, rotary, norm_behind, rounding }, heads } = op;
    let (&[1, tokens, _, dim], &[_, token_stride, head_stride, 1]) = (layout.dims(), layout.stride()) else {
        return None;
    };
    let Operand { address, dtype } = operand(x, layout)?;
    let elements = elements(heads, tokens, dim).ok()?;
    if elements == 0 || dim > MAX_HEAD_DIM as usize || norms[2].is_some() {
        return None;
    }
    let [q_norm, k_norm, _] = norms;
    // Guards, which live until the work is done.
    let weights =
        [q_norm, k_norm].map(|norm| norm.as_ref().and_then(Norm::weights).map(Tensor::storage_and_layout));
    let mut params = [None, None];
    for (param, weights) in params.iter_mut().zip(&weights) {
        let Some((storage, layout)) = weights else { continue };
        *param = Some(parameter(storage, layout, dim, dtype)?);
    }
    if let [Some(q), Some(k)] = params
        && q.dtype != k.dtype
    {
        return None;
    }
    let mut y = room_like(x, elements)?;
    let written = match &mut y {
        CpuStorage::F16(room) => room.as_mut_ptr().expose_provenance(),
        CpuStorage::BF16(room) => room.as_mut_ptr().expose_provenance(),
        CpuStorage::F32(room) => room.as_mut_ptr().expose_provenance(),
        _ => return None,
    };
    let of_head = (tokens * dim) as u64;
    let part = |from: usize, at: usize| {
        let bytes = dtype.size() as u64;
        let of_x = HeadsOperand {
            address: address + (from * head_stride) as u64 * bytes,
            token_stride: token_stride as u64,
            head_stride: head_stride as u64,
        };
        let address = written as u64 + from as u64 * of_head * bytes;
        let of_y = HeadsOperand { address, token_stride: dim as u64, head_stride: of_head };
        let norm = match &norms[at] {
            Some(norm) => Some(of_heads(norm.settings, params[at])?),
            None => None,
        };
        Some(Heads { heads: heads[at] as u64, x: of_x, y: of_y, norm })
    };
    let (q, k) = (part(0, 0)?, part(heads[0], 1)?);
    let run = |rotation: Option<Rotation>| {
        let problem = QkRopeProblem {
            q,
            k: Some(k),
            v: None,
            dtype,
            tokens: tokens as u64,
            head_dim: dim as u32,
            rotation,
            norm_behind: *norm_behind,
            before_weight: false,
            rounding: *rounding,
            overlap: true,
        };
        // SAFETY: `operand` has checked that each tensor lies within its slice, which is borrowed or locked for this call, and
        // `rotation_of` that positions are rows of the tables. What is written was allocated above, with room for all heads.
        unsafe { Cpu.run_qk_rope(&problem) }.ok()
    };
    match rotary {
        None => run(None)?,
        Some(rotary) => with_rotation(rotary, tokens, dim, dtype, run)?,
    }
    // SAFETY: there is room for so many, and the call above has written them all.
    unsafe { filled(&mut y, elements) };
    Some(y)
}

/// Calls `run` with the rotation, whose memory is locked meanwhile.
fn with_rotation(
    Rotary { cos, sin, positions, pairing }: &Rotary,
    tokens: usize,
    dim: usize,
    dtype: DType,
    run: impl FnOnce(Option<Rotation>) -> Option<()>,
) -> Option<()> {
    let [(cos, cos_layout), (sin, sin_layout), (positions, layout)] =
        [cos, sin, positions].map(Tensor::storage_and_layout);
    let (&[rows, half], &[_, 1]) = (cos_layout.dims(), cos_layout.stride()) else { return None };
    let &[sin_stride, 1] = sin_layout.stride() else { return None };
    let (of_cos, of_sin) = (on_the_host(&cos, cos_layout)?, on_the_host(&sin, sin_layout)?);
    let is_of_type = of_cos.dtype == of_sin.dtype && (of_cos.dtype == dtype || of_cos.dtype == DType::F32);
    if !is_of_type || sin_layout.dims() != [rows, half] || half > dim / 2 {
        return None;
    }
    let (&[count], Storage::Cpu(positions)) = (layout.dims(), &*positions) else { return None };
    if count != tokens || !layout.is_contiguous() {
        return None;
    }
    // Positions have 32 bits, so that rows beyond them are out of reach.
    let rows = u32::try_from(rows).unwrap_or(u32::MAX);
    let range = layout.start_offset()..layout.start_offset() + count;
    let (address, position_bytes) = match positions {
        CpuStorage::U32(all) => {
            let positions = all.get(range)?;
            (are_rows(positions, rows)?, 4)
        }
        CpuStorage::I64(all) => {
            let positions = all.get(range)?;
            (are_rows(positions, rows)?, 8)
        }
        _ => return None,
    };
    run(Some(Rotation {
        cos: Table { address: of_cos.address, stride: cos_layout.stride()[0] as u64 },
        sin: Table { address: of_sin.address, stride: sin_stride as u64 },
        dtype: of_cos.dtype,
        rows,
        half: half as u32,
        pairing: *pairing,
        positions: address,
        position_bytes,
    }))
}

/// The address of positions, if all are below `rows`.
fn are_rows<P: Copy + TryInto<u32>>(positions: &[P], rows: u32) -> Option<u64> {
    let is_row = |&position: &P| position.try_into().is_ok_and(|position| position < rows);
    positions.iter().all(is_row).then(|| positions.as_ptr().expose_provenance() as u64)
}

/// A norm of heads with these options, rounded once, if they are valid.
fn of_heads(settings: Settings, w: Option<Param>) -> Option<HeadNorm> {
    let Settings { kind, eps, weight_offset, round_offset, rounding } = settings;
    let given = eps;
    let eps = given as f32;
    let is_valid = eps.is_finite()
        && (eps > 0.0 || given == 0.0)
        && weight_offset.is_finite()
        && (w.is_some() || weight_offset == 0.0);
    let is_plain = rounding == Rounding::Single && !round_offset;
    (is_valid && is_plain).then_some(HeadNorm { kind, eps, w, weight_offset })
}

/// Weights `(dim,)`, of that type or f32.
fn parameter(storage: &Storage, layout: &Layout, dim: usize, dtype: DType) -> Option<Param> {
    let Operand { address, dtype: given } = on_the_host(storage, layout)?;
    let is_dense = layout.dims() == [dim] && (layout.stride() == [1] || dim == 1);
    (is_dense && (given == dtype || given == DType::F32)).then_some(Param {
        address,
        dtype: given,
        stride: 0,
    })
}

fn on_the_host(storage: &Storage, layout: &Layout) -> Option<Operand> {
    match storage {
        Storage::Cpu(storage) => operand(storage, layout),
        _ => None,
    }
}

/// The first element of a tensor and its type, if there are elements and all of them lie within the storage.
#[inline(never)]
fn operand(storage: &CpuStorage, layout: &Layout) -> Option<Operand> {
    let (start, count, dtype) = match storage {
        CpuStorage::F16(all) => (all.as_ptr().expose_provenance(), all.len(), DType::F16),
        CpuStorage::BF16(all) => (all.as_ptr().expose_provenance(), all.len(), DType::BF16),
        CpuStorage::F32(all) => (all.as_ptr().expose_provenance(), all.len(), DType::F32),
        _ => return None,
    };
    let mut last = layout.start_offset();
    for (extent, stride) in layout.dims().iter().zip(layout.stride()) {
        last = last.checked_add(extent.checked_sub(1)?.checked_mul(*stride)?)?;
    }
    let address = start as u64 + (layout.start_offset() * dtype.size()) as u64;
    (last < count).then_some(Operand { address, dtype })
}

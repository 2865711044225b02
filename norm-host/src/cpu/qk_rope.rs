//! QK norm and RoPE, head by head.
//!
//! Heads are short, so that a head is converted to `f32` whole, and everything is done there. Loops are plain: the compiler
//! makes vectors of them, and no step depends on the instruction set, as each element is rounded alone and sums are taken in
//! order, in `f64`.

use std::ops::Range;

use half::{bf16, f16};
use rayon::prelude::*;

use super::{row::rstd, tasks::TASK};
use crate::{
    DType, MAX_HEAD_DIM, NormKind, Pairing, RopeRounding,
    problem::{HeadNorm, Heads, HeadsOperand, QkRopeProblem, Rotation, Table},
};

/// The elements of a head, or of a row of a table.
type Buffer = [f32; MAX_HEAD_DIM as usize];

/// Carries the operation out, with tokens spread over rayon's current thread pool.
///
/// # Safety
///
/// As [`Backend::run_qk_rope`](crate::Backend::run_qk_rope).
pub(super) unsafe fn run(problem: &QkRopeProblem) {
    let of_token = (problem.heads() * u64::from(problem.head_dim)).max(1);
    let tokens_per_task = (TASK as u64).div_ceil(of_token);
    let task = |tokens: Range<u64>| {
        for token in tokens {
            // SAFETY: the caller promises the memory of all tokens, no two of which share an output; each is in one task.
            unsafe { of_one_token(problem, token) }
        }
    };
    if problem.tokens <= tokens_per_task {
        return task(0..problem.tokens);
    }
    (0..problem.tokens.div_ceil(tokens_per_task)).into_par_iter().for_each(|index| {
        let first = index * tokens_per_task;
        task(first..problem.tokens.min(first + tokens_per_task));
    });
}

/// The heads of one token.
///
/// # Safety
///
/// As [`run`], for a token that no other thread has.
unsafe fn of_one_token(problem: &QkRopeProblem, token: u64) {
    let QkRopeProblem { dtype, head_dim, .. } = *problem;
    let dim = head_dim as usize;
    let (mut cos, mut sin): (Buffer, Buffer) = ([0.0; MAX_HEAD_DIM as usize], [0.0; MAX_HEAD_DIM as usize]);
    let turn = problem.rotation.map(|rotation| {
        let half = rotation.half as usize;
        // SAFETY: the caller promises a position for the token, and that the tables have its row.
        unsafe {
            let row = position(&rotation, token);
            read(rotation.dtype, place(rotation.cos, rotation.dtype, row), &mut cos[..half]);
            read(rotation.dtype, place(rotation.sin, rotation.dtype, row), &mut sin[..half]);
        }
        Turn {
            cos: &cos[..half],
            sin: &sin[..half],
            pairing: rotation.pairing,
            products: problem.roundings() == RopeRounding::Products,
        }
    });
    let rounds_between = problem.roundings() != RopeRounding::Single;
    let is_behind = problem.is_norm_behind();
    let (mut buffer, mut w): (Buffer, Buffer) = ([0.0; MAX_HEAD_DIM as usize], [0.0; MAX_HEAD_DIM as usize]);
    let values = &mut buffer[..dim];
    for (part, rotates) in problem.parts().into_iter().flatten() {
        let Heads { heads, x, y, norm } = part;
        let turn = turn.as_ref().filter(|_| rotates);
        for head in 0..heads {
            // SAFETY: the caller promises that the head's elements may be read.
            unsafe { read(dtype, x.at(dtype, token, head), values) };
            clamp(dtype, values);
            if is_behind && let Some(turn) = turn {
                turn.apply(dtype, values);
                round_if(rounds_between, dtype, values);
            }
            if let Some(norm) = &norm {
                let w = norm.w.map(|param| {
                    let start = param.address + head * param.stride * param.dtype.size() as u64;
                    // SAFETY: the caller promises that the head's weights may be read.
                    unsafe { read(param.dtype, start, &mut w[..dim]) };
                    &w[..dim]
                });
                apply(norm, w, problem.rounds_before_weight().then_some(dtype), values);
            }
            if !is_behind && let Some(turn) = turn {
                round_if(rounds_between, dtype, values);
                turn.apply(dtype, values);
            }
            // SAFETY: the caller promises that the head's elements may be written, and that no other thread has them.
            unsafe { write(dtype, values, y.at(dtype, token, head)) };
        }
    }
}

/// The row of the tables for a token.
///
/// # Safety
///
/// There is a position for the token, which may be read.
unsafe fn position(rotation: &Rotation, token: u64) -> u64 {
    let address = (rotation.positions + token * u64::from(rotation.position_bytes)) as usize;
    // The lower 4 bytes, which come first; the checks have found none that has more.
    // SAFETY: the caller promises that it may be read, and the checks found it aligned.
    u64::from(u32::from_le(unsafe { *std::ptr::with_exposed_provenance::<u32>(address) }))
}

fn place(Table { address, stride }: Table, dtype: DType, row: u64) -> u64 {
    address + row * stride * dtype.size() as u64
}

impl HeadsOperand {
    /// The address of a head.
    fn at(&self, dtype: DType, token: u64, head: u64) -> u64 {
        self.address + (token * self.token_stride + head * self.head_stride) * dtype.size() as u64
    }
}

/// A rotation by one position.
struct Turn<'a> {
    cos: &'a [f32],
    sin: &'a [f32],
    pairing: Pairing,
    /// Whether products are rounded to the heads' type.
    products: bool,
}

impl Turn<'_> {
    /// Rotates the elements of a head of this type.
    fn apply(&self, dtype: DType, values: &mut [f32]) {
        let half = self.cos.len();
        let round = |value: f32| if self.products { rounded(dtype, value) } else { value };
        for (p, (cos, sin)) in self.cos.iter().zip(self.sin).enumerate() {
            let (i, j) = match self.pairing {
                Pairing::Halves => (p, p + half),
                Pairing::Neighbours => (2 * p, 2 * p + 1),
            };
            let (a, b) = (values[i], values[j]);
            values[i] = round(a * cos) - round(b * sin);
            values[j] = round(b * cos) + round(a * sin);
        }
    }
}

/// Norms the elements of a head; `before_weight` is the type to which normalized values are rounded.
fn apply(norm: &HeadNorm, w: Option<&[f32]>, before_weight: Option<DType>, values: &mut [f32]) {
    let count = values.len() as f64;
    if norm.kind == NormKind::Layer {
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        values.iter_mut().for_each(|x| *x = (f64::from(*x) - mean) as f32);
    }
    let sum_sq: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let rstd = rstd(sum_sq / count, norm.eps);
    let round = |n: f32| before_weight.map_or(n, |dtype| rounded(dtype, n));
    match w {
        // -0 changes no weight, not even the sign of a zero.
        Some(w) if norm.weight_offset == 0.0 => {
            values.iter_mut().zip(w).for_each(|(x, w)| *x = round(*x * rstd) * w);
        }
        Some(w) => {
            let offset = norm.weight_offset;
            values.iter_mut().zip(w).for_each(|(x, w)| *x = round(*x * rstd) * (w + offset));
        }
        None => values.iter_mut().for_each(|x| *x = round(*x * rstd)),
    }
}

/// The value rounded to nearest even.
fn rounded(dtype: DType, value: f32) -> f32 {
    match dtype {
        DType::F16 => f16::from_f32(value).to_f32(),
        DType::BF16 => bf16::from_f32(value).to_f32(),
        DType::F32 => value,
    }
}

fn round_if(rounds: bool, dtype: DType, values: &mut [f32]) {
    if rounds {
        values.iter_mut().for_each(|value| *value = rounded(dtype, *value));
    }
}

/// Infinities of f16 as ±65504; NaN stays.
fn clamp(dtype: DType, values: &mut [f32]) {
    if dtype == DType::F16 {
        values.iter_mut().for_each(|value| *value = value.clamp(-65504.0, 65504.0));
    }
}

/// Reads as many elements as `to` has.
///
/// # Safety
///
/// They are at the address, and may be read.
unsafe fn read(dtype: DType, address: u64, to: &mut [f32]) {
    let address = address as usize;
    // SAFETY: the caller promises that as many elements of that type may be read there.
    unsafe {
        match dtype {
            DType::F16 => {
                let from =
                    std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<f16>(address), to.len());
                to.iter_mut().zip(from).for_each(|(to, from)| *to = from.to_f32());
            }
            DType::BF16 => {
                let from =
                    std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<bf16>(address), to.len());
                to.iter_mut().zip(from).for_each(|(to, from)| *to = from.to_f32());
            }
            DType::F32 => {
                let from =
                    std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<f32>(address), to.len());
                to.copy_from_slice(from);
            }
        }
    }
}

/// Writes the values, rounded to nearest even.
///
/// # Safety
///
/// As many elements at the address may be written, and nothing else uses them.
unsafe fn write(dtype: DType, values: &[f32], address: u64) {
    let address = address as usize;
    // SAFETY: the caller promises that as many elements of that type may be written there. They need not be initialized,
    // which is why there is no slice.
    unsafe {
        match dtype {
            DType::F16 => {
                let to = std::ptr::with_exposed_provenance_mut::<f16>(address);
                values.iter().enumerate().for_each(|(i, &value)| to.add(i).write(f16::from_f32(value)));
            }
            DType::BF16 => {
                let to = std::ptr::with_exposed_provenance_mut::<bf16>(address);
                values.iter().enumerate().for_each(|(i, &value)| to.add(i).write(bf16::from_f32(value)));
            }
            DType::F32 => {
                let to = std::ptr::with_exposed_provenance_mut::<f32>(address);
                values.iter().enumerate().for_each(|(i, &value)| to.add(i).write(value));
            }
        }
    }
}

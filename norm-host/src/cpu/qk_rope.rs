//! QK norm and RoPE, head by head.
//!
//! Most problems take [`plain`]. For the others heads are short, so that a head is converted to `f32` whole, and everything is done
//! there, in vectors: each step is a pass over the buffer. A head that ends within a vector is filled up with zeros, which add
//! nothing to its sums. No step depends on the instruction set, as each element is rounded alone and sums are taken in the order of
//! [`Total::total`], in `f64`.

mod plain;
#[cfg(test)]
mod tests;

use std::{array::from_fn, ops::Range};

use half::{bf16, f16};

use self::plain::{PlainTokens, is_plain};
use super::{
    dispatch::{Isa, RowFn},
    element::Element,
    round::rounded,
    row::rstd,
    simd::{Doubles, Floats, Simd, Total, Vector, WIDTH},
    tasks::TASK,
    team,
};
use crate::{
    DType, MAX_HEAD_DIM, NormKind, Pairing, RopeRounding,
    problem::{HeadNorm, Heads, HeadsOperand, Param, QkRopeProblem, Rotation, Table},
};

/// The elements of a head, or of a row of a table, and zeros up to a whole vector.
type Buffer = [f32; MAX_HEAD_DIM as usize];

const ZEROS: Buffer = [0.0; MAX_HEAD_DIM as usize];

/// Carries the operation out, with tokens spread over rayon's current thread pool.
///
/// # Safety
///
/// As [`Backend::run_qk_rope`](crate::Backend::run_qk_rope).
pub(super) unsafe fn run(problem: &QkRopeProblem, isa: Isa) {
    let of_token = (problem.heads() * u64::from(problem.head_dim)).max(1);
    let tokens_per_task = (TASK as u64).div_ceil(of_token);
    let is_plain = is_plain(problem);
    // SAFETY: the caller promises the memory of all tokens, no two of which share an output; each is in one task.
    let task = |range: Range<u64>| unsafe {
        match is_plain {
            true => isa.run(PlainTokens::new(problem, range)),
            false => isa.run(Tokens::new(problem, range)),
        }
    };
    if problem.tokens <= tokens_per_task {
        return task(0..problem.tokens);
    }
    team::share(problem.tokens, tokens_per_task, &task);
}

/// Tokens of a problem, and the right to work on them.
struct Tokens<'a> {
    problem: &'a QkRopeProblem,
    range: Range<u64>,
}

impl<'a> Tokens<'a> {
    /// The tokens `range` of a problem.
    ///
    /// # Safety
    ///
    /// As [`run`], for tokens that no other thread has.
    unsafe fn new(problem: &'a QkRopeProblem, range: Range<u64>) -> Tokens<'a> {
        Tokens { problem, range }
    }
}

impl RowFn for Tokens<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Tokens { problem, range } = self;
        let [mut cos, mut sin, mut values, mut weights] = [ZEROS; 4];
        for token in range {
            let turn = problem.rotation.map(|rotation| {
                let half = rotation.half as usize;
                // SAFETY: whoever made `self` promises a position for the token, and that the tables have its row.
                unsafe {
                    let row = position(&rotation, token);
                    read(simd, rotation.dtype, place(rotation.cos, rotation.dtype, row), half, &mut cos);
                    read(simd, rotation.dtype, place(rotation.sin, rotation.dtype, row), half, &mut sin);
                }
                Turn {
                    cos: &cos[..half],
                    sin: &sin[..half],
                    pairing: rotation.pairing,
                    products: (problem.roundings() == RopeRounding::Products).then_some(problem.dtype),
                }
            });
            for (part, rotates) in problem.parts().into_iter().flatten() {
                let turn = turn.as_ref().filter(|_| rotates);
                // SAFETY: whoever made `self` promises the memory of the token's heads, which no other thread has.
                unsafe { of_part(simd, problem, token, &part, turn, &mut values, &mut weights) };
            }
        }
    }
}

/// The queries, keys or values of a token.
///
/// # Safety
///
/// As [`run`], for a token that no other thread has.
#[inline(always)]
unsafe fn of_part<S: Simd>(
    simd: S,
    problem: &QkRopeProblem,
    token: u64,
    &Heads { heads, x, y, ref norm }: &Heads,
    turn: Option<&Turn<'_>>,
    values: &mut Buffer,
    weights: &mut Buffer,
) {
    let (dtype, dim) = (problem.dtype, problem.head_dim as usize);
    let between = (problem.roundings() != RopeRounding::Single).then_some(dtype);
    let is_behind = problem.is_norm_behind();
    for head in 0..heads {
        if let Some(HeadNorm { w, weight_offset, .. }) = norm
            && (head == 0 || w.is_some_and(|w| w.stride != 0))
        {
            // SAFETY: the caller promises that the head's weights may be read.
            unsafe { read_weights(simd, w.as_ref(), head, *weight_offset, dim, weights) };
        }
        // SAFETY: the caller promises that the head's elements may be read.
        unsafe { read(simd, dtype, x.at(dtype, token, head), dim, values) };
        if is_behind && let Some(turn) = turn {
            turn.apply(simd, values);
            round(simd, between, &mut values[..dim.next_multiple_of(WIDTH)]);
        }
        if let Some(norm) = norm {
            apply(simd, norm, weights, problem.rounds_before_weight().then_some(dtype), dim, values);
        }
        if !is_behind && let Some(turn) = turn {
            round(simd, between, &mut values[..dim.next_multiple_of(WIDTH)]);
            turn.apply(simd, values);
        }
        // SAFETY: the caller promises that the head's elements may be written, and that no other thread has them.
        unsafe { write(simd, dtype, &values[..dim], y.at(dtype, token, head)) };
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
    /// The type to which products are rounded.
    products: Option<DType>,
}

impl Turn<'_> {
    /// Rotates the elements of a head.
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, values: &mut Buffer) {
        let half = self.cos.len();
        for from in (0..half).step_by(WIDTH) {
            let count = (half - from).min(WIDTH);
            let (cos, sin) = (first(&self.cos[from..], count), first(&self.sin[from..], count));
            match self.pairing {
                Pairing::Halves => {
                    let (a, b) = values.split_at_mut(half);
                    let (a, b) = (&mut a[from..], &mut b[from..]);
                    let [turned_a, turned_b] = self.turn(simd, [first(a, count), first(b, count)], cos, sin);
                    a[..count].copy_from_slice(&turned_a[..count]);
                    b[..count].copy_from_slice(&turned_b[..count]);
                }
                Pairing::Neighbours => {
                    let pairs = &mut values[2 * from..][..2 * count];
                    let of = |which: usize| from_fn(|p| pairs.get(2 * p + which).copied().unwrap_or(0.0));
                    let [a, b] = self.turn(simd, [of(0), of(1)], cos, sin);
                    for (pair, (a, b)) in pairs.as_chunks_mut::<2>().0.iter_mut().zip(a.into_iter().zip(b)) {
                        *pair = [a, b];
                    }
                }
            }
        }
    }

    /// Eight pairs, rotated: the first elements of each, and the second.
    #[inline(always)]
    fn turn<S: Simd>(&self, simd: S, [a, b]: [Eight; 2], cos: Eight, sin: Eight) -> [Eight; 2] {
        let (a, b, cos, sin) = (simd.load(&a), simd.load(&b), simd.load(&cos), simd.load(&sin));
        let (a_cos, b_sin) = (rounded(a.mul(cos), self.products), rounded(b.mul(sin), self.products));
        let (b_cos, a_sin) = (rounded(b.mul(cos), self.products), rounded(a.mul(sin), self.products));
        [a_cos.sub(b_sin).to_array(), b_cos.add(a_sin).to_array()]
    }
}

/// A vector's elements.
type Eight = [f32; WIDTH];

/// The first `count` elements, at most [`WIDTH`], then zeros.
#[inline(always)]
fn first(from: &[f32], count: usize) -> Eight {
    match from.first_chunk() {
        Some(eight) if count == WIDTH => *eight,
        _ => {
            let mut eight = [0.0; WIDTH];
            eight[..count].copy_from_slice(&from[..count]);
            eight
        }
    }
}

/// Norms the `dim` elements of a head; `before_weight` is the type to which normalized values are rounded.
#[inline(always)]
fn apply<S: Simd>(
    simd: S,
    norm: &HeadNorm,
    weights: &Buffer,
    before_weight: Option<DType>,
    dim: usize,
    values: &mut Buffer,
) {
    let count = dim as f64;
    let whole = dim.next_multiple_of(WIDTH);
    if norm.kind == NormKind::Layer {
        let mut total = simd.zero();
        for x in vectors(&values[..whole]) {
            total = total.add(simd.load(x).widen());
        }
        let mean = total.total() / count;
        for x in &mut values[..dim] {
            *x = (f64::from(*x) - mean) as f32;
        }
    }
    let mut sum_sq = simd.zero();
    for x in vectors(&values[..whole]) {
        sum_sq = sum_sq.add_square(simd.load(x).widen());
    }
    let rstd = simd.splat(rstd(sum_sq.total() / count, norm.eps));
    let (values, _) = values[..whole].as_chunks_mut();
    for (x, w) in values.iter_mut().zip(vectors(&weights[..whole])) {
        let normalized = rounded(simd.load(x).mul(rstd), before_weight);
        *x = normalized.mul(simd.load(w)).to_array();
    }
}

/// The vectors of a buffer's whole ones.
#[inline(always)]
fn vectors(values: &[f32]) -> std::slice::Iter<'_, Eight> {
    values.as_chunks().0.iter()
}

/// Rounds values to a type.
#[inline(always)]
fn round<S: Simd>(simd: S, to: Option<DType>, values: &mut [f32]) {
    if to.is_some() {
        for x in values.as_chunks_mut().0 {
            *x = rounded(simd.load(x), to).to_array();
        }
    }
}

/// Reads what multiplies the normalized values of a head: the weights with their offset, or 1 where there are none.
///
/// # Safety
///
/// The head's weights may be read.
#[inline(always)]
unsafe fn read_weights<S: Simd>(
    simd: S,
    w: Option<&Param>,
    head: u64,
    offset: f32,
    dim: usize,
    to: &mut Buffer,
) {
    let Some(w) = w else { return to[..dim].fill(1.0) };
    let start = w.address + head * w.stride * w.dtype.size() as u64;
    // SAFETY: the caller promises that they may be read.
    unsafe { read(simd, w.dtype, start, dim, to) };
    // -0 changes no weight, not even the sign of a zero.
    if offset != 0.0 {
        to[..dim].iter_mut().for_each(|w| *w += offset);
    }
}

/// Reads `count` elements, infinities of f16 as ±65504, and fills the last vector with zeros.
///
/// # Safety
///
/// They are at the address, and may be read.
#[inline(always)]
unsafe fn read<S: Simd>(simd: S, dtype: DType, address: u64, count: usize, to: &mut Buffer) {
    // SAFETY: the caller promises that as many elements of that type may be read there.
    unsafe {
        match dtype {
            DType::F16 => read_as::<S, f16>(simd, address, count, to),
            DType::BF16 => read_as::<S, bf16>(simd, address, count, to),
            DType::F32 => read_as::<S, f32>(simd, address, count, to),
        }
    }
}

/// [`read`], for a type.
///
/// # Safety
///
/// As for [`read`].
#[inline(always)]
unsafe fn read_as<S: Simd, E: Element>(simd: S, address: u64, count: usize, to: &mut Buffer) {
    let from = std::ptr::with_exposed_provenance::<E>(address as usize);
    // SAFETY: the caller promises that they may be read.
    let from = unsafe { std::slice::from_raw_parts(from, count) };
    let (from, rest) = from.as_chunks();
    let (to, _) = to.as_chunks_mut();
    let mut to = to.iter_mut();
    // In this order none of `to` is taken where `from` has ended.
    for (from, to) in from.iter().zip(to.by_ref()) {
        *to = E::load(simd, from).to_array();
    }
    if !rest.is_empty()
        && let Some(to) = to.next()
    {
        let mut last = [E::ZERO; WIDTH];
        last[..rest.len()].copy_from_slice(rest);
        *to = E::load(simd, &last).to_array();
    }
}

/// Writes the values, rounded to nearest even.
///
/// # Safety
///
/// As many elements at the address may be written, and nothing else uses them.
#[inline(always)]
unsafe fn write<S: Simd>(simd: S, dtype: DType, values: &[f32], address: u64) {
    // SAFETY: the caller promises that as many elements of that type may be written there.
    unsafe {
        match dtype {
            DType::F16 => write_as::<S, f16>(simd, values, address),
            DType::BF16 => write_as::<S, bf16>(simd, values, address),
            DType::F32 => write_as::<S, f32>(simd, values, address),
        }
    }
}

/// [`write`], for a type.
///
/// # Safety
///
/// As for [`write`].
#[inline(always)]
unsafe fn write_as<S: Simd, E: Element>(simd: S, values: &[f32], address: u64) {
    let to = std::ptr::with_exposed_provenance_mut::<E>(address as usize);
    let (whole, rest) = values.as_chunks();
    for (at, vector) in whole.iter().enumerate() {
        // SAFETY: the caller promises that as many elements may be written.
        unsafe { E::store(simd.load(vector), to.add(at * WIDTH).cast()) };
    }
    if !rest.is_empty() {
        let mut last = [E::ZERO; WIDTH];
        // SAFETY: the array has room for a vector; the caller promises that as many elements may be written as are left.
        unsafe {
            E::store(simd.load(&first(rest, rest.len())), &raw mut last);
            to.add(whole.len() * WIDTH).copy_from_nonoverlapping(last.as_ptr(), rest.len());
        }
    }
}

//! What most models ask for: heads of whole vectors, normed by RMSNorm or not at all, halves rotated behind the norm, all of it
//! rounded once.
//!
//! ```text
//! rstd = 1 / sqrt(Σ x² / dim + eps)
//! n = x · rstd · w                          of the vectors i and i + half, and of those that are not rotated
//! y[i], y[i + half] = n[i] · cos - n[i + half] · sin, n[i + half] · cos + n[i] · sin
//! ```
//!
//! From memory to memory: a head is read twice, the second time from the nearest cache, so that it needs no buffer. Numbers of
//! the parameters that are `f32` are read where they lie. In a decode step the operation runs once for each layer, behind code
//! and data that have taken the caches: what counts there is how many lines this code and its buffers touch.

use std::{mem::MaybeUninit, ops::Range, slice};

use half::{bf16, f16};

use super::{Eight, HeadsOperand, RowFn, place, position};
use crate::{
    DType, MAX_HEAD_DIM, NormKind, Pairing, RopeRounding,
    cpu::{
        element::Element,
        row::rstd,
        simd::{Doubles, Floats, Simd, Total, Vector, WIDTH},
    },
    problem::{HeadNorm, Heads, QkRopeProblem},
};

/// The vectors of the longest head.
const MOST: usize = MAX_HEAD_DIM as usize / WIDTH;

/// The weights of heads that have none.
static ONES: [Eight; MOST] = [[1.0; WIDTH]; MOST];

/// Room for the vectors of a head, or of two rows of a table.
type Room = [MaybeUninit<Eight>; MOST];

const ROOM: Room = [const { MaybeUninit::uninit() }; MOST];

/// Whether the problem is of this form.
pub(super) fn is_plain(problem: &QkRopeProblem) -> bool {
    let is_whole = |elements: u32| elements.is_multiple_of(WIDTH as u32);
    is_whole(problem.head_dim)
        && problem.rotation.is_none_or(|it| it.pairing == Pairing::Halves && is_whole(it.half))
        && problem.norms().all(|norm| norm.kind == NormKind::Rms)
        && problem.roundings() == RopeRounding::Single
        && !problem.rounds_before_weight()
        && !problem.is_norm_behind()
}

/// Tokens of a problem of this form, and the right to work on them.
pub(super) struct PlainTokens<'a> {
    problem: &'a QkRopeProblem,
    range: Range<u64>,
}

impl<'a> PlainTokens<'a> {
    /// The tokens `range` of a problem that [`is_plain`].
    ///
    /// # Safety
    ///
    /// As [`run`](super::run), for tokens that no other thread has.
    pub(super) unsafe fn new(problem: &'a QkRopeProblem, range: Range<u64>) -> PlainTokens<'a> {
        PlainTokens { problem, range }
    }
}

impl RowFn for PlainTokens<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // SAFETY: whoever made `self` promises the memory of its tokens, of heads of this type.
        unsafe {
            match self.problem.dtype {
                DType::F16 => self.run_as::<S, f16>(simd),
                DType::BF16 => self.run_as::<S, bf16>(simd),
                DType::F32 => self.run_as::<S, f32>(simd),
            }
        }
    }
}

impl PlainTokens<'_> {
    /// The tokens of heads of a type.
    ///
    /// # Safety
    ///
    /// Heads are of that type.
    #[inline(always)]
    unsafe fn run_as<S: Simd, E: Element>(self, simd: S) {
        let PlainTokens { problem, range } = self;
        let count = problem.head_dim as usize / WIDTH;
        let parts = problem.parts();
        let [mut weights, mut tables] = [[ROOM; 3], [ROOM, ROOM, ROOM]];
        let mut of_parts = [ONES.as_slice(); 3];
        for ((part, room), of_part) in parts.iter().zip(&mut weights).zip(&mut of_parts) {
            if let Some((Heads { norm: Some(norm), .. }, _)) = part {
                // SAFETY: whoever made `self` promises that the weights of head 0 may be read.
                *of_part = unsafe { weights_of::<S, E>(simd, norm, 0, &mut room[..count]) };
            }
        }
        let [of_cos, of_sin, own] = &mut tables;
        for token in range {
            let (mut cos, mut sin) = ([].as_slice(), [].as_slice());
            if let Some(rotation) = &problem.rotation {
                let half = rotation.half as usize / WIDTH;
                // SAFETY: whoever made `self` promises a position for the token, and that the tables have its row.
                unsafe {
                    let row = position(rotation, token);
                    let at = |table| place(table, rotation.dtype, row);
                    cos = in_f32::<S, E>(simd, rotation.dtype, at(rotation.cos), &mut of_cos[..half]);
                    sin = in_f32::<S, E>(simd, rotation.dtype, at(rotation.sin), &mut of_sin[..half]);
                }
            }
            for (part, of_part) in parts.iter().zip(of_parts) {
                let Some((Heads { heads, x, y, norm }, rotates)) = part else { continue };
                let (cos, sin) = if *rotates { (cos, sin) } else { ([].as_slice(), [].as_slice()) };
                let eps = norm.map(|norm| norm.eps);
                let own_norm = norm.as_ref().filter(|norm| norm.w.is_some_and(|w| w.stride != 0));
                for head in 0..*heads {
                    // SAFETY: whoever made `self` promises the memory of the token's heads, which no other thread has, and that
                    // of their weights.
                    unsafe {
                        let w = match own_norm {
                            Some(norm) => weights_of::<S, E>(simd, norm, head, &mut own[..count]),
                            None => of_part,
                        };
                        let [x, y] = [x, y].map(|of: &HeadsOperand| of.at(E::DTYPE, token, head) as usize);
                        let x = std::ptr::with_exposed_provenance::<[E; WIDTH]>(x);
                        let y = std::ptr::with_exposed_provenance_mut::<[E; WIDTH]>(y);
                        norm_and_rotate::<S, E>(simd, (x, y), eps, &w[..count], cos, sin);
                    }
                }
            }
        }
    }
}

/// Norms a head, if there is an eps, and rotates as many pairs of its vectors as `cos` and `sin` have vectors.
///
/// # Safety
///
/// There are as many vectors as in `w` to read and to write, twice as many as in `cos` and `sin` or more; what is written
/// lies where it is read, or elsewhere, and nothing else uses it.
#[inline(always)]
unsafe fn norm_and_rotate<S: Simd, E: Element>(
    simd: S,
    (x, y): (*const [E; WIDTH], *mut [E; WIDTH]),
    eps: Option<f32>,
    w: &[Eight],
    cos: &[Eight],
    sin: &[Eight],
) {
    let (count, half) = (w.len(), cos.len());
    // SAFETY: the caller promises so many vectors.
    let read = |at: usize| E::load(simd, unsafe { &*x.add(at) });
    // SAFETY: the caller promises so many vectors, which nothing else uses; each is written behind what is read of the same place
    // for the last time.
    let write = |at: usize, vector: S::F32| unsafe { E::store(vector, y.add(at)) };
    let mut scale = simd.splat(1.0);
    if let Some(eps) = eps {
        let mut sum_sq = simd.zero();
        for at in 0..count {
            sum_sq = sum_sq.add_square(read(at).widen());
        }
        scale = simd.splat(rstd(sum_sq.total() / (count * WIDTH) as f64, eps));
    }
    let normed = |at: usize, w: &Eight| read(at).mul(scale).mul(simd.load(w));
    let (turned, rest) = w.split_at(2 * half);
    let (first, second) = turned.split_at(half);
    for (at, (((w_a, w_b), cos), sin)) in first.iter().zip(second).zip(cos).zip(sin).enumerate() {
        let (a, b, cos, sin) = (normed(at, w_a), normed(half + at, w_b), simd.load(cos), simd.load(sin));
        write(at, a.mul(cos).sub(b.mul(sin)));
        write(half + at, b.mul(cos).add(a.mul(sin)));
    }
    for (at, w) in rest.iter().enumerate() {
        write(2 * half + at, normed(2 * half + at, w));
    }
}

/// The weights of a head plus their offset, in `f32`, or 1 where there are none: `room.len()` vectors.
///
/// # Safety
///
/// They may be read, and are of type `E` or `f32`.
#[inline(always)]
unsafe fn weights_of<'a, S: Simd, E: Element>(
    simd: S,
    &HeadNorm { w, weight_offset, .. }: &HeadNorm,
    head: u64,
    room: &'a mut [MaybeUninit<Eight>],
) -> &'a [Eight] {
    let Some(w) = w else { return &ONES[..room.len()] };
    let start = w.address + head * w.stride * w.dtype.size() as u64;
    // SAFETY: the caller promises that they may be read.
    unsafe {
        match (weight_offset == 0.0, w.dtype) {
            (true, dtype) => in_f32::<S, E>(simd, dtype, start, room),
            (false, DType::F32) => converted::<S, f32>(simd, start, weight_offset, room),
            (false, _) => converted::<S, E>(simd, start, weight_offset, room),
        }
    }
}

/// `room.len()` vectors in `f32`: borrowed from `address` if they are `f32` there, else converted into `room`.
///
/// # Safety
///
/// They may be read at the address, and are of type `E` or `f32`.
#[inline(always)]
unsafe fn in_f32<S: Simd, E: Element>(
    simd: S,
    dtype: DType,
    address: u64,
    room: &mut [MaybeUninit<Eight>],
) -> &[Eight] {
    // SAFETY: the caller promises that they may be read; the checks found the address aligned to an element.
    unsafe {
        match dtype {
            DType::F32 => {
                slice::from_raw_parts(std::ptr::with_exposed_provenance(address as usize), room.len())
            }
            // -0 changes no number.
            _ => converted::<S, E>(simd, address, -0.0, room),
        }
    }
}

/// `room.len()` vectors from `address`, converted to `f32` into `room`, plus `offset`.
///
/// # Safety
///
/// They may be read at the address, and are of type `E`.
#[inline(always)]
unsafe fn converted<S: Simd, E: Element>(
    simd: S,
    address: u64,
    offset: f32,
    room: &mut [MaybeUninit<Eight>],
) -> &[Eight] {
    let from = std::ptr::with_exposed_provenance::<[E; WIDTH]>(address as usize);
    let offset = simd.splat(offset);
    for (at, to) in room.iter_mut().enumerate() {
        // SAFETY: the caller promises that the vector may be read.
        let vector = E::load(simd, unsafe { &*from.add(at) });
        to.write(vector.add(offset).to_array());
    }
    // SAFETY: all of it has just been written.
    unsafe { slice::from_raw_parts(room.as_ptr().cast(), room.len()) }
}

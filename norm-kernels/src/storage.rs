//! Where a thread keeps its part of a row between passes: in registers ([`Registers`]), in shared memory ([`Shared`]), in
//! both ([`Hybrid`]), or nowhere, so that every pass loads it again ([`Reload`]).
//!
//! A part is loaded after the previous kernel has ended, and written by the epilogue (`finish`), which all four share.

mod gated;
mod hybrid;
mod registers;
mod reload;
mod shared;

pub use gated::{GatedRegisters, GatedReload};
pub use hybrid::Hybrid;
pub use registers::{Registers, RegistersOf};
pub use reload::Reload;
pub use shared::Shared;

use crate::access::{MemoryAccess, Vector, pack, unpack};
use crate::each::{each, map_pairs};
use crate::element::{Addend, Input, Output, Param, Words};
use crate::gpu::{Reuse, pseudo};
use crate::row::Row;

/// A thread's part of a row: the vectors of it that the thread has.
pub trait RowStorage<const N: usize> {
    /// The elements' type.
    type X: Input;

    /// Whether a vector lies in the row with all of its elements or with none.
    const WHOLE: bool;

    /// Whether the part may have more than [`GROUP`](crate::norm::GROUP) vectors.
    const LONG: bool;

    /// Calls `f` with every vector of the part, [clamped](Input::clamp), and the number of its elements that are in the
    /// row; the others are zero.
    fn each(&self, f: impl FnMut(Words, u32));

    /// [`each`](Self::each) for the first pass over the part, which has to be made once, before any other.
    #[inline(always)]
    fn each_first(&self, f: impl FnMut(Words, u32)) {
        self.each(f);
    }

    /// Writes `norm(x) * (w + offset) + b` for every element of the part.
    ///
    /// Without `BIASES` a row in registers has no biases, and the others are fast where there are none; without `OFFSETS`
    /// a row in registers has no weight offset.
    ///
    /// # Safety
    /// No other thread reads or writes these elements of `y`, nor those of `x` if `y` is `x`.
    unsafe fn write<const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32);
}

/// The weights and biases of a vector.
#[derive(Clone, Copy)]
pub struct Params {
    /// Ones if there are no weights.
    pub weights: Words,
    /// -0 if there are no biases: adding it changes nothing, not even the sign of a zero.
    pub biases: Words,
}

impl Params {
    const NONE: Params = Params { weights: [0; 8], biases: [0; 8] };

    /// The weights of the `valid` elements from index `at` on, and with `BIASES` their biases.
    ///
    /// # Safety
    /// These elements are in the row, and its weights and biases are in memory at the addresses that it has.
    #[inline(always)]
    pub unsafe fn load<A: MemoryAccess, W: Param, const N: usize, const BIASES: bool>(
        row: &Row,
        (at, valid): (u32, u32),
    ) -> Params {
        let offset = at as u64 * W::SIZE;
        let fetch = |param: u64, absent: u32| {
            let valid = if param == 0 { 0 } else { valid };
            // SAFETY: the caller guarantees that these elements are in memory if the row has weights or biases.
            unsafe { A::fetch::<W, N>(param + offset, valid, absent, Reuse::Shared) }
        };
        let weights = fetch(row.w, W::ones());
        Params { weights, biases: if BIASES { fetch(row.b, W::NEGATIVE_ZEROS) } else { [0; 8] } }
    }

    /// The weights and biases of a vector of a row that has both.
    ///
    /// Nothing has to stand in for absent ones, which saves a fifth of the instructions of a pass. LayerNorm reaches 0.95
    /// instead of 0.93 of a copy's bandwidth at 524288 f16; RMSNorm, which has fewer instructions, would lose 1 % there
    /// (NVIDIA H100, 2026-11-25).
    ///
    /// # Safety
    /// As [`load`](Self::load), for a whole vector of a row that has weights and biases.
    #[inline(always)]
    pub unsafe fn load_both<W: Param, const N: usize>(row: &Row, at: u32) -> Params {
        let offset = at as u64 * W::SIZE;
        // SAFETY: the caller guarantees that the row has both, with a whole, aligned vector at `at`.
        let fetch = |param: u64| unsafe { Vector::fetch::<W, N>(param + offset, N as u32, 0, Reuse::Shared) };
        Params { weights: fetch(row.w), biases: fetch(row.b) }
    }
}

/// Whether the row is the common case of its norm, for which the epilogue has a fast copy: with `BIASES` weights and
/// biases, else no biases; no weight offset, and no residual behind the norm. One test in front of all vectors, because a
/// branch for each would keep their loads from being issued together.
#[inline(always)]
fn is_common<const BIASES: bool>(row: &Row) -> bool {
    let params = if BIASES { row.w != 0 && row.b != 0 } else { row.b == 0 };
    params && row.weight_offset == 0.0 && !row.accumulate
}

/// Adds a vector of `x` to the residual's, stores it at element `at` of the row's sum, and returns it as stored: rounded to
/// the residual's type.
///
/// # Safety
/// The vector is whole and aligned, or `valid` is 0. No other thread touches these elements of the sum.
#[inline(always)]
pub unsafe fn add_residual<A: MemoryAccess, X: Addend, R: Input, const N: usize>(
    row: &Row,
    (at, valid): (u32, u32),
    x: Words,
    r: Words,
) -> Words {
    let (x, r) = (unpack::<X, N>(x), unpack::<R, N>(r));
    let sum = map_pairs(|i| X::add([x[i], x[i + 1]], [r[i], r[i + 1]], row.scales));
    // SAFETY: the caller guarantees a whole vector of the sum that no other thread touches, or `valid` 0.
    unsafe { A::store::<R, N>(row.s + at as u64 * R::SIZE, valid, sum) };
    pack::<R, N>(sum)
}

/// The factors of a vector's elements: its weights, with `OFFSET` plus the weight offset.
#[inline(always)]
pub fn factors<W: Param, const N: usize, const OFFSET: bool>(weights: Words, offset: f32) -> [f32; N] {
    let mut weights = unpack::<W, N>(weights);
    if OFFSET {
        each::<N>(|i| weights[i] += offset);
        weights = map_pairs(|i| W::round([weights[i], weights[i + 1]]));
    }
    weights
}

/// The epilogue: multiplies normalized values by the weights, adds biases and the residual behind the norm, rounds, and
/// stores the `valid` elements from index `at` on. Pseudo-instructions stand where an order of roundings may round before
/// the last step.
///
/// Without `BIASES` it adds no biases, without `OFFSET` no weight offset, without `ADD` no residual.
///
/// # Safety
/// These elements are in the row, and no other thread touches them in `y`.
#[inline(always)]
unsafe fn finish<
    A: MemoryAccess,
    W: Param,
    Y: Output,
    const N: usize,
    const BIASES: bool,
    const OFFSET: bool,
    const ADD: bool,
>(
    row: &Row,
    place: (u32, u32),
    mut values: [f32; N],
    params: Params,
) {
    let (at, valid) = place;
    let address = row.y + at as u64 * Y::SIZE;
    let pair = |values: &[f32; N], i: usize| [values[i], values[i + 1]];
    let weights = factors::<W, N, OFFSET>(params.weights, row.weight_offset);
    values = map_pairs(|i| pseudo::round_n(pair(&values, i)));
    if BIASES {
        let biases = unpack::<W, N>(params.biases);
        values = map_pairs(|i| Y::affine(pair(&values, i), pair(&weights, i), pair(&biases, i)));
    } else {
        each::<N>(|i| values[i] *= weights[i]);
    }
    if ADD && row.accumulate {
        let residual = row.r + at as u64 * Y::SIZE;
        // SAFETY: the caller guarantees that these elements are in the row, and that no other thread writes them if the
        // residual is `y`.
        let r = unpack::<Y, N>(unsafe { A::fetch::<Y, N>(residual, valid, 0, Reuse::Once) });
        values = map_pairs(|i| Y::add(pair(&values, i), pair(&r, i), row.scales));
    }
    // SAFETY: the caller guarantees that these elements of `y` are in the row, and that no other thread touches them.
    unsafe { A::store::<Y, N>(address, valid, values) };
}

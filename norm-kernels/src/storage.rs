//! A thread's part of a row: kept in registers, in shared memory, in both, or read again by every pass.
//! It is loaded once the kernel before this one has ended.

mod hybrid;
mod registers;
mod reload;
mod shared;

pub use hybrid::Hybrid;
pub use registers::Registers;
pub use reload::Reload;
pub use shared::Shared;

use crate::access::{MemoryAccess, Vector, pack, unpack};
use crate::each::{each, map_pairs};
use crate::element::{Addend, Input, Output, Param, Words};
use crate::gpu::{Reuse, pseudo};
use crate::row::Row;

/// A thread's part of a row.
pub trait RowStorage<const N: usize> {
    /// The elements' type.
    type X: Input;

    /// Whether all or none of a vector's elements are in the row.
    const WHOLE: bool;

    /// Whether it may have more than [`GROUP`](crate::norm::GROUP) vectors.
    const LONG: bool;

    /// Calls `f` with every vector of the part, as the arithmetic is to see it, and the number of
    /// its elements that are in the row; the others are zero.
    fn each(&self, f: impl FnMut(Words, u32));

    /// [`each`](Self::each), which must come first, and once.
    #[inline(always)]
    fn each_first(&self, f: impl FnMut(Words, u32)) {
        self.each(f);
    }

    /// Writes `norm(x) * (w + offset) + b` for every element of the part. Without `BIASES` the
    /// common case is that there are none; without `OFFSETS` a row in registers has no offset.
    ///
    /// # Safety
    /// No other thread reads or writes these elements of `y`, nor, in place, of `x`.
    unsafe fn write<const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32);
}

/// The weights and biases of a vector.
#[derive(Clone, Copy)]
pub struct Params {
    /// Ones where there are none.
    pub weights: Words,
    /// Where there are none -0: added, it changes nothing, not even a zero's sign.
    biases: Words,
}

impl Params {
    const NONE: Params = Params { weights: [0; 8], biases: [0; 8] };

    /// Those of the `valid` elements from `at` on; no biases without `BIASES`.
    ///
    /// # Safety
    /// The elements are in the row, and weights and biases in memory as the row says.
    #[inline(always)]
    unsafe fn load<A: MemoryAccess, W: Param, const N: usize, const BIASES: bool>(
        row: &Row,
        (at, valid): (u32, u32),
    ) -> Params {
        let offset = at as u64 * W::SIZE;
        let fetch = |param: u64, absent: u32| {
            let valid = if param == 0 { 0 } else { valid };
            // SAFETY: the caller says that these elements are in memory where the row has weights or biases.
            unsafe { A::fetch::<W, N>(param + offset, valid, absent, Reuse::Shared) }
        };
        let weights = fetch(row.w, W::ones());
        Params { weights, biases: if BIASES { fetch(row.b, W::NEGATIVE_ZEROS) } else { [0; 8] } }
    }

    /// Weights and biases of a row that has both, at a vector of it: a fifth of the instructions of a pass
    /// less than with what stands for absent ones. LayerNorm takes 0.95 in place of 0.93 of a copy's
    /// bandwidth at 524288 f16; RMSNorm, whose instructions are fewer, loses 1 % of it there
    /// (NVIDIA H100, 2026-11-25).
    ///
    /// # Safety
    /// As [`load`](Self::load), and there are both.
    #[inline(always)]
    unsafe fn load_both<W: Param, const N: usize>(row: &Row, at: u32) -> Params {
        let offset = at as u64 * W::SIZE;
        // SAFETY: the caller says that there are both, with a whole, aligned vector at `at`.
        let fetch = |param: u64| unsafe { Vector::fetch::<W, N>(param + offset, N as u32, 0, Reuse::Shared) };
        Params { weights: fetch(row.w), biases: fetch(row.b) }
    }
}

/// Whether a row needs no more than weights, and biases where the norm commonly has them, which must then
/// be there: no weight offset, nothing to add to. Asked once before all vectors, because a branch in each
/// would keep their loads apart.
#[inline(always)]
fn is_common<const BIASES: bool>(row: &Row) -> bool {
    let params = if BIASES { row.w != 0 && row.b != 0 } else { row.b == 0 };
    params && row.weight_offset == 0.0 && !row.accumulate
}

/// Adds a vector of `x` to that of the residual, stores the sum in the row's at element `at`, and gives it, rounded as it
/// is there.
///
/// # Safety
/// A whole, aligned vector of the row, or nothing; no other thread touches it.
#[inline(always)]
unsafe fn add_residual<X: Addend, R: Input, const N: usize>(
    row: &Row,
    (at, valid): (u32, u32),
    x: Words,
    r: Words,
) -> Words {
    let (x, r) = (unpack::<X, N>(x), unpack::<R, N>(r));
    let sum = map_pairs(|i| X::add([x[i], x[i + 1]], [r[i], r[i + 1]], row.scales));
    // SAFETY: the caller gives this vector of the sum to this thread, or there is nothing of it.
    unsafe { Vector::store::<R, N>(row.s + at as u64 * R::SIZE, valid, sum) };
    pack::<R, N>(sum)
}

/// What the elements of a vector are multiplied by: its weights, with the offset where `OFFSET` says so.
#[inline(always)]
pub fn factors<W: Param, const N: usize, const OFFSET: bool>(weights: Words, offset: f32) -> [f32; N] {
    let mut weights = unpack::<W, N>(weights);
    if OFFSET {
        each::<N>(|i| weights[i] += offset);
        weights = map_pairs(|i| W::round([weights[i], weights[i + 1]]));
    }
    weights
}

/// The epilogue: scales, shifts, rounds and stores the `valid` elements from `at` on. Pseudo-instructions stand where an
/// order of roundings may round before the last step. Without `BIASES` nothing is added, without `OFFSET` there is no
/// weight offset, without `ADD` nothing to add to.
///
/// # Safety
/// They are in the row, and no other thread touches them.
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
        // SAFETY: the caller says that these elements are in the row, and this thread's where the residual is `y`.
        let r = unpack::<Y, N>(unsafe { A::fetch::<Y, N>(residual, valid, 0, Reuse::Once) });
        values = map_pairs(|i| Y::add(pair(&values, i), pair(&r, i), row.scales));
    }
    // SAFETY: the caller says that these elements of `y` are in the row and this thread's.
    unsafe { A::store::<Y, N>(address, valid, values) };
}

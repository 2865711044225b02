//! A thread's part of a row: kept in registers, in shared memory, or read again by every pass.

mod held;
mod staged;
mod streamed;

pub use held::Held;
pub use staged::Staged;
pub use streamed::Streamed;

use crate::access::{Access, unpack};
use crate::each::each;
use crate::element::{Element, Words};
use crate::gpu::{self, Reuse};
use crate::row::Row;

/// A thread's part of a row.
pub trait Part<const N: usize> {
    /// The elements' type.
    type X: Element;

    /// Whether all or none of a vector's elements are in the row.
    const WHOLE: bool;

    /// Whether it may have more than [`GROUP`](crate::norm::GROUP) vectors.
    const LONG: bool;

    /// Calls `f` with every vector of the part, as the arithmetic is to see it, and the number of
    /// its elements that are in the row; the others are zero.
    fn each(&self, f: impl FnMut(Words, u32));

    /// Writes `norm(x) * (w + offset) + b` for every element of the part. Without `BIASES` the
    /// common case is that there are none; without `OFFSETS` a row in registers has no offset.
    ///
    /// # Safety
    /// No other thread reads or writes these elements of `y`, nor, in place, of `x`.
    unsafe fn write<Y: Element, const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32);
}

/// The weights of the `valid` elements from `at` on, ones where there are none.
///
/// # Safety
/// The elements are in the row, and the weights in memory as the row says.
#[inline(always)]
unsafe fn weights<A: Access, W: Element, const N: usize>(row: &Row, (at, valid): (u32, u32)) -> Words {
    let valid = if row.w == 0 { 0 } else { valid };
    // SAFETY: handed on.
    unsafe { A::fetch::<W, N>(row.w + at as u64 * W::SIZE, valid, W::ONES, Reuse::Shared) }
}

/// Their biases, where there are none -0: added, it changes nothing, not even a zero's sign.
///
/// # Safety
/// As [`weights`].
#[inline(always)]
unsafe fn biases<A: Access, W: Element, const N: usize>(row: &Row, (at, valid): (u32, u32)) -> Words {
    let valid = if row.b == 0 { 0 } else { valid };
    // SAFETY: handed on.
    unsafe { A::fetch::<W, N>(row.b + at as u64 * W::SIZE, valid, W::NEGATIVE_ZEROS, Reuse::Shared) }
}

/// Whether a row needs no more than weights, and biases where the norm commonly has them: no
/// weight offset, nothing to add to. Asked once before all vectors, because a branch in each would
/// keep their loads apart.
#[inline(always)]
fn is_common<const BIASES: bool>(row: &Row) -> bool {
    row.weight_offset == 0.0 && !row.accumulate && (BIASES || row.b == 0)
}

/// Scales, shifts, rounds and stores the `valid` elements from `at` on. Without `BIASES` there are
/// none, without `OFFSET` there is no weight offset, without `ADD` nothing to add to.
///
/// # Safety
/// They are in the row, and no other thread touches them.
#[inline(always)]
unsafe fn finish<
    A: Access,
    W: Element,
    Y: Element,
    const N: usize,
    const BIASES: bool,
    const OFFSET: bool,
    const ADD: bool,
>(
    row: &Row,
    place: (u32, u32),
    mut values: [f32; N],
    weights: Words,
) {
    let (at, valid) = place;
    let mut weights = unpack::<W, N>(weights);
    if OFFSET {
        each::<N>(|i| weights[i] += row.weight_offset);
    }
    if BIASES {
        // SAFETY: handed on.
        let biases = unpack::<W, N>(unsafe { biases::<A, W, N>(row, place) });
        each::<N>(|i| values[i] = gpu::fma(values[i], weights[i], biases[i]));
    } else {
        each::<N>(|i| values[i] *= weights[i]);
    }
    let address = row.y + at as u64 * Y::SIZE;
    if ADD && row.accumulate {
        // SAFETY: handed on.
        let before = unpack::<Y, N>(unsafe { A::fetch::<Y, N>(address, valid, 0, Reuse::Once) });
        each::<N>(|i| values[i] += before[i]);
    }
    // SAFETY: handed on.
    unsafe { A::store::<Y, N>(address, valid, values) };
}

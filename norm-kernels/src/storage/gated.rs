//! A thread's part of a row that a gate multiplies, before the norm or behind it.
//!
//! The template serves both orders: pseudo-instructions multiply in front of the norm (`gate_x`) or behind it (`gate_y`), and
//! the other one is a move. The gated element, which is what is normalized, is an f32 that is not rounded.

use core::marker::PhantomData;

use super::{Params, Registers, RowStorage, factors};
use crate::access::{MemoryAccess, Vector, pack, unpack};
use crate::each::{each, map_pairs};
use crate::element::{Element, F32, Input, Output, Param, Words};
use crate::gpu::{Reuse, pseudo};
use crate::row::Row;

/// At most `V` aligned vectors of `x` and the gate, read once; the gate is the row `r`. `PRELOAD_PARAMS` is as for
/// [`Registers`].
///
/// All loads are issued before the first is used. The activations are computed in front of the reduction, where other warps
/// still wait for memory.
pub struct GatedRegisters<W, Y, const N: usize, const V: usize, const PRELOAD_PARAMS: bool> {
    row: Row,
    /// What is normalized.
    values: Registers<F32, W, Y, N, V, PRELOAD_PARAMS>,
    /// `act(g)`.
    activated: [Words; V],
}

impl<W: Param, Y: Output, const N: usize, const V: usize, const PRELOAD_PARAMS: bool>
    GatedRegisters<W, Y, N, V, PRELOAD_PARAMS>
{
    /// Loads the part of a row of elements `X` and its gate, of elements `G`.
    ///
    /// # Safety
    /// The addresses of the row are those of its elements, in whole and aligned vectors, at most `V` a thread.
    #[inline(always)]
    pub unsafe fn load<X: Input, G: Element>(row: Row) -> Self {
        // SAFETY: the caller guarantees that the elements of both rows and the weights are in memory, in whole and aligned
        // vectors.
        let (x, g, params) = unsafe {
            let x = Registers::<F32, W, Y, N, V, PRELOAD_PARAMS>::vectors::<X>(&row, row.x);
            let g = Registers::<F32, W, Y, N, V, PRELOAD_PARAMS>::vectors::<G>(&row, row.r);
            (x, g, Registers::<F32, W, Y, N, V, PRELOAD_PARAMS>::preload::<false>(&row))
        };
        let (mut values, mut activated) = ([[0; 8]; V], [[0; 8]; V]);
        each::<V>(|v| {
            let a = activate::<G, N>(g[v]);
            values[v] = pack::<F32, N>(gated(unpack::<X, N>(X::clamp(x[v])), a));
            activated[v] = pack::<F32, N>(a);
        });
        GatedRegisters { row, values: Registers::of(row, values, params), activated }
    }
}

impl<W: Param, Y: Output, const N: usize, const V: usize, const PRELOAD_PARAMS: bool> RowStorage<N>
    for GatedRegisters<W, Y, N, V, PRELOAD_PARAMS>
{
    type X = F32;
    const WHOLE: bool = true;
    const LONG: bool = false;

    #[inline(always)]
    fn each(&self, f: impl FnMut(Words, u32)) {
        self.values.each(f);
    }

    #[inline(always)]
    unsafe fn write<const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32) {
        each::<V>(|v| {
            let place = Registers::<F32, W, Y, N, V, PRELOAD_PARAMS>::at(&self.row, v);
            let mut values = unpack::<F32, N>(self.values.vector(v));
            each::<N>(|i| values[i] = norm(values[i]));
            let activated = unpack::<F32, N>(self.activated[v]);
            // SAFETY: a whole vector of the row, which was loaded, or `valid` is 0; the caller guarantees that no other
            // thread touches these elements of `y`.
            unsafe {
                let weights = self.values.params::<false>(v).weights;
                finish_gated::<Vector, W, Y, N>(&self.row, place, values, activated, weights);
            }
        });
    }
}

/// Any number of vectors of `x` and the gate, loaded again by every pass.
pub struct GatedReload<A, X, G, W, Y, const N: usize> {
    row: Row,
    access: PhantomData<(A, X, G, W, Y)>,
}

/// How many whole vectors of each tensor a thread loads at a time.
const IN_FLIGHT: usize = 2;

impl<A: MemoryAccess, X: Input, G: Element, W: Param, Y: Output, const N: usize>
    GatedReload<A, X, G, W, Y, N>
{
    /// The part of a row and its gate, the row `r`.
    ///
    /// # Safety
    /// The addresses of the row are those of its elements, for [`Vector`] in whole and aligned vectors.
    #[inline(always)]
    pub unsafe fn new(row: Row) -> Self {
        GatedReload { row, access: PhantomData }
    }

    /// Loads every vector of `x`, and of the gate if `gated`, and calls `f` with the index of its first element, the number
    /// of its elements that are in the row, what is normalized, and the activations.
    #[inline(always)]
    fn each_at(&self, gates: bool, mut f: impl FnMut((u32, u32), [f32; N], [f32; N])) {
        let flight = if A::WHOLE { IN_FLIGHT } else { 1 };
        let mut at = self.row.start;
        while at < self.row.end {
            let place = |v: usize| {
                let at = at + v as u32 * self.row.step;
                (at, A::valid::<N>(at, self.row.end))
            };
            let mut words = [[[0; 8]; 2]; IN_FLIGHT];
            each::<IN_FLIGHT>(|v| {
                if v < flight {
                    let (at, valid) = place(v);
                    let wanted = if gates { valid } else { 0 };
                    let (x, g) = (self.row.x + at as u64 * X::SIZE, self.row.r + at as u64 * G::SIZE);
                    // SAFETY: the first `valid` elements are in both rows; who called `new` guaranteed that they are in
                    // memory and aligned.
                    words[v] = unsafe {
                        [
                            A::fetch::<X, N>(x, valid, 0, Reuse::Cached),
                            A::fetch::<G, N>(g, wanted, 0, Reuse::Cached),
                        ]
                    };
                }
            });
            each::<IN_FLIGHT>(|v| {
                if v < flight {
                    let [x, g] = words[v];
                    let a = activate::<G, N>(g);
                    f(place(v), gated(unpack::<X, N>(X::clamp(x)), a), a);
                }
            });
            at += flight as u32 * self.row.step;
        }
    }
}

impl<A: MemoryAccess, X: Input, G: Element, W: Param, Y: Output, const N: usize> RowStorage<N>
    for GatedReload<A, X, G, W, Y, N>
{
    type X = F32;
    const WHOLE: bool = A::WHOLE;
    const LONG: bool = true;

    #[inline(always)]
    fn each(&self, mut f: impl FnMut(Words, u32)) {
        // Where the gate multiplies behind the norm, sums do not need it.
        self.each_at(pseudo::gates_first() != 0, |(_, valid), values, _| f(pack::<F32, N>(values), valid));
    }

    #[inline(always)]
    unsafe fn write<const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32) {
        self.each_at(true, |place, mut values, activated| {
            each::<N>(|i| values[i] = norm(values[i]));
            // SAFETY: these elements are in the row; the caller guarantees that no other thread touches them in `y`.
            unsafe {
                let weights = Params::load::<A, W, N, false>(&self.row, place).weights;
                finish_gated::<A, W, Y, N>(&self.row, place, values, activated, weights);
            }
        });
    }
}

/// `act(g)` of a vector.
#[inline(always)]
fn activate<G: Element, const N: usize>(words: Words) -> [f32; N] {
    let g = unpack::<G, N>(words);
    map_pairs(|i| pseudo::activate_x([g[i], g[i + 1]]))
}

/// What is normalized: elements of `x`, multiplied by the activations where the gate is in front of the norm.
#[inline(always)]
fn gated<const N: usize>(x: [f32; N], activated: [f32; N]) -> [f32; N] {
    map_pairs(|i| pseudo::gate_x([x[i], x[i + 1]], [activated[i], activated[i + 1]]))
}

/// The epilogue: multiplies normalized values by the weights and, where the gate is behind the norm, by the activations,
/// rounds, and stores the `valid` elements from index `at` on.
///
/// # Safety
/// These elements are in the row, and no other thread touches them in `y`.
#[inline(always)]
unsafe fn finish_gated<A: MemoryAccess, W: Param, Y: Output, const N: usize>(
    row: &Row,
    (at, valid): (u32, u32),
    values: [f32; N],
    activated: [f32; N],
    weights: Words,
) {
    let n: [f32; N] = map_pairs(|i| pseudo::round_n([values[i], values[i + 1]]));
    let w = factors::<W, N, true>(weights, row.weight_offset);
    let y =
        map_pairs(|i| pseudo::gate_y([n[i] * w[i], n[i + 1] * w[i + 1]], [activated[i], activated[i + 1]]));
    // SAFETY: the caller guarantees that these elements of `y` are in the row, and that no other thread touches them.
    unsafe { A::store::<Y, N>(row.y + at as u64 * Y::SIZE, valid, y) };
}

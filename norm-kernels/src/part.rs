//! A thread's part of a row: kept in registers, or read again by every pass.

use core::marker::PhantomData;

use crate::access::{Access, Vector, unpack};
use crate::each::each;
use crate::element::{Element, Words};
use crate::gpu::{self, Reuse};
use crate::row::Row;

/// A thread's part of a row.
pub trait Part<const N: usize> {
    /// Whether all or none of a vector's elements are in the row.
    const WHOLE: bool;

    /// Calls `f` with every vector of the part and the number of its elements that are in the
    /// row; the others are zero.
    fn each(&self, f: impl FnMut([f32; N], u32));

    /// Writes `norm(x) * (w + offset) + b` for every element of the part.
    ///
    /// # Safety
    /// No other thread reads or writes these elements of `y`, nor, in place, of `x`.
    unsafe fn write<Y: Element>(self, norm: impl Fn(f32) -> f32);
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

/// Scales, shifts, rounds and stores the `valid` elements from `at` on. Without `BIAS` it adds
/// none.
///
/// # Safety
/// They are in the row, no other thread touches them, and with `BIAS` the row has biases.
#[inline(always)]
unsafe fn finish<A: Access, W: Element, Y: Element, const N: usize, const BIAS: bool>(
    row: &Row,
    (at, valid): (u32, u32),
    mut values: [f32; N],
    weights: Words,
) {
    let weights = unpack::<W, N>(weights);
    if BIAS {
        // SAFETY: handed on.
        let biases = unsafe { A::fetch::<W, N>(row.b + at as u64 * W::SIZE, valid, 0, Reuse::Shared) };
        let biases = unpack::<W, N>(biases);
        each::<N>(|i| values[i] = gpu::fma(values[i], weights[i] + row.weight_offset, biases[i]));
    } else {
        each::<N>(|i| values[i] *= weights[i] + row.weight_offset);
    }
    // SAFETY: handed on.
    unsafe { A::store::<Y, N>(row.y + at as u64 * Y::SIZE, valid, values) };
}

/// A part in registers: `V` aligned vectors, read once. Only with `BIASES` does it know biases.
pub struct Held<X, W, const N: usize, const V: usize, const BIASES: bool> {
    row: Row,
    x: [Words; V],
    weights: [Words; V],
    elements: PhantomData<(X, W)>,
}

impl<X: Element, W: Element, const N: usize, const V: usize, const BIASES: bool> Held<X, W, N, V, BIASES> {
    /// Weights are loaded with the row, not after the reduction that they would then delay;
    /// but four vectors of each leave too few registers for a second block beside this one.
    const WEIGHTS_HELD: bool = V <= 2;

    /// Loads the part.
    ///
    /// # Safety
    /// The row lies in memory as it says, vectors whole and aligned, at most `V` a thread; without `BIASES` it
    /// has none.
    #[inline(always)]
    pub unsafe fn load(row: Row) -> Self {
        let at = |v| Self::at(&row, v);
        let mut x: [Words; V] = [[0; 8]; V];
        each::<V>(|v| {
            let (at, valid) = at(v);
            // SAFETY: a whole vector of the row, or nothing.
            x[v] = unsafe { Vector::fetch::<X, N>(row.x + at as u64 * X::SIZE, valid, 0, Reuse::Once) };
        });
        let mut weights: [Words; V] = [[0; 8]; V];
        if Self::WEIGHTS_HELD {
            // SAFETY: the same elements.
            each::<V>(|v| weights[v] = unsafe { self::weights::<Vector, W, N>(&row, at(v)) });
        }
        each::<V>(|v| x[v] = X::clamp(x[v]));
        Held { row, x, weights, elements: PhantomData }
    }

    /// [`Part::write`], with biases or without.
    ///
    /// # Safety
    /// As there, and with `BIAS` the row has biases.
    #[inline(always)]
    unsafe fn write_as<Y: Element, const BIAS: bool>(&self, norm: impl Fn(f32) -> f32) {
        each::<V>(|v| {
            let at = Self::at(&self.row, v);
            let mut values = self.vector(v);
            each::<N>(|i| values[i] = norm(values[i]));
            // SAFETY: the vector that was loaded, or nothing; the caller vouches for `y`.
            unsafe {
                let weights = if Self::WEIGHTS_HELD {
                    self.weights[v]
                } else {
                    self::weights::<Vector, W, N>(&self.row, at)
                };
                finish::<Vector, W, Y, N, BIAS>(&self.row, at, values, weights);
            }
        });
    }

    /// Vector `v` as floats.
    #[inline(always)]
    fn vector(&self, v: usize) -> [f32; N] {
        unpack::<X, N>(self.x[v])
    }

    /// The place of vector `v`, and how many of its elements are in the row.
    #[inline(always)]
    fn at(row: &Row, v: usize) -> (u32, u32) {
        (row.at(v), Vector::valid::<N>(row.at(v), row.dim))
    }
}

impl<X: Element, W: Element, const N: usize, const V: usize, const BIASES: bool> Part<N>
    for Held<X, W, N, V, BIASES>
{
    const WHOLE: bool = true;

    #[inline(always)]
    fn each(&self, mut f: impl FnMut([f32; N], u32)) {
        each::<V>(|v| f(self.vector(v), Self::at(&self.row, v).1));
    }

    #[inline(always)]
    unsafe fn write<Y: Element>(self, norm: impl Fn(f32) -> f32) {
        // One branch, before the vectors: one in each would keep their loads apart.
        // SAFETY: handed on.
        unsafe {
            if BIASES && self.row.b != 0 {
                self.write_as::<Y, true>(norm);
            } else {
                self.write_as::<Y, false>(norm);
            }
        }
    }
}

/// A part left in memory and read again by every pass.
pub struct Streamed<A, X, W, const N: usize> {
    row: Row,
    access: PhantomData<(A, X, W)>,
}

impl<A: Access, X: Element, W: Element, const N: usize> Streamed<A, X, W, N> {
    /// # Safety
    /// The row lies in memory as it says, and, for [`Vector`], vectors whole and aligned.
    #[inline(always)]
    pub unsafe fn new(row: Row) -> Self {
        Streamed { row, access: PhantomData }
    }

    /// Vectors on their way at a time: four give 0.83 of a copy's bandwidth at 32768 f16, one
    /// gives 0.62 (NVIDIA H200, 2026-11-22).
    const FLIGHT: usize = if A::WHOLE { 4 } else { 1 };

    /// Calls `f` with the place of every vector, how many of its elements count, and them.
    #[inline(always)]
    fn each_at(&self, mut f: impl FnMut((u32, u32), [f32; N])) {
        let mut at = self.row.start;
        while at < self.row.dim {
            let place = |v: usize| {
                let at = at + v as u32 * self.row.step;
                (at, A::valid::<N>(at, self.row.dim))
            };
            let mut words: [Words; 4] = [[0; 8]; 4];
            each::<4>(|v| {
                if v < Self::FLIGHT {
                    let (at, valid) = place(v);
                    let address = self.row.x + at as u64 * X::SIZE;
                    // SAFETY: `valid` elements of the row; `new`'s caller vouches for their
                    // alignment.
                    words[v] = unsafe { A::fetch::<X, N>(address, valid, 0, Reuse::Again) };
                }
            });
            each::<4>(|v| {
                if v < Self::FLIGHT {
                    f(place(v), unpack::<X, N>(X::clamp(words[v])));
                }
            });
            at += Self::FLIGHT as u32 * self.row.step;
        }
    }
}

impl<A: Access, X: Element, W: Element, const N: usize> Part<N> for Streamed<A, X, W, N> {
    const WHOLE: bool = A::WHOLE;

    #[inline(always)]
    fn each(&self, mut f: impl FnMut([f32; N], u32)) {
        self.each_at(|(_, valid), x| f(x, valid));
    }

    #[inline(always)]
    unsafe fn write<Y: Element>(self, norm: impl Fn(f32) -> f32) {
        self.each_at(|at, mut values| {
            each::<N>(|i| values[i] = norm(values[i]));
            // SAFETY: elements that this pass has read already; the caller vouches for `y`.
            unsafe {
                let weights = weights::<A, W, N>(&self.row, at);
                if self.row.b == 0 {
                    finish::<A, W, Y, N, false>(&self.row, at, values, weights);
                } else {
                    finish::<A, W, Y, N, true>(&self.row, at, values, weights);
                }
            }
        });
    }
}

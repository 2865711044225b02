//! A thread's part of a row: kept in registers, or read again by every pass.

use core::marker::PhantomData;

use crate::access::{Access, Vector, unpack};
use crate::each::each;
use crate::element::{Element, Words};
use crate::gpu::{self, Reuse};
use crate::row::Row;

/// A thread's part of a row.
pub trait Part<const N: usize> {
    /// Calls `f` with every vector of the part and the number of its elements that are in the
    /// row; the others are zero.
    fn each(&self, f: impl FnMut([f32; N], u32));

    /// Writes `norm(x) * (w + offset) + b` for every element of the part.
    ///
    /// # Safety
    /// No other thread reads or writes these elements of `y`, nor, in place, of `x`.
    unsafe fn write<Y: Element>(self, norm: impl Fn(f32) -> f32);
}

/// The factors of `V` vectors: the weights, offset added.
///
/// # Safety
/// The elements that `at` names are in the row, and the weights in memory as the row says.
#[inline(always)]
unsafe fn factors<A: Access, const N: usize, const V: usize>(
    row: &Row,
    at: impl Fn(usize) -> (u32, u32),
) -> [[f32; N]; V] {
    // SAFETY: handed on.
    let mut factors = unsafe { row.weights.load::<A, N, V>(at, 1.0) };
    each::<V>(|v| each::<N>(|i| factors[v][i] += row.weight_offset));
    factors
}

/// Scales, shifts, rounds and stores the `valid` elements from `at` on.
///
/// # Safety
/// They are in the row, and no other thread touches them.
#[inline(always)]
unsafe fn finish<A: Access, Y: Element, const N: usize>(
    row: &Row,
    (at, valid): (u32, u32),
    mut values: [f32; N],
    factors: [f32; N],
) {
    // An absent bias is -0, which alone leaves every sum as it is, zeros' signs included.
    // SAFETY: handed on.
    let [biases] = unsafe { row.biases.load::<A, N, 1>(|_| (at, valid), -0.0) };
    each::<N>(|i| values[i] = gpu::fma(values[i], factors[i], biases[i]));
    // SAFETY: handed on.
    unsafe { A::store::<Y, N>(row.y + at as u64 * Y::SIZE, valid, values) };
}

/// A part in registers: `V` aligned vectors, read once.
pub struct Held<X, const N: usize, const V: usize> {
    row: Row,
    x: [Words; V],
    factors: [[f32; N]; V],
    element: PhantomData<X>,
}

impl<X: Element, const N: usize, const V: usize> Held<X, N, V> {
    /// Weights are loaded with the row, not after the reduction that they would then delay;
    /// but four vectors of each are more registers than a full block has.
    const FACTORS_HELD: bool = V <= 2;

    /// Loads the part.
    ///
    /// # Safety
    /// The row lies in memory as it says, vectors whole and aligned, at most `V` a thread.
    #[inline(always)]
    pub unsafe fn load(row: Row) -> Self {
        let at = |v| Self::at(&row, v);
        let mut x: [Words; V] = [[0; 8]; V];
        each::<V>(|v| {
            let (at, valid) = at(v);
            // SAFETY: a whole vector of the row, or nothing.
            x[v] = unsafe { Vector::fetch::<X, N>(row.x + at as u64 * X::SIZE, valid, Reuse::Once) };
        });
        let factors = if Self::FACTORS_HELD {
            // SAFETY: the same elements.
            unsafe { factors::<Vector, N, V>(&row, at) }
        } else {
            [[0.0; N]; V]
        };
        each::<V>(|v| x[v] = X::clamp(x[v]));
        Held { row, x, factors, element: PhantomData }
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

impl<X: Element, const N: usize, const V: usize> Part<N> for Held<X, N, V> {
    #[inline(always)]
    fn each(&self, mut f: impl FnMut([f32; N], u32)) {
        each::<V>(|v| f(self.vector(v), Self::at(&self.row, v).1));
    }

    #[inline(always)]
    unsafe fn write<Y: Element>(self, norm: impl Fn(f32) -> f32) {
        each::<V>(|v| {
            let at = Self::at(&self.row, v);
            let mut values = self.vector(v);
            each::<N>(|i| values[i] = norm(values[i]));
            // SAFETY: the vector that was loaded, or nothing; the caller vouches for `y`.
            unsafe {
                let factors = if Self::FACTORS_HELD {
                    self.factors[v]
                } else {
                    let [factors] = factors::<Vector, N, 1>(&self.row, |_| at);
                    factors
                };
                finish::<Vector, Y, N>(&self.row, at, values, factors);
            }
        });
    }
}

/// A part left in memory and read again by every pass.
pub struct Streamed<A, X, const N: usize> {
    row: Row,
    access: PhantomData<(A, X)>,
}

impl<A: Access, X: Element, const N: usize> Streamed<A, X, N> {
    /// # Safety
    /// The row lies in memory as it says, and, for [`Vector`], vectors whole and aligned.
    #[inline(always)]
    pub unsafe fn new(row: Row) -> Self {
        Streamed { row, access: PhantomData }
    }

    /// Calls `f` with the place of every vector, how many of its elements count, and them.
    #[inline(always)]
    fn each_at(&self, mut f: impl FnMut((u32, u32), [f32; N])) {
        let mut at = self.row.start;
        while at < self.row.dim {
            let valid = A::valid::<N>(at, self.row.dim);
            let address = self.row.x + at as u64 * X::SIZE;
            // SAFETY: `valid` elements of the row; `new`'s caller vouches for their alignment.
            let words = unsafe { A::fetch::<X, N>(address, valid, Reuse::Again) };
            f((at, valid), unpack::<X, N>(X::clamp(words)));
            at += self.row.step;
        }
    }
}

impl<A: Access, X: Element, const N: usize> Part<N> for Streamed<A, X, N> {
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
                let [factors] = factors::<A, N, 1>(&self.row, |_| at);
                finish::<A, Y, N>(&self.row, at, values, factors);
            }
        });
    }
}

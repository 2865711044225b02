//! A part in registers.

use core::marker::PhantomData;

use super::{Part, finish, weights};
use crate::access::{Access, Vector, unpack};
use crate::each::each;
use crate::element::{Element, Words};
use crate::gpu::{self, Reuse};
use crate::row::Row;

/// `V` aligned vectors, read once. It knows no residual and adds to nothing; biases and a weight
/// offset only where `write` is asked for them.
pub struct Held<X, W, const N: usize, const V: usize> {
    row: Row,
    x: [Words; V],
    weights: [Words; V],
    elements: PhantomData<(X, W)>,
}

impl<X: Element, W: Element, const N: usize, const V: usize> Held<X, W, N, V> {
    /// Weights are loaded with the row, not after the reduction that they would then delay;
    /// but four vectors of each leave too few registers for a second block beside this one.
    const WEIGHTS_HELD: bool = V <= 2;

    /// Loads the part, once the kernel before this one has ended.
    ///
    /// # Safety
    /// The row lies in memory as it says, vectors whole and aligned, at most `V` a thread; it has
    /// no residual.
    #[inline(always)]
    pub unsafe fn load(row: Row) -> Self {
        let at = |v| Self::at(&row, v);
        gpu::wait_for_previous_kernel();

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

    /// [`Part::write`], with a weight offset or without.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn write_as<Y: Element, const BIASES: bool, const OFFSET: bool>(&self, norm: impl Fn(f32) -> f32) {
        each::<V>(|v| {
            let at = Self::at(&self.row, v);
            let mut values = unpack::<X, N>(self.x[v]);
            each::<N>(|i| values[i] = norm(values[i]));
            // SAFETY: the vector that was loaded, or nothing; the caller vouches for `y`.
            unsafe {
                let weights = if Self::WEIGHTS_HELD {
                    self.weights[v]
                } else {
                    self::weights::<Vector, W, N>(&self.row, at)
                };
                finish::<Vector, W, Y, N, BIASES, OFFSET, false>(&self.row, at, values, weights);
            }
        });
    }

    /// The place of vector `v`, and how many of its elements are in the row.
    #[inline(always)]
    fn at(row: &Row, v: usize) -> (u32, u32) {
        (row.at(v), Vector::valid::<N>(row.at(v), row.end))
    }
}

impl<X: Element, W: Element, const N: usize, const V: usize> Part<N> for Held<X, W, N, V> {
    type X = X;
    const WHOLE: bool = true;
    const LONG: bool = false;

    #[inline(always)]
    fn each(&self, mut f: impl FnMut(Words, u32)) {
        each::<V>(|v| f(self.x[v], Self::at(&self.row, v).1));
    }

    #[inline(always)]
    unsafe fn write<Y: Element, const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32) {
        // SAFETY: handed on.
        unsafe {
            if !OFFSETS || self.row.weight_offset == 0.0 {
                self.write_as::<Y, BIASES, false>(norm);
            } else {
                self.write_as::<Y, BIASES, true>(norm);
            }
        }
    }
}

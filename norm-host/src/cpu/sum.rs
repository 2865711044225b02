//! What is added up over a row: elements, and squares about a center.

#[cfg(test)]
mod tests;

use super::{
    element::Element,
    loops::{Source, Terms, sum},
    simd::{Arithmetic, Doubles, Floats, Simd},
};
use crate::DType;

/// What elements are measured from.
pub(super) trait Center: Copy {
    /// Whether elements stay what they are.
    const IS_ORIGIN: bool = false;

    /// `x` less the center.
    fn center<A: Arithmetic>(self, simd: A, x: A::F32) -> A::F32;
}

/// The center of RMSNorm: 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin;

impl Center for Origin {
    const IS_ORIGIN: bool = true;

    #[inline(always)]
    fn center<A: Arithmetic>(self, _: A, x: A::F32) -> A::F32 {
        x
    }
}

/// The center of LayerNorm: a mean, as two `f32`. The second holds what rounding took from the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mean {
    high: f32,
    low: f32,
}

impl Mean {
    /// The mean of `count` elements that add up to `sum`; `inv_count` is the rounded `1 / count`.
    ///
    /// The second `f32` comes from the difference of two sums, which is exact. The product `sum * inv_count` may be off by an
    /// ULP of `f64`; in a row of equal elements, whose differences from the mean are zero, that error would be the whole result.
    #[inline(always)]
    pub(super) fn of_sum(sum: f64, count: f64, inv_count: f64) -> Mean {
        let high = (sum * inv_count) as f32;
        Mean { high, low: ((sum - f64::from(high) * count) * inv_count) as f32 }
    }
}

impl Center for Mean {
    #[inline(always)]
    fn center<A: Arithmetic>(self, simd: A, x: A::F32) -> A::F32 {
        x.sub(simd.splat(self.high)).sub(simd.splat(self.low))
    }
}

/// The sum of elements, and the sum of their squares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    pub(super) sum: f64,
    pub(super) sum_sq: f64,
}

/// The moments of `x`.
#[inline(always)]
pub(super) fn moments<S: Simd>(simd: S, x: Source<'_, impl Element>) -> Moments {
    let [sum, sum_sq] = sum(simd, ElementAndSquare, x);
    Moments { sum, sum_sq }
}

/// The sum of the squares of `x`, measured from `center`.
#[inline(always)]
pub(super) fn sum_sq<S: Simd>(simd: S, center: impl Center, x: Source<'_, impl Element>) -> f64 {
    let [sum_sq] = sum(simd, Square(center), x);
    sum_sq
}

/// The square of an element, measured from a center. It is exact in `f64`, but for the rounding of the difference.
#[derive(Clone, Copy)]
struct Square<C>(C);

impl<C: Center> Terms<1> for Square<C> {
    type Center = C;

    #[inline(always)]
    fn center(self) -> C {
        self.0
    }

    #[inline(always)]
    fn add<D: Doubles, E: Element>(self, [sum]: [D; 1], x: D) -> [D; 1] {
        [add_square::<_, E>(sum, x)]
    }
}

/// The element itself, and its square.
#[derive(Clone, Copy)]
struct ElementAndSquare;

impl Terms<2> for ElementAndSquare {
    type Center = Origin;

    #[inline(always)]
    fn center(self) -> Origin {
        Origin
    }

    #[inline(always)]
    fn add<D: Doubles, E: Element>(self, [sum, sum_sq]: [D; 2], x: D) -> [D; 2] {
        [sum.add(x), add_square::<_, E>(sum_sq, x)]
    }
}

/// `sum + x²`. Elements of 16 bits keep the instructions busy, so that the fewest are best; of `f32` each sum waits for the last.
#[inline(always)]
fn add_square<D: Doubles, E: Element>(sum: D, x: D) -> D {
    match E::DTYPE {
        DType::F32 => sum.add_square_soon(x),
        DType::F16 | DType::BF16 => sum.add_square(x),
    }
}

//! From elements to outputs: `y = (x - center) * rstd * (w + weight_offset) + b`.

use super::{
    element::Element,
    loops::{Dest, Elementwise, Source, map},
    round::Intermediate,
    simd::{Arithmetic, Floats, Simd},
    sum::Center,
};

/// What is the same for all elements of a row, and which results are rounded to 16 bits on the way (`R`).
#[derive(Clone, Copy)]
pub(super) struct Affine<C, R> {
    pub(super) center: C,
    pub(super) rstd: f32,
    pub(super) weight_offset: f32,
    pub(super) rounding: R,
}

impl<C: Center, R: Intermediate> Affine<C, R> {
    /// Writes the outputs for `x`, without weights and biases.
    #[inline(always)]
    pub(super) fn plain<'a, S: Simd, E: Element>(
        self,
        simd: S,
        x: Source<'_, impl Element>,
        y: Dest<'a, E>,
    ) -> Source<'a, E> {
        map(simd, Plain(self), (x,), y)
    }

    /// Writes the outputs for `x`, with weights.
    #[inline(always)]
    pub(super) fn weighted<'a, S: Simd, E: Element>(
        self,
        simd: S,
        x: Source<'_, impl Element>,
        w: Source<'_, impl Element>,
        y: Dest<'a, E>,
    ) -> Source<'a, E> {
        map(simd, Weighted(self), (x, w), y)
    }

    /// Writes the outputs for `x`, with weights and biases.
    #[inline(always)]
    pub(super) fn weighted_and_biased<'a, S: Simd, E: Element>(
        self,
        simd: S,
        x: Source<'_, impl Element>,
        w: Source<'_, impl Element>,
        b: Source<'_, impl Element>,
        y: Dest<'a, E>,
    ) -> Source<'a, E> {
        map(simd, WeightedAndBiased(self), (x, w, b), y)
    }

    /// Writes the outputs for `x`, given the weights and biases that there are.
    #[inline(always)]
    pub(super) fn write<'a, S: Simd, E: Element>(
        self,
        simd: S,
        (x, w, b): (Source<'_>, Option<Source<'_>>, Option<Source<'_>>),
        y: Dest<'a, E>,
    ) -> Source<'a, E> {
        match (w, b) {
            (None, None) => self.plain(simd, x, y),
            (Some(w), None) => self.weighted(simd, x, w, y),
            (None, Some(b)) => map(simd, Biased(self), (x, b), y),
            (Some(w), Some(b)) => self.weighted_and_biased(simd, x, w, b, y),
        }
    }

    /// `(x - center) * rstd`
    #[inline(always)]
    fn normalize<A: Arithmetic>(self, simd: A, x: A::F32) -> A::F32 {
        self.rounding.normalized(self.center.center(simd, x).mul(simd.splat(self.rstd)))
    }

    /// `w + weight_offset`
    #[inline(always)]
    fn factor<A: Arithmetic>(self, simd: A, w: A::F32) -> A::F32 {
        w.add(simd.splat(self.weight_offset))
    }
}

/// Outputs without weights and biases.
#[derive(Clone, Copy)]
struct Plain<A>(A);

impl<C: Center, R: Intermediate> Elementwise<1> for Plain<Affine<C, R>> {
    const PREFETCH: bool = true;

    #[inline(always)]
    fn apply<A: Arithmetic>(self, simd: A, [x]: [A::F32; 1]) -> A::F32 {
        self.0.normalize(simd, x)
    }
}

/// Outputs with weights.
#[derive(Clone, Copy)]
struct Weighted<A>(A);

impl<C: Center, R: Intermediate> Elementwise<2> for Weighted<Affine<C, R>> {
    const PREFETCH: bool = true;

    #[inline(always)]
    fn apply<A: Arithmetic>(self, simd: A, [x, w]: [A::F32; 2]) -> A::F32 {
        self.0.normalize(simd, x).mul(self.0.factor(simd, w))
    }
}

/// Outputs with biases.
#[derive(Clone, Copy)]
struct Biased<A>(A);

impl<C: Center, R: Intermediate> Elementwise<2> for Biased<Affine<C, R>> {
    const PREFETCH: bool = true;

    #[inline(always)]
    fn apply<A: Arithmetic>(self, simd: A, [x, b]: [A::F32; 2]) -> A::F32 {
        self.0.rounding.product(self.0.normalize(simd, x)).add(b)
    }
}

/// Outputs with weights and biases.
#[derive(Clone, Copy)]
struct WeightedAndBiased<A>(A);

impl<C: Center, R: Intermediate> Elementwise<3> for WeightedAndBiased<Affine<C, R>> {
    const PREFETCH: bool = true;

    #[inline(always)]
    fn apply<A: Arithmetic>(self, simd: A, [x, w, b]: [A::F32; 3]) -> A::F32 {
        let Affine { rounding, .. } = self.0;
        let (normalized, factor) = (self.0.normalize(simd, x), self.0.factor(simd, w));
        match rounding.rounds_product() {
            true => rounding.product(normalized.mul(factor)).add(b),
            false => normalized.mul_add(factor, b),
        }
    }
}

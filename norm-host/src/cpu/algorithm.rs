//! The row algorithm: which passes a norm makes over a row, in which order.
//!
//! How a pass is carried out is left to [`Passes`]: over the one chunk of a short row, with everything inlined, or chunk by
//! chunk, perhaps by several threads. The [module page](super) has the algorithm as pseudo-code.

use norm_kernels::abi::NormKind;

use super::{
    chunk::Chunk,
    form::Form,
    row::{ResidualSum, Row},
    simd::Simd,
    sum::{Center, Moments, Origin},
    workspace::Workspace,
};

/// Something that carries out passes over one row.
pub(super) trait Passes {
    /// [`Form::FINITE`] of the row's form.
    const FINITE: bool;

    /// The row.
    fn row(&self) -> &Row<'_>;

    /// Carries out `pass` over all chunks of the row, and adds up what comes of it, in their order.
    fn run<P: Pass>(&mut self, pass: P) -> P::Output;
}

/// A pass over a row, chunk by chunk.
pub(super) trait Pass: Copy + Sync {
    /// What comes of a chunk. That of the row is the sum over its chunks.
    type Output: Total;

    /// Whether it stores outputs. Then nothing depends on where chunks begin.
    const WRITES: bool = false;

    /// Carries the pass out over one chunk.
    fn over<S: Simd, F: Form>(self, simd: S, chunk: &mut Chunk<'_>, space: &mut Workspace) -> Self::Output;
}

/// Normalizes a row, unless it was to be [finite](Passes::FINITE) and is not: then there are no outputs, and this gives `false`. The
/// sum with a residual is stored in either case.
#[inline(always)]
#[must_use]
pub(super) fn normalize<P: Passes>(passes: &mut P) -> bool {
    let unfit = |sum_sq: f64| P::FINITE && !sum_sq.is_finite();
    if let Some(terms) = passes.row().in_front {
        passes.run(AddResidual(terms));
    }
    match passes.row().kind {
        NormKind::Rms => {
            let sum_sq = passes.run(SumSq(Origin));
            if unfit(sum_sq) {
                return false;
            }
            let rstd = passes.row().rstd(sum_sq);
            passes.run(Write { center: Origin, rstd });
        }
        NormKind::Layer => {
            let moments = passes.run(SumMoments);
            if unfit(moments.sum_sq) {
                return false;
            }
            let mean = passes.row().mean(moments.sum);
            let sum_sq = match passes.row().sum_sq_centered(moments) {
                Some(sum_sq) => sum_sq,
                None => passes.run(SumSq(mean)),
            };
            let rstd = passes.row().rstd(sum_sq);
            passes.run(Write { center: mean, rstd });
        }
    }
    true
}

/// Stores the sum of the input and a residual, which is what is normalized.
#[derive(Clone, Copy)]
struct AddResidual(ResidualSum);

impl Pass for AddResidual {
    type Output = ();

    #[inline(always)]
    fn over<S: Simd, F: Form>(self, simd: S, chunk: &mut Chunk<'_>, space: &mut Workspace) {
        F::add_residual(simd, chunk, self.0, space);
    }
}

/// The sums of the elements and of their squares.
#[derive(Clone, Copy)]
struct SumMoments;

impl Pass for SumMoments {
    type Output = Moments;

    #[inline(always)]
    fn over<S: Simd, F: Form>(self, simd: S, chunk: &mut Chunk<'_>, space: &mut Workspace) -> Moments {
        chunk.moments::<S, F>(simd, space)
    }
}

/// The sum of squares, measured from a center.
#[derive(Clone, Copy)]
pub(super) struct SumSq<C>(pub(super) C);

impl<C: Center + Sync> Pass for SumSq<C> {
    type Output = f64;

    #[inline(always)]
    fn over<S: Simd, F: Form>(self, simd: S, chunk: &mut Chunk<'_>, space: &mut Workspace) -> f64 {
        chunk.sum_sq::<S, F>(simd, self.0, space)
    }
}

/// Stores the output.
#[derive(Clone, Copy)]
pub(super) struct Write<C> {
    pub(super) center: C,
    pub(super) rstd: f32,
}

impl<C: Center + Sync> Pass for Write<C> {
    type Output = ();

    const WRITES: bool = true;

    #[inline(always)]
    fn over<S: Simd, F: Form>(self, simd: S, chunk: &mut Chunk<'_>, space: &mut Workspace) {
        F::write(simd, chunk, self.center, self.rstd, space);
    }
}

/// A pass's result as plain sums, so that one loop over chunks and threads, compiled once, serves all passes.
pub(super) trait Total {
    /// The result as sums; those that it has not are 0.
    fn into_sums(self) -> [f64; 2];

    /// The result that these sums are.
    fn from_sums(sums: [f64; 2]) -> Self;
}

impl Total for () {
    fn into_sums(self) -> [f64; 2] {
        [0.0; 2]
    }

    fn from_sums(_: [f64; 2]) {}
}

impl Total for f64 {
    fn into_sums(self) -> [f64; 2] {
        [self, 0.0]
    }

    fn from_sums([sum, _]: [f64; 2]) -> f64 {
        sum
    }
}

impl Total for Moments {
    fn into_sums(self) -> [f64; 2] {
        [self.sum, self.sum_sq]
    }

    fn from_sums([sum, sum_sq]: [f64; 2]) -> Moments {
        Moments { sum, sum_sq }
    }
}

//! What is known of a problem when the code for its rows is compiled.
//!
//! Code that asks each row for its types and its residual serves all problems. In the most frequent ones both are the same
//! for all rows, and asking takes as long as a short row does: for these there is code of their own, in which elements of
//! 16 bits are converted in registers, too, on their way from memory and back.

use std::marker::PhantomData;

use super::{
    chunk::Chunk, element::Element, loops::Source, row::ResidualSum, simd::Simd, sum::Center,
    workspace::Workspace,
};
use crate::{
    DType,
    problem::{Problem, Residual, ResidualPlace, Roundings, Scales},
};

/// What is known of a problem.
pub(super) trait Form {
    /// Whether results on the way are rounded to 16 bits.
    const ROUNDS: bool;
    /// The type of `x` and `y` where it is known. Then a residual is in front of the norm, of the same type and without factors.
    const UNIFORM: Option<DType>;
    /// The type in which loops read `x`.
    type X: Element;
    /// The form of the same rows where they are longer than a chunk.
    type Long: Form;
    /// Whether rows are taken for finite: an infinity or NaN shows in the sum of squares, and then the row is normalized as one of
    /// [`Any`] form, where infinities are limited.
    const FINITE: bool = false;

    /// Stores the sum of a chunk's input and a residual in front of the norm.
    fn add_residual<S: Simd>(simd: S, chunk: &mut Chunk<'_>, terms: ResidualSum, space: &mut Workspace);

    /// The elements of a chunk that are normalized.
    fn x<'s, S: Simd>(simd: S, chunk: &Chunk<'s>, space: &'s mut Workspace) -> Source<'s, Self::X>;

    /// Stores the outputs of a chunk, given where its elements are measured from and what they are multiplied by.
    fn write<S: Simd>(simd: S, chunk: &mut Chunk<'_>, center: impl Center, rstd: f32, space: &mut Workspace);
}

/// Any problem, whose intermediate results may be rounded or, without `ROUNDS`, are not. Elements of 16 bits are converted in
/// the workspace.
pub(super) struct Any<const ROUNDS: bool>;

impl<const ROUNDS: bool> Form for Any<ROUNDS> {
    const ROUNDS: bool = ROUNDS;
    const UNIFORM: Option<DType> = None;
    type X = f32;
    type Long = Any<ROUNDS>;

    #[inline(always)]
    fn add_residual<S: Simd>(simd: S, chunk: &mut Chunk<'_>, terms: ResidualSum, space: &mut Workspace) {
        chunk.add_residual(simd, terms, space);
    }

    #[inline(always)]
    fn x<'s, S: Simd>(simd: S, chunk: &Chunk<'s>, space: &'s mut Workspace) -> Source<'s> {
        chunk.widened(simd, space)
    }

    #[inline(always)]
    fn write<S: Simd>(simd: S, chunk: &mut Chunk<'_>, center: impl Center, rstd: f32, space: &mut Workspace) {
        chunk.write::<S, ROUNDS>(simd, center, rstd, space);
    }
}

/// `x` and `y` of one type, and a residual in front of the norm, if there is one, too; without roundings on the way, and without
/// biases where there are no weights.
///
/// With `LONG`, weights of the same type are converted in registers, too: chunk after chunk, the workspace would hold each for one
/// chunk of one row. In short rows it holds them for all rows, which is faster.
pub(super) struct Uniform<E, const LONG: bool = false>(PhantomData<E>);

impl<E: Element, const LONG: bool> Form for Uniform<E, LONG> {
    const ROUNDS: bool = false;
    const UNIFORM: Option<DType> = Some(E::DTYPE);
    // In f16 it takes two instructions a vector to limit infinities.
    const FINITE: bool = matches!(E::DTYPE, DType::F16);
    type X = E::Term;
    type Long = Uniform<E, true>;

    #[inline(always)]
    fn add_residual<S: Simd>(simd: S, chunk: &mut Chunk<'_>, terms: ResidualSum, _: &mut Workspace) {
        chunk.add_residual_uniform::<S, E>(simd, terms);
    }

    #[inline(always)]
    fn x<'s, S: Simd>(_: S, chunk: &Chunk<'s>, _: &'s mut Workspace) -> Source<'s, E::Term> {
        chunk.input()
    }

    #[inline(always)]
    fn write<S: Simd>(simd: S, chunk: &mut Chunk<'_>, center: impl Center, rstd: f32, space: &mut Workspace) {
        chunk.write_uniform::<S, E, LONG>(simd, center, rstd, space);
    }
}

/// The type of `x` and `y`, where the problem is [`Uniform`].
pub(super) fn uniform(problem: &Problem, roundings: Roundings) -> Option<DType> {
    let Problem { x, y, residual, .. } = problem;
    let joins = |Residual { place, r, scales, .. }: &Residual| {
        *place == ResidualPlace::InFront && r.dtype == x.dtype && *scales == Scales::NONE
    };
    let is_usual = problem.b.is_none() || problem.w.is_some();
    let is_uniform =
        is_usual && x.dtype == y.dtype && residual.as_ref().is_none_or(joins) && roundings == Roundings::NONE;
    is_uniform.then_some(x.dtype)
}

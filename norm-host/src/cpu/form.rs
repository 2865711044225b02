//! What is known of a problem when the code for its rows is compiled.
//!
//! Code that asks each row for its types and its residual serves all problems. In the most frequent ones both are the same
//! for all rows, and asking takes as long as a short row does: for these there is code of their own, in which elements of
//! 16 bits are converted in registers, too, on their way from memory and back.

use std::marker::PhantomData;

use super::{chunk::Chunk, element::Element, loops::Source, simd::Simd, sum::Center, workspace::Workspace};
use crate::{
    DType,
    problem::{Problem, Roundings},
};

/// What is known of a problem.
pub(super) trait Form {
    /// Whether results on the way are rounded to 16 bits.
    const ROUNDS: bool;
    /// The type of `x` and `y` where it is known. Then there is no residual, either.
    const UNIFORM: Option<DType>;
    /// The type in which loops read `x`.
    type X: Element;

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

    #[inline(always)]
    fn x<'s, S: Simd>(simd: S, chunk: &Chunk<'s>, space: &'s mut Workspace) -> Source<'s> {
        chunk.widened(simd, space)
    }

    #[inline(always)]
    fn write<S: Simd>(simd: S, chunk: &mut Chunk<'_>, center: impl Center, rstd: f32, space: &mut Workspace) {
        chunk.write::<S, ROUNDS>(simd, center, rstd, space);
    }
}

/// `x` and `y` of one type, without a residual and without roundings on the way.
pub(super) struct Uniform<E>(PhantomData<E>);

impl<E: Element> Form for Uniform<E> {
    const ROUNDS: bool = false;
    const UNIFORM: Option<DType> = Some(E::DTYPE);
    type X = E;

    #[inline(always)]
    fn x<'s, S: Simd>(_: S, chunk: &Chunk<'s>, _: &'s mut Workspace) -> Source<'s, E> {
        chunk.input()
    }

    #[inline(always)]
    fn write<S: Simd>(simd: S, chunk: &mut Chunk<'_>, center: impl Center, rstd: f32, space: &mut Workspace) {
        chunk.write_uniform::<S, E>(simd, center, rstd, space);
    }
}

/// The type of `x` and `y`, where the problem is [`Uniform`].
pub(super) fn uniform(problem: &Problem, roundings: Roundings) -> Option<DType> {
    let is_uniform =
        problem.x.dtype == problem.y.dtype && problem.residual.is_none() && roundings == Roundings::NONE;
    is_uniform.then_some(problem.x.dtype)
}

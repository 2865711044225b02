//! One chunk of a row: its share of a sum, its outputs.

use super::{
    affine::Affine,
    element::Element,
    form::Form,
    gated::{Gated, GatedAffine},
    loops::{Dest, Source, map},
    residual::{add, add_uniform},
    round::{Rounded, Unrounded, round},
    row::{ResidualSum, Row, Span},
    simd::Simd,
    sum::{self, Center, Moments, Origin},
    widen::{Widened, Widening, elements, elements_mut, narrow},
    workspace::Workspace,
};
use norm_kernels::abi::Gating;

use crate::{DType, problem::Roundings};

/// Elements of a chunk. Most rows have no more, so that 16-bit types are converted once; and four such chunks stay in the
/// second-level cache.
///
/// Miri takes microseconds for each element, and finds in short chunks what it finds in long ones.
pub(super) const CHUNK: usize = if cfg!(miri) { 32 } else { 8192 };

/// Chunks of a row of `dim` elements.
#[inline(always)]
pub(super) fn chunks(dim: usize) -> usize {
    dim.div_ceil(CHUNK)
}

/// At most [`CHUNK`] neighbouring elements of a row, to work on.
pub(super) struct Chunk<'a> {
    row: &'a Row<'a>,
    /// The first element.
    from: usize,
    len: usize,
}

impl<'a> Chunk<'a> {
    /// Chunk `index` of `row`.
    ///
    /// # Safety
    ///
    /// The row has such a chunk, and while it exists there is no other with the same index.
    #[inline(always)]
    pub(super) unsafe fn new(row: &'a Row<'a>, index: usize) -> Chunk<'a> {
        let from = index * CHUNK;
        Chunk { row, from, len: CHUNK.min(row.dim - from) }
    }

    /// Chunk `index` of `row` where the first has `head` elements, or [`CHUNK`] if that is 0.
    ///
    /// # Safety
    ///
    /// The row has such a chunk, and while it exists there is no other that has some of its elements.
    #[inline(always)]
    pub(super) unsafe fn behind(head: usize, row: &'a Row<'a>, index: usize) -> Chunk<'a> {
        let end = if head == 0 { (index + 1) * CHUNK } else { head + index * CHUNK };
        let from = if index == 0 { 0 } else { end - CHUNK };
        Chunk { row, from, len: end.min(row.dim) - from }
    }

    /// The row that it is a chunk of.
    #[inline(always)]
    pub(super) fn row(&self) -> &'a Row<'a> {
        self.row
    }

    /// Stores the sum of the input and the residual, rounded to its type.
    #[inline(always)]
    pub(super) fn add_residual<S: Simd>(
        &mut self,
        simd: S,
        ResidualSum { branch, r }: ResidualSum,
        space: &mut Workspace,
    ) {
        let branch = self.read(simd, branch, Widening::EXACT, &mut space.addend);
        let r = self.read(simd, r, Widening::EXACT, &mut space.x);
        let to = self.output(self.row.x, Dest::of(&mut space.y[..self.len]));
        add(simd, (branch, r), self.row.scaling, to);
        self.narrow(simd, &space.y, self.row.x);
        // It holds the residual, whose place in memory the sum may have taken.
        space.x.invalidate();
    }

    /// Stores the same sum, rounded to its type, where it lies. Its terms are of that type, `E`, too.
    #[inline(always)]
    pub(super) fn add_residual_uniform<S: Simd, E: Element>(
        &mut self,
        simd: S,
        ResidualSum { branch, r }: ResidualSum,
    ) {
        let to = self.place::<E>(self.row.x);
        add_uniform(simd, (self.elements::<E::Term>(branch), self.elements::<E::Term>(r)), to);
    }

    /// The sums of the elements and of their squares.
    #[inline(always)]
    pub(super) fn moments<S: Simd, F: Form>(&mut self, simd: S, space: &mut Workspace) -> Moments {
        sum::moments(simd, F::x(simd, self, space))
    }

    /// The sum of squares, measured from `center`.
    #[inline(always)]
    pub(super) fn sum_sq<S: Simd, F: Form>(
        &mut self,
        simd: S,
        center: impl Center,
        space: &mut Workspace,
    ) -> f64 {
        sum::sum_sq(simd, center, F::x(simd, self, space))
    }

    /// The elements that are normalized, converted in the workspace if they are of 16 bits.
    #[inline(always)]
    pub(super) fn widened<'s, S: Simd>(&self, simd: S, space: &'s mut Workspace) -> Source<'s>
    where
        'a: 's,
    {
        self.read(simd, self.row.x, Widening::INPUT, &mut space.x)
    }

    /// The elements that are normalized, where they lie. `E` is of their type.
    #[inline(always)]
    pub(super) fn input<E: Element>(&self) -> Source<'a, E> {
        self.elements(self.row.x)
    }

    /// This chunk of one of the row's spans, where it lies. `E` is its type.
    #[inline(always)]
    fn elements<E: Element>(&self, span: Span) -> Source<'a, E> {
        debug_assert_eq!(span.dtype, E::DTYPE);
        // SAFETY: the row exists during `'a`, so that its elements, of this type, may be read and only this thread, which has
        // the chunk, writes them.
        unsafe { Source::new(elements(span.at(self.from)), self.len) }
    }

    /// Where this chunk of `span`, one that the row writes, lies. `E` is its type.
    #[inline(always)]
    fn place<E: Element>(&self, span: Span) -> Dest<'a, E> {
        debug_assert_eq!(span.dtype, E::DTYPE);
        // SAFETY: the row exists during `'a`, so that its output, of this type, may be written; this thread alone has the
        // chunk.
        unsafe { Dest::new(elements_mut(span.at(self.from)), self.len) }
    }

    /// Stores `(x - center) * rstd * (w + weight_offset) + b`, rounded once, where `x` and `y` are of type `E`.
    #[inline(always)]
    pub(super) fn write_uniform<S: Simd, E: Element, const LONG: bool>(
        &mut self,
        simd: S,
        center: impl Center,
        rstd: f32,
        space: &mut Workspace,
    ) {
        let row = self.row;
        let (x, y) = (self.input::<E::Term>(), self.place::<E>(row.y).streamed(row.stream));
        let affine = Affine { center, rstd, weight_offset: row.weight_offset, rounding: Unrounded };
        // Not so of f32, which the workspace leaves where they lie.
        let direct = |span: Span| LONG && E::DTYPE != DType::F32 && span.dtype == E::DTYPE;
        // `match` instead of `Option::map`: what a closure calls may stay a function call, for each instruction.
        match (row.w, row.b) {
            (Some(w), None) if direct(w) => affine.weighted(simd, x, self.elements::<E::Term>(w), y),
            (Some(w), Some(b)) if direct(w) && direct(b) => {
                let (w, b) = (self.elements::<E::Term>(w), self.elements::<E::Term>(b));
                affine.weighted_and_biased(simd, x, w, b, y)
            }
            (Some(w), None) => affine.weighted(simd, x, self.read(simd, w, Widening::EXACT, &mut space.w), y),
            (Some(w), Some(b)) => {
                let w = self.read(simd, w, Widening::EXACT, &mut space.w);
                let b = self.read(simd, b, Widening::EXACT, &mut space.b);
                affine.weighted_and_biased(simd, x, w, b, y)
            }
            // Biases without weights are of no `Uniform` form.
            (None, _) => affine.plain(simd, x, y),
        };
    }

    /// Stores `(x - center) * rstd * (w + weight_offset) + b`, or its sum with the residual. It is rounded once, or with
    /// `ROUNDS` as [`Row::roundings`] say.
    #[inline(always)]
    pub(super) fn write<S: Simd, const ROUNDS: bool>(
        &mut self,
        simd: S,
        center: impl Center,
        rstd: f32,
        space: &mut Workspace,
    ) {
        let row = self.row;
        let Roundings { factor, normalized, product, result, .. } = row.roundings;
        // In place, no later chunk reads `x` again.
        let x = self.read(simd, row.x, Widening::INPUT, &mut space.x);
        let factor = if ROUNDS { factor } else { None };
        // `match` instead of `Option::map`: what a closure calls may stay a function call, for each instruction.
        let w = match row.w {
            Some(w) => {
                let offset = factor.is_some().then_some(row.weight_offset);
                Some(self.read(simd, w, Widening::with_offset(offset), &mut space.w))
            }
            None => None,
        };
        let b = match row.b {
            Some(b) => Some(self.read(simd, b, Widening::EXACT, &mut space.b)),
            None => None,
        };
        // Where the offset has been added already, -0 is added, which changes no weight.
        let weight_offset = if factor.is_some() { -0.0 } else { row.weight_offset };
        let buffer = Dest::of(&mut space.y[..self.len]);
        let output = self.output(row.y, buffer).streamed(row.stream);
        let to = if row.behind.is_some() { buffer } else { output };
        let mut norm = match ROUNDS {
            false => {
                let affine = Affine { center, rstd, weight_offset, rounding: Unrounded };
                affine.write(simd, (x, w, b), to)
            }
            true => {
                let rounding = Rounded { normalized, product };
                Affine { center, rstd, weight_offset, rounding }.write(simd, (x, w, b), to)
            }
        };
        if let Some(r) = row.behind {
            if ROUNDS && let Some(dtype) = result {
                norm = round(simd, norm, dtype, buffer);
            }
            let r = self.read(simd, r, Widening::EXACT, &mut space.addend);
            add(simd, (norm, r), row.scaling, output);
        }
        self.narrow(simd, &space.y, row.y);
    }

    /// The sum of squares of `x * act(g)`, `g` being the gate that the row has in place of a residual behind the norm.
    #[inline(always)]
    pub(super) fn gated_sum_sq<S: Simd>(&mut self, simd: S, gating: Gating, space: &mut Workspace) -> f64 {
        let Some(g) = self.row.behind else { return 0.0 };
        let x = self.read(simd, self.row.x, Widening::INPUT, &mut space.x);
        let g = self.read(simd, g, Widening::EXACT, &mut space.addend);
        let buffer = Dest::of(&mut space.y[..self.len]);
        sum::sum_sq(simd, Origin, map(simd, Gated(gating.activation), (x, g), buffer))
    }

    /// Stores the gated norm, given the reciprocal of the root of the mean of squares.
    #[inline(always)]
    pub(super) fn write_gated<S: Simd>(&mut self, simd: S, gating: Gating, rstd: f32, space: &mut Workspace) {
        let row = self.row;
        let Some(g) = row.behind else { return };
        let Roundings { factor, normalized, result, .. } = row.roundings;
        let x = self.read(simd, row.x, Widening::INPUT, &mut space.x);
        let g = self.read(simd, g, Widening::EXACT, &mut space.addend);
        let w = match row.w {
            Some(w) => {
                let offset = factor.is_some().then_some(row.weight_offset);
                Some(self.read(simd, w, Widening::with_offset(offset), &mut space.w))
            }
            None => None,
        };
        // Where the offset has been added already, -0 is added, which changes no weight.
        let weight_offset = if factor.is_some() { -0.0 } else { row.weight_offset };
        let to = self.output(row.y, Dest::of(&mut space.y[..self.len])).streamed(row.stream);
        GatedAffine { gating, rstd, weight_offset, normalized, result }.write(simd, (x, g, w), to);
        self.narrow(simd, &space.y, row.y);
    }

    /// This chunk of one of the row's spans, in `f32`.
    #[inline(always)]
    fn read<'s, S: Simd>(
        &self,
        simd: S,
        span: Span,
        widening: Widening,
        widened: &'s mut Widened,
    ) -> Source<'s>
    where
        'a: 's,
    {
        // SAFETY: the row exists during `'a`, so that its elements may be read and only this thread, which has the chunk,
        // writes them.
        unsafe { widened.read(simd, span, self.from, self.len, widening) }
    }

    /// Where to write this chunk of `span`, one that the row writes: to its place if it is of `f32`, else to `buffer`, which
    /// [`narrow`](Chunk::narrow) takes it from.
    #[inline(always)]
    fn output<'s>(&self, span: Span, buffer: Dest<'s>) -> Dest<'s>
    where
        'a: 's,
    {
        match span.dtype {
            DType::F32 => self.place(span),
            DType::F16 | DType::BF16 => buffer,
        }
    }

    /// Rounds this chunk of `span`, one that the row writes, from `buffer` to its place, unless it is there already.
    #[inline(always)]
    fn narrow<S: Simd>(&mut self, simd: S, buffer: &[f32], span: Span) {
        // SAFETY: the row exists, so that its output may be written; this thread alone has the chunk.
        unsafe { narrow(simd, &buffer[..self.len], span, self.from) }
    }
}

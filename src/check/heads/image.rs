//! Where the tensors of a case lie in one block of memory, and the call on them.
//!
//! As in the image of other cases, guards and gaps of inputs are NaN, and outputs hold a pattern of their own.

use std::ops::Range;

use norm_host::{
    Backend, DType, Error, Norm, Place, Positions, QkNormRope, Qkv, Rotary, Rounding, View, ViewMut,
};
use rand::RngExt;

use super::super::case::{AdditionOptions, CheckCase, MAX_LEADING, Placement, ResidualForm};
use super::super::layout::ImageLayout;
use super::case::{HeadsCase, TABLE_ROWS};
use crate::bytes::AlignedBytes;
use crate::element;

const GUARD: usize = 64;
const UNREAD: u8 = 0xff;
const UNWRITTEN: u8 = 0xa5;

/// A call on the tensors of an image, by their byte offsets.
#[derive(Clone, Debug)]
pub struct HeadsCall {
    pub case: HeadsCase,
    pub x: usize,
    /// Where it is written; `x` in place.
    pub y: usize,
    /// The weights of queries, keys and values.
    pub w: [usize; 3],
    pub cos: usize,
    pub sin: usize,
    pub positions: usize,
    pub len: usize,
}

impl HeadsCall {
    /// Places the tensors of a case one behind the other.
    pub fn of(case: &HeadsCase) -> HeadsCall {
        let mut len = 0;
        let mut place = |dtype: DType, elements: usize| {
            let start = len + GUARD + case.at * dtype.size();
            len = (start + elements * dtype.size() + GUARD).next_multiple_of(GUARD);
            start
        };
        let heads = case.tokens * case.stride();
        let (x, y) = (place(case.x, heads), place(case.x, heads));
        let w = case.w.unwrap_or(case.x);
        let weights = case.heads.map(|heads| place(w, if case.own { heads } else { 1 } * case.dim));
        let table = TABLE_ROWS * case.pairs;
        let (cos, sin) = (place(case.table, table), place(case.table, table));
        // Of 8 bytes each, whatever their type: an aligned address.
        let positions = (len + GUARD).next_multiple_of(GUARD);
        let len = positions + 8 * case.tokens + GUARD;
        HeadsCall { case: case.clone(), x, y, w: weights, cos, sin, positions, len }
    }

    /// The bytes of a head in the tensor at `start`.
    pub fn head(&self, start: usize, [part, token, head]: [usize; 3]) -> Range<usize> {
        let HeadsCase { heads, dim, x, .. } = &self.case;
        let before: usize = heads[..part].iter().sum();
        let from = start + (token * self.case.stride() + (before + head) * dim) * x.size();
        from..from + dim * x.size()
    }

    /// Every head: of queries, keys or values, of which token, and its number.
    pub fn heads(&self) -> impl Iterator<Item = [usize; 3]> {
        let HeadsCase { heads, tokens, .. } = self.case;
        let parts = self.case.parts();
        parts.flat_map(move |part| {
            (0..tokens).flat_map(move |token| (0..heads[part]).map(move |head| [part, token, head]))
        })
    }

    /// The position of a token.
    pub fn position(&self, token: usize) -> usize {
        (self.case.seed as usize % TABLE_ROWS + 7 * token) % TABLE_ROWS
    }

    /// Fills an image with the values of the case.
    pub fn fill(&self, image: &mut AlignedBytes) {
        let HeadsCase { dim, x, w, own, pairs, table, tokens, wide, .. } = self.case;
        image.refill(self.len, UNREAD);
        let all: Vec<_> = self.heads().collect();
        for &at in &all {
            image[self.head(self.y, at)].fill(UNWRITTEN);
        }
        let rows = self.rows(all.len());
        for (at, row) in all.into_iter().zip(rows.chunks_exact((dim * x.size()).max(1))) {
            image[self.head(self.x, at)].copy_from_slice(row);
        }
        let w = w.unwrap_or(x);
        for part in self.case.parts() {
            let count = if own { self.case.heads[part] } else { 1 } * dim;
            let rng = &mut self.case.values(10 + part as u64);
            let values = (0..count).map(|_| rng.random_range(-2.0..2.0));
            element::write(w, &mut image[self.w[part]..][..count * w.size()], values);
        }
        for row in 0..TABLE_ROWS {
            let rng = &mut self.case.values(20 + row as u64);
            let angles: Vec<f64> = (0..pairs).map(|_| rng.random_range(-3.2..3.2)).collect();
            let bytes = row * pairs * table.size()..(row + 1) * pairs * table.size();
            element::write(
                table,
                &mut image[self.cos..][bytes.clone()],
                angles.iter().map(|angle| angle.cos()),
            );
            element::write(table, &mut image[self.sin..][bytes], angles.iter().map(|angle| angle.sin()));
        }
        for token in 0..tokens {
            let position = self.position(token) as u64;
            let bytes = if wide { 8 } else { 4 };
            image[self.positions + token * bytes..][..bytes]
                .copy_from_slice(&position.to_le_bytes()[..bytes]);
        }
    }

    /// The elements of that many heads: those of rows of a norm, which are hard in the same manners.
    fn rows(&self, count: usize) -> Vec<u8> {
        let HeadsCase { dim, x, eps, data, seed, .. } = self.case;
        let dense = Placement { dtype: x, gaps: [0; MAX_LEADING], at: 0 };
        let rows = CheckCase {
            kind: norm_host::NormKind::Rms,
            heads: false,
            shape: vec![count, dim],
            x: dense,
            y: dense,
            w: None,
            b: None,
            eps,
            weight_offset: 0.0,
            round_offset: false,
            rounding: Rounding::Single,
            data,
            seed,
            in_place: false,
            alone: None,
            residual: ResidualForm::None,
            gate: None,
            addition: AdditionOptions::PLAIN,
            shards: 1,
            quantize: None,
        };
        let layout = ImageLayout::of(&rows);
        let mut image = AlignedBytes::default();
        layout.fill(&rows, &mut image);
        image[layout.call.x.byte_offset..][..count * dim * x.size()].to_vec()
    }

    /// Runs the operation on the image that begins at `base`.
    ///
    /// # Safety
    /// There is such an image, at `place`, which nothing else uses until the work is done.
    pub unsafe fn run(&self, place: Place, base: u64, on: &impl Backend) -> Result<(), Error> {
        let HeadsCase { heads, tokens, dim, x, pairs, table, .. } = self.case;
        let address = |offset: usize| base + offset as u64;
        let shape = [tokens, self.case.columns()];
        let strides = [self.case.stride(), 1];
        let order = if self.case.before_weight { Rounding::BeforeWeight } else { Rounding::Single };
        // SAFETY: the caller guarantees the image, in which the layout has put these tensors.
        let weight = |part: usize| unsafe {
            let Some(w) = self.case.w else { return Ok(None) };
            let shape = [heads[part], dim];
            let shape = if self.case.own { &shape[..] } else { &shape[1..] };
            View::from_raw_parts(place, address(self.w[part]), w, shape).map(Some)
        };
        let norm = |part: usize| -> Result<Option<Norm<'_>>, Error> {
            let Some(kind) = self.case.norms[part] else { return Ok(None) };
            let norm = Norm::new(kind, self.case.eps).weight(weight(part)?).rounding(order);
            Ok(Some(norm.weight_offset(self.case.weight_offset)))
        };
        // SAFETY: the caller guarantees the image, in which the layout has put the tables and positions.
        let rotary = unsafe {
            let table =
                |offset: usize| View::from_raw_parts(place, address(offset), table, &[TABLE_ROWS, pairs]);
            let positions = match self.case.wide {
                true => Positions::from_raw_parts::<i64>(place, address(self.positions), tokens)?,
                false => Positions::from_raw_parts::<u32>(place, address(self.positions), tokens)?,
            };
            Rotary::new(table(self.cos)?, table(self.sin)?, positions).pairing(self.case.pairing)
        };
        let operation = QkNormRope::new()
            .q_norm(norm(0)?)
            .k_norm(norm(1)?)
            .v_norm(norm(2)?)
            .rotary(Some(rotary).filter(|_| pairs > 0))
            .norm_behind(self.case.behind)
            .rounding(self.case.rounding);
        // SAFETY: the caller guarantees the image, in which the layout has put the output; in place there is no other view of it.
        let written =
            unsafe { ViewMut::from_raw_parts_strided(place, address(self.y), x, &shape, &strides) }?;
        let written = Qkv::<ViewMut<'_>>::packed(written, heads, dim)?;
        if self.x == self.y {
            return operation.in_place(written, on);
        }
        // SAFETY: the caller guarantees the image, in which the layout has put the input apart from the output.
        let read = unsafe { View::from_raw_parts_strided(place, address(self.x), x, &shape, &strides) }?;
        operation.to(Qkv::<View<'_>>::packed(read, heads, dim)?, written, on)
    }
}

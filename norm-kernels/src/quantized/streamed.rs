//! A quantized row that stays in global memory.

use core::marker::PhantomData;

use super::WIDTH;
use super::quantizer::{Numbers, Quantizer, Values, codes_of, magnitude_of_vector, store_codes, values_of};
use super::registers::{rounded_sum, sum_of};
use crate::access::{MemoryAccess, pack, unpack};
use crate::each::each;
use crate::element::{Element, F32, Input, Param, Words, XHalf};
use crate::gpu::Reuse;
use crate::row::Row;
use crate::storage::{Params, RowStorage};

/// Any number of vectors, loaded again by every pass. With a residual in front of the norm each pass adds it again, because a
/// recipe may normalize the sum as it is before it is rounded; the last pass stores it.
pub struct Streamed<'a, A, W> {
    row: Row,
    quantizer: Quantizer<'a>,
    access: PhantomData<(A, W)>,
}

/// How many whole vectors a thread loads at a time.
const IN_FLIGHT: usize = 2;

/// A vector of a pass: where it is, what is normalized, and the sum with the residual as it is before it is rounded.
struct Item {
    place: (u32, u32),
    x: Numbers,
    sum: Numbers,
}

impl<'a, A: MemoryAccess, W: Param> Streamed<'a, A, W> {
    /// The part of a row.
    ///
    /// # Safety
    /// The addresses of the row are those of its elements, for [`Vector`](crate::access::Vector) in whole and aligned vectors. No
    /// other thread touches these elements of the sum.
    #[inline(always)]
    pub unsafe fn new(row: Row, quantizer: Quantizer<'a>) -> Self {
        Streamed { row, quantizer, access: PhantomData }
    }

    /// Loads every vector of the row, and calls `f` with each. All lanes of a warp call it for the same number of vectors, some of
    /// which may lie behind the row's end.
    #[inline(always)]
    fn each_item(&self, mut f: impl FnMut(Item)) {
        let row = &self.row;
        let flight = if A::WHOLE { IN_FLIGHT } else { 1 };
        // Where the block's vectors begin, not the thread's, so that it is the same for all lanes.
        let mut first = 0;
        while first < row.end {
            let place = |v: usize| {
                let at = row.start + first + v as u32 * row.step;
                (at, A::valid::<WIDTH>(at, row.end))
            };
            let (mut x, mut r): ([Words; IN_FLIGHT], [Words; IN_FLIGHT]) =
                ([[0; 8]; IN_FLIGHT], [[0; 8]; IN_FLIGHT]);
            each::<IN_FLIGHT>(|v| {
                if v < flight {
                    let (at, valid) = place(v);
                    let offset = at as u64 * XHalf::SIZE;
                    // SAFETY: the first `valid` elements are in the row; who called `new` guaranteed that they are in memory
                    // and aligned.
                    unsafe {
                        x[v] = A::fetch::<XHalf, WIDTH>(row.x + offset, valid, 0, Reuse::Cached);
                        if row.r != 0 {
                            r[v] = A::fetch::<XHalf, WIDTH>(row.r + offset, valid, 0, Reuse::Cached);
                        }
                    }
                }
            });
            each::<IN_FLIGHT>(|v| {
                if v < flight {
                    let item = if row.r != 0 {
                        let sum = sum_of(row, x[v], r[v]);
                        Item { place: place(v), x: rounded_sum(sum), sum }
                    } else {
                        Item {
                            place: place(v),
                            x: unpack::<XHalf, WIDTH>(XHalf::clamp(x[v])),
                            sum: [0.0; WIDTH],
                        }
                    };
                    f(item);
                }
            });
            first += flight as u32 * row.step;
        }
    }

    /// The values of a vector.
    ///
    /// # Safety
    /// The row's parameters are in memory.
    #[inline(always)]
    unsafe fn values(&self, item: &Item, norm: &impl Fn(f32) -> f32) -> Values {
        // SAFETY: the caller guarantees the row's parameters.
        let params = unsafe { Params::load::<A, W, WIDTH, true>(&self.row, item.place) };
        let valid = if A::WHOLE { WIDTH as u32 } else { item.place.1 };
        values_of::<W, true, true>(item.x, params, &self.row, valid, norm)
    }
}

impl<A: MemoryAccess, W: Param> RowStorage<WIDTH> for Streamed<'_, A, W> {
    type X = F32;
    const WHOLE: bool = A::WHOLE;
    const LONG: bool = true;

    #[inline(always)]
    fn each(&self, mut f: impl FnMut(Words, u32)) {
        self.each_item(|item| f(pack::<F32, WIDTH>(item.x), item.place.1));
    }

    #[inline(always)]
    unsafe fn write<const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32) {
        let Streamed { row, quantizer, .. } = &self;
        // SAFETY: who called `new` guaranteed the memory of the row, its parameters, its codes, scales and copy; the caller
        // guarantees that no other thread touches these elements of what is written.
        unsafe {
            let mut factor = (quantizer.given(), false);
            if quantizer.is_of_token() {
                let mut largest = 0.0;
                self.each_item(|item| {
                    let values = self.values(&item, &norm);
                    // Their bits have the order of integers, NaN's above all others.
                    let magnitude = magnitude_of_vector(&values, item.place.1);
                    largest = f32::from_bits(u32::max(f32::to_bits(largest), magnitude.to_bits()));
                });
                factor = quantizer.of_token(largest);
                quantizer.store_scale_of_token(factor.0);
            }
            self.each_item(|item| {
                let (at, valid) = item.place;
                if row.r != 0 {
                    A::store::<XHalf, WIDTH>(row.s + at as u64 * XHalf::SIZE, valid, item.sum);
                }
                let values = self.values(&item, &norm);
                quantizer.store_normed::<A>(item.place, values);
                let factor = if quantizer.is_given() || quantizer.is_of_token() {
                    factor
                } else {
                    let largest = magnitude_of_vector(&values, valid);
                    let (factors, own, is_in_range) = quantizer.of_blocks([largest]);
                    quantizer.store_scales_of_blocks(&factors, own, (at, 0, row.end));
                    (own, is_in_range)
                };
                store_codes::<A>(row, item.place, codes_of(&[values], &[factor.0], factor.1)[0]);
            });
        }
    }
}

//! A quantized row in registers.

use super::WIDTH;
use super::quantizer::{NONE, Numbers, Quantizer, Values, values_of, write_vectors};
use crate::abi::QuantArgs;
use crate::access::{MemoryAccess, Vector, pack, unpack};
use crate::each::{each, map_pairs};
use crate::element::{Addend, Element, F32, Input, Param, Words, XHalf, YHalf};
use crate::gpu::pseudo;
use crate::row::Row;
use crate::storage::{Registers, RowStorage};

/// At most `V` vectors of what is normalized, `X`: x, or in f32 its sum with a residual, which a recipe may leave unrounded.
pub struct Held<'a, X, W, const V: usize, const PRELOAD: bool> {
    row: Row,
    part: Registers<X, W, YHalf, WIDTH, V, PRELOAD>,
    quantizer: Quantizer<'a>,
}

/// Loads a row of x.
///
/// # Safety
/// As [`Registers::load`] and [`Quantizer::load`]; the rows of codes and of the copy are whole, aligned vectors, too.
#[inline(always)]
pub unsafe fn load<W: Param, const V: usize, const PRELOAD: bool, const BIASES: bool>(
    row: Row,
    quant: &QuantArgs,
    index: u32,
) -> Held<'_, XHalf, W, V, PRELOAD> {
    // SAFETY: the caller guarantees the memory of the row, the parameters and the scales.
    unsafe {
        let part = Registers::load::<BIASES>(row);
        Held { row, part, quantizer: Quantizer::load(quant, index) }
    }
}

/// Loads a row of x and one of the residual, adds them, and stores the sum.
///
/// # Safety
/// As [`load`], for the rows of x, the residual and the sum. No other thread touches these elements of the sum.
#[inline(always)]
pub unsafe fn load_sum<W: Param, const V: usize, const PRELOAD: bool, const BIASES: bool>(
    row: Row,
    quant: &QuantArgs,
    index: u32,
) -> Held<'_, F32, W, V, PRELOAD> {
    type Part<W, const V: usize, const PRELOAD: bool> = Registers<F32, W, YHalf, WIDTH, V, PRELOAD>;
    // SAFETY: the caller guarantees the memory of the rows, the parameters and the scales.
    unsafe {
        let x = Part::<W, V, PRELOAD>::vectors::<XHalf>(&row, row.x);
        let r = Part::<W, V, PRELOAD>::vectors::<XHalf>(&row, row.r);
        let params = Part::<W, V, PRELOAD>::preload::<BIASES>(&row);
        let quantizer = Quantizer::load(quant, index);
        let mut sums: [Words; V] = [[0; 8]; V];
        each::<V>(|v| {
            let sum = sum_of(&row, x[v], r[v]);
            let (at, valid) = Part::<W, V, PRELOAD>::at(&row, v);
            Vector::store::<XHalf, WIDTH>(row.s + at as u64 * XHalf::SIZE, valid, sum);
            sums[v] = pack::<F32, WIDTH>(rounded_sum(sum));
        });
        Held { row, part: Registers::of(row, sums, params), quantizer }
    }
}

/// The sum of a vector of x with one of the residual, in f32.
#[inline(always)]
pub fn sum_of(row: &Row, x: Words, r: Words) -> Numbers {
    let (x, r) = (unpack::<XHalf, WIDTH>(x), unpack::<XHalf, WIDTH>(r));
    map_pairs(|i| XHalf::add([x[i], x[i + 1]], [r[i], r[i + 1]], row.scales))
}

/// A sum as it is normalized: rounded to the type of x and clamped, where the recipe says so.
#[inline(always)]
pub fn rounded_sum(sum: Numbers) -> Numbers {
    map_pairs(|i| pseudo::sum_x([sum[i], sum[i + 1]]))
}

impl<X: Input, W: Param, const V: usize, const PRELOAD: bool> Held<'_, X, W, V, PRELOAD> {
    /// The values of the part.
    ///
    /// # Safety
    /// The row's parameters are in memory.
    #[inline(always)]
    unsafe fn values<const BIASES: bool, const OFFSET: bool>(
        &self,
        norm: &impl Fn(f32) -> f32,
    ) -> [Values; V] {
        let mut values = [NONE; V];
        each::<V>(|v| {
            // SAFETY: the caller guarantees the row's parameters.
            let params = unsafe { self.part.params::<BIASES>(v) };
            let x = unpack::<X, WIDTH>(self.part.vector(v));
            values[v] = values_of::<W, BIASES, OFFSET>(x, params, &self.row, WIDTH as u32, norm);
        });
        values
    }
}

impl<X: Input, W: Param, const V: usize, const PRELOAD: bool> RowStorage<WIDTH>
    for Held<'_, X, W, V, PRELOAD>
{
    type X = X;
    const WHOLE: bool = true;
    const LONG: bool = false;

    #[inline(always)]
    fn each(&self, f: impl FnMut(Words, u32)) {
        self.part.each(f);
    }

    #[inline(always)]
    unsafe fn write<const BIASES: bool, const OFFSETS: bool>(self, norm: impl Fn(f32) -> f32) {
        // SAFETY: whoever made the part guaranteed the memory of the row, its parameters, its codes, scales and copy; the caller
        // guarantees that no other thread touches these elements of what is written.
        unsafe {
            let values = if !OFFSETS || self.row.weight_offset == 0.0 {
                self.values::<BIASES, false>(&norm)
            } else {
                self.values::<BIASES, true>(&norm)
            };
            write_vectors::<V, false>(&self.quantizer, &self.row, &values);
        }
    }
}

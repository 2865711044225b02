//! From values to codes: scales, quotients, stores.

use super::WIDTH;
use crate::abi::{Granularity, QuantArgs, WARP};
use crate::access::{MemoryAccess, Vector, unpack};
use crate::each::{each, map_pairs};
use crate::element::{Element, Param, XHalf};
use crate::gpu::{
    self,
    pseudo::{self, ValuePair},
};
use crate::reduce::{lanes_of_vector, largest_of_block, largest_of_lanes};
use crate::row::Row;
use crate::storage::{Params, factors};
use crate::sum::Largest;

/// A vector of f32.
pub type Numbers = [f32; WIDTH];

/// A vector of values, as the recipe has them.
pub type Values = [ValuePair; WIDTH / 2];

/// The values of vectors that are not there.
pub const NONE: Values = [[0; 2]; WIDTH / 2];

/// Quantizes one row.
#[derive(Clone, Copy)]
pub struct Quantizer<'a> {
    args: &'a QuantArgs,
    /// The row's index.
    index: u32,
    /// The scale, where it is given; else the bound of magnitudes.
    given: f32,
}

/// What the values that share a scale are quantized with.
#[derive(Clone, Copy)]
pub struct Factor {
    scale: f32,
    reciprocal: f32,
}

impl<'a> Quantizer<'a> {
    /// The quantizer of row `index`. Call it after [`wait_for_previous_kernel`](gpu::wait_for_previous_kernel): the given scale,
    /// or the bound, may be in memory that the previous kernel writes.
    ///
    /// # Safety
    /// The addresses in `args` are those of f32 in global memory, or 0 where they may be.
    #[inline(always)]
    pub unsafe fn load(args: &'a QuantArgs, index: u32) -> Self {
        let is_given = args.granularity == Granularity::Tensor as u32;
        let address = if is_given { args.scales } else { args.bound_at };
        // SAFETY: the caller guarantees an f32 at this address, if it is not 0.
        let given = unsafe { gpu::ld_global_if(address, address != 0, args.bound.to_bits()) };
        Quantizer { args, index, given: f32::from_bits(given) }
    }

    /// Whether all rows have a scale that is given.
    #[inline(always)]
    pub fn is_given(&self) -> bool {
        self.args.granularity == Granularity::Tensor as u32
    }

    /// Whether each row has a scale.
    #[inline(always)]
    pub fn is_of_token(&self) -> bool {
        self.args.granularity == Granularity::Token as u32
    }

    /// The factor of the scale that is given.
    #[inline(always)]
    pub fn given(&self) -> Factor {
        let QuantArgs { max, .. } = *self.args;
        Factor { scale: self.given, reciprocal: pseudo::reciprocal_q(self.given, self.given, max) }
    }

    /// The factor of elements of this largest magnitude, and whether all quotients are numbers in the format's range. A NaN, which
    /// only recipes that keep it have, is the scale.
    #[inline(always)]
    fn of(&self, largest: Largest) -> (Factor, bool) {
        let QuantArgs { floor, max, max_reciprocal, least, .. } = *self.args;
        let magnitude = largest.magnitude();
        let counted = f32::max(f32::min(magnitude, self.given), floor);
        let counted = if magnitude.is_nan() { magnitude } else { counted };
        // `counted / max` rounded once, for the numbers that `max` is: a quotient that may be an ULP off is corrected by what it
        // leaves of the dividend (Markstein 1990, "Computation of Elementary Functions on the IBM RISC System/6000 Processor",
        // 'Division'). Three instructions where a division takes ten and a call.
        let near = counted * max_reciprocal;
        let quotient = gpu::fma(gpu::fma(-max, near, counted), max_reciprocal, near);
        let scale = f32::max(quotient, least);
        // Of infinity nothing is left; it and NaN are their own quotients.
        let scale = if counted < f32::INFINITY { scale } else { counted };
        // False where a NaN is counted.
        let is_in_range = counted >= magnitude && counted < f32::INFINITY;
        (Factor { scale, reciprocal: pseudo::reciprocal_q(scale, counted, max) }, is_in_range)
    }

    /// The factor of the block's row, whose largest magnitude in each thread's elements is given, and whether all quotients are in
    /// range, as [`of`](Self::of) says. Every thread of the block must call, once in a kernel.
    #[inline(always)]
    pub fn of_token(&self, of_thread: f32) -> (Factor, bool) {
        self.of(largest_of_block(Largest(of_thread.to_bits())))
    }

    /// Stores the scale of the row, behind its codes: in front of them it took 128 rows of 4096 from 2.33 to 2.48 µs (NVIDIA H200,
    /// 2026-11-30).
    ///
    /// # Safety
    /// The scales are writable global memory, and no other block stores this row's.
    #[inline(always)]
    pub unsafe fn store_scale_of_token(&self, factor: Factor) {
        if gpu::thread_x() == 0 {
            let address = self.args.scales + self.index as u64 * self.args.row_stride * 4;
            // SAFETY: the caller guarantees a scale for this row, which one thread of one block stores.
            unsafe { gpu::st_global_b32(address, factor.scale.to_bits()) };
        }
    }

    /// Whether lanes have maxima over warps of blocks of elements, rather than exchange them: of few vectors, and halves of warps,
    /// as that has less latency.
    #[inline(always)]
    fn takes_halves_of_warps<const V: usize>(&self) -> bool {
        V == 2 && self.args.block == 128
    }

    /// The factors of the blocks of elements that vectors are part of, that of which this lane stores the scale where lanes exchange
    /// maxima, and whether all quotients are in range, as [`of`](Self::of) says. All lanes of the warp must call, with neighbouring
    /// vectors.
    #[inline(always)]
    pub fn of_blocks<const V: usize>(&self, of_vectors: [f32; V]) -> ([Factor; V], Factor, bool) {
        let (block, lane) = (self.args.block, gpu::thread_x() % WARP);
        // A block has 64 or 128 elements.
        let lanes = block / WIDTH as u32;
        if self.takes_halves_of_warps::<V>() {
            let is_upper = lane & (WARP / 2) != 0;
            let (mut factors, mut are_in_range) = ([self.given(); V], true);
            each::<V>(|v| {
                let bits = of_vectors[v].to_bits();
                let lower = Largest(if is_upper { 0 } else { bits }).over_warp();
                let upper = Largest(if is_upper { bits } else { 0 }).over_warp();
                let (factor, is_in_range) = self.of(if is_upper { upper } else { lower });
                factors[v] = factor;
                are_in_range &= is_in_range;
            });
            return (factors, factors[0], are_in_range);
        }
        let of_one = lanes_of_vector::<V>(lanes);
        let mut largest = [Largest(0); V];
        each::<V>(|v| largest[v] = Largest(of_vectors[v].to_bits()));
        let (factor, is_in_range) = self.of(largest_of_lanes(largest, lanes));
        // Those of all lanes, which are those of all vectors.
        let are_in_range = pseudo::has_range_q() != 0 && !gpu::vote_any(!is_in_range);
        if V == 1 {
            return ([factor; V], factor, are_in_range);
        }
        let mut factors = [factor; V];
        each::<V>(|v| {
            let from = (lane & !(lanes - 1)) + v as u32 * of_one;
            factors[v].reciprocal = gpu::shuffle_from(factor.reciprocal, from);
            factors[v].scale = gpu::shuffle_from(factor.scale, from);
        });
        (factors, factor, are_in_range)
    }

    /// Stores the scales of blocks of elements, given what [`of_blocks`](Self::of_blocks) has made: vector `v` is at
    /// `first + v * step`, and in the row if that is below `end`. Behind the codes, as [`that of a token`](Self::store_scale_of_token).
    ///
    /// # Safety
    /// As [`store_scale_of_token`](Self::store_scale_of_token), for the scales of the row's blocks.
    #[inline(always)]
    pub unsafe fn store_scales_of_blocks<const V: usize>(
        &self,
        factors: &[Factor; V],
        own: Factor,
        (first, step, end): (u32, u32, u32),
    ) {
        let (block, lane) = (self.args.block, gpu::thread_x() % WARP);
        let lanes = block / WIDTH as u32;
        if self.takes_halves_of_warps::<V>() {
            each::<V>(|v| {
                let at = first + v as u32 * step;
                if lane % (WARP / 2) == 0 && at < end {
                    // SAFETY: the caller guarantees a scale for this block, which one lane stores.
                    unsafe { self.store_scale_of_block(at / 128, factors[v]) };
                }
            });
            return;
        }
        // Lanes that hold a vector are numbered as the vectors are, in both kinds of groups, by the upper bits of their number.
        let (within, bits) = (lane & (lanes - 1), if lanes == 16 { 4 } else { 3 });
        // Computed at compile time: in a kernel rust-cuda's `trailing_zeros` of 64 bits gives another number.
        let vector = within >> (bits - const { V.trailing_zeros() });
        let at = first - within * WIDTH as u32 + vector * step;
        if within & (lanes_of_vector::<V>(lanes) - 1) == 0 && at < end {
            let number = at >> if block == 128 { 7 } else { 6 };
            // SAFETY: the caller guarantees a scale for this block, which one lane stores.
            unsafe { self.store_scale_of_block(number, own) };
        }
    }

    /// Stores the scale of the row's block of that number.
    ///
    /// # Safety
    /// The scale is writable global memory that no other thread touches.
    #[inline(always)]
    unsafe fn store_scale_of_block(&self, number: u32, factor: Factor) {
        let place = self.index as u64 * self.args.row_stride + number as u64 * self.args.block_stride;
        // SAFETY: the caller guarantees the scale.
        unsafe { gpu::st_global_b32(self.args.scales + place * 4, factor.scale.to_bits()) };
    }

    /// Stores the copy of a vector's values, if there is one.
    ///
    /// # Safety
    /// These elements of the copy are writable global memory, for [`Vector`](crate::access::Vector) aligned, and no other thread
    /// touches them.
    #[inline(always)]
    pub unsafe fn store_normed<A: MemoryAccess>(&self, (at, valid): (u32, u32), values: Values) {
        if self.args.normed != 0 {
            let place = self.index as u64 * self.args.normed_stride + at as u64;
            // SAFETY: the caller guarantees these elements of the copy.
            unsafe {
                A::store::<XHalf, WIDTH>(self.args.normed + place * XHalf::SIZE, valid, numbers_of(values));
            }
        }
    }
}

/// The largest magnitudes of a vector's values, place by place: as a tree, because in a chain each would wait for the one before it.
#[inline(always)]
fn largest_of_vector(values: &Values) -> ValuePair {
    let [a, b, c, d] = *values;
    pseudo::larger_q(pseudo::larger_q(a, b), pseudo::larger_q(c, d))
}

/// The largest magnitude of a vector's values in the row, 0 of a vector behind its end.
#[inline(always)]
pub fn magnitude_of_vector(values: &Values, valid: u32) -> f32 {
    let largest = pseudo::largest_q(largest_of_vector(values));
    if valid != 0 { largest } else { 0.0 }
}

/// The largest magnitude of the values of some vectors in the row, of which `valid` says how many elements a vector has there.
#[inline(always)]
pub fn magnitude_of_vectors<const V: usize>(values: &[Values; V], valid: impl Fn(usize) -> u32) -> f32 {
    let mut of_vectors = [[0; 2]; V];
    each::<V>(|v| {
        let largest = largest_of_vector(&values[v]);
        of_vectors[v] = if valid(v) != 0 { largest } else { [0; 2] };
    });
    let mut largest = of_vectors[0];
    each::<V>(|v| {
        if v > 0 {
            largest = pseudo::larger_q(largest, of_vectors[v]);
        }
    });
    pseudo::largest_q(largest)
}

/// Values as f32.
#[inline(always)]
fn numbers_of(values: Values) -> Numbers {
    map_pairs(|i| pseudo::number_v(values[i / 2]))
}

/// The values of a vector: normalized by `norm`, multiplied by the weights, with `BIASES` plus the biases, with `OFFSET` the weight
/// offset in the weights; rounded where the recipe rounds. Those behind the `valid` first are 0.
#[inline(always)]
pub fn values_of<W: Param, const BIASES: bool, const OFFSET: bool>(
    mut numbers: Numbers,
    params: Params,
    row: &Row,
    valid: u32,
    norm: &impl Fn(f32) -> f32,
) -> Values {
    let mut values = NONE;
    each::<WIDTH>(|i| numbers[i] = norm(numbers[i]));
    if !BIASES && !OFFSET {
        each::<{ WIDTH / 2 }>(|pair| {
            values[pair] = W::weigh([numbers[2 * pair], numbers[2 * pair + 1]], &params.weights, pair);
        });
        return values;
    }
    numbers = map_pairs(|i| pseudo::round_n([numbers[i], numbers[i + 1]]));
    let weights = factors::<W, WIDTH, OFFSET>(params.weights, row.weight_offset);
    if BIASES {
        let biases = unpack::<W, WIDTH>(params.biases);
        each::<WIDTH>(|i| numbers[i] = gpu::fma(numbers[i], weights[i], biases[i]));
    } else {
        each::<WIDTH>(|i| numbers[i] *= weights[i]);
    }
    each::<{ WIDTH / 2 }>(|pair| {
        let in_row = |i: usize| if (i as u32) < valid { numbers[i] } else { 0.0 };
        values[pair] = pseudo::value_v([in_row(2 * pair), in_row(2 * pair + 1)]);
    });
    values
}

/// The codes of vectors' values; `are_in_range` says of their quotients that all are numbers in the format's range.
#[inline(always)]
pub fn codes_of<const V: usize>(
    values: &[Values; V],
    factors: &[Factor; V],
    are_in_range: bool,
) -> [[u32; 2]; V] {
    let mut codes = [[0; 2]; V];
    macro_rules! write {
        ($quotient:ident $codes:ident) => {
            each::<V>(|v| {
                let Factor { scale, reciprocal } = factors[v];
                let [a, b, c, d, e, f, g, h]: Numbers =
                    map_pairs(|i| pseudo::$quotient(values[v][i / 2], scale, reciprocal));
                codes[v] = [pseudo::$codes([a, b, c, d]), pseudo::$codes([e, f, g, h])];
            })
        };
    }
    // One branch for all vectors, so that their instructions may be interleaved.
    if pseudo::has_range_q() != 0 && are_in_range {
        write!(quotient_in_range_q codes_in_range_q);
    } else {
        write!(quotient_q codes_q);
    }
    codes
}

/// Stores the codes of a vector.
///
/// # Safety
/// These codes of the row are writable global memory, for [`Vector`](crate::access::Vector) aligned, and no other thread touches
/// them.
#[inline(always)]
pub unsafe fn store_codes<A: MemoryAccess>(row: &Row, (at, valid): (u32, u32), words: [u32; 2]) {
    // SAFETY: the caller guarantees that these codes are writable, and this thread's alone.
    unsafe { A::store_codes(row.y + at as u64, valid, words) };
}

/// Makes codes of a part's values, and stores them, the scales, and the copy if there is one. Vector `v` is at `first + v * step`,
/// and in the row if that is below `end`; with `WHOLE` all are.
///
/// # Safety
/// Codes, scales and the copy of the row are writable global memory, in whole, aligned vectors, and no other thread touches these
/// elements of theirs. Every thread of the block calls, once in a kernel.
#[inline(always)]
pub unsafe fn write_vectors<const V: usize, const WHOLE: bool>(
    quantizer: &Quantizer<'_>,
    row: &Row,
    values: &[Values; V],
) {
    let place = |v: usize| {
        let at = row.at(v);
        (at, if WHOLE { WIDTH as u32 } else { Vector::valid::<WIDTH>(at, row.end) })
    };
    // SAFETY: the caller guarantees the memory, and that every thread of the block calls.
    unsafe {
        each::<V>(|v| quantizer.store_normed::<Vector>(place(v), values[v]));
        let given = quantizer.given();
        let (mut factors, mut own, mut are_in_range) = ([given; V], given, false);
        if quantizer.is_of_token() {
            let of_thread = magnitude_of_vectors(values, |v| place(v).1);
            (own, are_in_range) = quantizer.of_token(of_thread);
            factors = [own; V];
        } else if !quantizer.is_given() {
            let mut of_vectors = [0.0; V];
            each::<V>(|v| of_vectors[v] = magnitude_of_vector(&values[v], place(v).1));
            (factors, own, are_in_range) = quantizer.of_blocks(of_vectors);
        }
        let codes = codes_of(values, &factors, are_in_range);
        each::<V>(|v| store_codes::<Vector>(row, place(v), codes[v]));
        if quantizer.is_of_token() {
            quantizer.store_scale_of_token(own);
        } else if !quantizer.is_given() {
            quantizer.store_scales_of_blocks(&factors, own, (row.start, row.step, row.end));
        }
    }
}

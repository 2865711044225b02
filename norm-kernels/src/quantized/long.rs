//! Norms whose output is quantized, for long grids: bound by bandwidth, and by the instructions that each element takes.
//!
//! A thread has as many vectors as registers hold, those of two or four threads of the tile: what a block does once, from addresses
//! to reductions, is half or a quarter of the work for an element. The sums are those of the tile's threads, so that a row has the
//! bits that it has in a short grid. Nothing is tested but what a launch leaves open: rows lie
//! at one distance from each other, every thread has all of its vectors, and there is no offset.
//!
//! 32768 rows of 4096 f16 with a scale for each row take 99 µs, where the kernel for short grids takes 116; rows of 16384 take 399
//! instead of 552. For one row it is no faster, for 128 rows of 8192 slower by a third (NVIDIA H200, 2026-11-30).

use super::WIDTH;
use super::quantizer::{NONE, Numbers, Quantizer, Values, values_of, write_vectors};
use crate::abi::{Args, QuantArgs};
use crate::access::{MemoryAccess, Vector, unpack};
use crate::each::each;
use crate::element::{Element, Input, Param, Words, XHalf};
use crate::gpu::{self, Reuse};
use crate::norm::Layer;
use crate::reduce::{Block, FIRST, SECOND, sum_of_parts};
use crate::row::{Row, prefetch_dense_row, row_of_block};
use crate::storage::Params;
use crate::sum::{Moments, Sum};

/// RMSNorm.
///
/// # Safety
/// `args` and `quant` are as [`Args`] and [`QuantArgs`] document, for this launch's block and grid: whole warps for each row. Rows
/// are [dense](Row::dense), of whole, aligned vectors, `V` for each thread; there are weights.
#[inline(always)]
pub unsafe fn rms<W: Param, const V: usize, const PRELOAD: bool>(args: &Args, quant: &QuantArgs) {
    gpu::let_next_kernel_start();
    let index = row_of_block();
    prefetch_dense_row::<XHalf>(args, index);
    let row = Row::dense::<XHalf, WIDTH>(args, index);
    gpu::wait_for_previous_kernel();
    // SAFETY: the caller guarantees that row, weights and scales are in memory, `V` whole, aligned vectors for each thread, and
    // that this thread alone writes its elements.
    unsafe {
        let mut x: [Words; V] = [[0; 8]; V];
        each::<V>(|v| {
            let address = row.x + row.at(v) as u64 * XHalf::SIZE;
            x[v] = Vector::fetch::<XHalf, WIDTH>(address, WIDTH as u32, 0, Reuse::Once);
        });
        let weights = |v: usize| {
            let address = row.w + row.at(v) as u64 * W::SIZE;
            Vector::fetch::<W, WIDTH>(address, WIDTH as u32, 0, Reuse::Shared)
        };
        let mut w: [Words; V] = [[0; 8]; V];
        if PRELOAD {
            each::<V>(|v| w[v] = weights(v));
        }
        let quantizer = Quantizer::load(quant, index);
        let mut sums = [0.0; 4];
        each::<V>(|v| {
            x[v] = XHalf::clamp(x[v]);
            let squares = squares_of(unpack::<XHalf, WIDTH>(x[v]));
            add_to_tile_thread::<V>(&mut sums, v, squares, quant.sharing);
        });
        let sum = if V == 4 {
            // Four vectors are those of two threads at most.
            sum_of_parts([sums[0], sums[1]], quant.sharing, FIRST)
        } else {
            sum_of_parts(sums, quant.sharing, FIRST)
        };
        let rstd = gpu::rsqrt(sum * args.reciprocal_f32 + args.eps);
        let mut values: [Values; V] = [NONE; V];
        each::<V>(|v| {
            let params = Params { weights: if PRELOAD { w[v] } else { weights(v) }, biases: [0; 8] };
            let x = unpack::<XHalf, WIDTH>(x[v]);
            values[v] = values_of::<W, false, false>(x, params, &row, WIDTH as u32, &|x| x * rstd);
        });
        write_vectors::<V, true>(&quantizer, &row, &values);
    }
}

/// LayerNorm with weights and biases, eight vectors a thread: those of two threads of the tile.
///
/// # Safety
/// As [`rms`], and there are biases.
#[inline(always)]
pub unsafe fn layer<W: Param>(args: &Args, quant: &QuantArgs) {
    gpu::let_next_kernel_start();
    let index = row_of_block();
    prefetch_dense_row::<XHalf>(args, index);
    let row = Row::dense::<XHalf, WIDTH>(args, index);
    gpu::wait_for_previous_kernel();
    // SAFETY: the caller guarantees that row, weights, biases and scales are in memory, eight whole, aligned vectors for each
    // thread, and that this thread alone writes its elements.
    unsafe {
        let mut x: [Words; 8] = [[0; 8]; 8];
        each::<8>(|v| {
            let address = row.x + row.at(v) as u64 * XHalf::SIZE;
            x[v] = Vector::fetch::<XHalf, WIDTH>(address, WIDTH as u32, 0, Reuse::Once);
        });
        let quantizer = Quantizer::load(quant, index);
        let mut moments = [Moments::ZERO; 2];
        each::<8>(|v| {
            x[v] = XHalf::clamp(x[v]);
            let values = unpack::<XHalf, WIDTH>(x[v]);
            let Moments { total, squares, .. } = moments[v % 2];
            let total = XHalf::add_to_total::<WIDTH>(total, values, &x[v]);
            moments[v % 2] = Moments::<XHalf>::new(total, squares + squares_of(values));
        });
        let about = |center: f32, overflows: bool| {
            let (mut sums, mut element) = ([0.0; 2], 0.0);
            each::<8>(|v| {
                let values = unpack::<XHalf, WIDTH>(x[v]);
                element = values[0];
                let center = if overflows { values[0] } else { center };
                sums[v % 2] += squares_of(values.map(|x| x - center));
            });
            (sum_of_parts(sums, 2, SECOND), element)
        };
        let norm = Layer::of_block::<Block, XHalf>(sum_of_parts(moments, 2, FIRST), about, args);
        let mut values: [Values; 8] = [NONE; 8];
        each::<8>(|v| {
            let params = Params::load_both::<W, WIDTH>(&row, row.at(v));
            let x = unpack::<XHalf, WIDTH>(x[v]);
            values[v] = values_of::<W, true, false>(x, params, &row, WIDTH as u32, &norm);
        });
        write_vectors::<8, true>(&quantizer, &row, &values);
    }
}

/// The sum of squares of a vector's numbers.
#[inline(always)]
fn squares_of(numbers: Numbers) -> f32 {
    let mut sum = 0.0;
    each::<WIDTH>(|i| sum = gpu::fma(numbers[i], numbers[i], sum));
    sum
}

/// Adds vector `v`'s squares to those of the tile's thread that has it, of the `V / 2` or `V / 4` ones whose vectors this thread has.
/// The sum of zero that another one's takes changes no bit of it.
#[inline(always)]
fn add_to_tile_thread<const V: usize>(sums: &mut [f32; 4], v: usize, squares: f32, sharing: u32) {
    let (of_more, of_fewer) = (v % (V / 2), v % (V / 4));
    if of_more == of_fewer {
        sums[of_more] += squares;
    } else {
        let are_more = sharing == V as u32 / 2;
        sums[of_more] += if are_more { squares } else { 0.0 };
        sums[of_fewer] += if are_more { 0.0 } else { squares };
    }
}

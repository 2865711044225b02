//! RMSNorm whose output is quantized, for long grids: bound by bandwidth, and by the instructions that each element takes.
//!
//! A thread has as many vectors as registers hold, those of two threads of the tile: what a block does once, from addresses to
//! reductions, is half the work for an element. The sums are those of the tile's threads, so that a row has the bits that it has in
//! a short grid. Nothing is tested but what a launch leaves open: every thread has all of its vectors, and there is no offset.
//!
//! 32768 rows of 4096 f16 with a scale for each row take 99 µs, where the kernel for short grids takes 116; rows of 16384 take 399
//! instead of 552. For one row it is no faster, for 128 rows of 8192 slower by a third (NVIDIA H200, 2026-11-30).

use super::WIDTH;
use super::quantizer::{Quantizer, Values, values_of, write_vectors};
use crate::abi::{Args, QuantArgs};
use crate::access::{MemoryAccess, Vector, unpack};
use crate::each::each;
use crate::element::{Element, Input, Param, Words, XHalf, YHalf};
use crate::gpu::{self, Reuse};
use crate::reduce::{FIRST, sum_of_pairs};
use crate::row::{Row, prefetch_row, row_of_block};
use crate::storage::Params;

/// RMSNorm.
///
/// # Safety
/// `args` and `quant` are as [`Args`] and [`QuantArgs`] document, for this launch's block and grid: whole warps for each row. Rows
/// are whole, aligned vectors, `V` for each thread; there are weights.
#[inline(always)]
pub unsafe fn rms<W: Param, const V: usize, const PRELOAD: bool>(args: &Args, quant: &QuantArgs) {
    gpu::let_next_kernel_start();
    prefetch_row::<XHalf, XHalf, W, YHalf, false, false>(args);
    let index = row_of_block();
    let row = Row::whole::<XHalf, XHalf, W, YHalf, WIDTH>(args, index).with_codes(args, index);
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
        let (mut all, mut halves) = (0.0, [0.0; 2]);
        each::<V>(|v| {
            x[v] = XHalf::clamp(x[v]);
            let (values, mut vector) = (unpack::<XHalf, WIDTH>(x[v]), 0.0);
            each::<WIDTH>(|i| vector = gpu::fma(values[i], values[i], vector));
            all += vector;
            halves[v % 2] += vector;
        });
        // Eight vectors are always those of two threads.
        let sums = if V == 8 || quant.pairs != 0 { halves } else { [all, 0.0] };
        let rstd = gpu::rsqrt(sum_of_pairs(sums, FIRST) * args.reciprocal_f32 + args.eps);
        let mut values: [Values; V] = [[0.0; WIDTH]; V];
        each::<V>(|v| {
            let params = Params { weights: if PRELOAD { w[v] } else { weights(v) }, biases: [0; 8] };
            let x = unpack::<XHalf, WIDTH>(x[v]);
            values[v] = values_of::<W, false, false>(x, params, &row, &|x| x * rstd);
        });
        write_vectors::<V, true>(&quantizer, &row, &values);
    }
}

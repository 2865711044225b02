//! RMSNorm whose output is quantized, for long grids: bound by bandwidth, and by the instructions that each element takes.

use super::WIDTH;
use super::quantizer::{Quantizer, Values, values_of, write_vectors};
use crate::abi::{Args, QuantArgs};
use crate::access::{MemoryAccess, Vector, unpack};
use crate::each::each;
use crate::element::{Element, Input, Param, Words, XHalf, YHalf};
use crate::gpu::{self, Reuse};
use crate::reduce::sum_of_pairs;
use crate::row::{Row, prefetch_row, row_of_block};
use crate::storage::Params;

/// A row in registers, `V` vectors a thread, each of which has the vectors of two threads of the tile: what a block does once, from
/// addresses to reductions, is half the work for an element. The sums are those of the tile's threads, so that a row has the
/// bits that it has in a short grid. Nothing is tested but what the launch leaves open: every thread has all of its vectors, and
/// there are weights, but no offset and no biases.
///
/// # Safety
/// `args` and `quant` are as [`Args`] and [`QuantArgs`] document, for this launch's block and grid: half of the tile's threads, a
/// multiple of a warp, for each row. Rows are whole, aligned vectors, `V` for each thread; there are weights.
#[inline(always)]
pub unsafe fn long<W: Param, const V: usize, const PRELOAD: bool>(args: &Args, quant: &QuantArgs) {
    gpu::let_next_kernel_start();
    prefetch_row::<XHalf, XHalf, W, YHalf, false, false>(args);
    let index = row_of_block();
    let row = Row::whole::<XHalf, XHalf, W, YHalf, WIDTH>(args, index).with_codes(args, index);
    gpu::wait_for_previous_kernel();
    let mut x: [Words; V] = [[0; 8]; V];
    let mut w: [Words; V] = [[0; 8]; V];
    // SAFETY: the caller guarantees that row and weights are in memory, `V` whole, aligned vectors for each thread.
    unsafe {
        let vector = |address: u64, size: u64, v: usize| address + row.at(v) as u64 * size;
        each::<V>(|v| {
            x[v] = Vector::fetch::<XHalf, WIDTH>(vector(row.x, XHalf::SIZE, v), WIDTH as u32, 0, Reuse::Once);
        });
        let weights =
            |v: usize| Vector::fetch::<W, WIDTH>(vector(row.w, W::SIZE, v), WIDTH as u32, 0, Reuse::Shared);
        if PRELOAD {
            each::<V>(|v| w[v] = weights(v));
        }
        let quantizer = Quantizer::load(quant, index);
        let mut sums = [0.0; 2];
        each::<V>(|v| {
            x[v] = XHalf::clamp(x[v]);
            let values = unpack::<XHalf, WIDTH>(x[v]);
            let mut vector = 0.0;
            each::<WIDTH>(|i| vector = gpu::fma(values[i], values[i], vector));
            sums[v % 2] += vector;
        });
        let rstd = gpu::rsqrt(sum_of_pairs(sums) * args.reciprocal_f32 + args.eps);
        let mut values: [Values; V] = [[0.0; WIDTH]; V];
        each::<V>(|v| {
            let params = Params { weights: if PRELOAD { w[v] } else { weights(v) }, biases: [0; 8] };
            let x = unpack::<XHalf, WIDTH>(x[v]);
            values[v] = values_of::<W, false, false>(x, params, &row, &|x| x * rstd);
        });
        write_vectors::<V, true>(&quantizer, &row, &values);
    }
}

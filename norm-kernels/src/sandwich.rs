//! The sandwich: two RMSNorms with a residual between them, in one launch.

use crate::abi::{Args, SecondNorm};
use crate::access::{MemoryAccess, Vector, pack, unpack};
use crate::each::{each, map_pairs};
use crate::element::{Addend, Output, Param, Words};
use crate::gpu::{self, pseudo};
use crate::norm::squares;
use crate::reduce::{Block, FIRST, SECOND, Scope};
use crate::row::{Row, prefetch_row, row_of_thread};
use crate::storage::{Registers, RowStorage, factors};

/// `s = (norm(x) * branch_scale + r) * sum_scale; y = norm(s)`, where a block has one row.
///
/// The result has the bits of two launches, of which the first stores `s`, rounded to its type, and the second reads it.
///
/// The residual is loaded with the row. With `PRELOAD` the first norm's weights are, too, and the second norm's are loaded
/// before its reduction. Without it each norm's weights are loaded when they are used, because they would take more
/// registers than there are.
///
/// # Safety
/// `args` and `second` are as [`Args`] and [`SecondNorm`] document, for this launch's block and grid. The rows are whole and
/// aligned vectors of `N` elements, at most `V` a thread. There are a residual and a sum, of the type of `x`, and no biases.
#[inline(always)]
pub unsafe fn sandwich<
    X: Addend,
    W: Param,
    Y: Output,
    const N: usize,
    const V: usize,
    const PRELOAD: bool,
>(
    args: &Args,
    second: &SecondNorm,
) {
    gpu::let_next_kernel_start();
    prefetch_row::<X, X, W, Y, true, true>(args);
    let row = Row::whole::<X, X, W, Y, N>(args, row_of_thread());
    gpu::wait_for_previous_kernel();
    // SAFETY: the caller guarantees that rows and weights are in memory, in whole and aligned vectors. `Row::whole` gives
    // each vector to one thread, so no other touches its elements of the sum and of `y`.
    unsafe {
        let row = row.scaled(args);
        let r = Registers::<X, W, Y, N, V, PRELOAD>::vectors::<X>(&row, row.r);
        let first = Registers::<X, W, Y, N, V, PRELOAD>::load::<false>(row);
        let rstd = rstd(&first, args, args.eps, FIRST);
        let sum = first_norm(&first, &row, r, rstd);

        let row = Row { w: second.w, weight_offset: second.weight_offset, ..row };
        let params = Registers::<X, W, Y, N, V, PRELOAD>::preload::<false>(&row);
        let storage = Registers::<X, W, Y, N, V, PRELOAD>::of(row, sum, params);
        let rstd = self::rstd(&storage, args, second.eps, SECOND);
        storage.write::<false, true>(|x| x * rstd);
    }
}

/// `1 / sqrt(mean(x²) + eps)` of the block's row.
#[inline(always)]
fn rstd<const N: usize>(storage: &impl RowStorage<N>, args: &Args, eps: f32, scratch: u32) -> f32 {
    gpu::rsqrt(Block::sum(squares(storage), scratch) * args.reciprocal_f32 + eps)
}

/// The epilogue of the first norm: adds it to the residual's vectors `r`, stores the sum, and returns it as stored, rounded
/// to the type of `x`.
///
/// # Safety
/// The row's weights and its sum are in memory, and no other thread touches these elements of the sum.
#[inline(always)]
unsafe fn first_norm<X: Addend, W: Param, Y: Output, const N: usize, const V: usize, const PRELOAD: bool>(
    first: &Registers<X, W, Y, N, V, PRELOAD>,
    row: &Row,
    r: [Words; V],
    rstd: f32,
) -> [Words; V] {
    let mut sums: [Words; V] = [[0; 8]; V];
    each::<V>(|v| {
        let x = unpack::<X, N>(first.vector(v));
        let n: [f32; N] = map_pairs(|i| pseudo::round_n([x[i] * rstd, x[i + 1] * rstd]));
        // SAFETY: the caller guarantees that the row's weights are in memory.
        let weights = unsafe { first.params::<false>(v) }.weights;
        let w = factors::<W, N, true>(weights, row.weight_offset);
        let r = unpack::<X, N>(r[v]);
        let sum =
            map_pairs(|i| X::add_norm([n[i] * w[i], n[i + 1] * w[i + 1]], [r[i], r[i + 1]], row.scales));
        let (at, valid) = Registers::<X, W, Y, N, V, PRELOAD>::at(row, v);
        // SAFETY: a whole vector of the sum, which the caller guarantees that no other thread touches, or `valid` is 0.
        unsafe { Vector::store::<X, N>(row.s + at as u64 * X::SIZE, valid, sum) };
        sums[v] = pack::<X, N>(sum);
    });
    sums
}

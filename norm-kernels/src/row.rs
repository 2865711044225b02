//! Where a row lies in memory, and which vectors of it a thread has.

use crate::abi::{Args, NO_PREFETCH};
use crate::element::Element;
use crate::gpu::{self, pseudo};

/// One row, and the vectors of it that this thread has: those of `N` elements at `start`, `start + step`, … below `end`, all
/// in the share of the row that its block has.
#[derive(Clone, Copy)]
pub struct Row {
    /// Address of the row in `x`.
    pub x: u64,
    /// Address of the row in `y`.
    pub y: u64,
    /// Address of the row in `r`, 0 where there is no residual.
    pub r: u64,
    /// Address of the row in the sum with the residual in front of the norm.
    pub s: u64,
    /// The factors of the residual's branch and of the sum, in kernels that are scaled.
    pub scales: Scales,
    /// Address of the row's weights, 0 where there are none.
    pub w: u64,
    /// Added to each weight.
    pub weight_offset: f32,
    /// Address of the row's biases, 0 where there are none.
    pub b: u64,
    /// Whether the residual is added behind the norm.
    pub accumulate: bool,
    /// The first element of the thread's first vector.
    pub start: u32,
    /// Elements from one vector of the thread to its next.
    pub step: u32,
    /// Where the block's share of the row ends; 0 for threads past the last row, which have no vectors but take part in
    /// shuffles and barriers.
    pub end: u32,
}

/// The factors of an addition of a residual: `(branch * a + r) * sum`.
#[derive(Clone, Copy)]
pub struct Scales {
    /// The factor of what is added to the residual: `x`, or the norm.
    pub branch: f32,
    /// The factor of the sum.
    pub sum: f32,
}

impl Scales {
    /// The scales of a launch. Call it after [`wait_for_previous_kernel`](gpu::wait_for_previous_kernel): the factor of the
    /// sum may be in memory that the previous kernel writes.
    ///
    /// # Safety
    /// `args.sum_scale_at` is 0 or the address of an f32 in global memory.
    #[inline(always)]
    pub unsafe fn load(args: &Args) -> Scales {
        // SAFETY: the caller guarantees an f32 at this address, if it is not 0.
        let sum = unsafe { pseudo::ld_scale(args.sum_scale_at, args.sum_scale) };
        Scales { branch: args.branch_scale, sum }
    }
}

/// The index of this thread's row; past the last row for threads that have none.
#[inline(always)]
pub fn row_of_thread() -> u32 {
    gpu::grid_x() * gpu::block_y() + gpu::thread_y()
}

/// The index of this block's row, where a block has one row.
///
/// It does not depend on the thread, so ptxas keeps it and the row's addresses in uniform registers, one for all lanes of
/// a warp. In the kernel for long grids, LayerNorm of f16 with weights in f32 takes 70 registers instead of 85, and 0.86
/// to 0.95 of the time from 2048 to 8192 columns. In short grids, where latency counts, uniform registers cost 0.03 µs a
/// launch (NVIDIA H200, 2026-11-29).
#[inline(always)]
pub fn row_of_block() -> u32 {
    gpu::grid_x()
}

/// The index of this thread's row in a grid in which clusters, or single blocks, share rows.
#[inline(always)]
pub fn row_of_cluster() -> u32 {
    gpu::cluster() * gpu::block_y() + gpu::thread_y()
}

impl Row {
    /// The row `index`, which the threads of one block share, or some of them.
    #[inline(always)]
    pub fn whole<X: Element, R: Element, W: Element, Y: Element, const N: usize>(
        args: &Args,
        index: u32,
    ) -> Row {
        Row::share::<X, R, W, Y, N>(args, index, 0, args.dim)
    }

    /// The row `index`, which the blocks of a cluster share, or one block: this block's share of it.
    #[inline(always)]
    pub fn of_cluster<X: Element, R: Element, W: Element, Y: Element, const N: usize>(
        args: &Args,
        index: u32,
    ) -> Row {
        let from = gpu::cluster_rank() * args.share;
        Row::share::<X, R, W, Y, N>(args, index, from, u32::min(from + args.share, args.dim))
    }

    #[inline(always)]
    fn share<X: Element, R: Element, W: Element, Y: Element, const N: usize>(
        args: &Args,
        index: u32,
        from: u32,
        end: u32,
    ) -> Row {
        let row = RowOffsets::of(args, index);
        Row {
            x: args.x + row.x * X::SIZE,
            y: args.y + row.y * Y::SIZE,
            r: if args.r == 0 { 0 } else { args.r + row.r * residual_size::<R, Y>(args) },
            s: args.s + row.s * R::SIZE,
            scales: Scales { branch: args.branch_scale, sum: args.sum_scale },
            // Absent weights and biases have a stride of 0, so that their address stays 0.
            w: args.w + row.inner * args.w_stride * W::SIZE,
            weight_offset: args.weight_offset,
            b: args.b + row.inner * args.b_stride * W::SIZE,
            accumulate: args.accumulate != 0,
            start: from + gpu::thread_x() * N as u32,
            step: gpu::block_x() * N as u32,
            end: if index < args.rows { end } else { 0 },
        }
    }

    /// The row `index`, with codes of one byte as its `y`, of rows that one block each has and that are dense: neighbours in `x` and in
    /// `y` are at one distance, and all share the weights and biases; nothing is added.
    ///
    /// Without the search for a row among axes ptxas has 50 instructions in front of the first load, where it has 230 for
    /// [`whole`](Row::whole) and [`prefetch_row`], some of which most blocks skip.
    #[inline(always)]
    pub fn dense<X: Element, const N: usize>(args: &Args, index: u32) -> Row {
        Row {
            x: args.x + index as u64 * args.inner.x_stride * X::SIZE,
            y: args.y + index as u64 * args.inner.y_stride,
            r: 0,
            s: 0,
            scales: Scales { branch: 1.0, sum: 1.0 },
            w: args.w,
            weight_offset: args.weight_offset,
            b: args.b,
            accumulate: false,
            start: gpu::thread_x() * N as u32,
            step: gpu::block_x() * N as u32,
            end: args.dim,
        }
    }

    /// The same row with the scales of the launch, [`Scales::load`].
    ///
    /// # Safety
    /// As [`Scales::load`].
    #[inline(always)]
    pub unsafe fn scaled(self, args: &Args) -> Row {
        // SAFETY: the caller guarantees an f32 at `args.sum_scale_at`, if that is not 0.
        Row { scales: unsafe { Scales::load(args) }, ..self }
    }

    /// The row `index` with codes of one byte as its `y`.
    #[inline(always)]
    pub fn with_codes(self, args: &Args, index: u32) -> Row {
        Row { y: args.y + RowOffsets::of(args, index).y, ..self }
    }

    /// Whether a residual is added in front of the norm.
    #[inline(always)]
    pub fn adds(&self) -> bool {
        self.r != 0 && !self.accumulate
    }

    /// The index of the first element of the thread's vector `v`.
    #[inline(always)]
    pub fn at(&self, v: usize) -> u32 {
        self.start + v as u32 * self.step
    }
}

/// Bytes of an element of the residual: of the type of `y` behind the norm, else of type `R`.
#[inline(always)]
fn residual_size<R: Element, Y: Element>(args: &Args) -> u64 {
    if R::SIZE != Y::SIZE && args.accumulate != 0 { Y::SIZE } else { R::SIZE }
}

/// The offsets of a row in the tensors, in elements.
struct RowOffsets {
    x: u64,
    y: u64,
    r: u64,
    s: u64,
    /// The row's index on the last axis, along which weights and biases may differ.
    inner: u64,
}

impl RowOffsets {
    #[inline(always)]
    fn of(args: &Args, index: u32) -> RowOffsets {
        let ([a, b], c) = (&args.outer, &args.inner);
        // The common case, where all axes merged into one, needs no division.
        if c.extent as u32 == args.rows {
            let inner = index as u64;
            return RowOffsets {
                x: inner * c.x_stride,
                y: inner * c.y_stride,
                r: inner * c.r_stride,
                s: inner * c.s_stride,
                inner,
            };
        }
        let (rest, inner) = args.divisors[1].divide(index);
        let (outer, middle) = args.divisors[0].divide(rest);
        let [outer, middle, inner] = [outer as u64, middle as u64, inner as u64];
        RowOffsets {
            x: outer * a.x_stride + middle * b.x_stride + inner * c.x_stride,
            y: outer * a.y_stride + middle * b.y_stride + inner * c.y_stride,
            r: outer * a.r_stride + middle * b.r_stride + inner * c.r_stride,
            s: outer * a.s_stride + middle * b.s_stride + inner * c.s_stride,
            inner,
        }
    }
}

/// Prefetches this block's share of a later row, `args.l2_prefetch_rows` rows further, into the L2 cache.
///
/// The block that gets that row finds it there, and memory stays busy while this block reduces and writes. LayerNorm at
/// 8192 f16 reaches 0.985 instead of 0.94 of a copy's bandwidth, RMSNorm at 65536 0.985 instead of 0.90.
///
/// `MAY_ADD`: the kernel may add a residual. `RESIDUAL`: the residual's row is prefetched, too. Kernels that hold the sum in
/// registers have room for both in the caches; those that stage it in shared memory would take 6 % longer at 32768 f16.
///
/// In short grids, where latency counts, `l2_prefetch_rows` is 0: a block prefetches its own row and its residual, and they
/// arrive while the previous kernel still runs. That kernel may write them, because a prefetch reads nothing into registers
/// and the cache is coherent. 256 rows of 4096 f16 take 2.42 instead of 2.90 µs (NVIDIA H200, 2026-11-23). The first row that
/// has them prefetches the weights: if every row did, hundreds of prefetches would ask for the same lines, and 8 heads of 1024
/// tokens take 2.86 instead of 1.84 µs (NVIDIA H200, 2026-11-30).
#[inline(always)]
pub fn prefetch_row<
    X: Element,
    R: Element,
    W: Element,
    Y: Element,
    const MAY_ADD: bool,
    const RESIDUAL: bool,
>(
    args: &Args,
) {
    let index = row_of_cluster().wrapping_add(args.l2_prefetch_rows);
    if args.l2_prefetch_rows != NO_PREFETCH && index < args.rows && gpu::thread_x() == 0 {
        let from = gpu::cluster_rank() * args.share;
        let end = u32::min(from + args.share, args.dim);
        let offsets = RowOffsets::of(args, index);
        let prefetch = |row: u64, size: u64| {
            // The instruction takes multiples of 16 bytes: those that lie within the share.
            let first = (row + from as u64 * size).next_multiple_of(16);
            let bytes = (row + end as u64 * size).saturating_sub(first) as u32 / 16 * 16;
            if bytes != 0 {
                // SAFETY: these bytes are part of a row or of its weights, and both numbers are multiples of 16.
                unsafe { gpu::prefetch_bulk(first, bytes) };
            }
        };
        prefetch(args.x + offsets.x * X::SIZE, X::SIZE);
        if MAY_ADD && args.r != 0 && (RESIDUAL || args.l2_prefetch_rows == 0) {
            let size = residual_size::<R, Y>(args);
            prefetch(args.r + offsets.r * size, size);
        }
        // All rows have the same weights, or those at the same place of the inner axis have.
        let first_with_weights = if args.w_stride == 0 { 0 } else { offsets.inner };
        if args.l2_prefetch_rows == 0 && args.w != 0 && u64::from(index) == first_with_weights {
            prefetch(args.w + offsets.inner * args.w_stride * W::SIZE, W::SIZE);
        }
    }
}

/// What [`prefetch_row`] does of `x`, where rows are dense as for [`Row::dense`], and whole, aligned vectors.
#[inline(always)]
pub fn prefetch_dense_row<X: Element>(args: &Args, index: u32) {
    // False with `NO_PREFETCH`, which is more than all rows.
    if args.l2_prefetch_rows < args.rows - index && gpu::thread_x() == 0 {
        let row = args.x + (index + args.l2_prefetch_rows) as u64 * args.inner.x_stride * X::SIZE;
        // SAFETY: a row of `x`, whose address and bytes are multiples of 16.
        unsafe { gpu::prefetch_bulk(row, args.dim * X::SIZE as u32) };
    }
}

//! Where a row lies, and which part of it a thread owns.

use crate::abi::{Args, NO_PREFETCH};
use crate::element::Element;
use crate::gpu::{self, pseudo};

/// One row, and this thread's way through its block's share of it: vectors of `N` elements from
/// `start` on, every `step` elements.
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
    /// What the residual's branch and the sum are multiplied by, in kernels that are scaled.
    pub scales: Scales,
    /// Address of the row's weights, 0 where there are none.
    pub w: u64,
    /// Added to each of them.
    pub weight_offset: f32,
    /// Address of the row's biases, 0 where there are none.
    pub b: u64,
    /// Whether the residual is added behind the norm.
    pub accumulate: bool,
    /// The first element of the thread's first vector.
    pub start: u32,
    /// From one vector of the thread to its next.
    pub step: u32,
    /// Where the block's share of the row ends; 0 for threads past the last row, which own
    /// nothing but take part in shuffles.
    pub end: u32,
}

/// What a residual's branch, `x` or the norm, is multiplied by before it is added, and the sum after it.
#[derive(Clone, Copy)]
pub struct Scales {
    /// For the branch.
    pub branch: f32,
    /// For the sum.
    pub sum: f32,
}

impl Scales {
    /// Those of the launch, for which the kernel in front must have completed: the second may be in memory that it writes.
    ///
    /// # Safety
    /// The address in `args`, if there is one, is that of an f32 in global memory.
    #[inline(always)]
    pub unsafe fn load(args: &Args) -> Scales {
        // SAFETY: the caller keeps an f32 there.
        let sum = unsafe { pseudo::ld_scale(args.sum_scale_at, args.sum_scale) };
        Scales { branch: args.branch_scale, sum }
    }
}

/// The number of this thread's row in the grid; past the last row for threads that have none.
#[inline(always)]
pub fn row_of_thread() -> u32 {
    gpu::grid_x() * gpu::block_y() + gpu::thread_y()
}

/// The number of this block's row in the grid, where a block has one row.
///
/// ptxas keeps in uniform registers, one for all lanes of a warp, what depends on no thread: with this number
/// the addresses of the row are among them. LayerNorm of f16 with weights in f32 takes 70 registers in place of 85
/// in the kernel for long grids, and 0.86 to 0.95 of the time from 2048 to 8192 columns. In short grids, where
/// latency counts, uniform registers cost 0.03 µs a launch (NVIDIA H200, 2026-11-29).
#[inline(always)]
pub fn row_of_block() -> u32 {
    gpu::grid_x()
}

/// The number of this thread's row in a grid whose clusters, or single blocks, share rows.
#[inline(always)]
pub fn row_of_cluster() -> u32 {
    gpu::cluster() * gpu::block_y() + gpu::thread_y()
}

impl Row {
    /// The row `index`, on which one block works, or a part of one.
    #[inline(always)]
    pub fn whole<X: Element, R: Element, W: Element, Y: Element, const N: usize>(
        args: &Args,
        index: u32,
    ) -> Row {
        Row::share::<X, R, W, Y, N>(args, index, 0, args.dim)
    }

    /// The share of this thread's block in the row `index`, on which a cluster works, or a single block.
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
        let place = Place::of(args, index);
        Row {
            x: args.x + place.x * X::SIZE,
            y: args.y + place.y * Y::SIZE,
            r: if args.r == 0 { 0 } else { args.r + place.r * residual_size::<R, Y>(args) },
            s: args.s + place.s * R::SIZE,
            scales: Scales { branch: args.branch_scale, sum: args.sum_scale },
            // Strides of absent weights and biases are 0.
            w: args.w + place.inner * args.w_stride * W::SIZE,
            weight_offset: args.weight_offset,
            b: args.b + place.inner * args.b_stride * W::SIZE,
            accumulate: args.accumulate != 0,
            start: from + gpu::thread_x() * N as u32,
            step: gpu::block_x() * N as u32,
            end: if index < args.rows { end } else { 0 },
        }
    }

    /// The same with the scales of the launch.
    ///
    /// # Safety
    /// As [`Scales::load`], once the kernel in front has completed.
    #[inline(always)]
    pub unsafe fn scaled(self, args: &Args) -> Row {
        // SAFETY: the caller keeps what it asks.
        Row { scales: unsafe { Scales::load(args) }, ..self }
    }

    /// Whether a residual is added in front of the norm.
    #[inline(always)]
    pub fn adds(&self) -> bool {
        self.r != 0 && !self.accumulate
    }

    /// The first element of the thread's vector `v`.
    #[inline(always)]
    pub fn at(&self, v: usize) -> u32 {
        self.start + v as u32 * self.step
    }
}

/// Bytes of an element of the residual, which behind the norm has the type of `y`.
#[inline(always)]
fn residual_size<R: Element, Y: Element>(args: &Args) -> u64 {
    if R::SIZE != Y::SIZE && args.accumulate != 0 { Y::SIZE } else { R::SIZE }
}

/// A row's offsets in the tensors, in elements, and its place on the last axis.
struct Place {
    x: u64,
    y: u64,
    r: u64,
    s: u64,
    inner: u64,
}

impl Place {
    #[inline(always)]
    fn of(args: &Args, index: u32) -> Place {
        let ([a, b], c) = (&args.outer, &args.inner);
        // The common case, where all axes merged into one, needs no division.
        if c.extent as u32 == args.rows {
            let inner = index as u64;
            return Place {
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
        Place {
            x: outer * a.x_stride + middle * b.x_stride + inner * c.x_stride,
            y: outer * a.y_stride + middle * b.y_stride + inner * c.y_stride,
            r: outer * a.r_stride + middle * b.r_stride + inner * c.r_stride,
            s: outer * a.s_stride + middle * b.s_stride + inner * c.s_stride,
            inner,
        }
    }
}

/// Prefetches into the L2 cache this block's share of the row that is `args.l2_prefetch_rows` rows further, so that
/// whichever block gets that row finds it there: the memory stays busy while this block reduces
/// and writes. 0.94 becomes 0.985 of a copy's bandwidth for LayerNorm at 8192 f16, 0.90 becomes
/// 0.985 for RMSNorm at 65536.
///
/// `MAY_ADD`: the kernel may add a residual. It prefetches the same row of that where `RESIDUAL` says so: kernels that hold
/// the sum in registers have room for both in the caches, but those that stage it take 6 % longer at 32768 f16.
///
/// In short grids, where latency is all that counts, it is the block's own row, its residual and its weights:
/// they are on their way while the kernel before this one ends. Nothing is read before it has, so
/// it may well write them. 2.90 µs become 2.42 for 256 rows of 4096 f16 (NVIDIA H200,
/// 2026-11-23).
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
        let place = Place::of(args, index);
        let prefetch = |row: u64, size: u64| {
            // Whole 16 bytes that lie within the share.
            let first = (row + from as u64 * size).next_multiple_of(16);
            let bytes = (row + end as u64 * size).saturating_sub(first) as u32 / 16 * 16;
            if bytes != 0 {
                // SAFETY: part of a row or of its weights, in whole 16 bytes.
                unsafe { gpu::prefetch_bulk(first, bytes) };
            }
        };
        prefetch(args.x + place.x * X::SIZE, X::SIZE);
        if MAY_ADD && args.r != 0 && (RESIDUAL || args.l2_prefetch_rows == 0) {
            let size = residual_size::<R, Y>(args);
            prefetch(args.r + place.r * size, size);
        }
        if args.l2_prefetch_rows == 0 && args.w != 0 {
            prefetch(args.w + place.inner * args.w_stride * W::SIZE, W::SIZE);
        }
    }
}

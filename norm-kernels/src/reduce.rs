//! Sums over the threads that share a row: the lanes of a warp, a block, or the blocks of a cluster.

use crate::abi::WARP;
use crate::gpu;
use crate::sum::{Moments, Sum};

/// Scratch for the first reduction of a kernel; the second has its own, so one barrier each is
/// enough: nothing is rewritten that a slower warp may still read.
pub const FIRST: u32 = 0;
/// Scratch for the second reduction, of `f32` sums.
pub const SECOND: u32 = Moments::SCRATCH;
/// Scratch for what a block gathers from the blocks of its cluster, [`BYTES_PER_BLOCK`] bytes from each.
const GATHERED: u32 = SECOND + f32::SCRATCH;
/// Bytes that a block sends to each block of its cluster.
const BYTES_PER_BLOCK: u32 = 16;

/// The threads that share a row.
pub trait Scope {
    /// Whether a row may span the blocks of a cluster.
    const SPANS_BLOCKS: bool = false;

    /// Whether [`any`](Self::any) may be true for a row by another's predicate.
    const VOTES: bool = true;

    /// The sum over those of this block, the same bits in every thread. `scratch` is [`FIRST`] or
    /// [`SECOND`], each used once. Every thread of the block must call.
    fn sum<S: Sum>(partial: S, scratch: u32) -> S;

    /// Whether `predicate` holds for a row whose threads must call [`sum`](Self::sum) together with this one's. Every
    /// thread of the block must call, with the same value in all threads of a row.
    fn any(predicate: bool) -> bool;

    /// Whether a row spans several blocks. The same for all threads of a launch.
    #[inline(always)]
    fn spans_blocks() -> bool {
        Self::SPANS_BLOCKS && gpu::cluster_blocks() > 1
    }

    /// Prepares for [`all_gather`](Self::all_gather): it comes first in every kernel. Every thread must call.
    #[inline(always)]
    fn start() {
        if Self::spans_blocks() {
            if gpu::thread_x() == 0 {
                gpu::mbarrier_init();
            }
            gpu::cluster_arrive_relaxed();
        }
    }

    /// Sends `own` to all blocks of the cluster, and waits for theirs; once a kernel. Every thread must call.
    fn all_gather(_own: [f32; 4]) {}

    /// Calls `f` with what each block of the cluster sent, in the order of their ranks, and whether it is the last
    /// block.
    fn each_gathered(_f: impl FnMut(bool, [f32; 4])) {}
}

/// A warp or less a row, `block_x` lanes: no barrier.
pub struct Warp;

/// A block a row, whole warps.
pub struct Block;

/// A warp or less, a block, or a cluster, by the launch: `block_x` and the cluster's size.
pub struct Cluster;

impl Scope for Warp {
    #[inline(always)]
    fn sum<S: Sum>(partial: S, _scratch: u32) -> S {
        over_lanes(partial, gpu::block_x())
    }

    #[inline(always)]
    fn any(predicate: bool) -> bool {
        gpu::vote_any(predicate)
    }
}

impl Scope for Block {
    const VOTES: bool = false;

    #[inline(always)]
    fn sum<S: Sum>(partial: S, scratch: u32) -> S {
        let lane = gpu::thread_x() % WARP;
        let warp = gpu::thread_x() / WARP;
        over_warps(over_lanes(partial, WARP), lane, warp, gpu::block_x() / WARP, scratch)
    }

    #[inline(always)]
    fn any(predicate: bool) -> bool {
        predicate
    }
}

impl Scope for Cluster {
    const SPANS_BLOCKS: bool = true;

    #[inline(always)]
    fn sum<S: Sum>(partial: S, scratch: u32) -> S {
        let row = gpu::block_x();
        let thread = gpu::thread_y() * row + gpu::thread_x();
        let within = over_lanes(partial, row);
        // Blocks of several rows do this too, and drop what comes out: a condition around a
        // barrier invites compilers to copy it into both branches.
        let warps = row * gpu::block_y() / WARP;
        let across = over_warps(within, thread % WARP, thread / WARP, warps, scratch);
        if row > WARP { across } else { within }
    }

    /// Rows that share a block do not vote: the answer is true for all of them.
    #[inline(always)]
    fn any(predicate: bool) -> bool {
        predicate || gpu::block_y() > 1
    }

    #[inline(always)]
    fn all_gather(own: [f32; 4]) {
        let (from, to) = (gpu::cluster_rank(), gpu::thread_x());
        if to == 0 {
            gpu::mbarrier_arrive_expect_tx(BYTES_PER_BLOCK * gpu::cluster_blocks());
        }
        gpu::cluster_wait();
        if to < gpu::cluster_blocks() {
            // SAFETY: 16 blocks at most fit the scratch, all have started and wait below, and each
            // place of each has one thread, since a row that takes a cluster takes each block whole.
            unsafe { gpu::st_async_v4(to, GATHERED + BYTES_PER_BLOCK * from, own) };
        }
        while !gpu::mbarrier_try_wait() {}
    }

    #[inline(always)]
    fn each_gathered(mut f: impl FnMut(bool, [f32; 4])) {
        let blocks = gpu::cluster_blocks();
        let mut from = 0;
        // Two at a time, as there are 2, 4, 8 or 16: four would take the registers of another block.
        while from < blocks {
            gpu::keep_rolled();
            from = gpu::opaque(from);
            // SAFETY: `all_gather` has waited until every block's 16 bytes were there.
            let sent =
                unsafe { [from, from + 1].map(|from| gpu::ld_scratch_v4(GATHERED + BYTES_PER_BLOCK * from)) };
            f(false, sent[0]);
            f(from + 2 == blocks, sent[1]);
            from += 2;
        }
    }
}

/// The sum over the `lanes` lanes (a power of two up to 32, or more for all 32) around each.
#[inline(always)]
fn over_lanes<S: Sum>(mut sum: S, lanes: u32) -> S {
    macro_rules! step {
        ($($mask:literal)*) => { $(
            let other = sum.shuffle_xor($mask);
            if $mask < lanes {
                sum = sum.plus(other);
            }
        )* };
    }
    step!(16 8 4 2 1);
    sum
}

/// The sum over the warps of a block, from each warp's own in all its lanes.
#[inline(always)]
fn over_warps<S: Sum>(sum: S, lane: u32, warp: u32, warps: u32, scratch: u32) -> S {
    // Behind the warps' sums, zeros fill up the last `UNROLL`.
    let place = warp + lane * warps;
    if place < gpu::round_up(warps, S::UNROLL) {
        let sum = if lane == 0 { sum } else { S::ZERO };
        // SAFETY: 32 sums at most fit the scratch; each place has one thread.
        unsafe { sum.st_scratch(scratch, place) };
    }
    gpu::barrier();
    // Every thread adds up all warps' sums for itself, which saves a second barrier. All read the
    // same address at a time, and that takes one access.
    let mut total = S::ZERO;
    let mut place = 0;
    loop {
        // Unrolling would cost compile time, and registers where there are few.
        gpu::keep_rolled();
        place = gpu::opaque(place);
        // SAFETY: written above, before the barrier.
        total = unsafe { total.plus_scratch(scratch, place) };
        place += S::UNROLL;
        if place >= warps {
            return total;
        }
    }
}

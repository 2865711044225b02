//! Sums over the threads of a row.

use crate::abi::WARP;
use crate::gpu;
use crate::sum::{Moments, Sum};

/// Scratch for the first reduction of a kernel; the second has its own, so one barrier each is
/// enough: nothing is rewritten that a slower warp may still read.
pub const FIRST: u32 = 0;
/// Scratch for the second reduction, of `f32` sums.
pub const SECOND: u32 = Moments::SCRATCH;
/// Scratch for what the blocks of a cluster tell each other, [`TOLD`] bytes from each.
const RECEIVED: u32 = SECOND + f32::SCRATCH;
/// Bytes that a block tells each.
const TOLD: u32 = 16;

/// The threads that share a row.
pub trait Team {
    /// Whether they may be spread over the blocks of a cluster.
    const SPREADS: bool = false;

    /// The sum over those of this block, the same bits in every thread. `scratch` is [`FIRST`] or
    /// [`SECOND`], each used once. Every thread of the block must call.
    fn sum<S: Sum>(partial: S, scratch: u32) -> S;

    /// Whether a row asks whose threads must call [`sum`](Self::sum) together with this one's. Every thread of
    /// the block must call, all of a row alike.
    fn any(asks: bool) -> bool;

    /// Whether they are spread. The same for all threads of a launch.
    #[inline(always)]
    fn is_spread() -> bool {
        Self::SPREADS && gpu::cluster_blocks() > 1
    }

    /// Comes first in every kernel. Every thread must call.
    #[inline(always)]
    fn start() {
        if Self::is_spread() {
            if gpu::thread_x() == 0 {
                gpu::ready_to_receive();
            }
            gpu::cluster_announce();
        }
    }

    /// Tells all blocks of the cluster what this one has, once. Every thread must call.
    fn exchange(_own: [f32; 4]) {}

    /// Calls `f` with what each block of the cluster told, in their order, and whether it is the
    /// last.
    fn each_received(_f: impl FnMut(bool, [f32; 4])) {}
}

/// A warp or less a row, `block_x` lanes: no barrier.
pub struct Lanes;

/// A block a row, whole warps.
pub struct Block;

/// Any of them, as `block_x` and the cluster say.
pub struct Any;

impl Team for Lanes {
    #[inline(always)]
    fn sum<S: Sum>(partial: S, _scratch: u32) -> S {
        over_lanes(partial, gpu::block_x())
    }

    #[inline(always)]
    fn any(asks: bool) -> bool {
        gpu::any_of_warp(asks)
    }
}

impl Team for Block {
    #[inline(always)]
    fn sum<S: Sum>(partial: S, scratch: u32) -> S {
        let lane = gpu::thread_x() % WARP;
        let warp = gpu::thread_x() / WARP;
        over_warps(over_lanes(partial, WARP), lane, warp, gpu::block_x() / WARP, scratch)
    }

    #[inline(always)]
    fn any(asks: bool) -> bool {
        asks
    }
}

impl Team for Any {
    const SPREADS: bool = true;

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

    /// Rows that share a block do not ask each other: all take what one of them may need.
    #[inline(always)]
    fn any(asks: bool) -> bool {
        asks || gpu::block_y() > 1
    }

    #[inline(always)]
    fn exchange(own: [f32; 4]) {
        let (from, to) = (gpu::cluster_rank(), gpu::thread_x());
        if to == 0 {
            gpu::expect_received(TOLD * gpu::cluster_blocks());
        }
        gpu::cluster_wait();
        if to < gpu::cluster_blocks() {
            // SAFETY: 16 blocks at most fit the scratch, all have started and wait below, and each
            // place of each has one thread, since a row that takes a cluster takes each block whole.
            unsafe { gpu::send4(to, RECEIVED + TOLD * from, own) };
        }
        while !gpu::has_received() {}
    }

    #[inline(always)]
    fn each_received(mut f: impl FnMut(bool, [f32; 4])) {
        let blocks = gpu::cluster_blocks();
        let mut from = 0;
        // Two at a time, as there are 2, 4, 8 or 16: four would take the registers of another block.
        while from < blocks {
            gpu::keep_rolled();
            from = gpu::opaque(from);
            // SAFETY: received by `exchange`.
            let told = unsafe { [from, from + 1].map(|from| gpu::load4_shared(RECEIVED + TOLD * from)) };
            f(false, told[0]);
            f(from + 2 == blocks, told[1]);
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
    // Behind the warps' sums, zeros fill up the last `TOGETHER`.
    let place = warp + lane * warps;
    if place < gpu::round_up(warps, S::TOGETHER) {
        let sum = if lane == 0 { sum } else { S::ZERO };
        // SAFETY: 32 sums at most fit the scratch; each place has one thread.
        unsafe { sum.store_shared(scratch, place) };
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
        total = unsafe { total.plus_shared(scratch, place) };
        place += S::TOGETHER;
        if place >= warps {
            return total;
        }
    }
}

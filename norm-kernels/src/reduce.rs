//! Sums over the threads that share a row: the lanes of a warp, a block, or the blocks of a cluster.

use crate::abi::WARP;
use crate::each::each;
use crate::gpu;
use crate::sum::{Largest, MOMENTS_SCRATCH, Sum};

/// Offset in the scratch memory for the first reduction of a kernel. The second reduction has bytes of its own, so that one
/// barrier each is enough: nothing is overwritten that a slower warp may still read.
pub const FIRST: u32 = 0;
/// Offset in the scratch memory for the second reduction, of `f32` sums.
pub const SECOND: u32 = MOMENTS_SCRATCH;
/// Offset in the scratch memory of what a block gathers from the blocks of its cluster, [`BYTES_PER_BLOCK`] from each.
const GATHERED: u32 = SECOND + f32::SCRATCH;
/// Offset in the scratch memory for the largest magnitude of a row whose output is quantized. Such kernels have no cluster.
pub const LARGEST: u32 = GATHERED;
/// The number of bytes that a block sends to each block of its cluster.
const BYTES_PER_BLOCK: u32 = 16;

/// The threads that share a row.
pub trait Scope {
    /// Whether a row may span the blocks of a cluster.
    const SPANS_BLOCKS: bool = false;

    /// Whether [`any`](Self::any) may be true for a row because of another row's predicate.
    const VOTES: bool = true;

    /// The sum over the row's threads in this block, with the same bits in each of them. `scratch` is [`FIRST`] or
    /// [`SECOND`], each used once in a kernel. Every thread of the block must call.
    fn sum<S: Sum>(partial: S, scratch: u32) -> S;

    /// Whether `predicate` holds for this row, or for any other row whose threads must take part in the same call of
    /// [`sum`](Self::sum). May be true although it holds for none of them. Every thread of the block must call, all threads
    /// of a row with the same value.
    fn any(predicate: bool) -> bool;

    /// Whether a row spans several blocks of a cluster. The same for all threads of a launch.
    #[inline(always)]
    fn spans_blocks() -> bool {
        Self::SPANS_BLOCKS && gpu::cluster_blocks() > 1
    }

    /// Prepares for [`all_gather`](Self::all_gather), first of all in a kernel. Every thread must call.
    #[inline(always)]
    fn start() {
        if Self::spans_blocks() {
            if gpu::thread_x() == 0 {
                gpu::mbarrier_init();
            }
            gpu::cluster_arrive_relaxed();
        }
    }

    /// Sends `own` to all blocks of the cluster, and waits for theirs. At most once in a kernel. Every thread must call.
    fn all_gather(_own: [f32; 4]) {}

    /// Calls `f` for each block of the cluster, in the order of their ranks, with whether it is the last block and what it
    /// sent to [`all_gather`](Self::all_gather).
    fn each_gathered(_f: impl FnMut(bool, [f32; 4])) {}
}

/// The lanes of a warp, or some of them (`block_x` lanes), share a row. Takes no barrier.
pub struct Warp;

/// A block of whole warps shares a row.
pub struct Block;

/// Lanes of a warp, a block, or the blocks of a cluster share a row: the launch decides, by `block_x` and the cluster's
/// size.
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
        // Blocks of several rows compute this too and discard the result: with a condition around a barrier, the compilers
        // might copy the barrier into both branches.
        let warps = row * gpu::block_y() / WARP;
        let across = over_warps(within, thread % WARP, thread / WARP, warps, scratch);
        if row > WARP { across } else { within }
    }

    /// True for every row if several rows share the block, without a vote among them.
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
            // SAFETY: the 16 bytes of each of at most 16 blocks fit the scratch memory. All blocks have started
            // (`cluster_wait`) and end only after the loop below has received everything. One thread writes each 16 bytes:
            // a row that spans a cluster has all threads of each block, so `thread_x` is unique in it.
            unsafe { gpu::st_async_v4(to, GATHERED + BYTES_PER_BLOCK * from, own) };
        }
        while !gpu::mbarrier_try_wait() {}
    }

    #[inline(always)]
    fn each_gathered(mut f: impl FnMut(bool, [f32; 4])) {
        let blocks = gpu::cluster_blocks();
        let mut from = 0;
        // Two at a time, since a cluster has 2, 4, 8 or 16 blocks. Four at a time would take so many registers that one
        // block fewer fits a multiprocessor.
        while from < blocks {
            gpu::keep_rolled();
            from = gpu::opaque(from);
            // SAFETY: `all_gather` has waited until the 16 bytes of every block had arrived.
            let sent =
                unsafe { [from, from + 1].map(|from| gpu::ld_scratch_v4(GATHERED + BYTES_PER_BLOCK * from)) };
            f(false, sent[0]);
            f(from + 2 == blocks, sent[1]);
            from += 2;
        }
    }
}

/// The largest magnitude of a block of whole warps that shares a row, in every thread, given that of each thread's elements.
/// Called once in a kernel, by every thread of the block.
#[inline(always)]
pub fn largest_of_block(of_thread: Largest) -> Largest {
    let (lane, warp) = (gpu::thread_x() % WARP, gpu::thread_x() / WARP);
    over_warps(of_thread.over_warp(), lane, warp, gpu::block_x() / WARP, LARGEST)
}

/// The largest magnitudes of `V` vectors over groups of `lanes` neighbouring lanes, 8 or 16, no fewer than `V`: of one vector in
/// each lane, whose number is its lane's in the group over [`lanes_of_vector`].
///
/// At each step a lane sends half of what it has, and keeps the other half, until it has one: with four vectors of 16 lanes
/// each, that are 5 shuffles instead of 16, and one scale is made in each lane instead of four.
#[inline(always)]
pub fn largest_of_lanes<const V: usize>(of_thread: [Largest; V], lanes: u32) -> Largest {
    const { assert!(V == 1 || V == 2 || V == 4 || V == 8) };
    let lane = gpu::thread_x() % WARP;
    let mut held = of_thread;
    let mut mask = lanes / 2;
    macro_rules! halve {
        ($($kept:literal)*) => { $(
            if V > $kept {
                let is_upper = lane & mask != 0;
                each::<$kept>(|i| {
                    let (low, high) = (held[i], held[i + $kept]);
                    let (kept, sent) = if is_upper { (high, low) } else { (low, high) };
                    held[i] = kept.plus(sent.shuffle_xor(mask));
                });
                mask /= 2;
            }
        )* };
    }
    halve!(4 2 1);
    let mut largest = held[0];
    // A lane that exchanges with itself changes nothing: with groups of 8 that is one step too many.
    macro_rules! exchange {
        ($($vectors:literal)*) => { $(
            if V <= $vectors {
                largest = largest.plus(largest.shuffle_xor(mask));
                mask /= 2;
            }
        )* };
    }
    exchange!(1 2 4 8);
    largest
}

/// The number of lanes of a group that have the same vector in [`largest_of_lanes`].
#[inline(always)]
pub const fn lanes_of_vector<const V: usize>(lanes: u32) -> u32 {
    lanes / V as u32
}

/// The sum over a block of whole warps of partial sums, the first `parts` of `K` from each thread, in every thread: as if each
/// were of a thread of its own, the second behind all the first, and so on, so that a block of fewer threads has the bits of a
/// whole one. The others are zeros. `K` is 2 or 4. `scratch` is [`FIRST`] or [`SECOND`]. Every thread of the block must call with
/// the same `parts`, and a block has at most `32 / parts` warps.
///
/// As in [`largest_of_lanes`] a lane sends half of what it has at the first steps: four sums take 6 shuffles instead of 20. What
/// it adds is what a butterfly over each sum adds.
#[inline(always)]
pub fn sum_of_parts<S: Sum, const K: usize>(of_thread: [S; K], parts: u32, scratch: u32) -> S {
    const { assert!(K == 2 || K == 4) };
    let (lane, warp, warps) = (gpu::thread_x() % WARP, gpu::thread_x() / WARP, gpu::block_x() / WARP);
    let mut held = of_thread;
    let mut mask = WARP / 2;
    macro_rules! halve {
        ($($kept:literal)*) => { $(
            if K > $kept {
                let is_upper = lane & mask != 0;
                each::<$kept>(|i| {
                    let (low, high) = (held[i], held[i + $kept]);
                    let (kept, sent) = if is_upper { (high, low) } else { (low, high) };
                    held[i] = kept.plus(sent.shuffle_xor(mask));
                });
                mask /= 2;
            }
        )* };
    }
    halve!(2 1);
    let mut sum = held[0];
    each::<4>(|_| {
        if mask != 0 {
            sum = sum.plus(sum.shuffle_xor(mask));
            mask /= 2;
        }
    });
    // So many neighbouring lanes have the same sum; the second ones write zeros behind the places of all sums.
    let lanes = WARP / K as u32;
    let places = parts * warps;
    let place = warp + (lane / lanes + lane % lanes * K as u32) * warps;
    if place < gpu::round_up(places, S::UNROLL) {
        let sum = if lane % lanes == 0 { sum } else { S::ZERO };
        // SAFETY: the scratch memory at `scratch` has 32 places, and one thread writes each. Nobody reads them before the
        // barrier below.
        unsafe { sum.st_scratch(scratch, place) };
    }
    gpu::barrier();
    over_places(places, scratch)
}

/// The sum over groups of `lanes` neighbouring lanes, in every lane: a butterfly. `lanes` is a power of two; 32 or more
/// mean the whole warp.
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

/// The sum over the warps of a block, given the sum of each warp in all of its lanes.
#[inline(always)]
fn over_warps<S: Sum>(sum: S, lane: u32, warp: u32, warps: u32, scratch: u32) -> S {
    // One place for each warp's sum. Zeros fill the places behind them up to a multiple of `UNROLL`.
    let place = warp + lane * warps;
    if place < gpu::round_up(warps, S::UNROLL) {
        let sum = if lane == 0 { sum } else { S::ZERO };
        // SAFETY: the scratch memory at `scratch` has 32 places, and one thread writes each. Nobody reads them before the
        // barrier below.
        unsafe { sum.st_scratch(scratch, place) };
    }
    gpu::barrier();
    over_places(warps, scratch)
}

/// The sum of that many places of the scratch memory, which were written before the last barrier; behind them are zeros up to a
/// multiple of `UNROLL`.
#[inline(always)]
fn over_places<S: Sum>(warps: u32, scratch: u32) -> S {
    // Every thread adds up all warps' sums itself, which saves a second barrier. All lanes read the same address at a time,
    // which shared memory serves in one access.
    let mut total = S::ZERO;
    let mut place = 0;
    loop {
        // Unrolled, the loop would take longer to compile, and more registers.
        gpu::keep_rolled();
        place = gpu::opaque(place);
        // SAFETY: places below the next multiple of `UNROLL` were written above, before the barrier.
        total = unsafe { total.plus_scratch(scratch, place) };
        place += S::UNROLL;
        if place >= warps {
            return total;
        }
    }
}

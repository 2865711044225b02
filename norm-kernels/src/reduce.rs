//! Sums over the threads of a row.

use crate::abi::WARP;
use crate::gpu;
use crate::sum::Sum;

/// Scratch for the first reduction of a kernel; the second has its own, so one barrier each is
/// enough: nothing is rewritten that a slower warp may still read.
pub const FIRST: u32 = 0;
/// Scratch for the second reduction, of `f32` sums.
pub const SECOND: u32 = 8 * WARP;

/// The threads that share a row.
pub trait Team {
    /// The sum over the team, the same bits in every thread. `scratch` is [`FIRST`] or
    /// [`SECOND`], each used once. Every thread of the block must call.
    fn sum<S: Sum>(partial: S, scratch: u32) -> S;
}

/// A warp or less a row, `block_x` lanes: no barrier.
pub struct Lanes;

/// A block a row, whole warps.
pub struct Block;

/// Either, as `block_x` says.
pub struct Either;

impl Team for Lanes {
    #[inline(always)]
    fn sum<S: Sum>(partial: S, _scratch: u32) -> S {
        over_lanes(partial, gpu::block_x())
    }
}

impl Team for Block {
    #[inline(always)]
    fn sum<S: Sum>(partial: S, scratch: u32) -> S {
        let lane = gpu::thread_x() % WARP;
        let warp = gpu::thread_x() / WARP;
        over_warps(over_lanes(partial, WARP), lane, warp, gpu::block_x() / WARP, scratch)
    }
}

impl Team for Either {
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
    let place = if lane == 0 { warp } else { warps - 1 + lane };
    // Behind the warps' sums, zeros fill up the last 16 bytes.
    if lane == 0 || warp == 0 && place < warps.next_multiple_of(16 / S::BYTES) {
        let sum = if lane == 0 { sum } else { S::ZERO };
        // SAFETY: a multiple of 4; 32 sums at most fit the scratch; each place has one thread.
        unsafe { sum.store_shared(scratch + place * S::BYTES) };
    }
    gpu::barrier();
    // Every thread adds up all warps' sums for itself, which saves a second barrier. All read the
    // same address at a time, and that takes one access.
    let mut total = S::ZERO;
    let mut offset = 0;
    while offset < warps * S::BYTES {
        // SAFETY: written above, before the barrier.
        total = total.plus(unsafe { S::sum4_shared(scratch + offset) });
        offset += 16;
    }
    total
}

//! How the blocks of a group's devices meet: block `b` of each rank with block `b` of every other. docs/PARALLEL.md has the
//! protocol, and why it is enough.

use crate::abi::workspace::{BLOCK_FLAGS, BUFFERS, CALLS, FAILURE, FLAGS, STEP_FLAGS};
use crate::abi::{Failure, GroupArgs, WARP};
use crate::gpu;
use crate::reduce::LARGEST;

/// Offset in the scratch memory of what the first warp tells the others after each step, 16 bytes a step. It is where other
/// kernels have the largest magnitude of a row.
const VERDICT: u32 = LARGEST;

/// A flag: the call's number in the upper half, and its signature.
#[inline(always)]
fn flag(call: u32, signature: u32) -> u64 {
    (call as u64) << 32 | signature as u64
}

/// One call, as this block sees it.
#[derive(Clone, Copy)]
pub struct Call {
    /// Counts the calls of this group, from 1; it wraps.
    number: u32,
    block: u32,
}

impl Call {
    /// The call that this kernel carries out. Every thread may call, after the previous kernel has ended.
    ///
    /// # Safety
    /// `group` is as [`GroupArgs`] documents.
    #[inline(always)]
    pub unsafe fn begin(group: &GroupArgs) -> Call {
        let block = gpu::grid_x();
        // SAFETY: the caller guarantees a workspace of this rank, whose counts nothing but this block writes, at its end.
        let completed = unsafe { gpu::ld_global_b32(own(group) + CALLS + 4 * block as u64) };
        Call { number: completed.wrapping_add(1), block }
    }

    /// Counts the call as completed. One thread calls it, once, when all threads of the block have called
    /// [`begin`](Call::begin).
    ///
    /// # Safety
    /// As [`begin`](Call::begin).
    #[inline(always)]
    pub unsafe fn complete(self, group: &GroupArgs) {
        // SAFETY: the caller guarantees a workspace of this rank, and that no thread reads this count any more.
        unsafe { gpu::st_global_b32(own(group) + CALLS + 4 * self.block as u64, self.number) };
    }

    /// The address of a rank's buffer of this call.
    #[inline(always)]
    pub fn buffer(self, group: &GroupArgs, rank: u32) -> u64 {
        workspace(group, rank) + BUFFERS + (self.number & 1) as u64 * group.buffer
    }

    /// Tells block `b` of every other rank that this one has come to `step`, and waits until they have. Every thread of the
    /// block must call. What the blocks have stored before, this one reads behind it. False, in every thread alike, if a
    /// rank does not come, or comes for something else: then the kernel must end.
    ///
    /// # Safety
    /// As [`begin`](Call::begin); `step` is 0 or 1, each used once in a kernel. Workspaces of peers may be written.
    #[inline(always)]
    pub unsafe fn meet(self, group: &GroupArgs, step: u32) -> bool {
        // What the block's other threads have stored is to be seen by whoever sees the flag of one thread.
        gpu::barrier();
        let thread = gpu::thread_y() * gpu::block_x() + gpu::thread_x();
        if thread < WARP {
            let mut fails = false;
            if thread < group.ranks && thread != group.rank {
                // SAFETY: the caller guarantees workspaces of all ranks, in which each flag has one writer.
                fails = unsafe { !self.meet_rank(group, step, thread) };
            }
            fails = gpu::vote_any(fails);
            if thread == 0 {
                // SAFETY: these bytes serve nothing else in kernels of groups, and no other thread writes them.
                unsafe { gpu::st_scratch(VERDICT + 16 * step, f32::from_bits(fails as u32)) };
            }
        }
        gpu::barrier();
        // SAFETY: the first thread wrote the first of the 16 bytes in front of the barrier; nobody rewrites them.
        unsafe { gpu::ld_scratch(VERDICT + 16 * step).to_bits() == 0 }
    }

    /// [`meet`](Call::meet) with one rank.
    ///
    /// # Safety
    /// As [`meet`](Call::meet).
    #[inline(always)]
    unsafe fn meet_rank(self, group: &GroupArgs, step: u32, peer: u32) -> bool {
        let place = FLAGS + step as u64 * STEP_FLAGS + self.block as u64 * BLOCK_FLAGS;
        let sent = flag(self.number, group.signature);
        let began = gpu::global_timer();
        // SAFETY: the caller guarantees workspaces of both ranks. This rank alone writes its flag in the peer's, and the peer
        // its own in this one's, both by system-wide instructions.
        unsafe {
            gpu::st_release_sys(workspace(group, peer) + place + 8 * group.rank as u64, sent);
            loop {
                gpu::keep_rolled();
                let seen = gpu::ld_acquire_sys(own(group) + place + 8 * peer as u64);
                let ahead = ((seen >> 32) as u32).wrapping_sub(self.number) as i32;
                if seen == sent {
                    return true;
                }
                // Who has seen this rank's flag goes on, and may come to the next call before its flag has been seen here. It
                // waits for this rank there, so it cannot be ahead by two.
                if ahead == 1 && step == 0 {
                    return true;
                }
                let told = gpu::ld_relaxed_sys(own(group) + FAILURE);
                let failure = if told != 0 {
                    told
                } else if ahead == 0 {
                    Failure::word(Failure::OTHER_CALL, peer)
                } else if ahead > 0 {
                    Failure::word(Failure::OTHER_EPOCH, peer)
                } else if gpu::global_timer().wrapping_sub(began) > group.patience {
                    Failure::word(Failure::ABSENT, peer)
                } else {
                    continue;
                };
                tell(group, failure);
                return false;
            }
        }
    }
}

/// Tells every rank, and this one's host, what has failed.
///
/// # Safety
/// The workspaces are there, and `group.failure` is 0 or the address of a word that the host reads.
#[inline(always)]
unsafe fn tell(group: &GroupArgs, failure: u32) {
    let mut rank = 0;
    while rank < group.ranks {
        gpu::keep_rolled();
        rank = gpu::opaque(rank);
        // SAFETY: the caller guarantees the workspaces, whose failures are accessed by system-wide instructions alone.
        unsafe { gpu::st_relaxed_sys(workspace(group, rank) + FAILURE, failure) };
        rank += 1;
    }
    if group.failure != 0 {
        // SAFETY: the caller guarantees a word of the host's at this address.
        unsafe { gpu::st_relaxed_sys(group.failure, failure) };
    }
}

/// The address of a rank's workspace.
#[inline(always)]
pub fn workspace(group: &GroupArgs, rank: u32) -> u64 {
    gpu::select(group.workspaces, rank)
}

/// The address of this rank's workspace.
#[inline(always)]
fn own(group: &GroupArgs) -> u64 {
    workspace(group, group.rank)
}

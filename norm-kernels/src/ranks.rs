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

    /// The call's number.
    #[inline(always)]
    pub fn number(self) -> u32 {
        self.number
    }

    /// Where the packets of this call are in a workspace that rank `from` has for it, in bytes from the workspace's start.
    #[inline(always)]
    pub fn packets(self, group: &GroupArgs, from: u32) -> u64 {
        let part = (self.number & 1) * group.ranks + from;
        BUFFERS + 2 * group.buffer + part as u64 * group.packets as u64
    }

    /// Tells block `b` of every other rank that this one carries out this call, without an order of anything else: for calls
    /// whose rows are packets. Every thread may call; those whose number is that of another rank do it.
    ///
    /// # Safety
    /// As [`begin`](Call::begin). Workspaces of peers may be written.
    #[inline(always)]
    pub unsafe fn announce(self, group: &GroupArgs, thread: u32) {
        if thread < group.ranks && thread != group.rank {
            // SAFETY: the caller guarantees the workspaces, in which each flag has one writer.
            unsafe {
                gpu::st_relaxed_sys_b64(
                    self.flag_at(group, thread, 0, group.rank),
                    flag(self.number, group.signature),
                );
            }
        }
    }

    /// What a peer has told this block last.
    ///
    /// # Safety
    /// As [`begin`](Call::begin).
    #[inline(always)]
    pub unsafe fn told_by(self, group: &GroupArgs, peer: u32) -> u64 {
        // SAFETY: the caller guarantees the workspace, whose flags are accessed by system-wide instructions alone.
        unsafe { gpu::ld_relaxed_sys_b64(self.flag_at(group, group.rank, 0, peer)) }
    }

    /// Stores an old number in this block's flags of a peer's workspace, those of `from` and of the steps behind it.
    ///
    /// # Safety
    /// As [`begin`](Call::begin). Workspaces of peers may be written, and no thread writes these flags otherwise.
    #[inline(always)]
    pub unsafe fn retire(self, group: &GroupArgs, peer: u32, from: u32, old: u32) {
        for step in 0..2 {
            if step >= from {
                // SAFETY: the caller guarantees the workspaces.
                unsafe { gpu::st_relaxed_sys_b64(self.flag_at(group, peer, step, group.rank), flag(old, 0)) };
            }
        }
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
        let sent = flag(self.number, group.signature);
        let began = gpu::global_timer();
        // SAFETY: the caller guarantees workspaces of both ranks. This rank alone writes its flag in the peer's, and the peer
        // its own in this one's, both by system-wide instructions.
        unsafe {
            gpu::st_release_sys(self.flag_at(group, peer, step, group.rank), sent);
            loop {
                gpu::keep_rolled();
                let seen = gpu::ld_acquire_sys(self.flag_at(group, group.rank, step, peer));
                if self.has_come(group, seen, step) {
                    return true;
                }
                if self.gives_up(group, (peer, step), seen, began) {
                    return false;
                }
            }
        }
    }

    /// The address, in the workspace of rank `at`, of rank `of`'s flag for this block.
    #[inline(always)]
    fn flag_at(self, group: &GroupArgs, at: u32, step: u32, of: u32) -> u64 {
        let place = FLAGS + step as u64 * STEP_FLAGS + self.block as u64 * BLOCK_FLAGS;
        workspace(group, at) + place + 8 * of as u64
    }

    /// How many calls a peer is ahead, by its flag.
    #[inline(always)]
    fn ahead(self, seen: u64) -> i32 {
        ((seen >> 32) as u32).wrapping_sub(self.number) as i32
    }

    /// Whether a flag is that of a peer which has come to `step` of this call.
    ///
    /// Who has seen this rank's flag goes on, and may come to the next call before its flag has been seen here. It waits for this
    /// rank there, so it cannot be ahead by two.
    #[inline(always)]
    pub fn has_come(self, group: &GroupArgs, seen: u64, step: u32) -> bool {
        seen == flag(self.number, group.signature) || self.ahead(seen) == 1 && step == 0
    }

    /// Whether waiting for a peer at `step` has come to an end, which all ranks are told then. Its flag, `seen`, may be one that
    /// [has come](Call::has_come), if that is not all that is waited for.
    ///
    /// # Safety
    /// As [`begin`](Call::begin). Workspaces of peers may be written.
    #[inline(always)]
    pub unsafe fn gives_up(self, group: &GroupArgs, (peer, step): (u32, u32), seen: u64, began: u64) -> bool {
        let ahead = self.ahead(seen);
        // SAFETY: the caller guarantees the workspaces.
        unsafe {
            let told = gpu::ld_relaxed_sys(own(group) + FAILURE);
            let failure = if told != 0 {
                told
            } else if ahead == 0 && seen != flag(self.number, group.signature) {
                Failure::word(Failure::OTHER_CALL, peer)
            } else if ahead > 1 - step as i32 {
                Failure::word(Failure::OTHER_EPOCH, peer)
            } else if gpu::global_timer().wrapping_sub(began) > group.patience {
                Failure::word(Failure::ABSENT, peer)
            } else {
                return false;
            };
            tell(group, failure);
        }
        true
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

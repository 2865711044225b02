//! Stock rustc, target `nvptx64-nvidia-cuda`.
//!
//! Barriers and shuffles are LLVM intrinsics, not `asm!`: LLVM knows that the intrinsics are
//! convergent and keeps each in one place, where it copies `asm!` into divergent branches. Shared
//! memory is reached through `asm!` by 32-bit addresses.

use core::arch::{asm, global_asm, nvptx};

/// An entry point of this name.
macro_rules! kernel {
    ($name:expr, fn kernel($($arg:ident: $type:ty),*) $body:block) => {
        const _: () = {
            #[unsafe(export_name = $name)]
            unsafe extern "ptx-kernel" fn kernel($($arg: $type),*) $body
        };
    };
}
pub(crate) use kernel;

// The block's scratch memory, the mbarrier at byte 640 of it, and behind it what the launch adds, for
// the row: from a multiple of 128 on, or a warp's accesses touch five lines in place of four, which
// takes 7 % longer at 65536 f16 (NVIDIA H200, 2026-11-23).
global_asm!(".shared .align 128 .b8 norm_partials[768];", ".extern .shared .align 16 .b8 norm_row[];");

unsafe extern "unadjusted" {
    #[link_name = "llvm.nvvm.shfl.sync.bfly.f32"]
    fn shfl_sync_bfly_f32(members: u32, value: f32, lane_mask: u32, clamp: u32) -> f32;
}

#[cfg(sm_90)]
unsafe extern "unadjusted" {
    #[link_name = "llvm.nvvm.barrier.cluster.arrive.relaxed"]
    fn barrier_cluster_arrive_relaxed();
    #[link_name = "llvm.nvvm.barrier.cluster.wait"]
    fn barrier_cluster_wait();
}

/// The thread's place along its row.
#[inline(always)]
pub fn thread_x() -> u32 {
    // SAFETY: reads a special register.
    unsafe { nvptx::_thread_idx_x() as u32 }
}

/// The row's place in its block.
#[inline(always)]
pub fn thread_y() -> u32 {
    // SAFETY: reads a special register.
    unsafe { nvptx::_thread_idx_y() as u32 }
}

/// Threads along a row.
#[inline(always)]
pub fn block_x() -> u32 {
    // SAFETY: reads a special register.
    unsafe { nvptx::_block_dim_x() as u32 }
}

/// Rows in a block.
#[inline(always)]
pub fn block_y() -> u32 {
    // SAFETY: reads a special register.
    unsafe { nvptx::_block_dim_y() as u32 }
}

/// The block's place in the grid.
#[inline(always)]
pub fn grid_x() -> u32 {
    // SAFETY: reads a special register.
    unsafe { nvptx::_block_idx_x() as u32 }
}

/// Blocks of the grid.
#[inline(always)]
#[cfg(sm_90)]
pub fn grid_blocks() -> u32 {
    // SAFETY: reads a special register.
    unsafe { nvptx::_grid_dim_x() as u32 }
}

/// Says that this block has started, which [`cluster_wait`] is to wait for: shared memory of a
/// block that has not must not be written.
#[inline(always)]
pub fn cluster_announce() {
    #[cfg(sm_90)]
    // SAFETY: a wait follows, before the kernel ends; all threads of a cluster come here.
    unsafe {
        barrier_cluster_arrive_relaxed()
    }
}

/// Waits until all blocks of the cluster have started.
#[inline(always)]
pub fn cluster_wait() {
    #[cfg(sm_90)]
    // SAFETY: every thread has arrived before it waits.
    unsafe {
        barrier_cluster_wait()
    }
}

/// Makes the block's mbarrier, for what the cluster's blocks send. One thread calls, once, before
/// [`cluster_announce`].
#[inline(always)]
pub fn ready_to_receive() {
    #[cfg(sm_90)]
    // SAFETY: the mbarrier is in the scratch memory, where nothing else is.
    unsafe {
        asm!(
            "{{ .reg .b32 %barrier; mov.b32 %barrier, norm_partials; add.u32 %barrier, %barrier, 640;",
            "mbarrier.init.shared::cta.b64 [%barrier], 1; fence.mbarrier_init.release.cluster; }}",
            options(nostack, preserves_flags)
        )
    }
}

/// Says how many bytes the cluster's blocks send. One thread calls, once, a [`barrier`] after
/// [`ready_to_receive`]; some of the bytes may have come already.
#[inline(always)]
pub fn expect_received(bytes: u32) {
    #[cfg(not(sm_90))]
    let _ = bytes;
    #[cfg(sm_90)]
    // SAFETY: as for `ready_to_receive`.
    unsafe {
        asm!(
            "{{ .reg .b32 %barrier; .reg .b64 %state;",
            "mov.b32 %barrier, norm_partials; add.u32 %barrier, %barrier, 640;",
            "mbarrier.arrive.expect_tx.shared::cta.b64 %state, [%barrier], {bytes}; }}",
            bytes = in(reg32) bytes,
            options(nostack, preserves_flags)
        )
    }
}

/// Whether all bytes that were expected have arrived, and can be read. May wait for them a while.
#[inline(always)]
pub fn has_received() -> bool {
    let received: u32;
    // SAFETY: as for `ready_to_receive`.
    #[cfg(sm_90)]
    unsafe {
        asm!(
            "{{ .reg .b32 %barrier; .reg .pred %received;",
            "mov.b32 %barrier, norm_partials; add.u32 %barrier, %barrier, 640;",
            "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %received, [%barrier], 0;",
            "selp.b32 {received}, 1, 0, %received; }}",
            received = out(reg32) received,
            options(nostack, preserves_flags)
        )
    }
    #[cfg(not(sm_90))]
    {
        received = 1;
    }
    received != 0
}

/// Waits for all threads of the block, and makes their shared memory writes visible.
#[inline(always)]
pub fn barrier() {
    // SAFETY: no kernel places a barrier where only some threads of a block come.
    unsafe { nvptx::_syncthreads() }
}

/// The value of the lane whose number differs by `lane_mask`. All 32 lanes must call.
#[inline(always)]
pub fn shuffle_xor(value: f32, lane_mask: u32) -> f32 {
    // SAFETY: no kernel places a shuffle where only some lanes of a warp come.
    unsafe { shfl_sync_bfly_f32(u32::MAX, value, lane_mask, 31) }
}

/// The counter of a loop that is not to be unrolled before ptxas sees it: rustc's LLVM leaves such
/// loops alone.
#[inline(always)]
pub fn opaque(counter: u32) -> u32 {
    counter
}

/// `yes` or `no`.
#[inline(always)]
pub fn select(condition: bool, yes: f64, no: f64) -> f64 {
    if condition { yes } else { no }
}

/// Writes a float to the block's scratch memory, at a byte offset.
///
/// # Safety
/// `offset` is a multiple of 4 below 640, and no other thread touches it between the two
/// barriers around.
#[inline(always)]
pub unsafe fn store_shared(offset: u32, value: f32) {
    // SAFETY: the caller keeps `offset` in the scratch memory.
    unsafe {
        asm!(
            "{{ .reg .b32 %place; mov.b32 %place, norm_partials; add.u32 %place, %place, {offset};",
            "st.shared.b32 [%place], {value}; }}",
            offset = in(reg32) offset,
            value = in(reg32) value,
            options(nostack, preserves_flags)
        )
    }
}

/// Reads four floats from the block's scratch memory.
///
/// # Safety
/// `offset` is a multiple of 16 below 640; the 16 bytes there were written before the last
/// barrier and are not rewritten before the next.
#[inline(always)]
pub unsafe fn load4_shared(offset: u32) -> [f32; 4] {
    let (a, b, c, d);
    // SAFETY: the caller keeps `offset` in the scratch memory.
    unsafe {
        asm!(
            "{{ .reg .b32 %place; mov.b32 %place, norm_partials; add.u32 %place, %place, {offset};",
            "ld.shared.v4.b32 {{{a}, {b}, {c}, {d}}}, [%place]; }}",
            offset = in(reg32) offset,
            a = out(reg32) a,
            b = out(reg32) b,
            c = out(reg32) c,
            d = out(reg32) d,
            options(nostack, preserves_flags)
        )
    }
    [a, b, c, d]
}

/// Sends four floats to the scratch memory of a block of the cluster, at a byte offset, where
/// [`has_received`] tells of their arrival. A cluster's barrier in its place takes 9 % longer at 262144
/// f16 (NVIDIA H200, 2026-11-23): what makes stores visible to it, `MEMBAR.ALL.GPU`, waits for all
/// memory accesses before it.
///
/// # Safety
/// `offset` is a multiple of 16 below 640, block `rank` of the cluster has started, expects them and
/// does not end before they have arrived, and no other thread touches the 16 bytes.
#[inline(always)]
pub unsafe fn send4(rank: u32, offset: u32, values: [f32; 4]) {
    #[cfg(not(sm_90))]
    let _ = (rank, offset, values);
    #[cfg(sm_90)]
    // SAFETY: the caller keeps `offset` in the scratch memory.
    unsafe {
        let [a, b, c, d] = values;
        asm!(
            "{{ .reg .b32 %place, %barrier; mov.b32 %place, norm_partials; add.u32 %barrier, %place, 640;",
            "add.u32 %place, %place, {offset};",
            "mapa.shared::cluster.u32 %place, %place, {rank};",
            "mapa.shared::cluster.u32 %barrier, %barrier, {rank};",
            "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%place], {{{a}, {b}, {c}, {d}}}, [%barrier]; }}",
            offset = in(reg32) offset,
            rank = in(reg32) rank,
            a = in(reg32) a,
            b = in(reg32) b,
            c = in(reg32) c,
            d = in(reg32) d,
            options(nostack, preserves_flags)
        )
    }
}

/// Starts to copy 8 or 16 bytes from global memory into the row's shared memory, or to fill them
/// with zeros where not `wanted`. The line is of no further use to the L2 cache.
macro_rules! stage {
    ($opcode:literal, $bytes:literal, $slot:ident, $address:ident, $wanted:ident) => {
        asm!(
            "{{ .reg .b32 %place; .reg .b64 %policy;",
            "createpolicy.fractional.L2::evict_first.b64 %policy, 1.0;",
            "mov.b32 %place, norm_row; add.u32 %place, %place, {slot};",
            concat!($opcode, ".shared.global.L2::cache_hint [%place], [{address}], ", $bytes, ", {size}, %policy; }}"),
            slot = in(reg32) $slot,
            address = in(reg64) $address,
            size = in(reg32) if $wanted { $bytes } else { 0u32 },
            options(nostack, preserves_flags)
        )
    };
}

/// Starts to copy 8 bytes from global memory into the row's shared memory, or zeros where not
/// `wanted`.
///
/// # Safety
/// Where `wanted`, `address` is that of 8 readable bytes in global memory, aligned to 8. `slot` is
/// a multiple of 8 below the launch's shared memory, and belongs to this thread.
#[inline(always)]
pub unsafe fn stage2(slot: u32, address: u64, wanted: bool) {
    // SAFETY: the caller vouches for both places.
    unsafe { stage!("cp.async.ca", 8, slot, address, wanted) }
}

/// Starts to copy 16 bytes from global memory into the row's shared memory, or zeros where not
/// `wanted`.
///
/// # Safety
/// As [`stage2`], with 16 for 8.
#[inline(always)]
pub unsafe fn stage4(slot: u32, address: u64, wanted: bool) {
    // SAFETY: the caller vouches for both places.
    unsafe { stage!("cp.async.cg", 16, slot, address, wanted) }
}

/// An access to the row's shared memory.
macro_rules! staged {
    ($slot:ident, $access:literal, $($operands:tt)+) => {
        asm!(
            "{{ .reg .b32 %place; mov.b32 %place, norm_row; add.u32 %place, %place, {slot};",
            concat!($access, "; }}"),
            slot = in(reg32) $slot,
            $($operands)+,
            options(nostack, preserves_flags)
        )
    };
}

/// Reads two words of the row's shared memory.
///
/// # Safety
/// `slot` is as for [`stage2`], and the 8 bytes were written by this thread.
#[inline(always)]
pub unsafe fn load2_staged(slot: u32) -> [u32; 2] {
    let (a, b);
    // SAFETY: the caller vouches for the place.
    unsafe { staged!(slot, "ld.shared.v2.b32 {{{a}, {b}}}, [%place]", a = out(reg32) a, b = out(reg32) b) }
    [a, b]
}

/// Reads four words of the row's shared memory.
///
/// # Safety
/// `slot` is as for [`stage4`], and the 16 bytes were written by this thread.
#[inline(always)]
pub unsafe fn load4_staged(slot: u32) -> [u32; 4] {
    let (a, b, c, d);
    // SAFETY: the caller vouches for the place.
    unsafe {
        staged!(
            slot,
            "ld.shared.v4.b32 {{{a}, {b}, {c}, {d}}}, [%place]",
            a = out(reg32) a,
            b = out(reg32) b,
            c = out(reg32) c,
            d = out(reg32) d
        )
    }
    [a, b, c, d]
}

/// Writes two words of the row's shared memory.
///
/// # Safety
/// `slot` is as for [`stage2`].
#[inline(always)]
pub unsafe fn store2_staged(slot: u32, [a, b]: [u32; 2]) {
    // SAFETY: the caller vouches for the place.
    unsafe { staged!(slot, "st.shared.v2.b32 [%place], {{{a}, {b}}}", a = in(reg32) a, b = in(reg32) b) }
}

/// Writes four words of the row's shared memory.
///
/// # Safety
/// `slot` is as for [`stage4`].
#[inline(always)]
pub unsafe fn store4_staged(slot: u32, [a, b, c, d]: [u32; 4]) {
    // SAFETY: the caller vouches for the place.
    unsafe {
        staged!(
            slot,
            "st.shared.v4.b32 [%place], {{{a}, {b}, {c}, {d}}}",
            a = in(reg32) a,
            b = in(reg32) b,
            c = in(reg32) c,
            d = in(reg32) d
        )
    }
}

/// `a * b + c`, rounded once.
#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    core::intrinsics::fmaf32(a, b, c)
}

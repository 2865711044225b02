//! The block's shared memory, and what the blocks of a cluster send each other.
//!
//! Shared memory is accessed in `asm!` by 32-bit addresses. Where it begins differs between the two compilers: `scratch`
//! and `row` of `stock` and `rust_cuda`.

use super::{asm, scratch};

/// Bytes of the block's scratch memory. The row lies behind it and has to begin at a multiple of 128: otherwise a warp's
/// access touches five lines of 128 bytes instead of four, which takes 7 % longer at 65536 f16 (NVIDIA H200, 2026-11-23).
pub const SCRATCH_BYTES: usize = 896;

/// The mbarrier's offset in the scratch memory; the bytes before it serve the reductions.
const MBARRIER: u32 = 768;

/// Writes a float to the block's scratch memory, at a byte offset.
///
/// # Safety
/// `offset` is a multiple of 4 below 768, and no other thread touches these 4 bytes between the barrier before the call and
/// the one after it.
#[inline(always)]
pub unsafe fn st_scratch(offset: u32, value: f32) {
    // SAFETY: the caller guarantees that the 4 bytes lie in the scratch memory and that no other thread touches them.
    unsafe {
        asm!(
            "st.shared.b32 [{place}], {value};",
            place = in(reg32) scratch() + offset,
            value = in(reg32) value,
            options(nostack, preserves_flags)
        )
    }
}

/// Reads a float from the block's scratch memory.
///
/// # Safety
/// `offset` is a multiple of 4 below 768; the 4 bytes there were written before the last barrier and are not rewritten before
/// the next.
#[inline(always)]
pub unsafe fn ld_scratch(offset: u32) -> f32 {
    let value;
    // SAFETY: the caller guarantees that the 4 bytes lie in the scratch memory and were written before a barrier.
    unsafe {
        asm!(
            "ld.shared.b32 {value}, [{place}];",
            place = in(reg32) scratch() + offset,
            value = out(reg32) value,
            options(nostack, preserves_flags)
        )
    }
    value
}

/// Reads four floats from the block's scratch memory.
///
/// # Safety
/// `offset` is a multiple of 16 below 768; the 16 bytes there were written before the last
/// barrier and are not rewritten before the next.
#[inline(always)]
pub unsafe fn ld_scratch_v4(offset: u32) -> [f32; 4] {
    // SAFETY: the caller guarantees that the 16 bytes lie in the scratch memory and were written before a barrier.
    unsafe { ld_shared_v4(scratch() + offset) }.map(f32::from_bits)
}

/// `barrier.cluster.arrive.relaxed`: tells the cluster that this block has started. [`cluster_wait`] waits for all blocks'
/// arrivals, because shared memory of a block that has not started must not be written.
///
/// The instruction has no `.aligned`, so that it stays correct if the compiler copies it into both sides of a branch.
#[inline(always)]
pub fn cluster_arrive_relaxed() {
    #[cfg(sm_90)]
    // SAFETY: all threads of the cluster arrive, and each waits by `cluster_wait` before the kernel ends.
    unsafe {
        asm!("barrier.cluster.arrive.relaxed;", options(nostack, preserves_flags))
    }
}

/// `barrier.cluster.wait`: waits until all blocks of the cluster have started.
#[inline(always)]
pub fn cluster_wait() {
    #[cfg(sm_90)]
    // SAFETY: every thread has arrived (`cluster_arrive_relaxed`) before it waits.
    unsafe {
        asm!("barrier.cluster.wait;", options(nostack, preserves_flags))
    }
}

/// `mbarrier.init`: initializes the block's mbarrier, which counts the bytes that the cluster's blocks send. One thread
/// calls it, once, before [`cluster_arrive_relaxed`].
#[inline(always)]
pub fn mbarrier_init() {
    #[cfg(sm_90)]
    // SAFETY: the mbarrier's 8 bytes lie in the scratch memory and serve nothing else.
    unsafe {
        asm!(
            "mbarrier.init.shared::cta.b64 [{barrier}], 1; fence.mbarrier_init.release.cluster;",
            barrier = in(reg32) scratch() + MBARRIER,
            options(nostack, preserves_flags)
        )
    }
}

/// `mbarrier.arrive.expect_tx`: states how many bytes the cluster's blocks send to this one. One thread calls it, once,
/// after [`mbarrier_init`] with a [`barrier`](super::barrier) between them. Some of the bytes may have arrived already.
#[inline(always)]
pub fn mbarrier_arrive_expect_tx(bytes: u32) {
    #[cfg(not(sm_90))]
    let _ = bytes;
    #[cfg(sm_90)]
    // SAFETY: `mbarrier_init` has initialized the mbarrier at this address.
    unsafe {
        asm!(
            "{{ .reg .b64 %state;",
            "mbarrier.arrive.expect_tx.shared::cta.b64 %state, [{barrier}], {bytes}; }}",
            barrier = in(reg32) scratch() + MBARRIER,
            bytes = in(reg32) bytes,
            options(nostack, preserves_flags)
        )
    }
}

/// `mbarrier.try_wait`: whether all expected bytes have arrived and are visible. May wait for them a while.
#[inline(always)]
pub fn mbarrier_try_wait() -> bool {
    let received: u32;
    // SAFETY: `mbarrier_init` has initialized the mbarrier at this address.
    #[cfg(sm_90)]
    unsafe {
        asm!(
            "{{ .reg .pred %received;",
            "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %received, [{barrier}], 0;",
            "selp.b32 {received}, 1, 0, %received; }}",
            barrier = in(reg32) scratch() + MBARRIER,
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

/// `st.async`: sends four floats to the scratch memory of another block of the cluster, at a byte offset. There
/// [`mbarrier_try_wait`] reports their arrival.
///
/// A barrier of the whole cluster would take 9 % longer at 262144 f16 (NVIDIA H200, 2026-11-23), because the fence that
/// makes stores visible to it, `MEMBAR.ALL.GPU`, waits for all memory accesses before it.
///
/// # Safety
/// `offset` is a multiple of 16 below 768, block `rank` of the cluster has started, expects them and
/// does not end before they have arrived, and no other thread touches the 16 bytes.
#[inline(always)]
pub unsafe fn st_async_v4(rank: u32, offset: u32, values: [f32; 4]) {
    #[cfg(not(sm_90))]
    let _ = (rank, offset, values);
    #[cfg(sm_90)]
    // SAFETY: the caller guarantees that the 16 bytes lie in the scratch memory of a block that has started and has not
    // ended, and that no other thread touches them.
    unsafe {
        let [a, b, c, d] = values;
        asm!(
            "{{ .reg .b32 %place, %barrier; mapa.shared::cluster.u32 %place, {place}, {rank};",
            "mapa.shared::cluster.u32 %barrier, {barrier}, {rank};",
            "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%place], {{{a}, {b}, {c}, {d}}}, [%barrier]; }}",
            place = in(reg32) scratch() + offset,
            barrier = in(reg32) scratch() + MBARRIER,
            rank = in(reg32) rank,
            a = in(reg32) a,
            b = in(reg32) b,
            c = in(reg32) c,
            d = in(reg32) d,
            options(nostack, preserves_flags)
        )
    }
}

/// `cp.async`: starts to copy 8 or 16 bytes from global memory into the row's shared memory, or to fill them with zeros if
/// not `wanted`. The cache line may leave the L2 cache first, as no block reads it again.
macro_rules! cp_async {
    ($opcode:literal, $bytes:literal, $slot:ident, $address:ident, $wanted:ident) => {
        asm!(
            "{{ .reg .b64 %policy; createpolicy.fractional.L2::evict_first.b64 %policy, 1.0;",
            concat!($opcode, ".shared.global.L2::cache_hint [{place}], [{address}], ", $bytes, ", {size}, %policy; }}"),
            place = in(reg32) $slot,
            address = in(reg64) $address,
            size = in(reg32) if $wanted { $bytes } else { 0u32 },
            options(nostack, preserves_flags)
        )
    };
}

/// `cp.async`: starts to copy 8 bytes from global memory into the row's shared memory, or zeros if not `wanted`.
///
/// # Safety
/// Where `wanted`, `address` is that of 8 readable bytes in global memory, aligned to 8. `slot` is the
/// address of 8 bytes from [`row`](super::row) on, a multiple of 8 behind it and within the launch's
/// shared memory, and belongs to this thread.
#[inline(always)]
pub unsafe fn cp_async_8(slot: u32, address: u64, wanted: bool) {
    // SAFETY: the caller guarantees that the slot is shared memory of this thread's, and the address readable if `wanted`.
    unsafe { cp_async!("cp.async.ca", 8, slot, address, wanted) }
}

/// `cp.async`: starts to copy 16 bytes from global memory into the row's shared memory, or zeros if not `wanted`.
///
/// # Safety
/// As for [`cp_async_8`], with 16 bytes and an alignment of 16 in place of 8.
#[inline(always)]
pub unsafe fn cp_async_16(slot: u32, address: u64, wanted: bool) {
    // SAFETY: the caller guarantees that the slot is shared memory of this thread's, and the address readable if `wanted`.
    unsafe { cp_async!("cp.async.cg", 16, slot, address, wanted) }
}

/// `cp.async.wait_all`: waits for all copies that this thread has started.
#[inline(always)]
pub fn cp_async_wait_all() {
    // SAFETY: only waits.
    unsafe { asm!("cp.async.wait_all;", options(nostack, preserves_flags)) }
}

/// Reads two words of the row's shared memory.
///
/// # Safety
/// `slot` is as for [`cp_async_8`], and the 8 bytes were written by this thread.
#[inline(always)]
pub unsafe fn ld_shared_v2(slot: u32) -> [u32; 2] {
    let (a, b);
    // SAFETY: the caller guarantees 8 bytes of shared memory at `slot`, aligned to 8, that this thread has written.
    unsafe {
        asm!(
            "ld.shared.v2.b32 {{{a}, {b}}}, [{place}];",
            place = in(reg32) slot,
            a = out(reg32) a,
            b = out(reg32) b,
            options(nostack, preserves_flags)
        )
    }
    [a, b]
}

/// Writes two words of the row's shared memory.
///
/// # Safety
/// `slot` is as for [`cp_async_8`].
#[inline(always)]
pub unsafe fn st_shared_v2(slot: u32, [a, b]: [u32; 2]) {
    // SAFETY: the caller guarantees 8 bytes of shared memory at `slot`, aligned to 8, that belong to this thread.
    unsafe {
        asm!(
            "st.shared.v2.b32 [{place}], {{{a}, {b}}};",
            place = in(reg32) slot,
            a = in(reg32) a,
            b = in(reg32) b,
            options(nostack, preserves_flags)
        )
    }
}

/// Writes four words of the row's shared memory.
///
/// # Safety
/// `slot` is as for [`cp_async_16`].
#[inline(always)]
pub unsafe fn st_shared_v4(slot: u32, [a, b, c, d]: [u32; 4]) {
    // SAFETY: the caller guarantees 16 bytes of shared memory at `slot`, aligned to 16, that belong to this thread.
    unsafe {
        asm!(
            "st.shared.v4.b32 [{place}], {{{a}, {b}, {c}, {d}}};",
            place = in(reg32) slot,
            a = in(reg32) a,
            b = in(reg32) b,
            c = in(reg32) c,
            d = in(reg32) d,
            options(nostack, preserves_flags)
        )
    }
}

/// Reads four words of shared memory, the scratch memory's or the row's.
///
/// # Safety
/// `place` is a multiple of 16 and the address of 16 bytes of the block's shared memory. This thread has written them, or
/// another one has before the last barrier.
#[inline(always)]
pub unsafe fn ld_shared_v4(place: u32) -> [u32; 4] {
    let (a, b, c, d);
    // SAFETY: the caller guarantees 16 bytes of shared memory at `place`, aligned to 16, whose writes are visible here.
    unsafe {
        asm!(
            "ld.shared.v4.b32 {{{a}, {b}, {c}, {d}}}, [{place}];",
            place = in(reg32) place,
            a = out(reg32) a,
            b = out(reg32) b,
            c = out(reg32) c,
            d = out(reg32) d,
            options(nostack, preserves_flags)
        )
    }
    [a, b, c, d]
}

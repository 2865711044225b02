//! The block's shared memory, and what the blocks of a cluster send each other.
//!
//! Shared memory is reached by 32-bit addresses in `asm!`: of it, each compiler says only where it
//! begins.

use super::{asm, scratch};

/// Bytes of the block's scratch memory. The row lies behind it, and is to begin at a multiple of 128, or a
/// warp's accesses touch five lines in place of four, which takes 7 % longer at 65536 f16 (NVIDIA H200,
/// 2026-11-23).
pub const SCRATCH_BYTES: usize = 896;

/// Where in it the mbarrier is; what is before is free.
const MBARRIER: u32 = 768;

/// Writes a float to the block's scratch memory, at a byte offset.
///
/// # Safety
/// `offset` is a multiple of 4 below 768, and no other thread touches it between the two
/// barriers around.
#[inline(always)]
pub unsafe fn st_scratch(offset: u32, value: f32) {
    // SAFETY: the caller keeps `offset` in the scratch memory.
    unsafe {
        asm!(
            "st.shared.b32 [{place}], {value};",
            place = in(reg32) scratch() + offset,
            value = in(reg32) value,
            options(nostack, preserves_flags)
        )
    }
}

/// Reads four floats from the block's scratch memory.
///
/// # Safety
/// `offset` is a multiple of 16 below 768; the 16 bytes there were written before the last
/// barrier and are not rewritten before the next.
#[inline(always)]
pub unsafe fn ld_scratch_v4(offset: u32) -> [f32; 4] {
    // SAFETY: the caller keeps `offset` in the scratch memory.
    unsafe { ld_shared_v4(scratch() + offset) }.map(f32::from_bits)
}

/// Says that this block has started, which [`cluster_wait`] is to wait for: shared memory of a
/// block that has not must not be written.
///
/// Without `.aligned` a copy of it in each branch would do no harm.
#[inline(always)]
pub fn cluster_arrive_relaxed() {
    #[cfg(sm_90)]
    // SAFETY: a wait follows, before the kernel ends; all threads of a cluster come here.
    unsafe {
        asm!("barrier.cluster.arrive.relaxed;", options(nostack, preserves_flags))
    }
}

/// Waits until all blocks of the cluster have started.
#[inline(always)]
pub fn cluster_wait() {
    #[cfg(sm_90)]
    // SAFETY: every thread has arrived before it waits.
    unsafe {
        asm!("barrier.cluster.wait;", options(nostack, preserves_flags))
    }
}

/// Makes the block's mbarrier, for what the cluster's blocks send. One thread calls, once, before
/// [`cluster_arrive_relaxed`].
#[inline(always)]
pub fn mbarrier_init() {
    #[cfg(sm_90)]
    // SAFETY: the mbarrier is in the scratch memory, where nothing else is.
    unsafe {
        asm!(
            "mbarrier.init.shared::cta.b64 [{barrier}], 1; fence.mbarrier_init.release.cluster;",
            barrier = in(reg32) scratch() + MBARRIER,
            options(nostack, preserves_flags)
        )
    }
}

/// Says how many bytes the cluster's blocks send. One thread calls, once, a
/// [`barrier`](super::barrier) after [`mbarrier_init`]; some of the bytes may have come already.
#[inline(always)]
pub fn mbarrier_arrive_expect_tx(bytes: u32) {
    #[cfg(not(sm_90))]
    let _ = bytes;
    #[cfg(sm_90)]
    // SAFETY: as for `mbarrier_init`.
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

/// Whether all bytes that were expected have arrived, and can be read. May wait for them a while.
#[inline(always)]
pub fn mbarrier_try_wait() -> bool {
    let received: u32;
    // SAFETY: as for `mbarrier_init`.
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

/// Sends four floats to the scratch memory of a block of the cluster, at a byte offset, where
/// [`mbarrier_try_wait`] tells of their arrival. A cluster's barrier in its place takes 9 % longer at 262144
/// f16 (NVIDIA H200, 2026-11-23): what makes stores visible to it, `MEMBAR.ALL.GPU`, waits for all
/// memory accesses before it.
///
/// # Safety
/// `offset` is a multiple of 16 below 768, block `rank` of the cluster has started, expects them and
/// does not end before they have arrived, and no other thread touches the 16 bytes.
#[inline(always)]
pub unsafe fn st_async_v4(rank: u32, offset: u32, values: [f32; 4]) {
    #[cfg(not(sm_90))]
    let _ = (rank, offset, values);
    #[cfg(sm_90)]
    // SAFETY: the caller keeps `offset` in the scratch memory.
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

/// Starts to copy 8 or 16 bytes from global memory into the row's shared memory, or to fill them
/// with zeros where not `wanted`. The line is of no further use to the L2 cache.
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

/// Starts to copy 8 bytes from global memory into the row's shared memory, or zeros where not
/// `wanted`.
///
/// # Safety
/// Where `wanted`, `address` is that of 8 readable bytes in global memory, aligned to 8. `slot` is the
/// address of 8 bytes from [`row`](super::row) on, a multiple of 8 behind it and within the launch's
/// shared memory, and belongs to this thread.
#[inline(always)]
pub unsafe fn cp_async_8(slot: u32, address: u64, wanted: bool) {
    // SAFETY: the caller keeps the slot in this thread's shared memory and the address readable.
    unsafe { cp_async!("cp.async.ca", 8, slot, address, wanted) }
}

/// Starts to copy 16 bytes from global memory into the row's shared memory, or zeros where not
/// `wanted`.
///
/// # Safety
/// As for [`cp_async_8`], with 16 bytes and an alignment of 16 in place of 8.
#[inline(always)]
pub unsafe fn cp_async_16(slot: u32, address: u64, wanted: bool) {
    // SAFETY: the caller keeps the slot in this thread's shared memory and the address readable.
    unsafe { cp_async!("cp.async.cg", 16, slot, address, wanted) }
}

/// Waits for all copies that this thread has started.
#[inline(always)]
pub fn cp_async_wait_all() {
    // SAFETY: waits.
    unsafe { asm!("cp.async.wait_all;", options(nostack, preserves_flags)) }
}

/// Reads two words of the row's shared memory.
///
/// # Safety
/// `slot` is as for [`cp_async_8`], and the 8 bytes were written by this thread.
#[inline(always)]
pub unsafe fn ld_shared_v2(slot: u32) -> [u32; 2] {
    let (a, b);
    // SAFETY: the caller keeps the place in this thread's or the block's shared memory.
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
    // SAFETY: the caller keeps the place in this thread's or the block's shared memory.
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
    // SAFETY: the caller keeps the place in this thread's or the block's shared memory.
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

/// Reads four words of shared memory, of the scratch memory or of the row's.
///
/// # Safety
/// `place` is a multiple of 16 and the address of 16 bytes of the block's shared memory, which this thread has
/// written, or another one before the last barrier.
#[inline(always)]
pub unsafe fn ld_shared_v4(place: u32) -> [u32; 4] {
    let (a, b, c, d);
    // SAFETY: the caller keeps the place in this thread's or the block's shared memory.
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

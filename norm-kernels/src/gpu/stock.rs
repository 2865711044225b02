//! Stock rustc, target `nvptx64-nvidia-cuda`.
//!
//! Barriers and shuffles are LLVM intrinsics, not `asm!`: LLVM knows that the intrinsics are
//! convergent and keeps each in one place, where it copies `asm!` into divergent branches.
//! Memory is reached through `asm!`, which alone can state cache hints; `volatile` by default,
//! such blocks stay in the order of the source, so a store to `y` cannot overtake a load of the
//! same bytes through `x`.

use core::arch::{asm, global_asm, nvptx};

// The block's scratch memory, and behind it what the launch adds, for the row.
global_asm!(".shared .align 16 .b8 norm_partials[640];", ".extern .shared .align 16 .b8 norm_row[];");

unsafe extern "unadjusted" {
    #[link_name = "llvm.nvvm.shfl.sync.bfly.f32"]
    fn shfl_sync_bfly_f32(members: u32, value: f32, lane_mask: u32, clamp: u32) -> f32;
}

#[cfg(sm_90)]
unsafe extern "unadjusted" {
    #[link_name = "llvm.nvvm.barrier.cluster.arrive"]
    fn barrier_cluster_arrive();
    #[link_name = "llvm.nvvm.barrier.cluster.arrive.relaxed"]
    fn barrier_cluster_arrive_relaxed();
    #[link_name = "llvm.nvvm.barrier.cluster.wait"]
    fn barrier_cluster_wait();
}

/// A special register.
#[cfg(sm_90)]
macro_rules! special {
    ($name:literal) => {{
        let value;
        // SAFETY: reads a special register.
        unsafe {
            asm!(
                concat!("mov.u32 {value}, ", $name, ";"),
                value = out(reg32) value,
                options(pure, nomem, nostack, preserves_flags)
            )
        }
        value
    }};
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

/// The cluster's place in the grid; a block by itself is a cluster of one.
#[inline(always)]
#[cfg(sm_90)]
pub fn cluster() -> u32 {
    special!("%clusterid.x")
}

/// The block's place in its cluster.
#[inline(always)]
#[cfg(sm_90)]
pub fn cluster_rank() -> u32 {
    special!("%cluster_ctarank")
}

/// Blocks of a cluster.
#[inline(always)]
#[cfg(sm_90)]
pub fn cluster_blocks() -> u32 {
    special!("%cluster_nctarank")
}

/// The cluster's place in the grid: every block is a cluster.
#[inline(always)]
#[cfg(not(sm_90))]
pub fn cluster() -> u32 {
    grid_x()
}

/// The block's place in its cluster.
#[inline(always)]
#[cfg(not(sm_90))]
pub fn cluster_rank() -> u32 {
    0
}

/// Blocks of a cluster.
#[inline(always)]
#[cfg(not(sm_90))]
pub fn cluster_blocks() -> u32 {
    1
}

/// Says that this block has started, which [`cluster_wait`] is to wait for: shared memory of a
/// block that has not must not be written.
#[inline(always)]
pub fn cluster_announce() {
    #[cfg(sm_90)]
    // SAFETY: a wait follows before the next arrival; all threads of a cluster come here.
    unsafe {
        barrier_cluster_arrive_relaxed()
    }
}

/// Says that this block has written what others are to read.
#[inline(always)]
pub fn cluster_arrive() {
    #[cfg(sm_90)]
    // SAFETY: as for `cluster_announce`.
    unsafe {
        barrier_cluster_arrive()
    }
}

/// Waits for all threads of the cluster to arrive, and makes visible what they wrote before.
#[inline(always)]
pub fn cluster_wait() {
    #[cfg(sm_90)]
    // SAFETY: every thread has arrived before it waits.
    unsafe {
        barrier_cluster_wait()
    }
}

/// Blocks that run at a time, at most and roughly.
#[cfg(sm_90)]
const RESIDENT: u32 = 2048;

/// Lets the next kernel of the stream start while the last blocks of this one run, if it was
/// launched to; it waits by [`wait_for_previous_kernel`]. Earlier blocks need not say so: they
/// have ended by then, and with 131072 blocks saying so took 160 instead of 127 µs (NVIDIA H200,
/// 2026-11-23).
#[inline(always)]
pub fn let_next_kernel_start() {
    #[cfg(sm_90)]
    // SAFETY: reads a special register, and gives a hint.
    unsafe {
        if grid_x() + RESIDENT >= nvptx::_grid_dim_x() as u32 {
            asm!("griddepcontrol.launch_dependents;", options(nostack, preserves_flags))
        }
    }
}

/// Waits until the kernel before this one has ended and its writes are visible, where this one was
/// let start before.
#[inline(always)]
pub fn wait_for_previous_kernel() {
    #[cfg(sm_90)]
    // SAFETY: waits.
    unsafe {
        asm!("griddepcontrol.wait;", options(nostack, preserves_flags))
    }
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

/// Writes four floats to the scratch memory of another block of the cluster, at a byte offset.
///
/// # Safety
/// `offset` is a multiple of 16 below 640, block `rank` of the cluster has started and waits at a
/// [`cluster_wait`] that comes after this, and no other thread touches the 16 bytes.
#[inline(always)]
pub unsafe fn store4_cluster(rank: u32, offset: u32, values: [f32; 4]) {
    #[cfg(not(sm_90))]
    let _ = (rank, offset, values);
    #[cfg(sm_90)]
    // SAFETY: the caller keeps `offset` in the scratch memory.
    unsafe {
        let [a, b, c, d] = values;
        asm!(
            "{{ .reg .b32 %place; mov.b32 %place, norm_partials; add.u32 %place, %place, {offset};",
            "mapa.shared::cluster.u32 %place, %place, {rank};",
            "st.shared::cluster.v4.f32 [%place], {{{a}, {b}, {c}, {d}}}; }}",
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

/// Waits for all copies that this thread has started.
#[inline(always)]
pub fn wait_for_staged() {
    // SAFETY: waits.
    unsafe { asm!("cp.async.wait_all;", options(nostack, preserves_flags)) }
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

/// Asks the L2 cache for `bytes` bytes, where the device can be asked so.
///
/// # Safety
/// `address` is that of so many bytes in global memory; both are multiples of 16.
#[inline(always)]
pub unsafe fn prefetch_bulk(address: u64, bytes: u32) {
    #[cfg(not(sm_90))]
    let _ = (address, bytes);
    #[cfg(sm_90)]
    // SAFETY: the caller vouches for the memory.
    unsafe {
        asm!(
            "cp.async.bulk.prefetch.L2.global [{address}], {bytes};",
            address = in(reg64) address,
            bytes = in(reg32) bytes,
            options(nostack, preserves_flags)
        )
    }
}

/// How long a loaded line is of use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Read once: kept out of L1. With plain loads the same kernels lose 2 to 5 %.
    Once,
    /// Read again by this thread in a later pass.
    Again,
    /// Read by every block, written by none while the kernel runs.
    Shared,
}

/// A load under a predicate: a branch around it would keep the next load from being issued
/// before this one has arrived.
macro_rules! load {
    ($opcode:literal, $place:literal, $address:ident, $wanted:ident, [$($word:ident),+]) => {
        asm!(
            "{{ .reg .pred %wanted; setp.ne.b32 %wanted, {wanted}, 0;",
            concat!("@%wanted ", $opcode, " ", $place, ", [{address}]; }}"),
            $($word = inout(reg32) $word,)+
            wanted = in(reg32) $wanted as u32,
            address = in(reg64) $address,
            options(nostack, preserves_flags)
        )
    };
}

/// Loads two words where `wanted`, else gives `absent` for each.
///
/// # Safety
/// Where `wanted`, `address` is that of 8 readable bytes in global memory, aligned to 8.
#[inline(always)]
pub unsafe fn load2(address: u64, wanted: bool, absent: u32, reuse: Reuse) -> [u32; 2] {
    let (mut a, mut b) = (absent, absent);
    // SAFETY: the caller vouches for the address.
    unsafe {
        match reuse {
            Reuse::Once => {
                load!("ld.global.L1::no_allocate.v2.b32", "{{{a}, {b}}}", address, wanted, [a, b])
            }
            Reuse::Again => load!("ld.global.v2.b32", "{{{a}, {b}}}", address, wanted, [a, b]),
            Reuse::Shared => load!("ld.global.nc.v2.b32", "{{{a}, {b}}}", address, wanted, [a, b]),
        }
    }
    [a, b]
}

/// Loads four words where `wanted`, else gives `absent` for each.
///
/// # Safety
/// Where `wanted`, `address` is that of 16 readable bytes in global memory, aligned to 16.
#[inline(always)]
pub unsafe fn load4(address: u64, wanted: bool, absent: u32, reuse: Reuse) -> [u32; 4] {
    let (mut a, mut b, mut c, mut d) = (absent, absent, absent, absent);
    // SAFETY: the caller vouches for the address.
    unsafe {
        match reuse {
            Reuse::Once => load!(
                "ld.global.L1::no_allocate.v4.b32",
                "{{{a}, {b}, {c}, {d}}}",
                address,
                wanted,
                [a, b, c, d]
            ),
            Reuse::Again => {
                load!("ld.global.v4.b32", "{{{a}, {b}, {c}, {d}}}", address, wanted, [a, b, c, d])
            }
            Reuse::Shared => {
                load!("ld.global.nc.v4.b32", "{{{a}, {b}, {c}, {d}}}", address, wanted, [a, b, c, d])
            }
        }
    }
    [a, b, c, d]
}

/// Stores two words that this kernel reads no more.
///
/// # Safety
/// `address` is that of 8 writable bytes in global memory, aligned to 8.
#[inline(always)]
pub unsafe fn store2(address: u64, words: [u32; 2]) {
    let [a, b] = words;
    // SAFETY: the caller vouches for the address.
    unsafe {
        asm!(
            "st.global.cs.v2.b32 [{address}], {{{a}, {b}}};",
            address = in(reg64) address,
            a = in(reg32) a,
            b = in(reg32) b,
            options(nostack, preserves_flags)
        )
    }
}

/// Stores four words that this kernel reads no more.
///
/// # Safety
/// `address` is that of 16 writable bytes in global memory, aligned to 16.
#[inline(always)]
pub unsafe fn store4(address: u64, words: [u32; 4]) {
    let [a, b, c, d] = words;
    // SAFETY: the caller vouches for the address.
    unsafe {
        asm!(
            "st.global.cs.v4.b32 [{address}], {{{a}, {b}, {c}, {d}}};",
            address = in(reg64) address,
            a = in(reg32) a,
            b = in(reg32) b,
            c = in(reg32) c,
            d = in(reg32) d,
            options(nostack, preserves_flags)
        )
    }
}

/// Loads 16 bits.
///
/// # Safety
/// `address` is that of 2 readable bytes in global memory, aligned to 2.
#[inline(always)]
pub unsafe fn load_u16(address: u64) -> u16 {
    let bits;
    // SAFETY: the caller vouches for the address.
    unsafe {
        asm!(
            "ld.global.b16 {bits}, [{address}];",
            bits = out(reg16) bits,
            address = in(reg64) address,
            options(nostack, preserves_flags)
        )
    }
    bits
}

/// Loads 32 bits.
///
/// # Safety
/// `address` is that of 4 readable bytes in global memory, aligned to 4.
#[inline(always)]
pub unsafe fn load_u32(address: u64) -> u32 {
    let bits;
    // SAFETY: the caller vouches for the address.
    unsafe {
        asm!(
            "ld.global.b32 {bits}, [{address}];",
            bits = out(reg32) bits,
            address = in(reg64) address,
            options(nostack, preserves_flags)
        )
    }
    bits
}

/// Stores 16 bits.
///
/// # Safety
/// `address` is that of 2 writable bytes in global memory, aligned to 2.
#[inline(always)]
pub unsafe fn store_u16(address: u64, bits: u16) {
    // SAFETY: the caller vouches for the address.
    unsafe {
        asm!(
            "st.global.b16 [{address}], {bits};",
            address = in(reg64) address,
            bits = in(reg16) bits,
            options(nostack, preserves_flags)
        )
    }
}

/// Stores 32 bits.
///
/// # Safety
/// `address` is that of 4 writable bytes in global memory, aligned to 4.
#[inline(always)]
pub unsafe fn store_u32(address: u64, bits: u32) {
    // SAFETY: the caller vouches for the address.
    unsafe {
        asm!(
            "st.global.b32 [{address}], {bits};",
            address = in(reg64) address,
            bits = in(reg32) bits,
            options(nostack, preserves_flags)
        )
    }
}

/// The `f32` of an f16's bits: exact.
#[inline(always)]
pub fn f16_to_f32(bits: u16) -> f32 {
    let value;
    // SAFETY: register arithmetic.
    unsafe {
        asm!(
            "cvt.f32.f16 {value}, {bits};",
            value = out(reg32) value,
            bits = in(reg16) bits,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    value
}

/// Two f16 held to ±65504, in one word; NaN stays NaN.
#[inline(always)]
pub fn f16x2_clamp(pair: u32) -> u32 {
    let clamped;
    // SAFETY: register arithmetic.
    unsafe {
        // The lesser magnitude with the sign of both together, which is `pair`'s.
        #[cfg(sm_90)]
        asm!(
            "min.NaN.xorsign.abs.f16x2 {clamped}, {pair}, {largest};",
            clamped = out(reg32) clamped,
            pair = in(reg32) pair,
            largest = in(reg32) 0x7bff_7bffu32,
            options(pure, nomem, nostack, preserves_flags)
        );
        #[cfg(not(sm_90))]
        asm!(
            "min.NaN.f16x2 {clamped}, {pair}, {largest};",
            "max.NaN.f16x2 {clamped}, {clamped}, {smallest};",
            clamped = out(reg32) clamped,
            pair = in(reg32) pair,
            largest = in(reg32) 0x7bff_7bffu32,
            smallest = in(reg32) 0xfbff_fbffu32,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    clamped
}

/// Two floats rounded to nearest even as f16, `low` in the lower half.
#[inline(always)]
pub fn f16x2_from_f32(low: f32, high: f32) -> u32 {
    let bits;
    // SAFETY: register arithmetic.
    unsafe {
        asm!(
            "cvt.rn.f16x2.f32 {bits}, {high}, {low};",
            bits = out(reg32) bits,
            high = in(reg32) high,
            low = in(reg32) low,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    bits
}

/// Two floats rounded to nearest even as bf16, `low` in the lower half.
#[inline(always)]
pub fn bf16x2_from_f32(low: f32, high: f32) -> u32 {
    let bits;
    // SAFETY: register arithmetic.
    unsafe {
        asm!(
            "cvt.rn.bf16x2.f32 {bits}, {high}, {low};",
            bits = out(reg32) bits,
            high = in(reg32) high,
            low = in(reg32) low,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    bits
}

/// `a * b + c`, rounded once.
#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    core::intrinsics::fmaf32(a, b, c)
}

/// `1 / sqrt(value)`, off by 2^-22.9 of it at most (PTX ISA, `rsqrt.approx`): a quarter of what
/// the accuracy promise leaves, and 20 instructions less than a rounded root and reciprocal.
#[inline(always)]
pub fn rsqrt(value: f32) -> f32 {
    let result;
    // SAFETY: register arithmetic.
    unsafe {
        asm!(
            "rsqrt.approx.f32 {result}, {value};",
            result = out(reg32) result,
            value = in(reg32) value,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    result
}

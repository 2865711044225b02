//! Instructions in `asm!`, which both compilers take as they stand.
//!
//! Memory is reached so because `asm!` alone can state cache hints; `volatile` by default, such
//! blocks stay in the order of the source, so a store to `y` cannot overtake a load of the same
//! bytes through `x`. Nothing here is convergent: compilers may copy `asm!` into divergent branches.

use super::asm;
#[cfg(sm_90)]
use super::grid_blocks;
use super::grid_x;

/// Keeps ptxas from unrolling the loop whose body this begins: what it makes for a loop of unknown
/// length takes more time to compile than the rest of a reduction (PTX ISA, "Pragma Strings:
/// nounroll").
#[inline(always)]
pub fn keep_rolled() {
    // SAFETY: no instruction.
    unsafe { asm!(".pragma \"nounroll\";", options(nomem, nostack, preserves_flags)) }
}

/// A special register that neither compiler has a function for.
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

/// Blocks that run at a time, at most and roughly.
#[cfg(sm_90)]
const RESIDENT: u32 = 2048;

/// `griddepcontrol.launch_dependents` (programmatic dependent launch): lets the next kernel of the stream start while the last blocks of this one run, if it was
/// launched to; it waits by [`wait_for_previous_kernel`]. Earlier blocks need not say so: they
/// have ended by then, and with 131072 blocks saying so took 160 instead of 127 µs (NVIDIA H200,
/// 2026-11-23).
#[inline(always)]
pub fn let_next_kernel_start() {
    #[cfg(sm_90)]
    if grid_x() + RESIDENT >= grid_blocks() {
        // SAFETY: gives a hint.
        unsafe { asm!("griddepcontrol.launch_dependents;", options(nostack, preserves_flags)) }
    }
}

/// `griddepcontrol.wait` (programmatic dependent launch): waits until the kernel before this one has ended and its writes are visible, where this one was
/// let start before.
#[inline(always)]
pub fn wait_for_previous_kernel() {
    #[cfg(sm_90)]
    // SAFETY: waits.
    unsafe {
        asm!("griddepcontrol.wait;", options(nostack, preserves_flags))
    }
}

/// Prefetches `bytes` bytes into the L2 cache (`cp.async.bulk.prefetch.L2`), on devices of sm_90 and newer.
///
/// # Safety
/// `address` is that of at least `bytes` bytes in global memory; both are multiples of 16.
#[inline(always)]
pub unsafe fn prefetch_bulk(address: u64, bytes: u32) {
    #[cfg(not(sm_90))]
    let _ = (address, bytes);
    #[cfg(sm_90)]
    // SAFETY: the caller keeps `address` and `bytes` within an allocation; a prefetch writes nothing.
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
pub unsafe fn ld_global_v2(address: u64, wanted: bool, absent: u32, reuse: Reuse) -> [u32; 2] {
    let (mut a, mut b) = (absent, absent);
    // SAFETY: the caller keeps the address that of readable or writable memory of this size and alignment.
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
pub unsafe fn ld_global_v4(address: u64, wanted: bool, absent: u32, reuse: Reuse) -> [u32; 4] {
    let (mut a, mut b, mut c, mut d) = (absent, absent, absent, absent);
    // SAFETY: the caller keeps the address that of readable or writable memory of this size and alignment.
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
pub unsafe fn st_global_v2(address: u64, words: [u32; 2]) {
    let [a, b] = words;
    // SAFETY: the caller keeps the address that of readable or writable memory of this size and alignment.
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
pub unsafe fn st_global_v4(address: u64, words: [u32; 4]) {
    let [a, b, c, d] = words;
    // SAFETY: the caller keeps the address that of readable or writable memory of this size and alignment.
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
pub unsafe fn ld_global_b16(address: u64) -> u16 {
    let bits;
    // SAFETY: the caller keeps the address that of readable or writable memory of this size and alignment.
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
pub unsafe fn ld_global_b32(address: u64) -> u32 {
    let bits;
    // SAFETY: the caller keeps the address that of readable or writable memory of this size and alignment.
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
pub unsafe fn st_global_b16(address: u64, bits: u16) {
    // SAFETY: the caller keeps the address that of readable or writable memory of this size and alignment.
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
pub unsafe fn st_global_b32(address: u64, bits: u32) {
    // SAFETY: the caller keeps the address that of readable or writable memory of this size and alignment.
    unsafe {
        asm!(
            "st.global.b32 [{address}], {bits};",
            address = in(reg64) address,
            bits = in(reg32) bits,
            options(nostack, preserves_flags)
        )
    }
}

/// A word of two halves. ptxas drops it where the word is taken apart again, as it does not with shifts.
#[inline(always)]
pub fn join(low: u16, high: u16) -> u32 {
    let word;
    // SAFETY: register arithmetic.
    unsafe {
        asm!(
            "mov.b32 {word}, {{{low}, {high}}};",
            word = out(reg32) word,
            low = in(reg16) low,
            high = in(reg16) high,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    word
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

//! PTX instructions in `asm!`, for both compilers: global memory, clusters, programmatic dependent launch, arithmetic.
//!
//! Global memory is accessed by `asm!` because nothing else can state cache hints. Such blocks are `volatile` by
//! default: they stay in the order of the source, so a store to `y` cannot overtake a load of the same bytes through
//! `x`. No barrier, shuffle or vote is here, because the compilers do not know that `asm!` is convergent and may copy it
//! into divergent branches.

use super::asm;
#[cfg(sm_90)]
use super::grid_blocks;
use super::grid_x;

/// Keeps ptxas from unrolling the loop whose body begins with this call (PTX ISA, "Pragma Strings: nounroll"). Compiling
/// an unrolled loop of unknown length takes longer than compiling the rest of a reduction.
#[inline(always)]
pub fn keep_rolled() {
    // SAFETY: a directive to ptxas; no instruction is executed.
    unsafe { asm!(".pragma \"nounroll\";", options(nomem, nostack, preserves_flags)) }
}

/// A special register that neither compiler has a function for.
#[cfg(sm_90)]
macro_rules! special {
    ($name:literal) => {{
        let value;
        // SAFETY: reading a special register has no precondition and no effect.
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

/// The cluster's index in the grid (`%clusterid.x`); a block launched without clusters is a cluster of one.
#[inline(always)]
#[cfg(sm_90)]
pub fn cluster() -> u32 {
    special!("%clusterid.x")
}

/// The block's index in its cluster (`%cluster_ctarank`).
#[inline(always)]
#[cfg(sm_90)]
pub fn cluster_rank() -> u32 {
    special!("%cluster_ctarank")
}

/// The number of blocks in a cluster (`%cluster_nctarank`).
#[inline(always)]
#[cfg(sm_90)]
pub fn cluster_blocks() -> u32 {
    special!("%cluster_nctarank")
}

/// The cluster's index in the grid. Before sm_90 every block is a cluster of one.
#[inline(always)]
#[cfg(not(sm_90))]
pub fn cluster() -> u32 {
    grid_x()
}

/// The block's index in its cluster of one.
#[inline(always)]
#[cfg(not(sm_90))]
pub fn cluster_rank() -> u32 {
    0
}

/// The number of blocks in a cluster.
#[inline(always)]
#[cfg(not(sm_90))]
pub fn cluster_blocks() -> u32 {
    1
}

/// Roughly the most blocks that a device runs at the same time.
#[cfg(sm_90)]
const RESIDENT: u32 = 2048;

/// `griddepcontrol.launch_dependents` (programmatic dependent launch, PDL): lets the next kernel of the stream start while
/// the last blocks of this one still run, if that kernel was launched with the attribute for it. It then waits by
/// [`wait_for_previous_kernel`].
///
/// Only the last `RESIDENT` blocks execute the instruction. The next kernel starts once every block has executed it or
/// has ended, and the earlier blocks have ended by then; with 131072 blocks, executing it in all of them took 160 instead
/// of 127 µs (NVIDIA H200, 2026-11-23).
#[inline(always)]
pub fn let_next_kernel_start() {
    #[cfg(sm_90)]
    if grid_x() + RESIDENT >= grid_blocks() {
        // SAFETY: a hint to the scheduler; the kernel that starts early waits before it touches memory.
        unsafe { asm!("griddepcontrol.launch_dependents;", options(nostack, preserves_flags)) }
    }
}

/// `griddepcontrol.wait` (programmatic dependent launch, PDL): waits until the kernel before this one has ended and its
/// writes are visible. Returns at once if this kernel was not started early ([`let_next_kernel_start`]).
#[inline(always)]
pub fn wait_for_previous_kernel() {
    #[cfg(sm_90)]
    // SAFETY: only waits, and returns at once where there is nothing to wait for.
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
    // SAFETY: the caller guarantees that the range is global memory in whole 16 bytes; a prefetch writes nothing.
    unsafe {
        asm!(
            "cp.async.bulk.prefetch.L2.global [{address}], {bytes};",
            address = in(reg64) address,
            bytes = in(reg32) bytes,
            options(nostack, preserves_flags)
        )
    }
}

/// Prefetches a cache line into the L2 cache (`prefetch.global.L2`), on devices of sm_90 and newer.
///
/// # Safety
/// `address` is one in global memory.
#[inline(always)]
pub unsafe fn prefetch_line(address: u64) {
    #[cfg(not(sm_90))]
    let _ = address;
    #[cfg(sm_90)]
    // SAFETY: the caller guarantees that the address is one in global memory; a prefetch writes nothing.
    unsafe {
        asm!(
            "prefetch.global.L2 [{address}];",
            address = in(reg64) address,
            options(nostack, preserves_flags)
        )
    }
}

/// What loads may do with the L1 cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// What is loaded may stay in L1.
    Cached,
    /// Read once: kept out of L1.
    Once,
    /// Read by every block and written by none while the kernel runs, so that the read-only path (`.nc`) may serve it.
    Shared,
}

/// A load under a predicate. A branch around it would keep the next load from being issued before this one's data has
/// arrived.
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

/// Loads two words if `wanted`; else each is `absent`.
///
/// # Safety
/// Where `wanted`, `address` is that of 8 readable bytes in global memory, aligned to 8.
#[inline(always)]
pub unsafe fn ld_global_v2(address: u64, wanted: bool, absent: u32, reuse: Reuse) -> [u32; 2] {
    let (mut a, mut b) = (absent, absent);
    // SAFETY: the caller guarantees 8 bytes of readable global memory, aligned to as many, if `wanted`.
    unsafe {
        match reuse {
            Reuse::Once => {
                load!("ld.global.L1::no_allocate.v2.b32", "{{{a}, {b}}}", address, wanted, [a, b])
            }
            Reuse::Cached => load!("ld.global.v2.b32", "{{{a}, {b}}}", address, wanted, [a, b]),
            Reuse::Shared => load!("ld.global.nc.v2.b32", "{{{a}, {b}}}", address, wanted, [a, b]),
        }
    }
    [a, b]
}

/// Loads four words if `wanted`; else each is `absent`.
///
/// # Safety
/// Where `wanted`, `address` is that of 16 readable bytes in global memory, aligned to 16.
#[inline(always)]
pub unsafe fn ld_global_v4(address: u64, wanted: bool, absent: u32, reuse: Reuse) -> [u32; 4] {
    let (mut a, mut b, mut c, mut d) = (absent, absent, absent, absent);
    // SAFETY: the caller guarantees 16 bytes of readable global memory, aligned to as many, if `wanted`.
    unsafe {
        match reuse {
            Reuse::Once => load!(
                "ld.global.L1::no_allocate.v4.b32",
                "{{{a}, {b}, {c}, {d}}}",
                address,
                wanted,
                [a, b, c, d]
            ),
            Reuse::Cached => {
                load!("ld.global.v4.b32", "{{{a}, {b}, {c}, {d}}}", address, wanted, [a, b, c, d])
            }
            Reuse::Shared => {
                load!("ld.global.nc.v4.b32", "{{{a}, {b}, {c}, {d}}}", address, wanted, [a, b, c, d])
            }
        }
    }
    [a, b, c, d]
}

/// A vectorized store, with a cache hint or without.
macro_rules! store {
    ($streamed:ident, $vector:literal, $place:literal, $address:ident, [$($word:ident),+]) => {
        if $streamed {
            store!(@ concat!("st.global.cs.", $vector), $place, $address, [$($word),+])
        } else {
            store!(@ concat!("st.global.", $vector), $place, $address, [$($word),+])
        }
    };
    (@ $opcode:expr, $place:literal, $address:ident, [$($word:ident),+]) => {
        asm!(
            concat!($opcode, " [{address}], ", $place, ";"),
            address = in(reg64) $address,
            $($word = in(reg32) $word,)+
            options(nostack, preserves_flags)
        )
    };
}

/// Stores two words; if `STREAMED`, as what the caches need not keep (`.cs`, evict first).
///
/// # Safety
/// `address` is that of 8 writable bytes in global memory, aligned to 8.
#[inline(always)]
pub unsafe fn st_global_v2<const STREAMED: bool>(address: u64, words: [u32; 2]) {
    let [a, b] = words;
    // SAFETY: the caller guarantees 8 bytes of writable global memory, aligned to as many, at `address`.
    unsafe { store!(STREAMED, "v2.b32", "{{{a}, {b}}}", address, [a, b]) }
}

/// Stores four words; if `STREAMED`, as what the caches need not keep (`.cs`, evict first).
///
/// # Safety
/// `address` is that of 16 writable bytes in global memory, aligned to 16.
#[inline(always)]
pub unsafe fn st_global_v4<const STREAMED: bool>(address: u64, words: [u32; 4]) {
    let [a, b, c, d] = words;
    // SAFETY: the caller guarantees 16 bytes of writable global memory, aligned to as many, at `address`.
    unsafe { store!(STREAMED, "v4.b32", "{{{a}, {b}, {c}, {d}}}", address, [a, b, c, d]) }
}

/// Stores four words as [`st_global_v4`] does with `STREAMED`, if `wanted`.
///
/// # Safety
/// Where `wanted`, as for [`st_global_v4`].
#[inline(always)]
pub unsafe fn st_global_v4_if(address: u64, wanted: bool, words: [u32; 4]) {
    let [a, b, c, d] = words;
    // SAFETY: the caller guarantees 16 bytes of writable global memory, aligned to as many, at `address`, if `wanted`.
    unsafe {
        asm!(
            "{{ .reg .pred %wanted; setp.ne.b32 %wanted, {wanted}, 0;",
            "@%wanted st.global.cs.v4.b32 [{address}], {{{a}, {b}, {c}, {d}}}; }}",
            address = in(reg64) address,
            wanted = in(reg32) wanted as u32,
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
    // SAFETY: the caller guarantees 2 bytes of readable global memory, aligned to as many, at `address`.
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
    // SAFETY: the caller guarantees 4 bytes of readable global memory, aligned to as many, at `address`.
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

/// Loads a word if `wanted`; else it is `absent`.
///
/// # Safety
/// Where `wanted`, `address` is that of 4 readable bytes in global memory, aligned to 4.
#[inline(always)]
pub unsafe fn ld_global_if(address: u64, wanted: bool, absent: u32) -> u32 {
    let mut word = absent;
    // SAFETY: the caller guarantees 4 bytes of readable global memory, aligned to as many, if `wanted`.
    unsafe { load!("ld.global.b32", "{word}", address, wanted, [word]) }
    word
}

/// Stores 8 bits, the lowest of the word.
///
/// # Safety
/// `address` is that of a writable byte in global memory.
#[inline(always)]
pub unsafe fn st_global_b8(address: u64, bits: u32) {
    // SAFETY: the caller guarantees a byte of writable global memory at `address`.
    unsafe {
        asm!(
            "st.global.b8 [{address}], {bits};",
            address = in(reg64) address,
            bits = in(reg32) bits,
            options(nostack, preserves_flags)
        )
    }
}

/// Stores 16 bits.
///
/// # Safety
/// `address` is that of 2 writable bytes in global memory, aligned to 2.
#[inline(always)]
pub unsafe fn st_global_b16(address: u64, bits: u16) {
    // SAFETY: the caller guarantees 2 bytes of writable global memory, aligned to as many, at `address`.
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
    // SAFETY: the caller guarantees 4 bytes of writable global memory, aligned to as many, at `address`.
    unsafe {
        asm!(
            "st.global.b32 [{address}], {bits};",
            address = in(reg64) address,
            bits = in(reg32) bits,
            options(nostack, preserves_flags)
        )
    }
}

/// A word of two halves. By `mov.b32`, not by shifts, because ptxas removes the instruction where the word is taken apart
/// again.
#[inline(always)]
pub fn join(low: u16, high: u16) -> u32 {
    let word;
    // SAFETY: arithmetic on registers, defined for every value.
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

/// `1 / sqrt(value)` with a relative error of at most 2^-22.9 (PTX ISA, `rsqrt.approx`). That is a quarter of the error
/// that the accuracy promise allows, and 20 instructions fewer than a correctly rounded root and reciprocal.
#[inline(always)]
pub fn rsqrt(value: f32) -> f32 {
    let result;
    // SAFETY: arithmetic on registers, defined for every value.
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

//! Memory that several devices use at a time: accesses whose order holds for the whole system (PTX ISA, "Memory Consistency
//! Model"), and the clock by which waiting for another device ends.

use super::asm;

/// `st.release.sys`: stores 64 bits. What this thread has stored before, and what it has learned of by a barrier, is seen by
/// whoever reads them by [`ld_acquire_sys`].
///
/// # Safety
/// `address` is that of 8 writable bytes in global memory of this device or a peer, aligned to 8, which are accessed by
/// system-wide instructions alone while the kernel runs.
#[inline(always)]
pub unsafe fn st_release_sys(address: u64, bits: u64) {
    // SAFETY: the caller guarantees 8 bytes of writable global memory, aligned to as many, at `address`.
    unsafe {
        asm!(
            "st.release.sys.global.u64 [{address}], {bits};",
            address = in(reg64) address,
            bits = in(reg64) bits,
            options(nostack, preserves_flags)
        )
    }
}

/// `ld.acquire.sys`: loads 64 bits. If [`st_release_sys`] has stored them, what its thread had done before is seen from here
/// on, behind a barrier by other threads of the block, too.
///
/// # Safety
/// `address` is that of 8 readable bytes in global memory, aligned to 8, as for [`st_release_sys`].
#[inline(always)]
pub unsafe fn ld_acquire_sys(address: u64) -> u64 {
    let bits;
    // SAFETY: the caller guarantees 8 bytes of readable global memory, aligned to as many, at `address`.
    unsafe {
        asm!(
            "ld.acquire.sys.global.u64 {bits}, [{address}];",
            bits = out(reg64) bits,
            address = in(reg64) address,
            options(nostack, preserves_flags)
        )
    }
    bits
}

/// `st.relaxed.sys`: stores 32 bits that any device and the host may read at any time.
///
/// # Safety
/// `address` is that of 4 writable bytes of this device, a peer or the host, aligned to 4, which are accessed by system-wide
/// instructions alone while the kernel runs.
#[inline(always)]
pub unsafe fn st_relaxed_sys(address: u64, bits: u32) {
    // SAFETY: the caller guarantees 4 bytes of writable global memory, aligned to as many, at `address`.
    unsafe {
        asm!(
            "st.relaxed.sys.global.u32 [{address}], {bits};",
            address = in(reg64) address,
            bits = in(reg32) bits,
            options(nostack, preserves_flags)
        )
    }
}

/// `ld.relaxed.sys`: loads 32 bits that another device may write at any time.
///
/// # Safety
/// `address` is that of 4 readable bytes in global memory, aligned to 4, as for [`st_relaxed_sys`].
#[inline(always)]
pub unsafe fn ld_relaxed_sys(address: u64) -> u32 {
    let bits;
    // SAFETY: the caller guarantees 4 bytes of readable global memory, aligned to as many, at `address`.
    unsafe {
        asm!(
            "ld.relaxed.sys.global.u32 {bits}, [{address}];",
            bits = out(reg32) bits,
            address = in(reg64) address,
            options(nostack, preserves_flags)
        )
    }
    bits
}

/// `st.relaxed.sys`: stores 64 bits that any device may read at any time, all of them at once.
///
/// # Safety
/// As [`st_release_sys`].
#[inline(always)]
pub unsafe fn st_relaxed_sys_b64(address: u64, bits: u64) {
    // SAFETY: the caller guarantees 8 bytes of writable global memory, aligned to as many, at `address`.
    unsafe {
        asm!(
            "st.relaxed.sys.global.u64 [{address}], {bits};",
            address = in(reg64) address,
            bits = in(reg64) bits,
            options(nostack, preserves_flags)
        )
    }
}

/// `ld.relaxed.sys`: loads 64 bits that another device may write at any time.
///
/// # Safety
/// As [`ld_acquire_sys`].
#[inline(always)]
pub unsafe fn ld_relaxed_sys_b64(address: u64) -> u64 {
    let bits;
    // SAFETY: the caller guarantees 8 bytes of readable global memory, aligned to as many, at `address`.
    unsafe {
        asm!(
            "ld.relaxed.sys.global.u64 {bits}, [{address}];",
            bits = out(reg64) bits,
            address = in(reg64) address,
            options(nostack, preserves_flags)
        )
    }
    bits
}

/// Stores two packets: each a word, and in its upper half the number of the call. One instruction of 16 bytes, of which each
/// 8 are stored at once: PTX says of a vector's elements that they are, and nothing of the vector.
///
/// # Safety
/// `address` is that of 16 writable bytes in global memory of a peer, aligned to 16, which are accessed by system-wide
/// instructions alone while the kernel runs.
#[inline(always)]
pub unsafe fn st_packets(address: u64, [a, b]: [u32; 2], number: u32) {
    // SAFETY: the caller guarantees 16 bytes of writable global memory, aligned to as many, at `address`.
    unsafe {
        asm!(
            "{{ .reg .b64 %packet<2>; mov.b64 %packet0, {{{a}, {number}}}; mov.b64 %packet1, {{{b}, {number}}};",
            "st.relaxed.sys.global.v2.b64 [{address}], {{%packet0, %packet1}}; }}",
            address = in(reg64) address,
            a = in(reg32) a,
            b = in(reg32) b,
            number = in(reg32) number,
            options(nostack, preserves_flags)
        )
    }
}

/// Loads what [`st_packets`] stores, if `wanted`: both words, and both numbers. Else these are `absent` and `number`.
///
/// # Safety
/// Where `wanted`, `address` is that of 16 readable bytes in global memory, aligned to 16, as for [`st_packets`].
#[inline(always)]
pub unsafe fn ld_packets(address: u64, wanted: bool, absent: u32, number: u32) -> ([u32; 2], [u32; 2]) {
    let (a, b, first, second);
    // SAFETY: the caller guarantees 16 bytes of readable global memory, aligned to as many, at `address`, if `wanted`.
    unsafe {
        asm!(
            "{{ .reg .pred %wanted; .reg .b64 %packet<2>; setp.ne.b32 %wanted, {wanted}, 0;",
            "mov.b64 %packet0, {{{absent}, {number}}}; mov.b64 %packet1, {{{absent}, {number}}};",
            "@%wanted ld.relaxed.sys.global.v2.b64 {{%packet0, %packet1}}, [{address}];",
            "mov.b64 {{{a}, {first}}}, %packet0; mov.b64 {{{b}, {second}}}, %packet1; }}",
            a = out(reg32) a,
            b = out(reg32) b,
            first = out(reg32) first,
            second = out(reg32) second,
            wanted = in(reg32) wanted as u32,
            absent = in(reg32) absent,
            number = in(reg32) number,
            address = in(reg64) address,
            options(nostack, preserves_flags)
        )
    }
    ([a, b], [first, second])
}

/// `%globaltimer`: nanoseconds, of a clock that advances once a microsecond or more often.
#[inline(always)]
pub fn global_timer() -> u64 {
    let now;
    // SAFETY: reading a special register has no precondition. It has another value each time, so the block is volatile.
    unsafe { asm!("mov.u64 {now}, %globaltimer;", now = out(reg64) now, options(nostack, preserves_flags)) }
    now
}

/// The number of that index, below 8. In `asm!`, because of an index, and of `if`, compilers make an address that depends on the
/// index, and a kernel parameter at such an address is copied into local memory first.
#[inline(always)]
pub fn select([a, b, c, d, e, f, g, h]: [u64; 8], index: u32) -> u64 {
    let selected;
    // SAFETY: arithmetic on registers, defined for every value.
    unsafe {
        asm!(
            "{{ .reg .pred %bit<3>; .reg .b32 %masked<3>; .reg .b64 %pair<6>;",
            "and.b32 %masked0, {index}, 1; setp.ne.b32 %bit0, %masked0, 0;",
            "and.b32 %masked1, {index}, 2; setp.ne.b32 %bit1, %masked1, 0;",
            "and.b32 %masked2, {index}, 4; setp.ne.b32 %bit2, %masked2, 0;",
            "selp.b64 %pair0, {b}, {a}, %bit0; selp.b64 %pair1, {d}, {c}, %bit0;",
            "selp.b64 %pair2, {f}, {e}, %bit0; selp.b64 %pair3, {h}, {g}, %bit0;",
            "selp.b64 %pair4, %pair1, %pair0, %bit1; selp.b64 %pair5, %pair3, %pair2, %bit1;",
            "selp.b64 {selected}, %pair5, %pair4, %bit2; }}",
            index = in(reg32) index,
            a = in(reg64) a,
            b = in(reg64) b,
            c = in(reg64) c,
            d = in(reg64) d,
            e = in(reg64) e,
            f = in(reg64) f,
            g = in(reg64) g,
            h = in(reg64) h,
            selected = out(reg64) selected,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    selected
}

//! rust-cuda: kernels on `cuda_std`, compiled by `rustc_codegen_nvvm`.
//!
//! Barriers and shuffles are those of `cuda_std`, which end as LLVM intrinsics. Shared memory is
//! reached by pointers: libNVVM finds out that they lead there. `cuda_std` has nothing for clusters
//! and for copies that a thread does not wait for, which are `asm!`.

use core::mem::MaybeUninit;

use cuda_std::{address_space, thread, warp};

use super::asm;

/// An entry point of this name.
macro_rules! kernel {
    ($name:expr, fn kernel($($arg:ident: $type:ty),*) $body:block) => {
        const _: () = {
            // `cuda_std::kernel` adds `no_mangle`, to which a name of its own comes first. The
            // released one cannot read `unsafe(…)`, and a host that checks types needs no names.
            #[cfg_attr(target_arch = "nvptx64", unsafe(export_name = $name))]
            #[allow(unused_attributes)]
            #[cuda_std::kernel]
            unsafe fn kernel($($arg: $type),*) $body
        };
    };
}
pub(crate) use kernel;

/// Sixteen bytes that are read and written at once.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Quad<T>([T; 4]);

/// Eight of them.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Pair<T>([T; 2]);

/// 128 bytes that are a line of shared memory.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct Line([MaybeUninit<u32>; 32]);

/// The block's scratch memory, the mbarrier at byte 640 of it; as long as in `stock.rs`, for the row
/// behind it.
#[address_space(shared)]
static mut PARTIALS: [Line; 6] = [const { Line([MaybeUninit::uninit(); 32]) }; 6];

unsafe extern "C" {
    /// What the launch adds, for the row.
    ///
    /// Not `cuda_std::shared::dynamic_shared_mem`, whose symbol has a size, 16 bytes: ptxas then
    /// gives it those, before `PARTIALS`, and rows overwrite what is there. Without a size it
    /// begins where static shared memory ends, which is a multiple of 16: the backend gives it the
    /// alignment of a float. The attribute is what `address_space` ends as, which cannot be said
    /// of foreign items.
    #[cfg_attr(target_arch = "nvptx64", nvvm_internal::addrspace(3))]
    static ROW: [Quad<f32>; 0];
}

/// The thread's place along its row.
#[inline(always)]
pub fn thread_x() -> u32 {
    thread::thread_idx_x()
}

/// The row's place in its block.
#[inline(always)]
pub fn thread_y() -> u32 {
    thread::thread_idx_y()
}

/// Threads along a row.
#[inline(always)]
pub fn block_x() -> u32 {
    thread::block_dim_x()
}

/// Rows in a block.
#[inline(always)]
pub fn block_y() -> u32 {
    thread::block_dim_y()
}

/// The block's place in the grid.
#[inline(always)]
pub fn grid_x() -> u32 {
    thread::block_idx_x()
}

/// Blocks of the grid.
#[inline(always)]
#[cfg(sm_90)]
pub fn grid_blocks() -> u32 {
    thread::grid_dim_x()
}

/// Says that this block has started, which [`cluster_wait`] is to wait for: shared memory of a
/// block that has not must not be written.
///
/// Without `.aligned` a copy of it in each branch would do no harm.
#[inline(always)]
pub fn cluster_announce() {
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

/// The 32-bit address of the block's mbarrier.
#[inline(always)]
#[cfg(sm_90)]
fn mbarrier() -> u32 {
    address_of(partials(640))
}

/// Makes the block's mbarrier, for what the cluster's blocks send. One thread calls, once, before
/// [`cluster_announce`].
#[inline(always)]
pub fn ready_to_receive() {
    #[cfg(sm_90)]
    // SAFETY: the mbarrier is in the scratch memory, where nothing else is.
    unsafe {
        asm!(
            "mbarrier.init.shared::cta.b64 [{barrier}], 1; fence.mbarrier_init.release.cluster;",
            barrier = in(reg32) mbarrier(),
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
            "{{ .reg .b64 %state;",
            "mbarrier.arrive.expect_tx.shared::cta.b64 %state, [{barrier}], {bytes}; }}",
            barrier = in(reg32) mbarrier(),
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
            "{{ .reg .pred %received;",
            "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %received, [{barrier}], 0;",
            "selp.b32 {received}, 1, 0, %received; }}",
            barrier = in(reg32) mbarrier(),
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
    thread::sync_threads();
}

/// The value of the lane whose number differs by `lane_mask`. All 32 lanes must call.
#[inline(always)]
pub fn shuffle_xor(value: f32, lane_mask: u32) -> f32 {
    // The released `cuda_std` has no shuffles; it does not reach a device either.
    #[cfg(not(target_arch = "nvptx64"))]
    let other = value;
    #[cfg(target_arch = "nvptx64")]
    // SAFETY: no kernel places a shuffle where only some lanes of a warp come.
    let (other, _) = unsafe { warp::warp_shuffle_xor(u32::MAX, value, lane_mask, 32) };
    other
}

/// The counter of a loop that is not to be unrolled before ptxas sees it.
///
/// libNVVM unrolls a loop whose turns it can count, by four and with 64-bit counters, which takes
/// the registers that staged kernels have none of.
#[inline(always)]
pub fn opaque(mut counter: u32) -> u32 {
    // SAFETY: no instruction.
    unsafe { asm!("/* {0} */", inout(reg32) counter, options(nomem, nostack, preserves_flags)) }
    counter
}

/// `yes` or `no`.
///
/// By bits: libNVVM makes one load of a condition's two, at an address that the condition chooses,
/// and parameters that are indexed are copied into local memory first.
#[inline(always)]
pub fn select(condition: bool, yes: f64, no: f64) -> f64 {
    let mask = (condition as u64).wrapping_neg();
    f64::from_bits(yes.to_bits() & mask | no.to_bits() & !mask)
}

/// A place in the block's scratch memory.
#[inline(always)]
fn partials<T>(offset: u32) -> *mut T {
    (&raw mut PARTIALS).cast::<u8>().wrapping_add(offset as usize).cast()
}

/// Writes a float to the block's scratch memory, at a byte offset.
///
/// # Safety
/// `offset` is a multiple of 4 below 640, and no other thread touches it between the two
/// barriers around.
#[inline(always)]
pub unsafe fn store_shared(offset: u32, value: f32) {
    // SAFETY: the caller keeps `offset` in the scratch memory.
    unsafe { partials::<f32>(offset).write(value) }
}

/// Reads four floats from the block's scratch memory.
///
/// # Safety
/// `offset` is a multiple of 16 below 640; the 16 bytes there were written before the last
/// barrier and are not rewritten before the next.
#[inline(always)]
pub unsafe fn load4_shared(offset: u32) -> [f32; 4] {
    // SAFETY: the caller keeps `offset` in the scratch memory.
    unsafe { partials::<Quad<f32>>(offset).read().0 }
}

/// The 32-bit address of a place in shared memory.
#[inline(always)]
fn address_of(place: *mut u8) -> u32 {
    let address: u32;
    // SAFETY: register arithmetic.
    unsafe {
        asm!(
            "{{ .reg .b64 %place; cvta.to.shared.u64 %place, {place}; cvt.u32.u64 {address}, %place; }}",
            place = in(reg64) place,
            address = out(reg32) address,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    address
}

/// Sends four floats to the scratch memory of a block of the cluster, at a byte offset, where
/// [`has_received`] tells of their arrival.
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
            "{{ .reg .b32 %place, %barrier; mapa.shared::cluster.u32 %place, {own}, {rank};",
            "mapa.shared::cluster.u32 %barrier, {barrier}, {rank};",
            "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%place], {{{a}, {b}, {c}, {d}}}, [%barrier]; }}",
            own = in(reg32) address_of(partials(offset)),
            barrier = in(reg32) mbarrier(),
            rank = in(reg32) rank,
            a = in(reg32) a,
            b = in(reg32) b,
            c = in(reg32) c,
            d = in(reg32) d,
            options(nostack, preserves_flags)
        )
    }
}

/// A place in the row's shared memory.
#[inline(always)]
fn staged<T>(slot: u32) -> *mut T {
    (&raw const ROW).cast_mut().cast::<u8>().wrapping_add(slot as usize).cast()
}

/// Starts to copy 8 or 16 bytes from global memory into the row's shared memory, or to fill them
/// with zeros where not `wanted`. The line is of no further use to the L2 cache.
macro_rules! stage {
    ($opcode:literal, $bytes:literal, $slot:ident, $address:ident, $wanted:ident) => {
        asm!(
            "{{ .reg .b64 %policy; createpolicy.fractional.L2::evict_first.b64 %policy, 1.0;",
            concat!($opcode, ".shared.global.L2::cache_hint [{place}], [{address}], ", $bytes, ", {size}, %policy; }}"),
            place = in(reg32) address_of(staged($slot)),
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

/// Reads two words of the row's shared memory.
///
/// # Safety
/// `slot` is as for [`stage2`], and the 8 bytes were written by this thread.
#[inline(always)]
pub unsafe fn load2_staged(slot: u32) -> [u32; 2] {
    // SAFETY: the caller vouches for the place.
    unsafe { staged::<Pair<u32>>(slot).read().0 }
}

/// Reads four words of the row's shared memory.
///
/// # Safety
/// `slot` is as for [`stage4`], and the 16 bytes were written by this thread.
#[inline(always)]
pub unsafe fn load4_staged(slot: u32) -> [u32; 4] {
    // SAFETY: the caller vouches for the place.
    unsafe { staged::<Quad<u32>>(slot).read().0 }
}

/// Writes two words of the row's shared memory.
///
/// # Safety
/// `slot` is as for [`stage2`].
#[inline(always)]
pub unsafe fn store2_staged(slot: u32, words: [u32; 2]) {
    // SAFETY: the caller vouches for the place.
    unsafe { staged::<Pair<u32>>(slot).write(Pair(words)) }
}

/// Writes four words of the row's shared memory.
///
/// # Safety
/// `slot` is as for [`stage4`].
#[inline(always)]
pub unsafe fn store4_staged(slot: u32, words: [u32; 4]) {
    // SAFETY: the caller vouches for the place.
    unsafe { staged::<Quad<u32>>(slot).write(Quad(words)) }
}

/// `a * b + c`, rounded once.
#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    let result;
    // SAFETY: register arithmetic.
    unsafe {
        asm!(
            "fma.rn.f32 {result}, {a}, {b}, {c};",
            result = out(reg32) result,
            a = in(reg32) a,
            b = in(reg32) b,
            c = in(reg32) c,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    result
}

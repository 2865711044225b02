//! rust-cuda: kernels on `cuda_std`, compiled by `rustc_codegen_nvvm`.
//!
//! Barriers and shuffles are those of `cuda_std`, which end as LLVM intrinsics.

use core::mem::MaybeUninit;

use cuda_std::address_space;
#[cfg(sm_90)]
pub use cuda_std::thread::grid_dim_x as grid_blocks;
pub use cuda_std::thread::{
    block_dim_x as block_x, block_dim_y as block_y, block_idx_x as grid_x, sync_threads as barrier,
    thread_idx_x as thread_x, thread_idx_y as thread_y,
};

use super::asm;
use super::shared::SCRATCH_BYTES;

/// An entry point of this name.
#[cfg(feature = "entry-points")]
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
#[cfg(feature = "entry-points")]
pub(crate) use kernel;

/// A line of shared memory.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct Line([MaybeUninit<u8>; 128]);

#[address_space(shared)]
static mut SCRATCH: [Line; SCRATCH_BYTES / 128] =
    [const { Line([MaybeUninit::uninit(); 128]) }; SCRATCH_BYTES / 128];

unsafe extern "C" {
    /// Not `cuda_std::shared::dynamic_shared_mem`, whose symbol has a size, 16 bytes: ptxas then
    /// gives it those, before `SCRATCH`, and rows overwrite what is there. Without a size it
    /// begins where static shared memory ends, which is a multiple of 16: the backend gives it the
    /// alignment of a float. The attribute is what `address_space` ends as, which cannot be said
    /// of foreign items.
    #[cfg_attr(target_arch = "nvptx64", nvvm_internal::addrspace(3))]
    static ROW: [f32; 0];
}

/// The address of the block's scratch memory.
#[inline(always)]
pub fn scratch() -> u32 {
    shared_address(&raw const SCRATCH)
}

/// The address of what the launch adds to it, for the row.
#[inline(always)]
pub fn row() -> u32 {
    shared_address(&raw const ROW)
}

/// The address in shared memory of what a pointer leads to.
#[inline(always)]
fn shared_address<T>(place: *const T) -> u32 {
    let address;
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

/// The value of the lane whose number differs by `lane_mask`. All 32 lanes must call.
#[inline(always)]
pub fn shuffle_xor(value: f32, lane_mask: u32) -> f32 {
    // The released `cuda_std` has no shuffles; it does not reach a device either.
    #[cfg(not(target_arch = "nvptx64"))]
    let other = value;
    #[cfg(target_arch = "nvptx64")]
    // SAFETY: no kernel places a shuffle where only some lanes of a warp come.
    let (other, _) = unsafe { cuda_std::warp::warp_shuffle_xor(u32::MAX, value, lane_mask, 32) };
    other
}

/// Whether `predicate` holds in a lane of the warp (`vote.sync.any`). All 32 lanes must call.
#[inline(always)]
pub fn vote_any(predicate: bool) -> bool {
    // As for `shuffle_xor`.
    #[cfg(not(target_arch = "nvptx64"))]
    let any = predicate;
    #[cfg(target_arch = "nvptx64")]
    // SAFETY: no kernel places a vote where only some lanes of a warp come.
    let any = unsafe { cuda_std::warp::warp_vote_any(u32::MAX, predicate) };
    any
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

/// `count` rounded up to a multiple of `unit`, a power of two. A trial with a mask, as for stock rustc, spilled a word on sm_80
/// in LayerNorm's kernels that hold f16 in registers.
#[inline(always)]
pub fn round_up(count: u32, unit: u32) -> u32 {
    count.next_multiple_of(unit)
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

//! What rust-cuda (`rustc_codegen_nvvm`) expresses in its own way: entry points, special registers, shared memory,
//! barriers, shuffles.
//!
//! Barriers and shuffles are those of `cuda_std`, which lower to LLVM intrinsics, because LLVM knows that these are
//! convergent.

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
            // `cuda_std::kernel` adds `no_mangle`, over which `export_name` takes precedence. The released `cuda_std`
            // cannot parse `unsafe(…)`; it is used on the host alone, where types are checked and names do not matter.
            #[cfg_attr(target_arch = "nvptx64", unsafe(export_name = $name))]
            #[allow(unused_attributes)]
            #[cuda_std::kernel]
            unsafe fn kernel($($arg: $type),*) $body
        };
    };
}
#[cfg(feature = "entry-points")]
pub(crate) use kernel;

/// 128 bytes of scratch memory, so that its start and its end are multiples of 128.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct Aligned128([MaybeUninit<u8>; 128]);

// Named, as the mangled name would hold a hash of the folder that it is compiled in. The attribute stands in front of `address_space`,
// whose released version cannot parse it.
#[cfg_attr(target_arch = "nvptx64", unsafe(export_name = "SCRATCH"))]
#[address_space(shared)]
static mut SCRATCH: [Aligned128; SCRATCH_BYTES / 128] =
    [const { Aligned128([MaybeUninit::uninit(); 128]) }; SCRATCH_BYTES / 128];

unsafe extern "C" {
    /// The launch's dynamic shared memory, which holds the row.
    ///
    /// Not `cuda_std::shared::dynamic_shared_mem`, whose symbol has a size of 16 bytes: ptxas would place those 16 bytes
    /// before `SCRATCH`, and the row would overwrite it. A symbol without a size begins where static shared memory ends.
    /// The backend aligns it as a float, but static shared memory ends at a multiple of 16 here. The attribute is what
    /// `address_space` expands to, which is not accepted on foreign items.
    #[cfg_attr(target_arch = "nvptx64", nvvm_internal::addrspace(3))]
    static ROW: [f32; 0];
}

/// The address of the block's scratch memory.
#[inline(always)]
pub fn scratch() -> u32 {
    shared_address(&raw const SCRATCH)
}

/// The address of the launch's dynamic shared memory, which holds the row.
#[inline(always)]
pub fn row() -> u32 {
    shared_address(&raw const ROW)
}

/// The 32-bit address, in shared memory, of a pointer's target.
#[inline(always)]
fn shared_address<T>(place: *const T) -> u32 {
    let address;
    // SAFETY: arithmetic on registers, defined for every value.
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

/// The value of the lane whose index is this lane's xor `lane_mask` (`shfl.sync.bfly`). All 32 lanes must call.
#[inline(always)]
pub fn shuffle_xor(value: f32, lane_mask: u32) -> f32 {
    // The released `cuda_std` has no shuffles. It is used on the host alone, where types are checked and nothing runs.
    #[cfg(not(target_arch = "nvptx64"))]
    let other = value;
    #[cfg(target_arch = "nvptx64")]
    // SAFETY: every shuffle of the kernels is reached by all 32 lanes of a warp, as the mask says.
    let (other, _) = unsafe { cuda_std::warp::warp_shuffle_xor(u32::MAX, value, lane_mask, 32) };
    other
}

/// The value of that lane (`shfl.sync.idx`). All 32 lanes must call.
#[inline(always)]
pub fn shuffle_from(value: f32, lane: u32) -> f32 {
    // The released `cuda_std` has no shuffles. It is used on the host alone, where types are checked and nothing runs.
    #[cfg(not(target_arch = "nvptx64"))]
    let other = {
        let _ = lane;
        value
    };
    #[cfg(target_arch = "nvptx64")]
    // SAFETY: every shuffle of the kernels is reached by all 32 lanes of a warp, as the mask says.
    let (other, _) = unsafe { cuda_std::warp::warp_shuffle_idx(u32::MAX, value, lane, 32) };
    other
}

/// Whether `predicate` holds in a lane of the warp (`vote.sync.any`). All 32 lanes must call.
#[inline(always)]
pub fn vote_any(predicate: bool) -> bool {
    // The released `cuda_std` has no votes either.
    #[cfg(not(target_arch = "nvptx64"))]
    let any = predicate;
    #[cfg(target_arch = "nvptx64")]
    // SAFETY: every vote of the kernels is reached by all 32 lanes of a warp, as the mask says.
    let any = unsafe { cuda_std::warp::warp_vote_any(u32::MAX, predicate) };
    any
}

/// The largest of the values of all lanes of the warp, in every lane. All 32 lanes must call.
#[inline(always)]
pub fn redux_max(value: u32) -> u32 {
    let mut largest = value;
    let mut lanes = 16;
    while lanes > 0 {
        let other = shuffle_xor(f32::from_bits(largest), lanes).to_bits();
        largest = u32::max(largest, other);
        lanes /= 2;
    }
    largest
}

/// Hides a loop's counter from the compiler in front of ptxas, which then cannot unroll the loop.
///
/// libNVVM unrolls a loop with a known number of iterations by four, with 64-bit counters; kernels that stage rows in
/// shared memory have no registers left for that.
#[inline(always)]
pub fn opaque(mut counter: u32) -> u32 {
    // SAFETY: a comment; no instruction is executed.
    unsafe { asm!("/* {0} */", inout(reg32) counter, options(nomem, nostack, preserves_flags)) }
    counter
}

/// `count` rounded up to a multiple of `unit`, a power of two. With a mask, as stock rustc has it, LayerNorm's kernels that
/// hold f16 in registers spilled a word on sm_80.
#[inline(always)]
pub fn round_up(count: u32, unit: u32) -> u32 {
    count.next_multiple_of(unit)
}

/// `a * b + c`, rounded once.
#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    let result;
    // SAFETY: arithmetic on registers, defined for every value.
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

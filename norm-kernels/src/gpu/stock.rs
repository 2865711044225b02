//! Stock rustc, target `nvptx64-nvidia-cuda`.
//!
//! Barriers and shuffles are LLVM intrinsics, not `asm!`: LLVM knows that the intrinsics are
//! convergent and keeps each in one place, where it copies `asm!` into divergent branches.

use core::arch::{asm, global_asm, nvptx};

use super::shared::SCRATCH_BYTES;

/// An entry point of this name.
#[cfg(feature = "entry-points")]
macro_rules! kernel {
    ($name:expr, fn kernel($($arg:ident: $type:ty),*) $body:block) => {
        const _: () = {
            #[unsafe(export_name = $name)]
            unsafe extern "ptx-kernel" fn kernel($($arg: $type),*) $body
        };
    };
}
#[cfg(feature = "entry-points")]
pub(crate) use kernel;

global_asm!(
    ".shared .align 128 .b8 norm_scratch[{bytes}];",
    ".extern .shared .align 16 .b8 norm_row[];",
    bytes = const SCRATCH_BYTES
);

/// The address of a shared variable.
macro_rules! shared_address {
    ($(#[$doc:meta])* $function:ident: $variable:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $function() -> u32 {
            let address;
            // SAFETY: names one of the variables above.
            unsafe {
                asm!(
                    concat!("mov.b32 {address}, ", $variable, ";"),
                    address = out(reg32) address,
                    options(pure, nomem, nostack, preserves_flags)
                )
            }
            address
        }
    };
}

shared_address! {
    /// The address of the block's scratch memory.
    scratch: "norm_scratch"
}
shared_address! {
    /// The address of what the launch adds to it, for the row.
    row: "norm_row"
}

/// A special register.
macro_rules! special {
    ($(#[$doc:meta])* $function:ident: $intrinsic:ident) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $function() -> u32 {
            // SAFETY: reads it.
            unsafe { nvptx::$intrinsic() as u32 }
        }
    };
}

special! {
    /// The thread's place along its row.
    thread_x: _thread_idx_x
}
special! {
    /// The row's place in its block.
    thread_y: _thread_idx_y
}
special! {
    /// Threads along a row.
    block_x: _block_dim_x
}
special! {
    /// Rows in a block.
    block_y: _block_dim_y
}
special! {
    /// The block's place in the grid.
    grid_x: _block_idx_x
}
#[cfg(sm_90)]
special! {
    /// Blocks of the grid.
    grid_blocks: _grid_dim_x
}

/// Waits for all threads of the block, and makes their shared memory writes visible.
#[inline(always)]
pub fn barrier() {
    // SAFETY: no kernel places a barrier where only some threads of a block come.
    unsafe { nvptx::_syncthreads() }
}

unsafe extern "unadjusted" {
    #[link_name = "llvm.nvvm.shfl.sync.bfly.f32"]
    fn shfl_sync_bfly_f32(members: u32, value: f32, lane_mask: u32, clamp: u32) -> f32;
    #[link_name = "llvm.nvvm.vote.any.sync"]
    fn vote_any_sync(members: u32, predicate: bool) -> bool;
}

/// The value of the lane whose number differs by `lane_mask`. All 32 lanes must call.
#[inline(always)]
pub fn shuffle_xor(value: f32, lane_mask: u32) -> f32 {
    // SAFETY: no kernel places a shuffle where only some lanes of a warp come.
    unsafe { shfl_sync_bfly_f32(u32::MAX, value, lane_mask, 31) }
}

/// Whether `predicate` holds in a lane of the warp (`vote.sync.any`). All 32 lanes must call.
#[inline(always)]
pub fn vote_any(predicate: bool) -> bool {
    // SAFETY: as for `shuffle_xor`.
    unsafe { vote_any_sync(u32::MAX, predicate) }
}

/// The counter of a loop that is not to be unrolled before ptxas sees it: nothing else would.
#[inline(always)]
pub fn opaque(counter: u32) -> u32 {
    counter
}

/// `count` rounded up to a multiple of `unit`, a power of two. By a mask: with `next_multiple_of`, LayerNorm's kernels that
/// hold f16 in registers spill a word on sm_80.
#[inline(always)]
pub fn round_up(count: u32, unit: u32) -> u32 {
    (count + (unit - 1)) & !(unit - 1)
}

/// `a * b + c`, rounded once.
#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    core::intrinsics::fmaf32(a, b, c)
}

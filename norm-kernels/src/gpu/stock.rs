//! What stock rustc (target `nvptx64-nvidia-cuda`) expresses in its own way: entry points, special registers, shared
//! memory, barriers, shuffles.
//!
//! Barriers and shuffles are LLVM intrinsics, not `asm!`. LLVM knows that these intrinsics are convergent and keeps each
//! in one place; `asm!` it may copy into divergent branches.

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
            // SAFETY: takes the address of a variable that is declared above.
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
    /// The address of the launch's dynamic shared memory, which holds the row.
    row: "norm_row"
}

/// A special register.
macro_rules! special {
    ($(#[$doc:meta])* $function:ident: $intrinsic:ident) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $function() -> u32 {
            // SAFETY: reading a special register has no precondition and no effect.
            unsafe { nvptx::$intrinsic() as u32 }
        }
    };
}

special! {
    /// The thread's index along its row (`threadIdx.x`).
    thread_x: _thread_idx_x
}
special! {
    /// The index of the thread's row in its block (`threadIdx.y`).
    thread_y: _thread_idx_y
}
special! {
    /// The number of threads along a row (`blockDim.x`).
    block_x: _block_dim_x
}
special! {
    /// The number of rows in a block (`blockDim.y`).
    block_y: _block_dim_y
}
special! {
    /// The block's index in the grid (`blockIdx.x`).
    grid_x: _block_idx_x
}
#[cfg(sm_90)]
special! {
    /// The number of blocks in the grid (`gridDim.x`).
    grid_blocks: _grid_dim_x
}

/// Waits for all threads of the block, and makes their writes to shared memory visible (`bar.sync`).
#[inline(always)]
pub fn barrier() {
    // SAFETY: every barrier of the kernels is reached by all threads of the block.
    unsafe { nvptx::_syncthreads() }
}

unsafe extern "unadjusted" {
    #[link_name = "llvm.nvvm.shfl.sync.bfly.f32"]
    fn shfl_sync_bfly_f32(members: u32, value: f32, lane_mask: u32, clamp: u32) -> f32;
    #[link_name = "llvm.nvvm.shfl.sync.idx.f32"]
    fn shfl_sync_idx_f32(members: u32, value: f32, lane: u32, clamp: u32) -> f32;
    #[link_name = "llvm.nvvm.vote.any.sync"]
    fn vote_any_sync(members: u32, predicate: bool) -> bool;
    #[link_name = "llvm.nvvm.redux.sync.umax"]
    fn redux_sync_umax(value: u32, members: u32) -> u32;
}

/// The value of the lane whose index is this lane's xor `lane_mask` (`shfl.sync.bfly`). All 32 lanes must call.
#[inline(always)]
pub fn shuffle_xor(value: f32, lane_mask: u32) -> f32 {
    // SAFETY: every shuffle of the kernels is reached by all 32 lanes of a warp, as the mask says.
    unsafe { shfl_sync_bfly_f32(u32::MAX, value, lane_mask, 31) }
}

/// The value of that lane (`shfl.sync.idx`). All 32 lanes must call.
#[inline(always)]
pub fn shuffle_from(value: f32, lane: u32) -> f32 {
    // SAFETY: every shuffle of the kernels is reached by all 32 lanes of a warp, as the mask says.
    unsafe { shfl_sync_idx_f32(u32::MAX, value, lane, 31) }
}

/// Whether `predicate` holds in a lane of the warp (`vote.sync.any`). All 32 lanes must call.
#[inline(always)]
pub fn vote_any(predicate: bool) -> bool {
    // SAFETY: every vote of the kernels is reached by all 32 lanes of a warp, as the mask says.
    unsafe { vote_any_sync(u32::MAX, predicate) }
}

/// The largest of the values of all lanes of the warp (`redux.sync.max`), in every lane. All 32 lanes must call.
#[inline(always)]
pub fn redux_max(value: u32) -> u32 {
    // SAFETY: every reduction of the kernels is reached by all 32 lanes of a warp, as the mask says.
    unsafe { redux_sync_umax(value, u32::MAX) }
}

/// The counter of a loop that must not be unrolled in front of ptxas. Nothing to hide here: stock rustc leaves such loops
/// rolled; the function exists for rust-cuda's libNVVM, which does not.
#[inline(always)]
pub fn opaque(counter: u32) -> u32 {
    counter
}

/// `count` rounded up to a multiple of `unit`, a power of two. By a mask, because with `next_multiple_of` LayerNorm's
/// kernels that hold f16 in registers spill a word on sm_80.
#[inline(always)]
pub fn round_up(count: u32, unit: u32) -> u32 {
    (count + (unit - 1)) & !(unit - 1)
}

/// `a * b + c`, rounded once.
#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    core::intrinsics::fmaf32(a, b, c)
}

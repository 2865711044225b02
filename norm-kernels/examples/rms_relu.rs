//! A kernel of one's own on the building blocks: `y = max(x / rms(x), 0) * w`, 16-bit types throughout.
//!
//! Which types they are is left open: the host expands the pseudo-instructions in the PTX for f16 or bf16
//! (`norm_host::ptx`).
//!
//! A block a row, `dim` a multiple of 8 and at most 16 elements a thread; the arguments are those
//! that `norm-host` makes for its own kernels.
#![no_std]

use cuda_std::kernel;
use norm_kernels::abi::Args;
use norm_kernels::element::{WHalf, XHalf, YHalf};
use norm_kernels::gpu;
use norm_kernels::norm::squares;
use norm_kernels::reduce::{Block, FIRST, Scope};
use norm_kernels::row::{Row, row_of_block};
use norm_kernels::storage::{Registers, RowStorage};

/// # Safety
/// `args` holds what `Args` says, for this launch's block and grid.
#[kernel]
pub unsafe fn rms_relu(args: Args) {
    let row = Row::whole::<XHalf, XHalf, WHalf, YHalf, 8>(&args, row_of_block());
    // It may have been let start before that one's end.
    gpu::wait_for_previous_kernel();
    // SAFETY: the arguments of the launch say where the tensors lie.
    let storage = unsafe { Registers::<XHalf, WHalf, YHalf, 8, 2, true>::load::<false>(row) };
    let sum = Block::sum(squares(&storage), FIRST);
    let rstd = gpu::rsqrt(sum * args.reciprocal_f32 + args.eps);
    // SAFETY: the arguments say where `y` lies, and the tile gives each of its elements to one thread.
    unsafe { storage.write::<false, true>(|x| f32::max(x * rstd, 0.0)) };
}

//! A kernel of one's own on the building blocks: `y = max(x / rms(x), 0) * w`, f16 throughout.
//!
//! A block a row, `dim` a multiple of 8 and at most 16 elements a thread; the arguments are those
//! that `norm-host` makes for its own kernels.
#![no_std]

use cuda_std::kernel;
use norm_kernels::abi::Args;
use norm_kernels::element::F16;
use norm_kernels::gpu;
use norm_kernels::norm::squares;
use norm_kernels::part::{Held, Part};
use norm_kernels::reduce::{Block, FIRST, Team};
use norm_kernels::row::{Row, row_of_block};

/// # Safety
/// `args` holds what `Args` says, for this launch's block and grid.
#[kernel]
pub unsafe fn rms_relu(args: Args) {
    let row = Row::whole::<F16, F16, F16, 8>(&args, row_of_block());
    // It may have been let start before that one's end.
    gpu::wait_for_previous_kernel();
    // SAFETY: whoever launches vouches for the tensors.
    let part = unsafe { Held::<F16, F16, 8, 2, true>::load::<false, false>(row) };
    let sum = Block::sum(squares(&part), FIRST);
    let rstd = gpu::rsqrt(sum * args.reciprocal_f32 + args.eps);
    // SAFETY: as above; the tile gives each element to one thread.
    unsafe { part.write::<F16, false, true>(|x| f32::max(x * rstd, 0.0)) };
}

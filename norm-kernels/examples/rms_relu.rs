//! A kernel of one's own, made of this crate's building blocks: `y = max(x / rms(x), 0) * w`, in f16 or bf16.
//!
//! Which of the two is decided when a kernel is loaded: the host expands the pseudo-instructions in the PTX for either
//! (`norm_host::ptx`).
//!
//! A block has one row. `dim` is a multiple of 8, and at most 16 elements a thread. The arguments are those that `norm-host`
//! makes for its own kernels; grid and block are not, which may be for several rows or more elements.
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
/// `args` is as `Args` documents, for this launch's block and grid.
#[kernel]
pub unsafe fn rms_relu(args: Args) {
    let row = Row::whole::<XHalf, XHalf, WHalf, YHalf, 8>(&args, row_of_block());
    // This kernel may have been started before the previous one has ended.
    gpu::wait_for_previous_kernel();
    // SAFETY: whoever launches guarantees that the rows are in memory, in whole and aligned vectors.
    let storage = unsafe { Registers::<XHalf, WHalf, YHalf, 8, 2, true>::load::<false>(row) };
    let sum = Block::sum(squares(&storage), FIRST);
    let rstd = gpu::rsqrt(sum * args.reciprocal_f32 + args.eps);
    // SAFETY: `Row::whole` gives each vector to one thread, so no other touches its elements of `y`.
    unsafe { storage.write::<false, true>(|x| f32::max(x * rstd, 0.0)) };
}

//! The kernel: `y = x / max(‖x‖₂, eps)`, row by row, a block a row.
//!
//! ```text
//! squares = Σ x[i]²  over this thread's elements        first pass over the row
//! sum     = Σ squares  over the block's threads          shuffles, shared memory, one barrier
//! scale   = 1 / sqrt(max(sum, eps²))
//! y[i]    = x[i] · scale  for this thread's elements     second pass, from the L1 cache where the row fits it
//! ```
//!
//! A thread's elements are vectors of four, as many vectors apart as the block has threads: neighbouring threads access
//! neighbouring memory.

use norm_kernels::access::{MemoryAccess, Scalar, Vector, unpack};
use norm_kernels::each::each;
use norm_kernels::element::{Element, F32};
use norm_kernels::gpu::{self, Reuse};
use norm_kernels::reduce::{Block, FIRST, Scope};

use crate::args::{Args, VECTOR};

/// Elements of a vector: 16 bytes of `f32`.
const N: usize = VECTOR as usize;

/// Rows of whole vectors, `x` and `y` aligned to 16 bytes.
///
/// # Safety
/// As for [`l2_normalize_scalar`], with that alignment, and `dim` a multiple of four.
#[unsafe(no_mangle)]
unsafe extern "ptx-kernel" fn l2_normalize_vector(args: Args) {
    // SAFETY: the caller launches it with rows of whole vectors, whose addresses are multiples of 16.
    unsafe { l2_normalize::<Vector>(&args) }
}

/// Any rows, an element at a time.
///
/// # Safety
/// `args` holds the addresses of two tensors in global memory, of as many rows as the grid has blocks, or of one tensor
/// twice. Nothing else writes `x`, or touches `y`, while the kernel runs. A block is whole warps, at most 32 of them.
#[unsafe(no_mangle)]
unsafe extern "ptx-kernel" fn l2_normalize_scalar(args: Args) {
    // SAFETY: the caller launches it with the addresses of two tensors that have a row for each block.
    unsafe { l2_normalize::<Scalar>(&args) }
}

/// The kernel, with memory reached as vectors or element by element.
///
/// # Safety
/// As for [`l2_normalize_scalar`], or, with [`Vector`], for [`l2_normalize_vector`].
#[inline(always)]
unsafe fn l2_normalize<A: MemoryAccess>(args: &Args) {
    let row = u64::from(gpu::grid_x()) * u64::from(args.dim) * F32::SIZE;

    let mut squares = 0.0;
    each_vector::<A>(args.dim, |offset, valid| {
        // SAFETY: the first `valid` elements from here on are in the row. The others are zeros, which add nothing.
        let words = unsafe { A::fetch::<F32, N>(args.x + row + offset, valid, 0, Reuse::Cached) };
        let x = unpack::<F32, N>(words);
        each::<N>(|i| squares = gpu::fma(x[i], x[i], squares));
    });

    // The same bits in every thread of the block.
    let sum = Block::sum(squares, FIRST);
    // `max(‖x‖, eps)`, squared. By a comparison, because `f32::max` would drop a NaN.
    let least = args.eps * args.eps;
    let scale = gpu::rsqrt(if sum < least { least } else { sum });

    each_vector::<A>(args.dim, |offset, valid| {
        // SAFETY: the first `valid` elements from here on are in the row, of `x` and of `y`; no other thread has them.
        unsafe {
            let x = unpack::<F32, N>(A::fetch::<F32, N>(args.x + row + offset, valid, 0, Reuse::Cached));
            let mut y = [0.0; N];
            each::<N>(|i| y[i] = x[i] * scale);
            A::store::<F32, N>(args.y + row + offset, valid, y);
        }
    });
}

/// Calls `f` with where each of this thread's vectors begins, in bytes from the row's first, and how many of its elements
/// are in the row.
#[inline(always)]
fn each_vector<A: MemoryAccess>(dim: u32, mut f: impl FnMut(u64, u32)) {
    let mut at = gpu::thread_x() * VECTOR;
    while at < dim {
        f(u64::from(at) * F32::SIZE, A::valid::<N>(at, dim));
        at += gpu::block_x() * VECTOR;
    }
}

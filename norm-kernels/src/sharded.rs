//! RMSNorm of rows that are split over devices (tensor parallelism), in two kernels. Between them the host has one `f32` a
//! row summed over all devices, by an all-reduce. See [`ShardKernel`](crate::abi::ShardKernel).

use crate::abi::Args;
use crate::access::{MemoryAccess, Scalar, StreamedVector};
use crate::element::{F32, Input, Output, Param, WHalf, XHalf, YHalf};
use crate::gpu;
use crate::norm::squares;
use crate::reduce::{Cluster, FIRST, Scope};
use crate::row::{Row, row_of_thread};
use crate::storage::{Reload, RowStorage};

/// `sums[row] = Σ x²`, over this device's shard of the row.
///
/// # Safety
/// `args` is as [`Args`] documents, for this launch's block and grid; for `Vectors` access the vectors of its rows are
/// whole and aligned; there is no residual. `sums` is the address of an `f32` a row in global memory, which nothing else
/// accesses while the kernel runs.
#[inline(always)]
unsafe fn partial<A: MemoryAccess, X: Input, W: Param, Y: Output, const N: usize>(args: &Args, sums: u64) {
    gpu::let_next_kernel_start();
    let row = Row::whole::<X, X, W, Y, N>(args, row_of_thread());
    gpu::wait_for_previous_kernel();
    // SAFETY: the caller guarantees that the row is in memory, for `Vectors` in whole and aligned vectors.
    let storage = unsafe { Reload::<A, X, W, Y, N>::new(row) };
    let sum = Cluster::sum(squares(&storage), FIRST);
    let index = row_of_thread();
    if index < args.rows && gpu::thread_x() == 0 {
        // SAFETY: the caller guarantees an `f32` for each row; one thread of the row's block writes it.
        unsafe { gpu::st_global_b32(sums + 4 * index as u64, sum.to_bits()) };
    }
}

/// `y = x / sqrt(sums[row] / dim + eps) * (w + weight_offset) + b`.
///
/// # Safety
/// As [`partial`], but that `sums` is only read, and others may read it, too.
#[inline(always)]
unsafe fn apply<A: MemoryAccess, X: Input, W: Param, Y: Output, const N: usize>(args: &Args, sums: u64) {
    gpu::let_next_kernel_start();
    // There is no residual: the code for one behind the norm is left out, since it would take registers.
    let row = Row { accumulate: false, ..Row::whole::<X, X, W, Y, N>(args, row_of_thread()) };
    // The previous kernel may have written the sums.
    gpu::wait_for_previous_kernel();
    // SAFETY: the caller guarantees that the row is in memory, for `Vectors` in whole and aligned vectors.
    let storage = unsafe { Reload::<A, X, W, Y, N>::new(row) };
    let index = row_of_thread();
    let mut sum = 0.0;
    if index < args.rows {
        // SAFETY: the caller guarantees a readable `f32` for each row.
        sum = f32::from_bits(unsafe { gpu::ld_global_b32(sums + 4 * index as u64) });
    }
    let rstd = gpu::rsqrt(sum * args.reciprocal_f32 + args.eps);
    // SAFETY: `Row::whole` gives each vector of the row to one thread, so no other touches its elements of `y`.
    unsafe { storage.write::<false, true>(|x| x * rstd) };
}

/// One entry point.
macro_rules! entry {
    ($name:expr, $body:expr) => {
        gpu::kernel!(
            $name,
            fn kernel(args: Args, sums: u64) {
                // SAFETY: whoever launches an entry point guarantees what `partial` and `apply` require; `norm-host` checks
                // it before a launch.
                unsafe { $body(&args, sums) }
            }
        );
    };
}

/// The entry points of the step that sums: x, any types for weights and y, which this step has not, and the number of elements
/// in a vector.
macro_rules! partials {
    ($($x:ident $x_name:literal $w:ident $y:ident $n:literal)*) => { $(
        entry!(concat!("rms_partial_", $x_name, "_vector"), partial::<StreamedVector, $x, $w, $y, $n>);
        entry!(concat!("rms_partial_", $x_name, "_scalar"), partial::<Scalar, $x, $w, $y, $n>);
    )* };
}

/// The entry points of the step that normalizes.
macro_rules! applies {
    ($x:ident $x_name:literal, $w:ident $w_name:literal, $y:ident $y_name:literal, $n:literal) => {
        entry!(
            concat!("rms_apply_", $x_name, "_", $w_name, "_", $y_name, "_vector"),
            apply::<StreamedVector, $x, $w, $y, $n>
        );
        entry!(
            concat!("rms_apply_", $x_name, "_", $w_name, "_", $y_name, "_scalar"),
            apply::<Scalar, $x, $w, $y, $n>
        );
    };
}

partials! {
    XHalf "b16" WHalf YHalf 8
    F32 "b32" F32 F32 4
}
layouts!(applies);

//! RMSNorm of rows that are split over devices, in two kernels: between them, others add up one
//! `f32` a row over all devices. See [`ShardKernel`](crate::abi::ShardKernel).

use crate::abi::Args;
use crate::access::{MemoryAccess, Scalar, Vector};
use crate::element::{F32, Input, Output, Param, WHalf, XHalf, YHalf};
use crate::gpu;
use crate::norm::squares;
use crate::reduce::{Cluster, FIRST, Scope};
use crate::row::{Row, row_of_thread};
use crate::storage::{Reload, RowStorage};

/// `sums[row] = Σ x²`, over the shard that is here.
///
/// # Safety
/// `args` holds what [`Args`] says, for this launch's block and grid; vectors are whole and aligned
/// where the access is [`Vector`]; there is no residual. `sums` is the address of an `f32` a row,
/// which nobody else touches.
#[inline(always)]
unsafe fn partial<A: MemoryAccess, X: Input, W: Param, Y: Output, const N: usize>(args: &Args, sums: u64) {
    gpu::let_next_kernel_start();
    let row = Row::whole::<X, X, W, Y, N>(args, row_of_thread());
    gpu::wait_for_previous_kernel();
    // SAFETY: the caller's arguments say where the row lies; there is no residual.
    let storage = unsafe { Reload::<A, X, W, Y, N>::new(row) };
    let sum = Cluster::sum(squares(&storage), FIRST);
    let index = row_of_thread();
    if index < args.rows && gpu::thread_x() == 0 {
        // SAFETY: the row's own.
        unsafe { gpu::st_global_b32(sums + 4 * index as u64, sum.to_bits()) };
    }
}

/// `y = x / sqrt(sums[row] / dim + eps) * (w + weight_offset) + b`.
///
/// # Safety
/// As [`partial`], but that others may read `sums` too; each element of `y` is one thread's, and nothing is added to it.
#[inline(always)]
unsafe fn apply<A: MemoryAccess, X: Input, W: Param, Y: Output, const N: usize>(args: &Args, sums: u64) {
    gpu::let_next_kernel_start();
    // Adding to what `y` holds is no form of it, and would take registers.
    let row = Row { accumulate: false, ..Row::whole::<X, X, W, Y, N>(args, row_of_thread()) };
    // Also for whoever wrote the sums.
    gpu::wait_for_previous_kernel();
    // SAFETY: the caller's arguments say where the row lies; there is no residual.
    let storage = unsafe { Reload::<A, X, W, Y, N>::new(row) };
    let index = row_of_thread();
    let mut sum = 0.0;
    if index < args.rows {
        // SAFETY: the row's own.
        sum = f32::from_bits(unsafe { gpu::ld_global_b32(sums + 4 * index as u64) });
    }
    let rstd = gpu::rsqrt(sum * args.reciprocal_f32 + args.eps);
    // SAFETY: the caller gives each element of `y` to one thread.
    unsafe { storage.write::<false, true>(|x| x * rstd) };
}

/// One entry point.
macro_rules! entry {
    ($name:expr, $body:expr) => {
        gpu::kernel!(
            $name,
            fn kernel(args: Args, sums: u64) {
                // SAFETY: `norm-host` launches with arguments that it has checked; others must keep what `partial` and
                // `apply` ask of theirs.
                unsafe { $body(&args, sums) }
            }
        );
    };
}

/// The entry points of the step that sums: x, the types of weights and y, of which there are none, and elements in a vector.
macro_rules! partials {
    ($($x:ident $x_name:literal $w:ident $y:ident $n:literal)*) => { $(
        entry!(concat!("rms_partial_", $x_name, "_vector"), partial::<Vector, $x, $w, $y, $n>);
        entry!(concat!("rms_partial_", $x_name, "_scalar"), partial::<Scalar, $x, $w, $y, $n>);
    )* };
}

/// The entry points of the step that normalizes.
macro_rules! applies {
    ($x:ident $x_name:literal, $w:ident $w_name:literal, $y:ident $y_name:literal, $n:literal) => {
        entry!(
            concat!("rms_apply_", $x_name, "_", $w_name, "_", $y_name, "_vector"),
            apply::<Vector, $x, $w, $y, $n>
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

//! The entry points of gated RMSNorms: a template for each [`GatedVariant`](crate::abi::GatedVariant) and each combination of
//! element sizes that models use. Which 16-bit types they have, the activation, whether the gate multiplies before or behind
//! the norm, and where it rounds, are left to the host.

use crate::abi::{Args, GatedVariant};
use crate::access::{MemoryAccess, Scalar, StreamedVector};
use crate::element::{Element, F32, Input, Output, Param, WHalf, XHalf, YHalf};
use crate::gpu;
use crate::norm::{Norm, Rms};
use crate::reduce::{Block, Cluster, Scope, Warp};
use crate::row::{Row, prefetch_row, row_of_cluster, row_of_thread};
use crate::storage::{GatedRegisters, GatedReload};

/// Vectors that a thread holds in registers.
const V: usize = GatedVariant::REGISTER_VECTORS as usize;

/// A gated RMSNorm of rows that are held in registers.
///
/// # Safety
/// `args` is as [`Args`] documents, for this launch's block and grid, with the gate as residual. The rows are whole and
/// aligned vectors of `N` elements, at most [`V`] a thread.
#[inline(always)]
unsafe fn in_registers<
    T: Scope,
    X: Input,
    G: Element,
    W: Param,
    Y: Output,
    const N: usize,
    const PRELOAD: bool,
>(
    args: &Args,
) {
    gpu::let_next_kernel_start();
    prefetch_row::<X, G, W, Y, true, true>(args);
    let row = Row::whole::<X, G, W, Y, N>(args, row_of_thread());
    gpu::wait_for_previous_kernel();
    // SAFETY: the caller guarantees that the rows are in memory, in whole and aligned vectors. `Row::whole` gives each vector
    // to one thread, so no other touches its elements of `y`.
    unsafe { Rms::run::<T, N>(GatedRegisters::<W, Y, N, V, PRELOAD>::load::<X, G>(row), args) };
}

/// A gated RMSNorm of any rows, which a cluster may share.
///
/// # Safety
/// As [`in_registers`], but that a thread may have any number of vectors, and that only for `Vectors` access vectors are
/// whole and aligned.
#[inline(always)]
unsafe fn reloading<A: MemoryAccess, X: Input, G: Element, W: Param, Y: Output, const N: usize>(args: &Args) {
    gpu::let_next_kernel_start();
    Cluster::start();
    prefetch_row::<X, G, W, Y, true, false>(args);
    let row = Row::of_cluster::<X, G, W, Y, N>(args, row_of_cluster());
    gpu::wait_for_previous_kernel();
    // SAFETY: the caller guarantees that the rows are in memory, for `Vectors` in whole and aligned vectors. `Row::of_cluster`
    // gives each vector to one thread, so no other touches its elements of `y`.
    unsafe { Rms::run::<Cluster, N>(GatedReload::<A, X, G, W, Y, N>::new(row), args) };
}

/// One entry point.
macro_rules! entry {
    ($name:expr, $body:expr) => {
        gpu::kernel!(
            $name,
            fn kernel(args: Args) {
                // SAFETY: whoever launches an entry point guarantees what `in_registers` and `reloading` require; `norm-host`
                // checks it before a launch.
                unsafe { $body(&args) }
            }
        );
    };
}

/// The entry points for elements of these sizes: x, the gate, the weights and y, and the number of elements in a vector.
/// Weights that are wider than x would take more registers than there are if they were loaded with the row.
macro_rules! gated {
    ($($x:ident $x_name:literal $g:ident $w:ident $w_name:literal $y:ident $n:literal)*) => { $(
        entry!(
            concat!("gated_", $x_name, "_", $w_name, "_warp"),
            in_registers::<Warp, $x, $g, $w, $y, $n, { $w::SIZE <= $x::SIZE }>
        );
        entry!(
            concat!("gated_", $x_name, "_", $w_name, "_block"),
            in_registers::<Block, $x, $g, $w, $y, $n, { $w::SIZE <= $x::SIZE }>
        );
        entry!(concat!("gated_", $x_name, "_", $w_name, "_stream"), reloading::<StreamedVector, $x, $g, $w, $y, $n>);
        entry!(concat!("gated_", $x_name, "_", $w_name, "_scalar"), reloading::<Scalar, $x, $g, $w, $y, $n>);
    )* };
}

gated! {
    XHalf "b16" XHalf WHalf "b16" YHalf 8
    XHalf "b16" XHalf F32 "b32" YHalf 8
    F32 "b32" WHalf WHalf "b16" F32 4
    F32 "b32" F32 F32 "b32" F32 4
}

//! The entry points of norms of whole rows: every combination that
//! [`Kernel::all`](crate::abi::Kernel::all) lists.

use crate::abi::{Args, HYBRID_REGISTERS};
use crate::access::{Scalar, Vector};
use crate::element::{BF16, Element, F16, F32};
use crate::gpu;
use crate::norm::{Layer, Norm, Rms};
use crate::reduce::{Block, Cluster, Scope, Warp};
use crate::row::{Row, prefetch_row, row_of_block, row_of_cluster, row_of_thread};
use crate::storage::{Hybrid, Registers, Reload, Shared};

/// A row in registers, `$v` vectors a thread; `$early`, with its weights and biases; `$residual`, the sum
/// of it and a residual. `$index` gives the row's number in the grid.
///
/// # Safety
/// `args` holds what [`Args`] says, for this launch's block and grid, the rows' vectors of `N`
/// elements are whole and aligned, there is a residual where `$residual` says so alone, nothing to add to, and no
/// biases and no weight offset where the norm has none in registers.
macro_rules! held {
    ($kind:ident, $scope:ident, $index:ident, $x:ident, $w:ident, $y:ident, $n:literal, $v:literal, $early:expr, $residual:literal) => {
        |args: &Args| {
            gpu::let_next_kernel_start();
            prefetch_row::<$x, $w, $residual>(args);
            let row = Row::whole::<$x, $w, $y, $n>(args, $index());
            gpu::wait_for_previous_kernel();
            // SAFETY: the arguments of the launch say where rows lie, in whole and aligned vectors; the tile
            // gives each element to one thread.
            unsafe {
                let storage =
                    Registers::<$x, $w, $n, $v, { $early }>::load::<{ $kind::BIASES }, $residual>(row);
                $kind::run::<$scope, $y, $n>(storage, args)
            };
        }
    };
}

/// A row that a cluster may share; `$storage` stores a thread's part of it.
///
/// # Safety
/// As for `held`, and of rows what `$storage` requires.
macro_rules! any {
    ($kind:ident, $x:ident, $w:ident, $y:ident, $n:literal, $storage:expr) => {
        |args: &Args| {
            gpu::let_next_kernel_start();
            Cluster::start();
            prefetch_row::<$x, $w, false>(args);
            let row = Row::of_cluster::<$x, $w, $y, $n>(args, row_of_cluster());
            gpu::wait_for_previous_kernel();
            // SAFETY: as for `held`.
            unsafe { $kind::run::<Cluster, $y, $n>($storage(row), args) };
        }
    };
}

/// One entry point.
macro_rules! entry {
    ($name:expr, $body:expr) => {
        gpu::kernel!(
            $name,
            fn kernel(args: Args) {
                $body(&args)
            }
        );
    };
}

/// The entry points of a normalization and its types; `$n` elements of the wider of x and y fill
/// 16 bytes.
macro_rules! entries {
    ($kind:tt $kind_name:literal, $x:ident $x_name:literal, $w:ident $w_name:literal, $y:ident $y_name:literal, $n:literal) => {
        entries!(@ concat!($kind_name, "_", $x_name, "_", $w_name, "_", $y_name, "_"), $kind, $x, $w, $y, $n);
    };
    (@ $prefix:expr, Rms, $x:ident, $w:ident, $y:ident, $n:literal) => {
        entry!(concat!($prefix, "warp2"), held!(Rms, Warp, row_of_thread, $x, $w, $y, $n, 2, true, false));
        entry!(concat!($prefix, "block2"), held!(Rms, Block, row_of_thread, $x, $w, $y, $n, 2, true, false));
        entry!(concat!($prefix, "block4"), held!(Rms, Block, row_of_thread, $x, $w, $y, $n, 4, true, false));
        entry!(concat!($prefix, "add2"), held!(Rms, Block, row_of_thread, $x, $w, $y, $n, 2, true, true));
        entry!(concat!($prefix, "add4"), held!(Rms, Block, row_of_thread, $x, $w, $y, $n, 4, true, true));
        entries!(@ $prefix, any Rms, $x, $w, $y, $n);
    };
    (@ $prefix:expr, Layer, $x:ident, $w:ident, $y:ident, $n:literal) => {
        entry!(concat!($prefix, "warp2"), held!(Layer, Warp, row_of_thread, $x, $w, $y, $n, 2, true, false));
        entry!(concat!($prefix, "warp4"), held!(Layer, Warp, row_of_thread, $x, $w, $y, $n, 4, false, false));
        entry!(concat!($prefix, "block4"), held!(Layer, Block, row_of_block, $x, $w, $y, $n, 4, false, false));
        entry!(concat!($prefix, "short4"), held!(Layer, Block, row_of_thread, $x, $w, $y, $n, 4, true, false));
        // In f32 beside x in 16 bits, weights and biases would take more registers than there are.
        entry!(
            concat!($prefix, "add4"),
            held!(Layer, Block, row_of_thread, $x, $w, $y, $n, 4, $w::SIZE <= $x::SIZE, true)
        );
        entries!(@ $prefix, any Layer, $x, $w, $y, $n);
    };
    (@ $prefix:expr, any $kind:ident, $x:ident, $w:ident, $y:ident, $n:literal) => {
        // Whole, aligned vectors that fit the block's shared memory; all but a thread's first of which do; of
        // any number; and element by element, in the order of the vectors.
        entry!(concat!($prefix, "staged"), any!($kind, $x, $w, $y, $n, Shared::<$x, $w, $n>::load));
        entry!(
            concat!($prefix, "mixed"),
            any!($kind, $x, $w, $y, $n, Hybrid::<$x, $w, $n, { HYBRID_REGISTERS as usize }>::load)
        );
        entry!(concat!($prefix, "stream"), any!($kind, $x, $w, $y, $n, Reload::<Vector, $x, $w, $n>::new));
        entry!(concat!($prefix, "scalar"), any!($kind, $x, $w, $y, $n, Reload::<Scalar, $x, $w, $n>::new));
    };
}

/// Both normalizations, with weights of each type.
macro_rules! pairs {
    ($($x:ident $x_name:literal $y:ident $y_name:literal $n:literal)*) => { $(
        entries!(Rms "rms", $x $x_name, F16 "f16", $y $y_name, $n);
        entries!(Rms "rms", $x $x_name, BF16 "bf16", $y $y_name, $n);
        entries!(Rms "rms", $x $x_name, F32 "f32", $y $y_name, $n);
        entries!(Layer "layer", $x $x_name, F16 "f16", $y $y_name, $n);
        entries!(Layer "layer", $x $x_name, BF16 "bf16", $y $y_name, $n);
        entries!(Layer "layer", $x $x_name, F32 "f32", $y $y_name, $n);
    )* };
}

pairs! {
    F16 "f16" F16 "f16" 8
    F16 "f16" BF16 "bf16" 8
    F16 "f16" F32 "f32" 4
    BF16 "bf16" F16 "f16" 8
    BF16 "bf16" BF16 "bf16" 8
    BF16 "bf16" F32 "f32" 4
    F32 "f32" F16 "f16" 4
    F32 "f32" BF16 "bf16" 4
    F32 "f32" F32 "f32" 4
}

//! The templates of norms of whole rows: every [`Template`](crate::abi::Template) of a norm, from the table of
//! variants and the layouts of elements in `lib.rs`.

use crate::abi::{Args, variants};
use crate::access::{Scalar, Vector};
use crate::element::{Element, F32, WHalf, XHalf, YHalf};
use crate::gpu;
use crate::norm::{Layer, Norm, Rms};
use crate::reduce::{Block, Cluster, Scope, Warp};
use crate::row::{Row, prefetch_row, row_of_block, row_of_cluster, row_of_thread};
use crate::storage::{Hybrid, Registers, Reload, Shared};

/// A row in registers, `$v` vectors a thread, whose weights and biases are loaded with it where `$preload` says so;
/// with `$residual`, the sum of it and a residual. `$index` gives the row's number in the grid.
///
/// # Safety
/// `args` holds what [`Args`] says, for this launch's block and grid; the rows' vectors of `$n` elements are whole and
/// aligned; there is a residual if and only if `$residual`; `accumulate` is 0; there are no biases unless `Norm::BIASES`,
/// no weight offset unless `Norm::OFFSETS`.
macro_rules! in_registers {
    ($norm:ident, $scope:ident, $index:ident, $v:literal, $preload:expr, $residual:literal, [$x:ident $w:ident $y:ident $n:literal]) => {
        |args: &Args| {
            gpu::let_next_kernel_start();
            prefetch_row::<$x, $w, $residual>(args);
            let row = Row::whole::<$x, $w, $y, $n>(args, $index());
            gpu::wait_for_previous_kernel();
            // SAFETY: the arguments of the launch say where rows lie, in whole and aligned vectors; the tile
            // gives each element to one thread.
            unsafe {
                let storage =
                    Registers::<$x, $w, $y, $n, $v, { $preload }>::load::<{ $norm::BIASES }, $residual>(row);
                $norm::run::<$scope, $n>(storage, args)
            };
        }
    };
}

/// A row that a cluster may share; `$storage` stores a thread's part of it.
///
/// # Safety
/// As for `in_registers`, and of rows what `$storage` requires.
macro_rules! over_cluster {
    ($norm:ident, $storage:expr, [$x:ident $w:ident $y:ident $n:literal]) => {
        |args: &Args| {
            gpu::let_next_kernel_start();
            Cluster::start();
            prefetch_row::<$x, $w, false>(args);
            let row = Row::of_cluster::<$x, $w, $y, $n>(args, row_of_cluster());
            gpu::wait_for_previous_kernel();
            // SAFETY: as for `in_registers`.
            unsafe { $norm::run::<Cluster, $n>($storage(row), args) };
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

/// The kernel of a row of the table, for a norm, the columns as they stand there.
macro_rules! kernel {
    // The norm has none.
    ($norm:ident $name:expr, $scope:ident ($($storage:tt)+) $access:ident $residual:ident - $types:tt) => {};
    ($norm:ident $name:expr, Cluster (Shared) Vector Either OnDemand [$x:ident $w:ident $y:ident $n:literal]) => {
        entry!($name, over_cluster!($norm, Shared::<$x, $w, $y, $n>::load, [$x $w $y $n]));
    };
    ($norm:ident $name:expr, Cluster (Hybrid $v:literal) Vector Never OnDemand [$x:ident $w:ident $y:ident $n:literal]) => {
        entry!($name, over_cluster!($norm, Hybrid::<$x, $w, $y, $n, $v>::load, [$x $w $y $n]));
    };
    ($norm:ident $name:expr, Cluster (Reload) $access:ident Either OnDemand [$x:ident $w:ident $y:ident $n:literal]) => {
        entry!($name, over_cluster!($norm, Reload::<$access, $x, $w, $y, $n>::new, [$x $w $y $n]));
    };
    // For long grids alone, where uniform registers are worth their latency: see `row_of_block`.
    ($norm:ident $name:expr, Block (Registers $v:literal) Vector Never OnDemand $types:tt) => {
        entry!($name, in_registers!($norm, Block, row_of_block, $v, false, false, $types));
    };
    ($norm:ident $name:expr, Warp (Registers $v:literal) Vector Never OnDemand $types:tt) => {
        entry!($name, in_registers!($norm, Warp, row_of_thread, $v, false, false, $types));
    };
    ($norm:ident $name:expr, $scope:ident (Registers $v:literal) Vector Never Preload $types:tt) => {
        entry!($name, in_registers!($norm, $scope, row_of_thread, $v, true, false, $types));
    };
    ($norm:ident $name:expr, $scope:ident (Registers $v:literal) Vector Always Preload $types:tt) => {
        entry!($name, in_registers!($norm, $scope, row_of_thread, $v, true, true, $types));
    };
    ($norm:ident $name:expr, $scope:ident (Registers $v:literal) Vector Always PreloadNarrow [$x:ident $w:ident $y:ident $n:literal]) => {
        entry!($name, in_registers!($norm, $scope, row_of_thread, $v, $w::SIZE <= $x::SIZE, true, [$x $w $y $n]));
    };
}

/// Both norms' kernels of every row of the table.
macro_rules! kernels {
    (
        [$x:ident $x_name:literal, $w:ident $w_name:literal, $y:ident $y_name:literal, $n:literal]
        $($variant:ident $name:literal $scope:ident $storage:tt $access:ident $residual:ident $threads:literal $rms:tt $layer:tt)*
    ) => { $(
        kernel!(
            Rms concat!("rms_", $x_name, "_", $w_name, "_", $y_name, "_", $name),
            $scope $storage $access $residual $rms [$x $w $y $n]
        );
        kernel!(
            Layer concat!("layer_", $x_name, "_", $w_name, "_", $y_name, "_", $name),
            $scope $storage $access $residual $layer [$x $w $y $n]
        );
    )* };
}

/// The kernels of the whole table, for elements of these sizes.
macro_rules! table {
    ($($layout:tt)*) => { variants!(kernels! $($layout)*); };
}

layouts!(table);

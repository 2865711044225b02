//! The entry points of norms of whole rows: a [`Template`](crate::abi::Template) for each norm, each row of the table of
//! variants (`abi/variant.rs`) and each combination of element sizes (`layouts!` in `lib.rs`).

use crate::abi::{Args, SecondNorm, variants};
use crate::access::Scalar;
// The table's `Vector`, where a storage is generic over it: rows that are loaded again for each pass.
use crate::access::StreamedVector as Vector;
use crate::element::{Element, F32, WHalf, XHalf, YHalf};
use crate::gpu;
use crate::norm::{Layer, Norm, Rms};
use crate::reduce::{Block, Cluster, Scope, Warp};
use crate::row::{Row, prefetch_row, row_of_block, row_of_cluster, row_of_thread};
use crate::sandwich::sandwich;
use crate::storage::{Hybrid, Registers, Reload, Shared};

/// The body of a kernel that holds a row in registers, `$v` vectors a thread. If `$preload`, weights and biases are loaded
/// with the row. `$index` gives the row's index.
///
/// # Safety
/// `args` is as [`Args`] documents, for this launch's block and grid. The rows are whole and aligned vectors of `$n`
/// elements. There is no residual; there are biases only if `Norm::BIASES`, and a weight offset only if `Norm::OFFSETS`.
macro_rules! in_registers {
    ($norm:ident, $scope:ident, $index:ident, $v:literal, $preload:expr, [$x:ident $r:ident $w:ident $y:ident $n:literal]) => {
        |args: &Args| {
            gpu::let_next_kernel_start();
            prefetch_row::<$x, $r, $w, $y, false, false>(args);
            let row = Row::whole::<$x, $r, $w, $y, $n>(args, $index());
            gpu::wait_for_previous_kernel();
            // SAFETY: whoever launches guarantees that the rows are in memory, in whole and aligned vectors. `Row::whole`
            // gives each vector to one thread, so no other touches its elements of `y`.
            unsafe {
                let storage = Registers::<$x, $w, $y, $n, $v, { $preload }>::load::<{ $norm::BIASES }>(row);
                $norm::run::<$scope, $n>(storage, args)
            };
        }
    };
}

/// The body of a kernel that adds a residual in front of the norm, and holds the sum in registers.
///
/// # Safety
/// As for `in_registers`, but that there are a residual in front of the norm and a sum.
macro_rules! adding_in_registers {
    ($norm:ident, $scope:ident, $v:literal, $preload:expr, [$x:ident $r:ident $w:ident $y:ident $n:literal]) => {
        |args: &Args| {
            gpu::let_next_kernel_start();
            prefetch_row::<$x, $r, $w, $y, true, true>(args);
            let row = Row::whole::<$x, $r, $w, $y, $n>(args, row_of_thread());
            gpu::wait_for_previous_kernel();
            // SAFETY: whoever launches guarantees that the rows are in memory, in whole and aligned vectors, and that the
            // sum is a tensor of its own or the residual. `Row::whole` gives each vector to one thread, so no other touches
            // its elements of the sum and of `y`.
            unsafe {
                let row = row.scaled(args);
                let storage =
                    Registers::<$r, $w, $y, $n, $v, { $preload }>::load_sum::<$x, { $norm::BIASES }>(row);
                $norm::run::<$scope, $n>(storage, args)
            };
        }
    };
}

/// The body of a kernel whose rows a cluster may share. `$storage` makes the storage of a thread's part, given the row and the
/// arguments; `$may_add` says whether it may add a residual.
///
/// # Safety
/// `args` is as [`Args`] documents, for this launch's block and grid, and its rows are as `$storage` requires.
macro_rules! over_cluster {
    ($norm:ident, $may_add:literal, $storage:expr, [$x:ident $r:ident $w:ident $y:ident $n:literal]) => {
        |args: &Args| {
            gpu::let_next_kernel_start();
            Cluster::start();
            prefetch_row::<$x, $r, $w, $y, $may_add, false>(args);
            let row = Row::of_cluster::<$x, $r, $w, $y, $n>(args, row_of_cluster());
            gpu::wait_for_previous_kernel();
            // SAFETY: whoever launches guarantees that the rows are as `$storage` requires. `Row::of_cluster` gives each
            // vector to one thread, so no other touches its elements of the sum and of `y`.
            unsafe { $norm::run::<Cluster, $n>($storage(row, args), args) };
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

/// The entry point of two norms with a residual between them.
macro_rules! sandwich_entry {
    ($name:expr, $sandwich:expr) => {
        gpu::kernel!(
            $name,
            fn kernel(args: Args, second: SecondNorm) {
                // SAFETY: whoever launches guarantees what `sandwich` requires of the arguments.
                unsafe { $sandwich(&args, &second) }
            }
        );
    };
}

/// The kernel of a norm for a row of the table of variants, whose columns follow as they stand there.
macro_rules! kernel {
    // This norm has no kernel of this variant.
    ($norm:ident $name:expr, $scope:ident ($($storage:tt)+) $access:ident $residual:ident - $types:tt) => {};
    ($norm:ident $name:expr, Cluster (Shared) Vector Either OnDemand [$x:ident $r:ident $w:ident $y:ident $n:literal]) => {
        entry!($name, over_cluster!(
            $norm,
            true,
            |row: Row, args| Shared::<$r, $w, $y, $n>::load::<$x>(row.scaled(args)),
            [$x $r $w $y $n]
        ));
    };
    ($norm:ident $name:expr, Cluster (Hybrid $v:literal) Vector Never OnDemand [$x:ident $r:ident $w:ident $y:ident $n:literal]) => {
        entry!($name, over_cluster!($norm, false, |row, _| Hybrid::<$x, $w, $y, $n, $v>::load(row), [$x $r $w $y $n]));
    };
    ($norm:ident $name:expr, Cluster (Reload) $access:ident Either OnDemand [$x:ident $r:ident $w:ident $y:ident $n:literal]) => {
        entry!($name, over_cluster!(
            $norm,
            true,
            |row: Row, args| Reload::<$access, $r, $w, $y, $n>::with_residual::<$x>(row.scaled(args)),
            [$x $r $w $y $n]
        ));
    };
    // This variant serves long grids alone, where uniform registers are worth their latency: see `row_of_block`.
    ($norm:ident $name:expr, Block (Registers $v:literal) Vector Never OnDemand $types:tt) => {
        entry!($name, in_registers!($norm, Block, row_of_block, $v, false, $types));
    };
    ($norm:ident $name:expr, Warp (Registers $v:literal) Vector Never OnDemand $types:tt) => {
        entry!($name, in_registers!($norm, Warp, row_of_thread, $v, false, $types));
    };
    ($norm:ident $name:expr, $scope:ident (Registers $v:literal) Vector Never Preload $types:tt) => {
        entry!($name, in_registers!($norm, $scope, row_of_thread, $v, true, $types));
    };
    ($norm:ident $name:expr, $scope:ident (Registers $v:literal) Vector Always Preload $types:tt) => {
        entry!($name, adding_in_registers!($norm, $scope, $v, true, $types));
    };
    ($norm:ident $name:expr, $scope:ident (Registers $v:literal) Vector Always PreloadNarrow [$x:ident $r:ident $w:ident $y:ident $n:literal]) => {
        entry!($name, adding_in_registers!($norm, $scope, $v, $w::SIZE <= $x::SIZE, [$x $r $w $y $n]));
    };
    ($norm:ident $name:expr, Block (Registers $v:literal) Vector Between PreloadNarrow [XHalf XHalf $w:ident YHalf $n:literal]) => {
        sandwich_entry!($name, sandwich::<XHalf, $w, YHalf, $n, $v, { $w::SIZE <= XHalf::SIZE }>);
    };
    ($norm:ident $name:expr, Block (Registers $v:literal) Vector Between PreloadNarrow [F32 F32 $w:ident F32 $n:literal]) => {
        sandwich_entry!($name, sandwich::<F32, $w, F32, $n, $v, { $w::SIZE <= F32::SIZE }>);
    };
    // For other types there is no sandwich: the two norms' rows would be dealt to threads in different ways.
    ($norm:ident $name:expr, Block (Registers $v:literal) Vector Between PreloadNarrow $types:tt) => {};
}

/// The kernels of both norms for every row of the table.
macro_rules! kernels {
    (
        [$x:ident $x_name:literal, $w:ident $w_name:literal, $y:ident $y_name:literal, $n:literal]
        $($variant:ident $name:literal $scope:ident $storage:tt $access:ident $residual:ident $threads:literal $rms:tt $layer:tt)*
    ) => { $(
        kernel!(
            Rms concat!("rms_", $x_name, "_", $w_name, "_", $y_name, "_", $name),
            $scope $storage $access $residual $rms [$x $x $w $y $n]
        );
        kernel!(
            Layer concat!("layer_", $x_name, "_", $w_name, "_", $y_name, "_", $name),
            $scope $storage $access $residual $layer [$x $x $w $y $n]
        );
    )* };
}

/// The kernels of the whole table for elements of these sizes.
macro_rules! table {
    ($($layout:tt)*) => { variants!(kernels! $($layout)*); };
}

layouts!(table);

/// The kernel of a row of the table for a residual in f32 beside 16-bit x and y; none if the variant takes no such residual
/// ([`Variant::takes_wide`](crate::abi::Variant::takes_wide)).
macro_rules! wide_kernel {
    ($norm:ident $name:expr, $scope:ident (Registers $v:literal) Vector Always $params:ident $types:tt) => {
        kernel!($norm $name, $scope (Registers $v) Vector Always $params $types);
    };
    ($norm:ident $name:expr, Cluster (Shared) $access:ident Either $params:ident $types:tt) => {
        kernel!($norm $name, Cluster (Shared) $access Either $params $types);
    };
    ($norm:ident $name:expr, Cluster (Reload) $access:ident Either $params:ident $types:tt) => {
        kernel!($norm $name, Cluster (Reload) $access Either $params $types);
    };
    ($($row:tt)*) => {};
}

/// The kernels of both norms for every row of the table that takes a residual in f32. Vectors are 16 bytes of the residual:
/// the sum is dealt to threads as a tensor in f32 is, so that its norm has the same bits.
macro_rules! wide_kernels {
    (
        [$w:ident $w_name:literal]
        $($variant:ident $name:literal $scope:ident $storage:tt $access:ident $residual:ident $threads:literal $rms:tt $layer:tt)*
    ) => { $(
        wide_kernel!(
            Rms concat!("rms_b16_", $w_name, "_b16_", $name, "_r32"),
            $scope $storage $access $residual $rms [XHalf F32 $w YHalf 4]
        );
        wide_kernel!(
            Layer concat!("layer_b16_", $w_name, "_b16_", $name, "_r32"),
            $scope $storage $access $residual $layer [XHalf F32 $w YHalf 4]
        );
    )* };
}

variants!(wide_kernels! WHalf "b16");
variants!(wide_kernels! F32 "b32");

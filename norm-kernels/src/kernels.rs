//! The entry points: every combination that [`Kernel::all`](crate::abi::Kernel::all) lists.

use crate::abi::Args;
use crate::access::{Scalar, Vector};
use crate::element::{BF16, Element, F16, F32};
use crate::norm::{Layer, Norm, Rms};
use crate::part::{Held, Streamed};
use crate::reduce::{Block, Either, Lanes, Team};
use crate::row::Row;

/// A row in registers, `V` vectors a thread.
///
/// # Safety
/// `args` holds what [`Args`] says, for this launch's block and grid, and the rows' vectors of
/// `N` elements are whole and aligned.
#[inline(always)]
unsafe fn held<K: Norm, T: Team, X: Element, W: Element, Y: Element, const N: usize, const V: usize>(
    args: &Args,
) {
    let row = Row::of_thread::<X, W, Y, N>(args);
    // SAFETY: the caller vouches for rows, vectors and alignment; the tile gives each element to one thread.
    unsafe {
        let part = Held::<X, W, N, V>::load(row);
        K::run::<T, Y, N>(part, args.dim, args.eps);
    }
}

/// A row longer than the registers, in vectors.
///
/// # Safety
/// As [`held`].
#[inline(always)]
unsafe fn long<K: Norm, X: Element, W: Element, Y: Element, const N: usize>(args: &Args) {
    let row = Row::of_thread::<X, W, Y, N>(args);
    // SAFETY: the caller vouches for rows, vectors and alignment; the tile gives each element to one thread.
    unsafe {
        let part = Streamed::<Vector, X, W, N>::new(row);
        K::run::<Block, Y, N>(part, args.dim, args.eps);
    }
}

/// Any row, element by element, in the order of the vectors of `N`.
///
/// # Safety
/// As [`held`], but for the alignment and wholeness of vectors.
#[inline(always)]
unsafe fn scalar<K: Norm, X: Element, W: Element, Y: Element, const N: usize>(args: &Args) {
    let row = Row::of_thread::<X, W, Y, N>(args);
    // SAFETY: the caller vouches for rows; the tile gives each element to one thread.
    unsafe {
        let part = Streamed::<Scalar, X, W, N>::new(row);
        K::run::<Either, Y, N>(part, args.dim, args.eps);
    }
}

/// One entry point.
macro_rules! entry {
    ($name:expr, $body:expr) => {
        const _: () = {
            #[unsafe(export_name = $name)]
            unsafe extern "ptx-kernel" fn kernel(args: Args) {
                // SAFETY: whoever launches a kernel vouches for its arguments.
                unsafe { $body(&args) }
            }
        };
    };
}

/// The six entry points of a normalization and its types; `$n` elements of the wider of x and y
/// fill 16 bytes.
macro_rules! entries {
    ($kind:ident $kind_name:literal, $x:ident $x_name:literal, $w:ident $w_name:literal, $y:ident $y_name:literal, $n:literal) => {
        entry!(
            concat!($kind_name, "_", $x_name, "_", $w_name, "_", $y_name, "_warp1"),
            held::<$kind, Lanes, $x, $w, $y, $n, 1>
        );
        entry!(
            concat!($kind_name, "_", $x_name, "_", $w_name, "_", $y_name, "_warp2"),
            held::<$kind, Lanes, $x, $w, $y, $n, 2>
        );
        entry!(
            concat!($kind_name, "_", $x_name, "_", $w_name, "_", $y_name, "_block2"),
            held::<$kind, Block, $x, $w, $y, $n, 2>
        );
        entry!(
            concat!($kind_name, "_", $x_name, "_", $w_name, "_", $y_name, "_block4"),
            held::<$kind, Block, $x, $w, $y, $n, 4>
        );
        entry!(
            concat!($kind_name, "_", $x_name, "_", $w_name, "_", $y_name, "_long"),
            long::<$kind, $x, $w, $y, $n>
        );
        entry!(
            concat!($kind_name, "_", $x_name, "_", $w_name, "_", $y_name, "_scalar"),
            scalar::<$kind, $x, $w, $y, $n>
        );
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

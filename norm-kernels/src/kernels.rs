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
unsafe fn held<K: Norm, T: Team, X: Element, Y: Element, const N: usize, const V: usize>(args: &Args) {
    let row = Row::of_thread::<X, Y, N>(args);
    // SAFETY: the caller vouches for rows, vectors and alignment; the tile gives each element to one thread.
    unsafe {
        let part = Held::<X, N, V>::load(row);
        K::run::<T, Y, N>(part, args.dim, args.eps);
    }
}

/// A row longer than the registers, in vectors.
///
/// # Safety
/// As [`held`].
#[inline(always)]
unsafe fn long<K: Norm, X: Element, Y: Element, const N: usize>(args: &Args) {
    let row = Row::of_thread::<X, Y, N>(args);
    // SAFETY: the caller vouches for rows, vectors and alignment; the tile gives each element to one thread.
    unsafe {
        let part = Streamed::<Vector, X, N>::new(row);
        K::run::<Block, Y, N>(part, args.dim, args.eps);
    }
}

/// Any row, element by element, in the order of the vectors of `N`.
///
/// # Safety
/// As [`held`], but for the alignment and wholeness of vectors.
#[inline(always)]
unsafe fn scalar<K: Norm, X: Element, Y: Element, const N: usize>(args: &Args) {
    let row = Row::of_thread::<X, Y, N>(args);
    // SAFETY: the caller vouches for rows; the tile gives each element to one thread.
    unsafe {
        let part = Streamed::<Scalar, X, N>::new(row);
        K::run::<Either, Y, N>(part, args.dim, args.eps);
    }
}

/// The six entry points of a normalization and pair of types; `$n` elements fill 16 bytes of
/// the wider type.
macro_rules! entries {
    ($($kind:ident $x:ident $y:ident $n:literal $module:ident $prefix:literal)*) => { $(
        mod $module {
            use super::*;

            entry!($prefix, "warp1", held::<$kind, Lanes, $x, $y, $n, 1>);
            entry!($prefix, "warp2", held::<$kind, Lanes, $x, $y, $n, 2>);
            entry!($prefix, "block2", held::<$kind, Block, $x, $y, $n, 2>);
            entry!($prefix, "block4", held::<$kind, Block, $x, $y, $n, 4>);
            entry!($prefix, "long", long::<$kind, $x, $y, $n>);
            entry!($prefix, "scalar", scalar::<$kind, $x, $y, $n>);
        }
    )* };
}

macro_rules! entry {
    ($prefix:literal, $access:literal, $body:expr) => {
        const _: () = {
            #[unsafe(export_name = concat!($prefix, "_", $access))]
            unsafe extern "ptx-kernel" fn kernel(args: Args) {
                // SAFETY: whoever launches a kernel vouches for its arguments.
                unsafe { $body(&args) }
            }
        };
    };
}

entries! {
    Rms F16 F16 8 rms_f16_f16 "rms_f16_f16"
    Rms F16 BF16 8 rms_f16_bf16 "rms_f16_bf16"
    Rms F16 F32 4 rms_f16_f32 "rms_f16_f32"
    Rms BF16 F16 8 rms_bf16_f16 "rms_bf16_f16"
    Rms BF16 BF16 8 rms_bf16_bf16 "rms_bf16_bf16"
    Rms BF16 F32 4 rms_bf16_f32 "rms_bf16_f32"
    Rms F32 F16 4 rms_f32_f16 "rms_f32_f16"
    Rms F32 BF16 4 rms_f32_bf16 "rms_f32_bf16"
    Rms F32 F32 4 rms_f32_f32 "rms_f32_f32"
    Layer F16 F16 8 layer_f16_f16 "layer_f16_f16"
    Layer F16 BF16 8 layer_f16_bf16 "layer_f16_bf16"
    Layer F16 F32 4 layer_f16_f32 "layer_f16_f32"
    Layer BF16 F16 8 layer_bf16_f16 "layer_bf16_f16"
    Layer BF16 BF16 8 layer_bf16_bf16 "layer_bf16_bf16"
    Layer BF16 F32 4 layer_bf16_f32 "layer_bf16_f32"
    Layer F32 F16 4 layer_f32_f16 "layer_f32_f16"
    Layer F32 BF16 4 layer_f32_bf16 "layer_f32_bf16"
    Layer F32 F32 4 layer_f32_f32 "layer_f32_f32"
}

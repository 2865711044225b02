//! Norms whose output is quantized, in one launch.
//!
//! ```text
//! statistics as in `norm`                                         one pass, one reduction
//! n = norm(x) * w + b, rounded where the recipe rounds            in registers, or computed again by each pass
//! scale given:           1 / scale
//! scale of a token:      largest |n| of the row                   one reduction over the block
//! scale of a block:      largest |n| of 8 or 16 lanes             three or four shuffles
//! y = code(n / scale)
//! ```
//!
//! What differs between formats and recipes are pseudo-instructions ([`pseudo`](crate::gpu::pseudo)); which elements share a
//! scale is a uniform branch between the values and their codes. A row has a block, and its vectors are dealt to threads as
//! by the kernels of norms that are not quantized, so that the sums have their bits.

mod long;
mod quantizer;
mod registers;
mod streamed;

use crate::abi::{Args, Granularity, QuantArgs};
use crate::access::{Scalar, StreamedVector};
use crate::element::{Element, F32, WHalf, XHalf, YHalf};
use crate::gpu;
use crate::norm::{Layer, Norm, Rms};
use crate::reduce::Block;
use crate::row::{Row, prefetch_row, row_of_block};
use quantizer::Quantizer;
use registers::{load, load_sum};
use streamed::Streamed;

/// Elements of a vector: 16 bytes of x.
const WIDTH: usize = 8;

/// In short grids, prefetches the row's scales into the L2 cache, as [`prefetch_row`] does the row: a scale is stored into a part
/// of a cache line, whose rest comes from memory first.
#[inline(always)]
fn prefetch_scales(args: &Args, quant: &QuantArgs, index: u32) {
    let of_blocks = quant.granularity == Granularity::Block as u32;
    let scales = if of_blocks { args.dim >> if quant.block == 128 { 7 } else { 6 } } else { 1 };
    if args.l2_prefetch_rows == 0 && gpu::thread_x() < scales {
        let place = index as u64 * quant.row_stride + gpu::thread_x() as u64 * quant.block_stride;
        // SAFETY: the address of a scale of this row.
        unsafe { gpu::prefetch_line(quant.scales + place * 4) };
    }
}

/// The body of a kernel. `$add` says whether there may be a residual in front of the norm, `$storage` makes the storage of a
/// thread's part, given the row and the quantizer.
///
/// # Safety
/// `args` and `quant` are as [`Args`] and [`QuantArgs`] document, for this launch's block and grid: a block of whole warps for
/// each row. The rows are as `$storage` requires.
macro_rules! quantizing {
    ($norm:ident, $w:ident, $add:literal, $storage:expr) => {
        |args: &Args, quant: &QuantArgs| {
            gpu::let_next_kernel_start();
            prefetch_row::<XHalf, XHalf, $w, YHalf, $add, $add>(args);
            let index = row_of_block();
            prefetch_scales(args, quant, index);
            let row = Row::whole::<XHalf, XHalf, $w, YHalf, WIDTH>(args, index).with_codes(args, index);
            gpu::wait_for_previous_kernel();
            // SAFETY: whoever launches guarantees that rows, parameters and scales are in memory. `Row::whole` gives each vector
            // to one thread, so no other touches its elements of what is written.
            unsafe { $norm::run::<Block, WIDTH>($storage(row, quant, index), args) };
        }
    };
}

/// The entry point of a kernel.
macro_rules! entry {
    ($name:expr, $body:expr) => {
        gpu::kernel!(
            $name,
            fn kernel(args: Args, quant: QuantArgs) {
                let body = $body;
                body(&args, &quant)
            }
        );
    };
}

/// The kernels of a norm that take rows of any length.
macro_rules! of_any_length {
    ($norm:ident $norm_name:literal $w:ident $w_name:literal) => {
        entry!(
            concat!($norm_name, "_b16_", $w_name, "_quant_stream"),
            quantizing!($norm, $w, true, |row, quant, index| Streamed::<StreamedVector, $w>::new(
                row,
                Quantizer::load(quant, index)
            ))
        );
        entry!(
            concat!($norm_name, "_b16_", $w_name, "_quant_scalar"),
            quantizing!($norm, $w, true, |row, quant, index| Streamed::<Scalar, $w>::new(
                row,
                Quantizer::load(quant, index)
            ))
        );
    };
}

/// The kernels of a norm that hold a row in registers, at most `$v` vectors a thread. With `$preload`, parameters are loaded
/// with the row.
macro_rules! in_registers {
    ($norm:ident $norm_name:literal $w:ident $w_name:literal $v:literal $quant:literal $add:literal $preload:expr) => {
        entry!(
            concat!($norm_name, "_b16_", $w_name, $quant),
            quantizing!(
                $norm,
                $w,
                false,
                |row, quant, index| load::<$w, $v, { $preload }, { $norm::BIASES }>(row, quant, index)
            )
        );
        entry!(
            concat!($norm_name, "_b16_", $w_name, $add),
            quantizing!($norm, $w, true, |row, quant, index| load_sum::<
                $w,
                $v,
                { $preload },
                { $norm::BIASES },
            >(row, quant, index))
        );
    };
}

/// The kernel for long grids that `$long` is.
macro_rules! for_long_grids {
    ($name:expr, $long:expr) => {
        entry!(
            $name,
            // SAFETY: whoever launches guarantees what the function requires of the arguments.
            |args: &Args, quant: &QuantArgs| unsafe { $long(args, quant) }
        );
    };
}

/// The kernels for weights of one size.
macro_rules! kernels {
    ($($w:ident $w_name:literal)*) => { $(
        in_registers!(Rms "rms" $w $w_name 2 "_quant2" "_quant_add2" true);
        in_registers!(Rms "rms" $w $w_name 4 "_quant4" "_quant_add4" $w::SIZE <= XHalf::SIZE);
        in_registers!(Layer "layer" $w $w_name 4 "_quant4" "_quant_add4" false);
        for_long_grids!(
            concat!("rms_b16_", $w_name, "_quant_long4"),
            long::rms::<$w, 4, { $w::SIZE <= XHalf::SIZE }>
        );
        for_long_grids!(
            concat!("rms_b16_", $w_name, "_quant_long8"),
            long::rms::<$w, 8, { $w::SIZE <= XHalf::SIZE }>
        );
        for_long_grids!(concat!("layer_b16_", $w_name, "_quant_long8"), long::layer::<$w>);
        of_any_length!(Rms "rms" $w $w_name);
        of_any_length!(Layer "layer" $w $w_name);
    )* };
}

kernels!(WHalf "b16" F32 "b32");

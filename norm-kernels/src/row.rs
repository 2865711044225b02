//! Where a row lies, and which part of it a thread owns.

use core::num::NonZeroU64;

use crate::abi::Args;
use crate::element::Element;
use crate::gpu;

/// One row, and this thread's way through it: vectors of `N` elements from `start` on, every
/// `step` elements.
#[derive(Clone, Copy)]
pub struct Row {
    /// Address of the row in `x`.
    pub x: u64,
    /// Address of the row in `y`.
    pub y: u64,
    /// Address of the row's weights, 0 where there are none.
    pub w: u64,
    /// Added to each of them.
    pub weight_offset: f32,
    /// Address of the row's biases, 0 where there are none.
    pub b: u64,
    /// The first element of the thread's first vector.
    pub start: u32,
    /// From one vector of the thread to its next.
    pub step: u32,
    /// Elements in the row; 0 for threads past the last row, which own nothing but take part
    /// in shuffles.
    pub dim: u32,
}

impl Row {
    /// The row of this thread.
    #[inline(always)]
    pub fn of_thread<X: Element, W: Element, Y: Element, const N: usize>(args: &Args) -> Row {
        let index = gpu::grid_x() as u64 * gpu::block_y() as u64 + gpu::thread_y() as u64;
        let (x, y, inner) = offsets(args, index);
        Row {
            x: args.x + x * X::SIZE,
            y: args.y + y * Y::SIZE,
            // Strides of absent weights and biases are 0.
            w: args.w + inner * args.w_stride * W::SIZE,
            weight_offset: args.weight_offset,
            b: args.b + inner * args.b_stride * W::SIZE,
            start: gpu::thread_x() * N as u32,
            step: gpu::block_x() * N as u32,
            dim: if index < args.rows { args.dim } else { 0 },
        }
    }

    /// The first element of the thread's vector `v`.
    #[inline(always)]
    pub fn at(&self, v: usize) -> u32 {
        self.start + v as u32 * self.step
    }
}

/// The row's offsets in `x` and `y`, in elements, and its place on the last axis.
#[inline(always)]
fn offsets(args: &Args, index: u64) -> (u64, u64, u64) {
    let [a, b, c] = &args.axes;
    // The common case, where all axes merged into one, needs no division.
    if c.extent == args.rows {
        return (index * c.x_stride, index * c.y_stride, index);
    }
    // SAFETY: a launch with an empty axis has no rows, and is never made.
    let [middle, inner] = [b, c].map(|axis| unsafe { NonZeroU64::new_unchecked(axis.extent) });
    let rest = index / inner;
    let (outer, middle, inner) = (rest / middle, rest % middle, index % inner);
    let x = outer * a.x_stride + middle * b.x_stride + inner * c.x_stride;
    let y = outer * a.y_stride + middle * b.y_stride + inner * c.y_stride;
    (x, y, inner)
}

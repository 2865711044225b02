//! The parameters of kernels.

use super::Divisor;

/// One of at most three axes in front of the normalized one. Strides are in elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Number of positions along the axis.
    pub extent: u64,
    /// Distance between neighbours in `x`.
    pub x_stride: u64,
    /// Distance between neighbours in `y`.
    pub y_stride: u64,
    /// Distance between neighbours in the residual, 0 where there is none.
    pub r_stride: u64,
    /// Distance between neighbours in the sum with the residual, 0 where none is stored.
    pub s_stride: u64,
}

impl Axis {
    /// An axis with one position.
    pub const ONE: Axis = Axis { extent: 1, x_stride: 0, y_stride: 0, r_stride: 0, s_stride: 0 };
}

/// The argument of a kernel: `y = norm(x) * (w + weight_offset) + b`, row by row.
///
/// With a residual `r` in front of the norm, `s = (x * branch_scale + r) * sum_scale` is stored, and normalized instead of
/// `x`; with one behind it, `y = (norm(x) * branch_scale + r) * sum_scale`. Kernels that are not [scaled](super::Addition)
/// leave out both scales.
///
/// It is passed by value as the first parameter of every kernel, and the only one of most. A row is one position of `outer`
/// and `inner`, the last varying fastest; its `dim` elements are contiguous.
///
/// The fields that a dense tensor without a residual needs are the first 112 bytes. Parameters begin at offset 0x210 of
/// their constant bank, so these bytes end at 0x280, where a cache line ends. A launch finds that memory in no cache, and
/// each line of it that a row waits for costs a short grid time (docs/TUNING.md, 'Thirteenth round').
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Args {
    /// Device address of `x`'s first element.
    pub x: u64,
    /// Device address of `y`'s first element.
    pub y: u64,
    /// Device address of the weights, 0 if there are none.
    pub w: u64,
    /// Device address of the biases, 0 if there are none. They have the weights' type.
    pub b: u64,
    /// Number of rows, the product of the extents of `outer` and `inner`: below 2³¹.
    pub rows: u32,
    /// Elements in a row, 1 to [`MAX_DIM`](super::MAX_DIM).
    pub dim: u32,
    /// Elements in a block's share of a row; the last block of a cluster may have fewer.
    pub share: u32,
    /// Which row a block prefetches into the L2 cache before it loads its own: so many rows further. With 0 it prefetches its
    /// own row and the weights, with [`NO_PREFETCH`] none.
    pub l2_prefetch_rows: u32,
    /// Added to the mean of squares, or the variance, before the square root.
    pub eps: f32,
    /// Added to every weight in f32; -0, which changes no weight, if there is no offset.
    pub weight_offset: f32,
    /// `1 / dim` in f32. Passed, because a kernel would take longer to compute it than to sum a row.
    pub reciprocal_f32: f32,
    /// Not 0 if the residual is added behind the norm.
    pub accumulate: u32,
    /// One over the number of elements in a block's share of a row.
    pub share_reciprocal: f64,
    /// Distance, in elements, between the weights of neighbours on `inner`: 0 if all rows share their weights.
    pub w_stride: u64,
    /// Distance, in elements, between the biases of neighbours on `inner`: 0 if all rows share their biases.
    pub b_stride: u64,
    /// The last of the axes in front of `dim`, which varies fastest.
    pub inner: Axis,
    /// Device address of the residual, 0 if there is none. It has the type of `x`, or that of `y` if it is added behind the
    /// norm (`accumulate`); f32 for kernels with a [wide](super::Addition) one.
    pub r: u64,
    /// Device address of the sum, which has the type of `r` and may be `r` itself; 0 if no sum is stored beside `y`.
    pub s: u64,
    /// Device address of an f32 that replaces `sum_scale`, 0 if there is none. It is read after the previous kernel has
    /// completed.
    pub sum_scale_at: u64,
    /// The factor of what is added to the residual, `x` or the norm.
    pub branch_scale: f32,
    /// The factor of the sum with the residual.
    pub sum_scale: f32,
    /// `1 / dim` in f64.
    pub reciprocal: f64,
    /// One over the number of elements in the share of the last block of a cluster.
    pub last_share_reciprocal: f64,
    /// The axes in front of `inner`, outermost first, padded with [`Axis::ONE`] at the front.
    pub outer: [Axis; 2],
    /// The extents of the last of `outer`, and of `inner`.
    pub divisors: [Divisor; 2],
}

/// The second argument of a kernel for a sandwich, `s = (norm(x) * branch_scale + r) * sum_scale; y = norm(s)`: the weights
/// and eps of the second norm. Its weights have the type of the first norm's, and all rows share them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SecondNorm {
    /// Device address of its weights, 0 if there are none.
    pub w: u64,
    /// Added to the mean of squares before the square root.
    pub eps: f32,
    /// Added to every weight in f32; -0, which changes no weight, if there is no offset.
    pub weight_offset: f32,
}

/// The value of [`Args::l2_prefetch_rows`] with which no row is prefetched.
pub const NO_PREFETCH: u32 = u32::MAX;

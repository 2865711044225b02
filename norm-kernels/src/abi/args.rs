//! The one parameter of every kernel.

use super::Divisor;

/// One of the up to three axes in front of the normalized one. Strides are in elements.
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
/// With a residual `r` in front of the norm, `s = (x * branch_scale + r) * sum_scale` is stored and normalized in place of
/// `x`; with one behind it, `y = (norm(x) * branch_scale + r) * sum_scale`. Kernels that are not [scaled](super::Addition)
/// leave out both scales.
///
/// Passed by value as the kernel's only parameter. A row is one position of `outer` and `inner`,
/// the last varying fastest; its `dim` elements are dense.
///
/// What a dense tensor without a residual needs comes first, in 112 bytes: they end where the constant bank that kernels
/// find their parameters in, from 0x210 on, has its 0x280th byte. A launch finds that memory in no cache; each line of it that
/// a row waits for costs a short grid some 30 ns (docs/TUNING.md, 'Thirteenth round').
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Args {
    /// Device address of `x`'s first element.
    pub x: u64,
    /// Device address of `y`'s first element.
    pub y: u64,
    /// Device address of the weights, 0 where there are none.
    pub w: u64,
    /// Device address of the biases, 0 where there are none. They have the weights' type.
    pub b: u64,
    /// Number of rows, the product of the extents of `outer` and `inner`: below 2³¹.
    pub rows: u32,
    /// Elements in a row, 1 to [`MAX_DIM`](super::MAX_DIM).
    pub dim: u32,
    /// Elements of a row that a block has; the last block of a cluster may have fewer.
    pub share: u32,
    /// How many rows further the row is that a block prefetches into the L2 cache before it starts on its
    /// own: with 0 it prefetches its own and the weights, with [`NO_PREFETCH`] none.
    pub l2_prefetch_rows: u32,
    /// Added to the mean of squares, or the variance, before the square root.
    pub eps: f32,
    /// Added to every weight in f32; -0, which changes none, where there is none.
    pub weight_offset: f32,
    /// `1 / dim`, which a kernel would take longer to compute than the row's sum.
    pub reciprocal_f32: f32,
    /// Not 0 where the residual is added behind the norm.
    pub accumulate: u32,
    /// One over the elements in the share of a row that a block has.
    pub share_reciprocal: f64,
    /// Distance, in elements, between the weights of neighbours on `inner`: 0 where all rows share theirs.
    pub w_stride: u64,
    /// The same for the biases.
    pub b_stride: u64,
    /// The last of the axes in front of `dim`, which varies fastest.
    pub inner: Axis,
    /// Device address of the residual, 0 where there is none. It has the type of `x`, or of `y` where `accumulate` says
    /// that it is behind the norm; kernels with a [wide](super::Addition) one take it in f32.
    pub r: u64,
    /// Device address of the sum, which has the type of `r` and may be `r` itself; 0 where none is stored beside `y`.
    pub s: u64,
    /// Device address of an f32 that takes the place of `sum_scale`, 0 where there is none. It is read once the kernel in
    /// front has completed.
    pub sum_scale_at: u64,
    /// What is added to the residual, `x` or the norm, is multiplied by this first.
    pub branch_scale: f32,
    /// The sum with the residual is multiplied by this.
    pub sum_scale: f32,
    /// `1 / dim`.
    pub reciprocal: f64,
    /// One over the elements in the share of the last block of a cluster.
    pub last_share_reciprocal: f64,
    /// The axes in front of `inner`, outermost first, padded with [`Axis::ONE`] at the front.
    pub outer: [Axis; 2],
    /// The extents of the last of `outer`, and of `inner`.
    pub divisors: [Divisor; 2],
}

/// The second argument of a kernel for a sandwich, `s = (norm(x) * branch_scale + r) * sum_scale; y = norm(s)`: what the
/// second norm has of its own. Its weights, of the first's type, are shared by all rows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SecondNorm {
    /// Device address of its weights, 0 where there are none.
    pub w: u64,
    /// Added to the mean of squares before the square root.
    pub eps: f32,
    /// Added to every weight in f32; -0, which changes none, where there is none.
    pub weight_offset: f32,
}

/// As [`Args::l2_prefetch_rows`]: prefetch no row.
pub const NO_PREFETCH: u32 = u32::MAX;

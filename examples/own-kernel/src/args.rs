//! What the kernel and whoever launches it agree on.

/// Elements of a vector.
pub const VECTOR: u32 = 4;

/// The largest block: eight warps.
pub const MAX_THREADS: u32 = 256;

/// The kernel's only argument. Rows are dense and lie one behind the other; the grid has a block for each.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Args {
    /// Address of the first element of `x`, an `f32`.
    pub x: u64,
    /// Address of the first element of `y`, an `f32`. It may be `x`.
    pub y: u64,
    /// Elements of a row.
    pub dim: u32,
    /// The least norm that a row is divided by, 1e-18 or more, so that its square is an `f32`.
    pub eps: f32,
}

/// Threads of a block for rows of `dim` elements: whole warps, no more than have a vector.
pub fn threads(dim: u32) -> u32 {
    dim.div_ceil(VECTOR).next_multiple_of(32).min(MAX_THREADS)
}

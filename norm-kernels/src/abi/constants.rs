//! Limits that kernels are compiled with, and that the host must keep to.

/// Threads in a warp.
pub const WARP: u32 = 32;

/// The largest block.
pub const MAX_BLOCK_THREADS: u32 = 1024;

/// The longest row, in elements: up to 2²⁴ every count of elements is exact in `f32`.
pub const MAX_DIM: u32 = 1 << 24;

/// The most vectors of a row that a thread keeps in shared memory and registers together. Their squares are added up in one
/// `f32`. Where every pass loads the row again, the sum of each group of so many vectors is added to an `f64`.
pub const MAX_STAGED_VECTORS: u32 = 16;

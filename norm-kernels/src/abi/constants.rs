//! Numbers that kernels are compiled with and their host must keep to.

/// Threads in a warp.
pub const WARP: u32 = 32;

/// The largest block.
pub const MAX_BLOCK_THREADS: u32 = 1024;

/// The longest row: up to 2²⁴ every count of elements is exact in `f32`.
pub const MAX_DIM: u32 = 1 << 24;

/// The most vectors of a row that a thread keeps in shared memory and registers together. Their squares are one sum in
/// `f32`; where a row is loaded again by each pass, the sum of every so many goes into an `f64`.
pub const MAX_STAGED_VECTORS: u32 = 16;

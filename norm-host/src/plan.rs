//! From a checked problem to a launch, as pure data.

#[cfg(test)]
mod tests;

use norm_kernels::abi::{Access, Args, Kernel, Tile};

use crate::{
    DType,
    error::{Arg, Error, Result},
    problem::{Param, Problem},
};

/// The most blocks along x, on every device since compute capability 3.0 (CUDA C++ Programming
/// Guide, "Technical Specifications per Compute Capability").
pub const MAX_GRID: u64 = (1 << 31) - 1;

/// The widest access a thread can make, in bytes.
const WIDEST: u64 = 16;

/// A launch: which kernel, how many threads, with what.
///
/// The tile, and with it the order of every sum, comes from the types and `dim` alone. The number
/// of rows changes only how many blocks there are, and the alignment only how memory is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// The entry point.
    pub kernel: Kernel,
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block: along the row, rows, 1.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block in bytes, beside what the kernel declares itself.
    pub shared_bytes: u32,
    /// The kernel's parameter.
    pub args: Args,
}

impl Plan {
    /// The launch for a problem with at least one row.
    ///
    /// # Errors
    ///
    /// [`GridTooLarge`](Error::GridTooLarge) if the rows take more than [`MAX_GRID`] blocks,
    /// [`DType`](Error::DType) if the biases have another type than the weights.
    pub fn new(problem: &Problem) -> Result<Plan> {
        let Problem { kind, x, y, w, b, axes, rows, dim, eps, weight_offset, .. } = *problem;
        let parameters = match (w, b) {
            (Some(w), Some(b)) if w.dtype != b.dtype => {
                return Err(Error::DType { arg: Arg::B, expected: w.dtype, given: b.dtype });
            }
            (Some(param), _) | (None, Some(param)) => param.dtype,
            (None, None) => x.dtype,
        };
        let tile = Tile::new(kind, x.dtype, y.dtype, dim);
        let blocks = tile.grid(rows);
        let Some(grid) = u32::try_from(blocks).ok().filter(|_| blocks <= MAX_GRID) else {
            return Err(Error::GridTooLarge { arg: Arg::X, blocks, max: MAX_GRID });
        };
        let access = if takes_vectors(problem, tile) {
            Access::vectored(tile, kind, b.is_some())
        } else {
            Access::Scalar
        };
        let [threads, rows_a_block] = tile.block();
        Ok(Plan {
            kernel: Kernel { kind, x: x.dtype, w: parameters, y: y.dtype, access },
            grid: [grid, 1, 1],
            block: [threads, rows_a_block, 1],
            shared_bytes: 0,
            args: Args {
                x: x.address,
                y: y.address,
                w: w.map_or(0, |w| w.address),
                b: b.map_or(0, |b| b.address),
                axes,
                rows,
                w_stride: w.map_or(0, |w| w.stride),
                b_stride: b.map_or(0, |b| b.stride),
                reciprocal: 1.0 / f64::from(dim),
                dim,
                eps,
                // Absent weights count as ones, which the offset must not change.
                weight_offset: if w.is_some() { weight_offset } else { 0.0 },
            },
        })
    }
}

/// Whether every row of every tensor is made of whole, aligned vectors.
fn takes_vectors(problem: &Problem, tile: Tile) -> bool {
    let width = u64::from(tile.width);
    // A stride along an axis with one position leads nowhere.
    let axes = || problem.axes.iter().filter(|axis| axis.extent > 1);
    let heads = problem.axes[2].extent > 1;
    let param = |param: Option<Param>| {
        param.is_none_or(|Param { address, dtype, stride }| {
            is_aligned(width, dtype, address, heads.then_some(stride))
        })
    };
    u64::from(problem.dim).is_multiple_of(width)
        && is_aligned(width, problem.x.dtype, problem.x.address, axes().map(|axis| axis.x_stride))
        && is_aligned(width, problem.y.dtype, problem.y.address, axes().map(|axis| axis.y_stride))
        && param(problem.w)
        && param(problem.b)
}

/// Whether a vector of `width` elements, or each 16 bytes of a longer one, is aligned wherever
/// the strides lead.
fn is_aligned(width: u64, dtype: DType, address: u64, strides: impl IntoIterator<Item = u64>) -> bool {
    let size = dtype.size() as u64;
    let bytes = u64::min(width * size, WIDEST);
    address.is_multiple_of(bytes) && strides.into_iter().all(|stride| stride.is_multiple_of(bytes / size))
}

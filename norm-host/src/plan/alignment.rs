//! Whether memory can be accessed in aligned vectors.

use super::Tile;
use crate::{
    DType,
    problem::{GatedProblem, Param, Problem, QuantizedProblem, Residual},
};

/// The widest access of a thread, in bytes.
const WIDEST: u64 = 16;

/// Whether every row of every tensor consists of whole, aligned vectors.
pub(super) fn takes_vectors(problem: &Problem, tile: Tile) -> bool {
    let axes = || problem.axes.iter().filter(|axis| axis.extent > 1);
    let (width, y) = (u64::from(tile.width), problem.y);
    reads_vectors(problem, tile) && is_aligned(width, y.dtype, y.address, axes().map(|axis| axis.y_stride))
}

/// Whether every row that a quantized norm accesses consists of whole, aligned vectors; those of the codes have one byte an
/// element.
pub(super) fn takes_quantized_vectors(problem: &QuantizedProblem, tile: Tile) -> bool {
    let QuantizedProblem { norm, normed, .. } = problem;
    let width = u64::from(tile.width);
    let mut axes = norm.axes.iter().filter(|axis| axis.extent > 1);
    reads_vectors(norm, tile)
        && norm.y.address.is_multiple_of(width)
        && axes.all(|axis| axis.y_stride.is_multiple_of(width))
        && normed.is_none_or(|normed| {
            let stride = if norm.rows > 1 { normed.stride } else { 0 };
            is_aligned(width, norm.x.dtype, normed.address, [stride])
        })
}

/// Whether every row but those of `y` consists of whole, aligned vectors.
fn reads_vectors(problem: &Problem, tile: Tile) -> bool {
    let width = u64::from(tile.width);
    // The stride of an axis with one position is never used.
    let axes = || problem.axes.iter().filter(|axis| axis.extent > 1);
    let heads = problem.axes[2].extent > 1;
    let residual = problem.residual.is_none_or(|Residual { r, sum, .. }| {
        // A sum that is `y` has the stride 0 here; the stride of `y` is checked below.
        is_aligned(width, r.dtype, r.address, axes().map(|axis| axis.r_stride))
            && is_aligned(width, sum.dtype, sum.address, axes().map(|axis| axis.s_stride))
    });
    let param = |param: Option<Param>| {
        param.is_none_or(|param| {
            takes_param_vectors(Some(Param { stride: if heads { param.stride } else { 0 }, ..param }), tile)
        })
    };
    u64::from(problem.dim).is_multiple_of(width)
        && is_aligned(width, problem.x.dtype, problem.x.address, axes().map(|axis| axis.x_stride))
        && residual
        && param(problem.w)
        && param(problem.b)
}

/// The same for a gated norm.
pub(super) fn takes_gated_vectors(problem: &GatedProblem, tile: Tile) -> bool {
    let GatedProblem { norm, gate, .. } = problem;
    let strides = norm.axes.iter().filter(|axis| axis.extent > 1).map(|axis| axis.r_stride);
    takes_vectors(norm, tile) && is_aligned(u64::from(tile.width), gate.dtype, gate.address, strides)
}

/// Whether weights or biases, if there are any, consist of whole, aligned vectors, given that the rows do.
pub(super) fn takes_param_vectors(param: Option<Param>, tile: Tile) -> bool {
    param.is_none_or(|Param { address, dtype, stride }| {
        is_aligned(u64::from(tile.width), dtype, address, [stride])
    })
}

/// Whether a vector of `width` elements, or each 16 bytes of a longer one, is aligned in every row that
/// the strides lead to.
pub(super) fn is_aligned(
    width: u64,
    dtype: DType,
    address: u64,
    strides: impl IntoIterator<Item = u64>,
) -> bool {
    let size = dtype.size() as u64;
    let bytes = u64::min(width * size, WIDEST);
    address.is_multiple_of(bytes) && strides.into_iter().all(|stride| stride.is_multiple_of(bytes / size))
}

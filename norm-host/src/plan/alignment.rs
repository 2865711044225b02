//! Whether memory can be accessed in whole vectors.

use super::Tile;
use crate::{
    DType,
    problem::{Param, Problem, Residual},
};

/// The widest access a thread can make, in bytes.
const WIDEST: u64 = 16;

/// Whether every row of every tensor is made of whole, aligned vectors.
pub(super) fn takes_vectors(problem: &Problem, tile: Tile) -> bool {
    let width = u64::from(tile.width);
    // A stride along an axis with one position leads nowhere.
    let axes = || problem.axes.iter().filter(|axis| axis.extent > 1);
    let heads = problem.axes[2].extent > 1;
    let residual = problem.residual.is_none_or(|Residual { r, sum, .. }| {
        // Of a sum that is `y` the stride is 0 here: that of `y` is looked at below.
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
        && is_aligned(width, problem.y.dtype, problem.y.address, axes().map(|axis| axis.y_stride))
        && residual
        && param(problem.w)
        && param(problem.b)
}

/// Whether weights or biases, where there are any, are made of whole, aligned vectors, if the rows are.
pub(super) fn takes_param_vectors(param: Option<Param>, tile: Tile) -> bool {
    param.is_none_or(|Param { address, dtype, stride }| {
        is_aligned(u64::from(tile.width), dtype, address, [stride])
    })
}

/// Whether a vector of `width` elements, or each 16 bytes of a longer one, is aligned wherever
/// the strides lead.
fn is_aligned(width: u64, dtype: DType, address: u64, strides: impl IntoIterator<Item = u64>) -> bool {
    let size = dtype.size() as u64;
    let bytes = u64::min(width * size, WIDEST);
    address.is_multiple_of(bytes) && strides.into_iter().all(|stride| stride.is_multiple_of(bytes / size))
}

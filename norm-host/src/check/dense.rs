//! The shortest way to a [`Problem`]: tensors of which all but their numbers is known to be right.

#[cfg(test)]
mod tests;

use norm_kernels::abi::Axis;

use super::numbers;
use crate::{
    DType, MAX_DIM,
    norm::Norm,
    problem::{self, Operand, Param, Problem, ResidualPlace, Scales},
};

/// Tensors that are row-major, of one shape, in memory that holds them whole, and apart from each other where they are
/// written; weights and biases `(dim,)` are shared by all rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dense {
    pub(crate) x: Operand,
    pub(crate) y: Operand,
    /// What is added, and where the sum goes, unscaled.
    pub(crate) residual: Option<(ResidualPlace, Operand, Operand)>,
    pub(crate) w: Option<Operand>,
    pub(crate) b: Option<Operand>,
    pub(crate) rows: usize,
    pub(crate) dim: usize,
}

/// The problem that the checks of views come to; `None` where they would find fault, and say with what. Weights, biases
/// and scales of the description itself do not count.
pub(crate) fn dense(norm: &Norm<'_>, tensors: &Dense) -> Option<Problem> {
    let Dense { x, y, residual, w, b, rows, dim } = *tensors;
    numbers(norm, w.is_some()).ok()?;
    let dim = u32::try_from(dim).ok().filter(|dim| (1..=MAX_DIM).contains(dim))?;
    if w.zip(b).is_some_and(|(w, b)| w.dtype != b.dtype) {
        return None;
    }
    let residual = match residual {
        Some((place, r, sum)) if addable(place, x, y, r, sum) => {
            Some(problem::Residual { place, r, sum, scales: Scales::NONE })
        }
        Some(_) => return None,
        None => None,
    };
    let stride = u64::from(dim);
    let stride_of = |there: bool| if there { stride } else { 0 };
    let stored = residual.is_some_and(|residual| residual.place == ResidualPlace::InFront);
    let last = match rows {
        1 => Axis::ONE,
        _ => Axis {
            extent: rows as u64,
            x_stride: stride,
            y_stride: stride,
            r_stride: stride_of(residual.is_some()),
            s_stride: stride_of(stored),
        },
    };
    let param = |Operand { address, dtype }| Param { address, dtype, stride: 0 };
    let (w, b) = (w.map(param), b.map(param));
    let axes = ([Axis::ONE, Axis::ONE, last], rows as u64);
    Some(super::problem(norm, [x, y], residual, (w, b), axes, dim))
}

/// Whether there are kernels for the types of the residual.
fn addable(place: ResidualPlace, x: Operand, y: Operand, r: Operand, sum: Operand) -> bool {
    r.dtype == sum.dtype
        && match place {
            ResidualPlace::InFront => {
                let is_wide = r.dtype == DType::F32 && x.dtype.size() == 2 && y.dtype.size() == 2;
                r.dtype == x.dtype || is_wide
            }
            ResidualPlace::Behind => sum == y,
        }
}

//! The shortest way to a [`Problem`], for tensors that need no checks of shapes, strides and memory.

#[cfg(test)]
mod tests;

use norm_kernels::abi::Axis;

use super::{numbers, residual::is_supported_in_front};
use crate::{
    MAX_DIM,
    norm::Norm,
    problem::{Operand, Param, Problem, Residual, ResidualPlace, Scales},
};

/// Tensors that are row-major, of one shape, in memory that holds them whole, and apart from each other where they are
/// written; weights and biases `(dim,)` are shared by all rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dense {
    pub(crate) x: Operand,
    pub(crate) y: Operand,
    /// The residual and the tensor that receives the sum, without factors.
    pub(crate) residual: Option<(ResidualPlace, Operand, Operand)>,
    pub(crate) w: Option<Operand>,
    pub(crate) b: Option<Operand>,
    pub(crate) rows: usize,
    pub(crate) dim: usize,
}

/// The problem, equal to that of the checks of views; `None` where those would return an error, which says what is wrong.
/// Weights, biases and factors of the description itself are ignored.
pub(crate) fn dense(norm: &Norm<'_>, tensors: &Dense) -> Option<Problem> {
    let Dense { x, y, residual, w, b, rows, dim } = *tensors;
    numbers(norm, w.is_some()).ok()?;
    let dim = u32::try_from(dim).ok().filter(|dim| (1..=MAX_DIM).contains(dim))?;
    if w.zip(b).is_some_and(|(w, b)| w.dtype != b.dtype) {
        return None;
    }
    let residual = match residual {
        Some((place, r, sum)) if addable(place, x, y, r, sum) => {
            Some(Residual { place, r, sum, scales: Scales::NONE })
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
            ResidualPlace::InFront => is_supported_in_front(r.dtype, x.dtype, y.dtype),
            ResidualPlace::Behind => sum == y,
        }
}

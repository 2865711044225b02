//! Checks of ranks, shapes and strides.

use std::ops::RangeInclusive;

use crate::{
    MAX_DIM,
    error::{Arg, Error, Result},
    tensor::{Raw, Shape},
};

/// Checks that the number of axes is one of `expected`.
pub(super) fn rank(arg: Arg, expected: RangeInclusive<usize>, tensor: &Raw) -> Result<()> {
    let given = tensor.layout.shape.len();
    if expected.contains(&given) { Ok(()) } else { Err(Error::Rank { arg, expected, given }) }
}

/// Checks that the extents are `expected`; a different number of axes is an error of its own.
pub(super) fn same_shape(arg: Arg, expected: Shape, tensor: &Raw) -> Result<()> {
    rank(arg, expected.len()..=expected.len(), tensor)?;
    let given = tensor.layout.shape;
    if given == expected { Ok(()) } else { Err(Error::Shape { arg, expected, given }) }
}

/// Checks the shape of the weights or biases of heads: `expected`, one row for each head, or one row for all heads.
pub(super) fn head_shape(arg: Arg, expected: Shape, tensor: &Raw) -> Result<()> {
    rank(arg, 1..=expected.len(), tensor)?;
    let given = tensor.layout.shape;
    let fits = given == expected || given == expected.last_axes(1);
    if fits { Ok(()) } else { Err(Error::HeadShape { arg, expected, given }) }
}

/// Checks that a row has elements, and not more than [`MAX_DIM`], up to which the count is exact in `f32`.
pub(super) fn row_length(arg: Arg, tensor: &Raw) -> Result<()> {
    let max = MAX_DIM as usize;
    match tensor.layout.shape.split_last() {
        (_, 0) => Err(Error::EmptyRow { arg }),
        (_, dim) if dim > max => Err(Error::RowTooLong { arg, dim, max }),
        _ => Ok(()),
    }
}

/// Checks that the elements of a row are contiguous. The stride of an axis with a single element does not matter.
pub(super) fn dense_rows(arg: Arg, tensor: &Raw) -> Result<()> {
    match (tensor.layout.shape.split_last(), tensor.layout.strides.split_last()) {
        ((_, dim), (_, stride)) if dim > 1 && stride != 1 => Err(Error::LastAxisStrided { arg, stride }),
        _ => Ok(()),
    }
}

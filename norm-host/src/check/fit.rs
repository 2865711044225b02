//! Do ranks, shapes and strides go together?

use std::ops::RangeInclusive;

use crate::{
    MAX_DIM,
    error::{Arg, Error, Result},
    tensor::{Raw, Shape},
};

/// The number of axes is one of `expected`.
pub(super) fn rank(arg: Arg, expected: RangeInclusive<usize>, tensor: &Raw) -> Result<()> {
    let given = tensor.layout.shape.len();
    if expected.contains(&given) { Ok(()) } else { Err(Error::Rank { arg, expected, given }) }
}

/// The extents are `expected`; a different number of them is reported as such.
pub(super) fn same_shape(arg: Arg, expected: Shape, tensor: &Raw) -> Result<()> {
    rank(arg, expected.len()..=expected.len(), tensor)?;
    let given = tensor.layout.shape;
    if given == expected { Ok(()) } else { Err(Error::Shape { arg, expected, given }) }
}

/// Weights or biases of heads: one for each, which is `expected`, or one for all.
pub(super) fn head_shape(arg: Arg, expected: Shape, tensor: &Raw) -> Result<()> {
    rank(arg, 1..=expected.len(), tensor)?;
    let given = tensor.layout.shape;
    let fits = given == expected || given == expected.last_axes(1);
    if fits { Ok(()) } else { Err(Error::HeadShape { arg, expected, given }) }
}

/// There is something to take the mean of, and its count is exact in `f32`.
pub(super) fn row_length(arg: Arg, tensor: &Raw) -> Result<()> {
    let max = MAX_DIM as usize;
    match tensor.layout.shape.split_last() {
        (_, 0) => Err(Error::EmptyRow { arg }),
        (_, dim) if dim > max => Err(Error::RowTooLong { arg, dim, max }),
        _ => Ok(()),
    }
}

/// A row's elements are neighbours. The stride of a single element is of no account.
pub(super) fn dense_rows(arg: Arg, tensor: &Raw) -> Result<()> {
    match (tensor.layout.shape.split_last(), tensor.layout.strides.split_last()) {
        ((_, dim), (_, stride)) if dim > 1 && stride != 1 => Err(Error::LastAxisStrided { arg, stride }),
        _ => Ok(()),
    }
}

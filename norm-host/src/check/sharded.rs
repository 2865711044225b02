//! The checks of the two steps of a norm whose rows are split over devices.

use super::{Form, ResidualArgs, apart, assemble, fit, input, memory, numbers, overlap};
use crate::{
    DType, MAX_DIM, NormKind,
    error::{Arg, Error, Result},
    norm::Norm,
    problem::{Scales, ShardProblem, ShardStep},
    tensor::{Place, Raw, Shape},
};

/// Checks the first step, the sums of squares of the rows of `x`, to run at `place`.
pub(crate) fn partial(x: &Raw, sums: &Raw, place: Place) -> Result<ShardProblem> {
    input(Form::Rows, x, place)?;
    sums_of(x, sums, place)?;
    overlap::within(Arg::Sums, sums)?;
    overlap::apart((Arg::X, x), (Arg::Sums, sums))?;
    let part = assemble(&Norm::rms(0.0), [x, x], (ResidualArgs::None, Scales::NONE), (None, None))?;
    Ok(ShardProblem { step: ShardStep::Partial, dim: part.dim, part, sums: sums.address })
}

/// Checks the second step, the outputs of rows of `dim` elements of which `x` is a shard, to run at `place`.
pub(crate) fn apply(
    norm: &Norm<'_>,
    x: &Raw,
    sums: &Raw,
    y: &Raw,
    dim: usize,
    place: Place,
) -> Result<ShardProblem> {
    if norm.kind != NormKind::Rms {
        return Err(Error::SplitLayerNorm);
    }
    numbers(norm, norm.weight.is_some())?;
    input(Form::Rows, x, place)?;
    let (_, here) = x.layout.shape.split_last();
    let dim = whole(here as u32, dim)?;
    sums_of(x, sums, place)?;
    let part = apart(norm, Form::Rows, x, y, ResidualArgs::None, place)?;
    overlap::apart((Arg::Sums, sums), (Arg::Y, y))?;
    Ok(ShardProblem { step: ShardStep::Apply, part, sums: sums.address, dim })
}

/// Checks the length of a whole row, of which `here` elements are on this device.
fn whole(here: u32, dim: usize) -> Result<u32> {
    let max = MAX_DIM as usize;
    match u32::try_from(dim) {
        Ok(dim) if dim < here => Err(Error::SplitRow { here: here as usize, given: dim as usize }),
        Ok(dim) if dim <= MAX_DIM => Ok(dim),
        _ => Err(Error::RowTooLong { arg: Arg::Dim, dim, max }),
    }
}

/// Checks that there is one dense `f32` for each row of `x`.
fn sums_of(x: &Raw, sums: &Raw, place: Place) -> Result<()> {
    let (front, _) = x.layout.shape.split_last();
    let too_many = Error::TooManyElements { arg: Arg::X, shape: x.layout.shape };
    let rows = front.iter().try_fold(1_usize, |rows, &extent| rows.checked_mul(extent)).ok_or(too_many)?;
    fit::same_shape(Arg::Sums, Shape::new(&[rows]).expect("one axis"), sums)?;
    if sums.dtype != DType::F32 {
        return Err(Error::DType { arg: Arg::Sums, expected: DType::F32, given: sums.dtype });
    }
    memory::usable(Arg::Sums, sums, place)?;
    fit::dense_rows(Arg::Sums, sums)
}

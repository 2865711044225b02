//! Checks of a residual and of the factors in its addition.

use norm_kernels::abi::Addition;

use super::{ResidualArgs, fit, memory, overlap};
use crate::{
    DType,
    error::{Arg, Error, Result},
    norm::{Norm, Scale},
    problem::Scales,
    tensor::{Place, Raw, Shape},
};

impl<'a> ResidualArgs<'a> {
    /// The tensor that is added to and the one that receives the sum, if there is a residual; `y` is the output.
    pub(super) fn tensors(self, y: &'a Raw) -> [Option<&'a Raw>; 2] {
        match self {
            ResidualArgs::None => [None; 2],
            ResidualArgs::InFront { r, sum } => [Some(r), Some(sum.unwrap_or(r))],
            ResidualArgs::Behind { r } => [Some(r.unwrap_or(y)), Some(y)],
        }
    }

    /// The sum that is stored in addition to the output, with the name of its argument.
    pub(super) fn written_in_front(self) -> Option<(Arg, &'a Raw)> {
        match self {
            ResidualArgs::InFront { r, sum: None } => Some((Arg::R, r)),
            ResidualArgs::InFront { sum: Some(sum), .. } => Some((Arg::Sum, sum)),
            ResidualArgs::None | ResidualArgs::Behind { .. } => None,
        }
    }
}

/// Whether there are kernels for a residual of this type in front of the norm, beside `x` and `y` of these types.
pub(super) fn is_supported_in_front(r: DType, x: DType, y: DType) -> bool {
    r == x || r == DType::F32 && Addition::is_wide_beside(x, y)
}

/// Checks a residual in front of the norm and its sum, on their own and against `x`.
pub(super) fn in_front(residual: ResidualArgs<'_>, (x, y): (&Raw, &Raw), place: Place) -> Result<()> {
    let ResidualArgs::InFront { r, sum } = residual else { return Ok(()) };
    fits(Arg::R, r, x, place)?;
    if !is_supported_in_front(r.dtype, x.dtype, y.dtype) {
        return Err(Error::DType { arg: Arg::R, expected: x.dtype, given: r.dtype });
    }
    if let Some(sum) = sum {
        fits(Arg::Sum, sum, x, place)?;
        if sum.dtype != r.dtype {
            return Err(Error::DType { arg: Arg::Sum, expected: r.dtype, given: sum.dtype });
        }
        overlap::same_or_apart((Arg::R, r), (Arg::Sum, sum))?;
    }
    let written = (if sum.is_some() { Arg::Sum } else { Arg::R }, sum.unwrap_or(r));
    overlap::within(written.0, written.1)?;
    overlap::apart((Arg::X, x), written)
}

/// Checks a residual against the output `y`.
pub(super) fn beside_output(residual: ResidualArgs<'_>, y: &Raw, place: Place) -> Result<()> {
    match residual {
        ResidualArgs::None | ResidualArgs::Behind { r: None } => Ok(()),
        ResidualArgs::InFront { r, sum } => {
            overlap::apart((Arg::R, r), (Arg::Y, y))?;
            sum.map_or(Ok(()), |sum| overlap::apart((Arg::Sum, sum), (Arg::Y, y)))
        }
        ResidualArgs::Behind { r: Some(r) } => {
            fits(Arg::R, r, y, place)?;
            if r.dtype != y.dtype {
                return Err(Error::DType { arg: Arg::R, expected: y.dtype, given: r.dtype });
            }
            overlap::same_or_apart((Arg::R, r), (Arg::Y, y))
        }
    }
}

/// Checks that a tensor has the shape of `like`, is at `place`, and has dense rows.
fn fits(arg: Arg, tensor: &Raw, like: &Raw, place: Place) -> Result<()> {
    fit::same_shape(arg, like.layout.shape, tensor)?;
    memory::usable(arg, tensor, place)?;
    fit::dense_rows(arg, tensor)
}

/// Checks the factors in the addition.
pub(super) fn scales(
    norm: &Norm<'_>,
    residual: ResidualArgs<'_>,
    written: [Option<(Arg, &Raw)>; 2],
    place: Place,
) -> Result<Scales> {
    let finite =
        |arg, given: f32| if given.is_finite() { Ok(given) } else { Err(Error::Scale { arg, given }) };
    let branch = finite(Arg::BranchScale, norm.branch_scale)?;
    let (sum, sum_at) = match norm.sum_scale {
        Scale::Number(number) => (finite(Arg::SumScale, number)?, None),
        Scale::Memory(view) => (1.0, Some(in_memory(&view.raw, written, place)?)),
    };
    if matches!(residual, ResidualArgs::None) {
        match (branch == 1.0, sum == 1.0 && sum_at.is_none()) {
            (false, _) => return Err(Error::ScaleWithoutResidual { arg: Arg::BranchScale }),
            (true, false) => return Err(Error::ScaleWithoutResidual { arg: Arg::SumScale }),
            (true, true) => {}
        }
    }
    Ok(Scales { branch, sum, sum_at })
}

/// Checks a factor in memory, one `f32`, and gives its address.
fn in_memory(scale: &Raw, written: [Option<(Arg, &Raw)>; 2], place: Place) -> Result<u64> {
    let arg = Arg::SumScale;
    fit::same_shape(arg, Shape::new(&[1]).expect("one axis"), scale)?;
    if scale.dtype != DType::F32 {
        return Err(Error::DType { arg, expected: DType::F32, given: scale.dtype });
    }
    memory::usable(arg, scale, place)?;
    for written in written.into_iter().flatten() {
        overlap::apart((arg, scale), written)?;
    }
    Ok(scale.address)
}

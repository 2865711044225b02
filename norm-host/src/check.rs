//! The checks of an operation: from views to a [`Problem`], or a typed error.

mod fit;
mod memory;
mod overlap;

use crate::{
    MAX_DIM,
    error::{Arg, Error, Result},
    norm::Norm,
    problem::{Operand, Param, Problem, merge},
    tensor::{MAX_RANK, Place, Raw},
};

/// Which axes the weights and biases have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `(dim,)`, shared by all rows.
    Rows,
    /// `(heads, head_dim)`: the last two axes of `x`.
    Heads,
}

impl Form {
    /// The rank of weights and biases, and the lowest of `x`.
    const fn param_rank(self) -> usize {
        match self {
            Form::Rows => 1,
            Form::Heads => 2,
        }
    }
}

/// Checks `y = norm(x)`, to run at `place`.
pub(crate) fn apart(norm: &Norm<'_>, form: Form, x: &Raw, y: &Raw, place: Place) -> Result<Problem> {
    norm_itself(norm)?;
    input(form, x, place)?;
    fit::same_shape(Arg::Y, x.layout.shape, y)?;
    memory::usable(Arg::Y, y, place)?;
    fit::dense_rows(Arg::Y, y)?;
    overlap::x_and_y(x, y)?;
    rest(norm, form, x, y, Arg::Y, place)
}

/// Checks `x = norm(x)`, to run at `place`. Errors name the one tensor `x`.
pub(crate) fn in_place(norm: &Norm<'_>, form: Form, x: &Raw, place: Place) -> Result<Problem> {
    norm_itself(norm)?;
    input(form, x, place)?;
    rest(norm, form, x, x, Arg::X, place)
}

/// `eps` may be 0: a row of zeros then becomes NaN, as the formula says.
fn norm_itself(norm: &Norm<'_>) -> Result<()> {
    if !(norm.eps.is_finite() && norm.eps >= 0.0) {
        return Err(Error::Eps { given: norm.eps });
    }
    if !norm.weight_offset.is_finite() {
        return Err(Error::WeightOffset { given: norm.weight_offset });
    }
    Ok(())
}

fn input(form: Form, x: &Raw, place: Place) -> Result<()> {
    fit::rank(Arg::X, form.param_rank()..=MAX_RANK, x)?;
    fit::row_length(Arg::X, x)?;
    memory::usable(Arg::X, x, place)?;
    fit::dense_rows(Arg::X, x)
}

/// What is checked of the written tensor, whichever it is, and of the parameters.
fn rest(norm: &Norm<'_>, form: Form, x: &Raw, y: &Raw, written: Arg, place: Place) -> Result<Problem> {
    overlap::within(written, y)?;
    let w = param(Arg::W, norm.weight.map(|w| w.raw), form, (x, y, written), place)?;
    let b = param(Arg::B, norm.bias.map(|b| b.raw), form, (x, y, written), place)?;
    // A kernel is compiled for one type of parameters.
    if let (Some(w), Some(b)) = (w, b)
        && w.dtype != b.dtype
    {
        return Err(Error::DType { arg: Arg::B, expected: w.dtype, given: b.dtype });
    }
    let keep_last = [w, b].into_iter().flatten().any(|p| p.stride != 0);
    let too_many = Error::TooManyElements { arg: Arg::X, shape: x.layout.shape };
    let (axes, rows) = merge(&x.layout, &y.layout, keep_last).ok_or(too_many)?;
    let (_, dim) = x.layout.shape.split_last();
    let operand = |raw: &Raw| Operand { address: raw.address, dtype: raw.dtype };
    Ok(Problem {
        kind: norm.kind,
        x: operand(x),
        y: operand(y),
        w,
        b,
        axes,
        rows,
        // `fit::row_length` has seen it.
        dim: u32::try_from(dim).unwrap_or(MAX_DIM),
        eps: norm.eps,
        weight_offset: norm.weight_offset,
    })
}

fn param(
    arg: Arg,
    param: Option<Raw>,
    form: Form,
    (x, y, written): (&Raw, &Raw, Arg),
    place: Place,
) -> Result<Option<Param>> {
    let Some(param) = param else { return Ok(None) };
    let rank = form.param_rank();
    fit::rank(arg, rank..=rank, &param)?;
    let expected = x.layout.shape.last_axes(rank);
    fit::same_shape(arg, expected, &param)?;
    memory::usable(arg, &param, place)?;
    fit::dense_rows(arg, &param)?;
    overlap::param(arg, &param, written, y)?;
    let stride = match form {
        Form::Heads if expected[0] > 1 => param.layout.strides[0] as u64,
        _ => 0,
    };
    Ok(Some(Param { address: param.address, dtype: param.dtype, stride }))
}

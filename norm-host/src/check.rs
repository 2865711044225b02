//! The checks of an operation: they turn views and a description into a [`Problem`], or a typed error.

#[cfg(feature = "candle")]
mod dense;
mod fit;
mod gated;
mod memory;
mod overlap;
mod qk_rope;
mod quantized;
mod residual;
mod sandwich;
mod sharded;
#[cfg(test)]
mod tests;

#[cfg(feature = "candle")]
pub(crate) use dense::{Dense, dense};
pub(crate) use gated::gated;
pub(crate) use qk_rope::{qk_rope, qk_rope_pairs};
pub(crate) use quantized::quantized;
pub(crate) use sandwich::sandwich;
pub(crate) use sharded::{apply, partial};

use norm_kernels::abi::Axis;

use crate::{
    MAX_DIM, Rounding,
    error::{Arg, Error, Result},
    norm::Norm,
    problem::{Operand, Param, Problem, Residual, ResidualPlace, Scales, merge},
    tensor::{MAX_RANK, Place, Raw},
};

/// Which axes of `x` the weights and biases have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `(dim,)`, shared by all rows.
    Rows,
    /// `(heads, head_dim)`, the last two axes of `x`; or `(head_dim,)`, shared by all heads.
    Heads,
}

impl Form {
    /// The highest rank of weights and biases, and the lowest of `x`.
    pub(crate) const fn param_rank(self) -> usize {
        match self {
            Form::Rows => 1,
            Form::Heads => 2,
        }
    }
}

/// The tensors of the residual as an operation is given them, not yet checked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ResidualArgs<'a> {
    /// Nothing: `y = norm(x)`.
    None,
    /// In front of the norm: `sum = x + r; y = norm(sum)`. Without a `sum` the result goes to `r`.
    InFront { r: &'a Raw, sum: Option<&'a Raw> },
    /// Behind the norm: `y = r + norm(x)`, or `y += norm(x)` without an `r`.
    Behind { r: Option<&'a Raw> },
}

/// Checks an operation that reads `x` and writes `y`, to run at `place`.
pub(crate) fn apart(
    norm: &Norm<'_>,
    form: Form,
    x: &Raw,
    y: &Raw,
    residual: ResidualArgs<'_>,
    place: Place,
) -> Result<Problem> {
    numbers(norm, norm.weight.is_some())?;
    input(form, x, place)?;
    residual::in_front(residual, (x, y), place)?;
    fit::same_shape(Arg::Y, x.layout.shape, y)?;
    memory::usable(Arg::Y, y, place)?;
    fit::dense_rows(Arg::Y, y)?;
    overlap::same_or_apart((Arg::X, x), (Arg::Y, y))?;
    residual::beside_output(residual, y, place)?;
    rest(norm, form, x, (Arg::Y, y), residual, place)
}

/// Checks an operation that reads and writes `x`, to run at `place`. Errors call that one tensor `x`.
pub(crate) fn in_place(
    norm: &Norm<'_>,
    form: Form,
    x: &Raw,
    residual: ResidualArgs<'_>,
    place: Place,
) -> Result<Problem> {
    numbers(norm, norm.weight.is_some())?;
    input(form, x, place)?;
    residual::in_front(residual, (x, x), place)?;
    rest(norm, form, x, (Arg::X, x), residual, place)
}

/// Checks the options that concern no tensor. `eps` may be 0: a row of zeros then becomes NaN, as the formula says. An
/// `eps` above 0 that rounds to 0 in `f32` is refused, because rows of small values would not get the result asked for.
fn numbers(norm: &Norm<'_>, has_weight: bool) -> Result<()> {
    let eps = norm.eps as f32;
    if !(eps.is_finite() && (eps > 0.0 || norm.eps == 0.0)) {
        return Err(Error::Eps { given: norm.eps });
    }
    let given = norm.weight_offset;
    match has_weight {
        _ if !given.is_finite() => Err(Error::WeightOffset { given }),
        false if given != 0.0 => Err(Error::OffsetWithoutWeights { given }),
        _ if norm.round_offset && given == 0.0 => Err(Error::RoundOffsetOfNone),
        false if norm.rounding == Rounding::T5 => Err(Error::RoundingWithoutWeights { given: norm.rounding }),
        _ => Ok(()),
    }
}

fn input(form: Form, x: &Raw, place: Place) -> Result<()> {
    fit::rank(Arg::X, form.param_rank()..=MAX_RANK, x)?;
    fit::row_length(Arg::X, x)?;
    memory::usable(Arg::X, x, place)?;
    fit::dense_rows(Arg::X, x)
}

/// Checks the output, which is `y` or in place `x`, and the parameters, and assembles the problem.
fn rest(
    norm: &Norm<'_>,
    form: Form,
    x: &Raw,
    output: (Arg, &Raw),
    residual: ResidualArgs<'_>,
    place: Place,
) -> Result<Problem> {
    let (written, y) = output;
    overlap::within(written, y)?;
    let all_written = [Some(output), residual.written_in_front()];
    let w = param(Arg::W, norm.weight.map(|w| w.raw), form, x, all_written, place)?;
    let b = param(Arg::B, norm.bias.map(|b| b.raw), form, x, all_written, place)?;
    // Each kernel is compiled for one type of parameters.
    if let (Some(w), Some(b)) = (w, b)
        && w.dtype != b.dtype
    {
        return Err(Error::DType { arg: Arg::B, expected: w.dtype, given: b.dtype });
    }
    let scales = residual::scales(norm, residual, all_written, place)?;
    assemble(norm, [x, y], (residual, scales), (w, b))
}

/// Assembles the problem from arguments that have been checked.
fn assemble(
    norm: &Norm<'_>,
    [x, y]: [&Raw; 2],
    (residual, scales): (ResidualArgs<'_>, Scales),
    (w, b): (Option<Param>, Option<Param>),
) -> Result<Problem> {
    let keep_last = [w, b].into_iter().flatten().any(|p| p.stride != 0);
    let too_many = Error::TooManyElements { arg: Arg::X, shape: x.layout.shape };
    let [r, sum] = residual.tensors(y);
    let stored = sum.filter(|_| matches!(residual, ResidualArgs::InFront { .. }));
    let layouts = [r, stored].map(|tensor| tensor.map(|tensor| &tensor.layout));
    let (axes, rows) = merge([&x.layout, &y.layout], layouts, keep_last).ok_or(too_many)?;
    let (_, dim) = x.layout.shape.split_last();
    let place = match residual {
        ResidualArgs::Behind { .. } => ResidualPlace::Behind,
        ResidualArgs::InFront { .. } | ResidualArgs::None => ResidualPlace::InFront,
    };
    let residual = r.zip(sum).map(|(r, sum)| Residual { place, r: operand(r), sum: operand(sum), scales });
    // `fit::row_length` has checked that it is at most `MAX_DIM`.
    let dim = u32::try_from(dim).unwrap_or(MAX_DIM);
    Ok(problem(norm, [operand(x), operand(y)], residual, (w, b), (axes, rows), dim))
}

/// The problem with the options of a description, which [`numbers`] has checked.
fn problem(
    norm: &Norm<'_>,
    [x, y]: [Operand; 2],
    residual: Option<Residual>,
    (w, b): (Option<Param>, Option<Param>),
    (axes, rows): ([Axis; 3], u64),
    dim: u32,
) -> Problem {
    Problem {
        kind: norm.kind,
        x,
        y,
        residual,
        w,
        b,
        axes,
        rows,
        dim,
        eps: norm.eps as f32,
        weight_offset: norm.weight_offset,
        round_offset: norm.round_offset,
        rounding: norm.rounding,
        overlap: norm.overlap,
    }
}

fn operand(raw: &Raw) -> Operand {
    Operand { address: raw.address, dtype: raw.dtype }
}

fn param(
    arg: Arg,
    param: Option<Raw>,
    form: Form,
    x: &Raw,
    written: [Option<(Arg, &Raw)>; 2],
    place: Place,
) -> Result<Option<Param>> {
    let Some(param) = param else { return Ok(None) };
    let expected = x.layout.shape.last_axes(form.param_rank());
    match form {
        Form::Rows => fit::same_shape(arg, expected, &param)?,
        Form::Heads => fit::head_shape(arg, expected, &param)?,
    }
    memory::usable(arg, &param, place)?;
    fit::dense_rows(arg, &param)?;
    for written in written.into_iter().flatten() {
        overlap::apart((arg, &param), written)?;
    }
    let stride = match *param.layout.shape {
        [heads, _] if heads > 1 => param.layout.strides[0] as u64,
        _ => 0,
    };
    Ok(Some(Param { address: param.address, dtype: param.dtype, stride }))
}

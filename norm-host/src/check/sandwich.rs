//! The checks of two norms with a residual between them.

use super::{Form, ResidualArgs, apart, numbers, overlap};
use crate::{
    error::{Arg, Error, Result},
    norm::{Norm, Scale},
    problem::{SandwichProblem, merge},
    tensor::{Place, Raw, View},
};

/// Checks `sum = r + first(x); y = next(sum)`, to run at `place`. Without a `sum` the result goes to `r`.
pub(crate) fn sandwich(
    [first, next]: [&Norm<'_>; 2],
    [x, y]: [&Raw; 2],
    (r, sum): (&Raw, Option<&Raw>),
    place: Place,
) -> Result<SandwichProblem> {
    numbers(next, next.weight.is_some())?;
    without_scales(next)?;
    let (written, stored) = sum.map_or((Arg::R, r), |sum| (Arg::Sum, sum));
    let behind = ResidualArgs::Behind { r: Some(r) };
    // `apart` calls the sum `y`.
    let first_problem =
        apart(first, Form::Rows, x, stored, behind, place).map_err(|error| error.renamed(Arg::Y, written))?;
    overlap::apart((Arg::X, x), (written, stored))?;
    let second_problem = apart(next, Form::Rows, stored, y, ResidualArgs::None, place)
        .map_err(|error| error.renamed(Arg::X, written))?;
    overlap::apart((written, stored), (Arg::Y, y))?;
    overlap::same_or_apart((Arg::X, x), (Arg::Y, y))?;
    overlap::apart((Arg::R, r), (Arg::Y, y))?;
    // In one launch a row of either norm may be written before the other norm has read all of its parameters.
    let scale = match first.sum_scale {
        Scale::Memory(view) => Some(view),
        Scale::Number(_) => None,
    };
    let of_first = parameters(first).into_iter().chain([(Arg::SumScale, scale)]);
    for (arg, view) in of_first.filter_map(|(arg, view)| Some((arg, view?))) {
        overlap::apart((arg, &view.raw), (Arg::Y, y))?;
    }
    for (arg, view) in parameters(next).into_iter().filter_map(|(arg, view)| Some((arg, view?))) {
        overlap::apart((arg, &view.raw), (written, stored))?;
    }
    let layouts = [Some(&r.layout), Some(&stored.layout)];
    let too_many = Error::TooManyElements { arg: Arg::X, shape: x.layout.shape };
    let (axes, _) = merge([&x.layout, &y.layout], layouts, false).ok_or(too_many)?;
    Ok(SandwichProblem { first: first_problem, second: second_problem, axes })
}

/// Checks that the second norm has no factors: those of the addition belong to the first.
fn without_scales(next: &Norm<'_>) -> Result<()> {
    if next.branch_scale != 1.0 {
        return Err(Error::ScaleOfNext { scale: Arg::BranchScale });
    }
    match next.sum_scale {
        Scale::Number(1.0) => Ok(()),
        Scale::Number(_) | Scale::Memory(_) => Err(Error::ScaleOfNext { scale: Arg::SumScale }),
    }
}

/// The weights and biases of a norm.
fn parameters<'a>(norm: &Norm<'a>) -> [(Arg, Option<View<'a>>); 2] {
    [(Arg::W, norm.weight), (Arg::B, norm.bias)]
}

//! The checks of a gated norm.

use norm_kernels::abi::NormKind;

use super::{Form, ResidualArgs, apart, fit, in_place, memory, operand, overlap};
use crate::{
    DType,
    error::{Arg, Error, Result},
    norm::{Gate, Norm},
    problem::{GatedProblem, Problem, merge},
    tensor::{Place, Raw},
};

/// Checks a gated norm that reads `x` and the gate and writes `y`, which is `x` where there is none, to run at `place`.
pub(crate) fn gated(
    norm: &Norm<'_>,
    form: Form,
    gate: &Gate<'_>,
    (x, y): (&Raw, Option<&Raw>),
    place: Place,
) -> Result<GatedProblem> {
    if norm.kind != NormKind::Rms {
        return Err(Error::GatedLayerNorm);
    }
    if norm.bias.is_some() {
        return Err(Error::GatedBias);
    }
    let problem = match y {
        Some(y) => apart(norm, form, x, y, ResidualArgs::None, place)?,
        None => in_place(norm, form, x, ResidualArgs::None, place)?,
    };
    let (g, written) = (&gate.view.raw, y.map_or((Arg::X, x), |y| (Arg::Y, y)));
    fit::same_shape(Arg::G, x.layout.shape, g)?;
    memory::usable(Arg::G, g, place)?;
    fit::dense_rows(Arg::G, g)?;
    overlap::apart((Arg::G, g), written)?;
    types(&problem, g.dtype)?;
    let keep_last = problem.w.is_some_and(|w| w.stride != 0);
    let too_many = Error::TooManyElements { arg: Arg::X, shape: x.layout.shape };
    let layouts = [&x.layout, &written.1.layout];
    let (axes, _) = merge(layouts, [Some(&g.layout), None], keep_last).ok_or(too_many)?;
    Ok(GatedProblem { norm: Problem { axes, ..problem }, gate: operand(g), gating: gate.gating })
}

/// Checks that there are kernels for these types: `y` has that of `x`. An `x` of 16 bits has a gate of its own type, and
/// weights of that type or of `f32`; an `x` of `f32` has a gate of any type, and weights of the gate's.
fn types(problem: &Problem, g: DType) -> Result<()> {
    let Problem { x, y, w, .. } = *problem;
    let expect = |arg, expected, given| {
        if given == expected { Ok(()) } else { Err(Error::DType { arg, expected, given }) }
    };
    expect(Arg::Y, x.dtype, y.dtype)?;
    let w = w.map(|w| w.dtype);
    if x.dtype == DType::F32 {
        return w.map_or(Ok(()), |w| expect(Arg::W, g, w));
    }
    expect(Arg::G, x.dtype, g)?;
    w.filter(|&w| w != DType::F32).map_or(Ok(()), |w| expect(Arg::W, x.dtype, w))
}

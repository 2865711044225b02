//! The checks of a norm whose output is quantized.

#[cfg(test)]
mod tests;

use norm_kernels::abi::{QuantFormat, QuantPreset, QuantRecipe};

use super::{Form, ResidualArgs, assemble, fit, input, memory, numbers, overlap, param, residual};
use crate::{
    DType, Rounding,
    error::{Arg, Error, Result},
    norm::{Norm, Quantization, Scale, Scaling},
    problem::{Operand, QuantLimits, QuantScales, QuantizedProblem, Scales, UniformRows},
    tensor::{Codes, Layout, Place, QuantizedMut, Raw, Shape},
};

/// The sizes of blocks that there are kernels for.
const BLOCKS: [usize; 2] = [64, 128];

/// Checks a norm of `x`, perhaps with a residual in front, whose output `y` is quantized, to run at `place`.
pub(crate) fn quantized(
    norm: &Norm<'_>,
    quantization: &Quantization<'_>,
    x: &Raw,
    y: &QuantizedMut<'_>,
    residual: ResidualArgs<'_>,
    place: Place,
) -> Result<QuantizedProblem> {
    numbers(norm, norm.weight.is_some())?;
    without_options(norm)?;
    let recipe = recipe(quantization)?;
    input(Form::Rows, x, place)?;
    if x.dtype == DType::F32 {
        return Err(Error::QuantizedInput { given: x.dtype });
    }
    residual::in_front(residual, (x, x), place)?;
    if let ResidualArgs::InFront { r, .. } = residual
        && r.dtype != x.dtype
    {
        return Err(Error::DType { arg: Arg::R, expected: x.dtype, given: r.dtype });
    }
    codes(quantization, x, &y.codes, place)?;
    let scales = scales(quantization, x, y, recipe, place)?;
    let normed = y.normed.as_ref().map(|normed| copy(x, &normed.raw, place)).transpose()?;
    apart(norm, quantization, x, y, residual)?;
    let w = param(Arg::W, norm.weight.map(|w| w.raw), Form::Rows, x, [None; 2], place)?;
    let b = param(Arg::B, norm.bias.map(|b| b.raw), Form::Rows, x, [None; 2], place)?;
    if let (Some(w), Some(b)) = (w, b)
        && w.dtype != b.dtype
    {
        return Err(Error::DType { arg: Arg::B, expected: w.dtype, given: b.dtype });
    }
    // Codes have the layout of an output; their type is not one of a `Raw`.
    let as_output = Raw { address: y.codes.address, layout: y.codes.layout, ..*x };
    let problem = assemble(norm, [x, &as_output], (residual, Scales::NONE), (w, b))?;
    let y = Operand { address: y.codes.address, dtype: x.dtype };
    let norm = crate::problem::Problem { y, ..problem };
    Ok(QuantizedProblem { norm, format: quantization.format, recipe, scales, normed })
}

/// Checks that the norm has no option that a quantization leaves no place for.
fn without_options(norm: &Norm<'_>) -> Result<()> {
    if norm.rounding != Rounding::Single {
        return Err(Error::QuantizedOption { arg: Arg::Rounding });
    }
    if norm.round_offset {
        return Err(Error::QuantizedOption { arg: Arg::RoundOffset });
    }
    if norm.branch_scale != 1.0 {
        return Err(Error::QuantizedOption { arg: Arg::BranchScale });
    }
    match norm.sum_scale {
        Scale::Number(1.0) => Ok(()),
        Scale::Number(_) | Scale::Memory(_) => Err(Error::QuantizedOption { arg: Arg::SumScale }),
    }
}

/// The recipe of a preset for these scales; an error if it has none.
fn recipe(quantization: &Quantization<'_>) -> Result<QuantRecipe> {
    let Quantization { format, scaling, preset, bound } = quantization;
    if let Scaling::Block(given) = scaling
        && !BLOCKS.contains(given)
    {
        return Err(Error::QuantBlock { given: *given });
    }
    let unsupported = |given| Err(Error::QuantPreset { preset: *preset, given });
    let recipe = match (preset, scaling) {
        (QuantPreset::Exact, _) => QuantRecipe::Exact,
        (QuantPreset::Vllm, Scaling::Tensor(_)) => QuantRecipe::VllmStatic,
        (QuantPreset::Vllm, Scaling::Token | Scaling::Block(_)) => QuantRecipe::VllmDynamic,
        (QuantPreset::FlashInfer, Scaling::Tensor(_)) => QuantRecipe::FlashInferStatic,
        (QuantPreset::FlashInfer, Scaling::Block(128)) => QuantRecipe::FlashInferBlock,
        (QuantPreset::FlashInfer, Scaling::Block(_)) => return unsupported("a scale for each 64 elements"),
        (QuantPreset::FlashInfer, Scaling::Token) => return unsupported("a scale for each token"),
    };
    if !recipe.takes(*format) {
        return unsupported(match scaling {
            Scaling::Tensor(_) => "int8 with a scale for the tensor",
            Scaling::Token | Scaling::Block(_) => "int8",
        });
    }
    let bounds_nothing = matches!(scaling, Scaling::Tensor(_))
        || *preset == QuantPreset::FlashInfer
        || *preset == QuantPreset::Vllm && *format == QuantFormat::Int8;
    match bound {
        Some(_) if matches!(scaling, Scaling::Tensor(_)) => Err(Error::BoundOfGivenScale),
        Some(_) if bounds_nothing => unsupported("an upper bound"),
        Some(Scale::Number(given)) if !(given.is_finite() && *given > 0.0) => {
            Err(Error::QuantScale { arg: Arg::UpperBound, given: *given })
        }
        _ => Ok(recipe),
    }
}

/// Checks the codes against the input.
fn codes(quantization: &Quantization<'_>, x: &Raw, codes: &Codes, place: Place) -> Result<()> {
    if codes.format != quantization.format {
        return Err(Error::QuantFormat { arg: Arg::Y, expected: quantization.format, given: codes.format });
    }
    // `fit` checks a `Raw`: one of the codes' layout.
    let as_raw = Raw { address: codes.address, layout: codes.layout, ..*x };
    fit::same_shape(Arg::Y, x.layout.shape, &as_raw)?;
    fit::dense_rows(Arg::Y, &as_raw)?;
    memory::usable_codes(Arg::Y, codes, place)?;
    overlap::within(Arg::Y, codes)
}

/// Checks the scales, those that are written or the one that is given.
fn scales(
    quantization: &Quantization<'_>,
    x: &Raw,
    y: &QuantizedMut<'_>,
    recipe: QuantRecipe,
    place: Place,
) -> Result<QuantScales> {
    let scales = match (quantization.scaling, &y.scales) {
        (Scaling::Tensor(scale), None) => {
            one_f32(Arg::Scale, &scale.raw, place)?;
            if place == Place::Host {
                positive(Arg::Scale, scale.raw.address)?;
            }
            return Ok(QuantScales::Tensor { at: scale.raw.address });
        }
        (Scaling::Tensor(_), Some(_)) => return Err(Error::ScalesBesideGiven),
        (Scaling::Token | Scaling::Block(_), None) => return Err(Error::NoScales),
        (Scaling::Token | Scaling::Block(_), Some(scales)) => &scales.raw,
    };
    let (front, dim) = x.layout.shape.split_last();
    let groups = match quantization.scaling {
        Scaling::Block(block) if !dim.is_multiple_of(block) => {
            return Err(Error::QuantBlocks { dim, block });
        }
        Scaling::Block(block) => dim / block,
        Scaling::Token | Scaling::Tensor(_) => 1,
    };
    let mut shape = [0; crate::MAX_RANK];
    shape[..front.len()].copy_from_slice(front);
    shape[front.len()] = groups;
    let shape = Shape::new(&shape[..=front.len()]).expect("the rank of x");
    fit::same_shape(Arg::Scales, shape, scales)?;
    if scales.dtype != DType::F32 {
        return Err(Error::DType { arg: Arg::Scales, expected: DType::F32, given: scales.dtype });
    }
    memory::usable(Arg::Scales, scales, place)?;
    overlap::within(Arg::Scales, scales)?;
    let rows = UniformRows { address: scales.address, stride: row_stride(Arg::Scales, &scales.layout)? };
    let mut limits = QuantLimits::of(recipe, quantization.format);
    match quantization.bound {
        None => {}
        Some(Scale::Number(bound)) => limits.bound = bound,
        Some(Scale::Memory(bound)) => {
            one_f32(Arg::UpperBound, &bound.raw, place)?;
            if place == Place::Host {
                positive(Arg::UpperBound, bound.raw.address)?;
            }
            limits.bound_at = Some(bound.raw.address);
        }
    }
    Ok(match quantization.scaling {
        Scaling::Block(block) => {
            let (_, stride) = scales.layout.strides.split_last();
            QuantScales::Block { rows, stride: stride as u64, block: block as u32, limits }
        }
        Scaling::Token | Scaling::Tensor(_) => QuantScales::Token { rows, limits },
    })
}

/// Checks the copy of the norm's values.
fn copy(x: &Raw, normed: &Raw, place: Place) -> Result<UniformRows> {
    fit::same_shape(Arg::Normed, x.layout.shape, normed)?;
    if normed.dtype != x.dtype {
        return Err(Error::DType { arg: Arg::Normed, expected: x.dtype, given: normed.dtype });
    }
    memory::usable(Arg::Normed, normed, place)?;
    fit::dense_rows(Arg::Normed, normed)?;
    overlap::within(Arg::Normed, normed)?;
    Ok(UniformRows { address: normed.address, stride: row_stride(Arg::Normed, &normed.layout)? })
}

/// The distance between neighbouring rows, if all have the same.
fn row_stride(arg: Arg, layout: &Layout) -> Result<u64> {
    let Layout { shape, strides } = *layout;
    let (extents, _) = shape.split_last();
    let mut rows: Option<(usize, usize)> = None;
    for (&extent, &stride) in extents.iter().zip(&*strides).rev().filter(|(extent, _)| **extent != 1) {
        rows = match rows {
            None => Some((stride, extent)),
            Some((inner, count)) if inner.checked_mul(count) == Some(stride) => {
                Some((inner, count.saturating_mul(extent)))
            }
            Some(_) => return Err(Error::RowsApart { arg, shape, strides }),
        };
    }
    Ok(rows.map_or(0, |(stride, _)| stride as u64))
}

/// Checks that it is one `f32` at `place`.
fn one_f32(arg: Arg, scale: &Raw, place: Place) -> Result<()> {
    fit::same_shape(arg, Shape::new(&[1]).expect("one axis"), scale)?;
    if scale.dtype != DType::F32 {
        return Err(Error::DType { arg, expected: DType::F32, given: scale.dtype });
    }
    memory::usable(arg, scale, place)
}

/// Checks that the `f32` at an address of the host, which a view that has been checked gave, is positive and finite.
fn positive(arg: Arg, address: u64) -> Result<()> {
    let pointer = std::ptr::with_exposed_provenance::<f32>(address as usize);
    // SAFETY: the address is that of a view of one f32 on the host, which is readable while the view lives; `memory::usable`
    // has checked that it is aligned and not null.
    let given = unsafe { pointer.read() };
    if given.is_finite() && given > 0.0 { Ok(()) } else { Err(Error::QuantScale { arg, given }) }
}

/// Checks that what is written shares no memory with anything else.
fn apart(
    norm: &Norm<'_>,
    quantization: &Quantization<'_>,
    x: &Raw,
    y: &QuantizedMut<'_>,
    residual: ResidualArgs<'_>,
) -> Result<()> {
    let scale = match quantization.scaling {
        Scaling::Tensor(scale) => Some(scale.raw),
        Scaling::Token | Scaling::Block(_) => None,
    };
    let bound = match quantization.bound {
        Some(Scale::Memory(bound)) => Some(bound.raw),
        _ => None,
    };
    let [r, _] = residual.tensors(x);
    let sum = residual.written_in_front();
    let read = [
        (Arg::X, Some(*x)),
        (Arg::R, r.copied()),
        (Arg::W, norm.weight.map(|w| w.raw)),
        (Arg::B, norm.bias.map(|b| b.raw)),
        (Arg::Scale, scale),
        (Arg::UpperBound, bound),
    ];
    let written = [
        (Arg::Scales, y.scales.as_ref().map(|scales| scales.raw)),
        (Arg::Normed, y.normed.as_ref().map(|normed| normed.raw)),
    ];
    let codes = (Arg::Y, &y.codes);
    for (arg, tensor) in read.iter().filter_map(|(arg, tensor)| Some((*arg, tensor.as_ref()?))) {
        overlap::apart((arg, tensor), codes)?;
        for (other, written) in written.iter().filter_map(|(arg, written)| Some((*arg, written.as_ref()?))) {
            overlap::apart((arg, tensor), (other, written))?;
        }
        // `residual::in_front` has compared the sum with `x` and `r`.
        if let Some((other, sum)) = sum
            && !matches!(arg, Arg::X | Arg::R)
        {
            overlap::apart((arg, tensor), (other, sum))?;
        }
    }
    for (arg, tensor) in written.iter().filter_map(|(arg, written)| Some((*arg, written.as_ref()?))) {
        overlap::apart((arg, tensor), codes)?;
        if let Some((other, sum)) = sum {
            overlap::apart((arg, tensor), (other, sum))?;
        }
    }
    if let Some((other, sum)) = sum {
        overlap::apart((other, sum), codes)?;
    }
    if let [(a, Some(scales)), (b, Some(normed))] = &written {
        overlap::apart((*a, scales), (*b, normed))?;
    }
    Ok(())
}

//! Norms whose output is quantized: the row algorithm into a row of `f32`, and what the recipe makes of that.

#[cfg(test)]
mod tests;

use std::slice::{from_raw_parts, from_raw_parts_mut};

use half::{bf16, f16};
use norm_kernels::abi::Axis;

use super::{
    convert::{widen_bf16, widen_f16},
    dispatch::{Isa, RowFn},
    loops::Dest,
    round::round,
    row::{RowRange, Span},
    simd::Simd,
    tasks::{Job, TASK},
    team,
    widen::{elements, elements_mut, narrow},
};
use crate::{
    DType,
    problem::{Operand, Problem, QuantScales, QuantizedProblem, Roundings, UniformRows},
    quantize::{Factor, Formula},
};

/// Carries the problem out, spread over threads as any other.
///
/// # Safety
///
/// As [`Backend::run_quantized`](crate::Backend::run_quantized).
pub(super) unsafe fn run(problem: &QuantizedProblem, isa: Isa) {
    let Problem { rows, dim, x, .. } = problem.norm;
    let rounds = problem.recipe.rounds_before_weight();
    let roundings = Roundings { normalized: rounds.then_some(x.dtype), ..Roundings::NONE };
    let share_chunks = dim as usize > TASK && rows < rayon::current_num_threads() as u64;
    // The weights may have any type, so that the rows are of no form in particular.
    let job = Job { isa, rounds, uniform: None, share_chunks };
    // SAFETY: the caller promises that a given scale and a bound in memory may be read.
    let scaling = unsafe { Scaling::of(problem) };
    let over = |first: u64, last: u64| {
        let mut buffers = Buffers { v: vec![0.0; dim as usize], n: vec![0.0; dim as usize] };
        for row in first..last {
            // SAFETY: the caller promises the memory of all rows, no two of which share what is written; each is in one task.
            unsafe { quantize_row(problem, row, &scaling, (&job, &roundings), &mut buffers) };
        }
    };
    if share_chunks || rows.saturating_sub(1).saturating_mul(dim.into()) < TASK as u64 {
        return over(0, rows);
    }
    let rows_per_task = TASK.div_ceil(dim as usize) as u64;
    team::share(rows, rows_per_task, &|range| over(range.start, range.end));
}

/// A row on its way.
struct Buffers {
    /// What is normalized.
    v: Vec<f32>,
    /// The norm's values. Before them, the residual.
    n: Vec<f32>,
}

/// Where scales come from or go to.
struct Scaling {
    formula: Formula,
    /// The factor of a scale that is given.
    given: Option<Factor>,
    /// Where the scales of a row are.
    rows: UniformRows,
    /// Elements that share a scale.
    block: usize,
    /// Elements between the scales of neighbouring blocks.
    stride: usize,
}

impl Scaling {
    /// # Safety
    ///
    /// A given scale and a bound in memory may be read.
    unsafe fn of(problem: &QuantizedProblem) -> Scaling {
        let QuantizedProblem { norm, format, recipe, scales, .. } = *problem;
        let dim = norm.dim as usize;
        // SAFETY: the caller promises it, and the checks found the addresses aligned.
        let number = |address: u64| unsafe { *elements::<f32>(address as usize) };
        let mut formula = Formula::new(format, recipe);
        let none = UniformRows { address: 0, stride: 0 };
        let (limits, scaling) = match scales {
            QuantScales::Tensor { at } => {
                let given = Some(formula.factor(number(at)));
                return Scaling { formula, given, rows: none, block: dim, stride: 0 };
            }
            QuantScales::Token { rows, limits } => (limits, (rows, dim, 0)),
            QuantScales::Block { rows, stride, block, limits } => {
                (limits, (rows, block as usize, stride as usize))
            }
        };
        formula.limits = limits;
        if let Some(address) = limits.bound_at {
            formula = formula.bounded(number(address));
        }
        let (rows, block, stride) = scaling;
        Scaling { formula, given: None, rows, block, stride }
    }
}

/// Normalizes and quantizes one row.
///
/// # Safety
///
/// The problem's memory of this row may be read and written, and nobody else accesses what is written.
unsafe fn quantize_row(
    problem: &QuantizedProblem,
    row: u64,
    scaling: &Scaling,
    (job, roundings): (&Job, &Roundings),
    Buffers { v, n }: &mut Buffers,
) {
    let QuantizedProblem { norm, recipe, normed, .. } = problem;
    let offsets = Offsets::of(norm, row);
    let dtype = norm.x.dtype;
    let span = |operand: Operand, offset: u64| Span {
        address: operand.address + offset * operand.dtype.size() as u64,
        dtype: operand.dtype,
    };
    let in_front = norm.residual_in_front();
    let load = Load {
        x: span(norm.x, offsets.x),
        terms: in_front.map(|residual| (span(residual.r, offsets.r), span(residual.sum, offsets.s))),
        rounds_sum: recipe.rounds_sum(),
        limit: if recipe.clamps() { 65504.0 } else { f32::INFINITY },
        v,
        r: n,
    };
    job.isa.run(load);

    let buffer = |values: &mut [f32]| Operand {
        address: values.as_mut_ptr().expose_provenance() as u64,
        dtype: DType::F32,
    };
    let plain =
        Problem { x: buffer(v), y: buffer(n), residual: None, axes: [Axis::ONE; 3], rows: 1, ..*norm };
    // SAFETY: the buffers have `dim` elements, and this thread borrows them; the caller promises the weights and biases.
    job.normalize(&mut unsafe { RowRange::new(&plain, roundings, 0..1) });

    let copy = normed.map(|UniformRows { address, stride }| Span {
        address: address + row * stride * dtype.size() as u64,
        dtype,
    });
    let codes = norm.y.address as usize + offsets.y as usize;
    // SAFETY: the codes of this row may be written, by this thread alone.
    let codes = unsafe { from_raw_parts_mut(elements_mut::<u8>(codes), norm.dim as usize) };
    let scales = scaling.rows.address as usize + (row * scaling.rows.stride) as usize * size_of::<f32>();
    let rounded = recipe.rounds_value().then_some(dtype);
    job.isa.run(Store { n, rounded, copy, scaling, scales, codes });
}

/// Where a row begins in each tensor, in elements.
struct Offsets {
    x: u64,
    y: u64,
    r: u64,
    s: u64,
}

impl Offsets {
    fn of(problem: &Problem, row: u64) -> Offsets {
        let mut offsets = Offsets { x: 0, y: 0, r: 0, s: 0 };
        let mut rest = row;
        for axis in problem.axes.iter().rev() {
            let position = rest % axis.extent;
            rest /= axis.extent;
            offsets.x += position * axis.x_stride;
            offsets.y += position * axis.y_stride;
            offsets.r += position * axis.r_stride;
            offsets.s += position * axis.s_stride;
        }
        offsets
    }
}

/// What is normalized, as `f32`; stores the sum with a residual. Rows are there, as [`quantize_row`] demands.
struct Load<'a> {
    x: Span,
    /// The residual and where the sum with it goes.
    terms: Option<(Span, Span)>,
    /// Whether the rounded sum is normalized.
    rounds_sum: bool,
    /// Elements of `f16` are limited to ± this.
    limit: f32,
    v: &'a mut [f32],
    r: &'a mut [f32],
}

impl RowFn for Load<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Load { x, terms, rounds_sum, limit, v, r } = self;
        let Some((residual, sum)) = terms else {
            // SAFETY: `quantize_row`'s caller promises that the row's elements may be read.
            return unsafe { widen(simd, x, v, limit) };
        };
        // SAFETY: `quantize_row`'s caller promises that the row and the residual may be read, and that the sum may be written. The
        // sum may be the residual, which has been read by then.
        unsafe {
            widen(simd, x, v, f32::INFINITY);
            widen(simd, residual, r, f32::INFINITY);
            for (v, r) in v.iter_mut().zip(&*r) {
                *v += r;
            }
            narrow(simd, v, sum, 0);
            if rounds_sum {
                widen(simd, sum, v, limit);
            }
        }
    }
}

/// Rounds values, copies them, and writes scales and codes. Rows are there, as [`quantize_row`] demands.
struct Store<'a> {
    n: &'a mut [f32],
    /// The type that they are rounded to before they are quantized.
    rounded: Option<DType>,
    /// Where a copy goes.
    copy: Option<Span>,
    scaling: &'a Scaling,
    /// The address of this row's first scale.
    scales: usize,
    codes: &'a mut [u8],
}

impl RowFn for Store<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Store { n, rounded, copy, scaling, scales, codes } = self;
        if let Some(dtype) = rounded {
            let (from, to) = Dest::in_place(n);
            round(simd, from, dtype, to);
        }
        if let Some(copy) = copy {
            // SAFETY: `quantize_row`'s caller promises that the copy may be written, by this thread alone.
            unsafe { narrow(simd, n, copy, 0) };
        }
        let Scaling { formula, given, block, stride, .. } = scaling;
        for (index, (values, codes)) in n.chunks(*block).zip(codes.chunks_mut(*block)).enumerate() {
            let factor = given.unwrap_or_else(|| {
                let absmax = formula.absmax(values);
                let scale = elements_mut::<f32>(scales + index * stride * size_of::<f32>());
                // SAFETY: `quantize_row`'s caller promises that each scale may be written, by this thread alone.
                unsafe { scale.write(formula.scale(absmax)) };
                formula.factor_of(absmax)
            });
            formula.quantize(values, factor, codes);
        }
    }
}

/// Widens a row of a 16-bit type, of which `f16` is limited.
///
/// # Safety
///
/// Its elements may be read, and nobody writes them meanwhile.
#[inline(always)]
unsafe fn widen<S: Simd>(simd: S, span: Span, to: &mut [f32], limit: f32) {
    let (address, len) = (span.at(0), to.len());
    // SAFETY: the caller promises that the elements may be read.
    unsafe {
        match span.dtype {
            DType::F16 => widen_f16(simd, from_raw_parts(elements::<f16>(address), len), to, limit),
            DType::BF16 => widen_bf16(from_raw_parts(elements::<bf16>(address), len), to),
            DType::F32 => to.copy_from_slice(from_raw_parts(elements::<f32>(address), len)),
        }
    }
}

//! Cases whose output is quantized: the options of a case, the tensors of its call, and how it is examined.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use norm_host::accuracy::{QuantizedRow, WrongElement};
use norm_host::reference::{self, QuantizedOperation, Row};
use norm_host::{
    Backend, DType, Error, Norm, Place, QuantFormat, QuantPreset, QuantRecipe, Quantization, QuantizedMut,
    Scale, View, ViewMut,
};

use super::call::{AdditionOperands, Call, Executor, ImageTensor, ResidualOperands};
use super::case::{CheckCase, MAX_LEADING, ResidualForm};
use super::examine::{CaseFault, CaseStats, ImageBuffers, head_bytes, head_values};
use super::layout::ImageLayout;
use super::outputs::{nearest, row_bytes};
use crate::apply::{QuantForm, QuantScaling};
use crate::bytes::AlignedBytes;
use crate::element;

/// How a case's output is quantized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantized {
    pub form: QuantForm,
    pub preset: QuantPreset,
    /// The scale of a form that is given one.
    pub given: f32,
    /// The largest magnitude that a computed scale accounts for.
    pub bound: Option<f32>,
    /// Whether the operation reads it from memory.
    pub bound_in_memory: bool,
    /// Whether the scales of a block's rows are neighbours, in columns padded to a multiple of four.
    pub columns: bool,
    /// Whether the values are copied too.
    pub copies: bool,
}

impl Quantized {
    /// A form with the default preset and no options.
    pub fn plain(form: QuantForm) -> Quantized {
        let preset = QuantPreset::Exact;
        Quantized {
            form,
            preset,
            given: 0.01,
            bound: None,
            bound_in_memory: false,
            columns: false,
            copies: false,
        }
    }

    /// The formula, if the preset has one for the form.
    pub fn recipe(&self) -> Option<QuantRecipe> {
        let recipe = match (self.preset, self.form.scaling) {
            (QuantPreset::Exact, _) => QuantRecipe::Exact,
            (QuantPreset::Vllm, QuantScaling::Given) => QuantRecipe::VllmStatic,
            (QuantPreset::Vllm, _) => QuantRecipe::VllmDynamic,
            (QuantPreset::FlashInfer, QuantScaling::Given) => QuantRecipe::FlashInferStatic,
            (QuantPreset::FlashInfer, QuantScaling::Block(128)) => QuantRecipe::FlashInferBlock,
            (QuantPreset::FlashInfer, _) => return None,
        };
        recipe.takes(self.form.format).then_some(recipe)
    }

    /// Whether a bound may be set.
    pub fn takes_bound(&self) -> bool {
        let of_int8 = self.preset == QuantPreset::Vllm && self.form.format == QuantFormat::Int8;
        self.form.scaling != QuantScaling::Given && self.preset != QuantPreset::FlashInfer && !of_int8
    }

    /// Scales of a row of `dim` elements that are written.
    pub fn groups(&self, dim: usize) -> usize {
        match self.form.scaling {
            QuantScaling::Given => 0,
            QuantScaling::Token => 1,
            QuantScaling::Block(block) => dim / block,
        }
    }

    /// Elements from a row's scales to the next row's, and from a block's scale to the next one.
    fn scale_strides(&self, rows: usize, dim: usize) -> [usize; 2] {
        if self.columns { [1, rows.next_multiple_of(4)] } else { [self.groups(dim), 1] }
    }

    /// Scales that the memory of `rows` rows has room for.
    pub fn scales(&self, rows: usize, dim: usize) -> usize {
        let [row, block] = self.scale_strides(rows, dim);
        match self.groups(dim) {
            0 => 0,
            groups => (rows.max(1) - 1) * row + (groups - 1) * block + 1,
        }
    }

    /// Why no operation can run such a case, or `None` if one can.
    pub fn invalid_reason(&self, case: &CheckCase) -> Option<&'static str> {
        let residual = matches!(case.residual, ResidualForm::None | ResidualForm::PreNorm { .. });
        let factors = case.addition.wide || case.operation().addition.is_some_and(|it| it.is_scaled());
        if case.heads || !residual || factors || case.in_place || case.shards != 1 || case.gate.is_some() {
            return Some(
                "quantize needs over=rows, at most a plain residual=before, no gate, inplace and shards",
            );
        }
        if case.rounding != norm_host::Rounding::Single || case.round_offset {
            return Some("quantize needs no rounding and no roundoffset");
        }
        if case.x.dtype == DType::F32 || case.y.dtype != case.x.dtype {
            return Some("quantize needs x and y of one type of 16 bits");
        }
        if let QuantScaling::Block(block) = self.form.scaling
            && !case.dim().is_multiple_of(block)
        {
            return Some("quantize needs rows of whole blocks");
        }
        if self.recipe().is_none() {
            return Some("preset has no such form");
        }
        if self.bound.is_some() && !self.takes_bound() {
            return Some("bound has no effect there");
        }
        (self.columns && !matches!(self.form.scaling, QuantScaling::Block(_)))
            .then_some("columns needs blocks")
    }

    /// What the results of a case follow from.
    pub fn operation(&self, case: &CheckCase) -> QuantizedOperation {
        let CheckCase { kind, eps, weight_offset, .. } = *case;
        QuantizedOperation {
            kind,
            x: case.x.dtype,
            eps,
            weight_offset,
            adds: case.is_pre_norm(),
            format: self.form.format,
            recipe: self.recipe().expect("a valid case"),
            scale: (self.form.scaling == QuantScaling::Given).then_some(self.given),
            block: if let QuantScaling::Block(block) = self.form.scaling { block } else { case.dim() },
            bound: self.bound,
        }
    }
}

/// ` quantize=fp8-block128 [preset=vllm] [given=0.01] [bound=3|bound=@3] [columns] [copy]`
impl fmt::Display for Quantized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " quantize={}", self.form.name)?;
        if self.preset != QuantPreset::Exact {
            write!(f, " preset={}", self.preset)?;
        }
        if self.form.scaling == QuantScaling::Given {
            write!(f, " given={:e}", self.given)?;
        }
        if let Some(bound) = self.bound {
            write!(f, " bound={}{bound:e}", if self.bound_in_memory { "@" } else { "" })?;
        }
        for (word, is_there) in [("columns", self.columns), ("copy", self.copies)] {
            if is_there {
                write!(f, " {word}")?;
            }
        }
        Ok(())
    }
}

/// The tensors of a quantized output.
#[derive(Clone, Debug)]
pub struct QuantizedOperands {
    pub how: Quantized,
    /// Bytes from the start of the image to the first code.
    pub codes: usize,
    /// The strides of the codes, in elements of one byte.
    pub strides: Vec<usize>,
    /// The scales that are written. The last axis may be far from dense.
    pub scales: Option<ImageTensor>,
    /// The copy of the values.
    pub normed: Option<ImageTensor>,
    /// The scale that is given, or a bound, if it is in memory.
    pub memory: Option<ImageTensor>,
}

impl QuantizedOperands {
    /// Places the tensors of a case by `place`, which is given the bytes of an element, a number of elements in front, shape and
    /// strides, and gives the first element's place and all that is reserved. Gives also what is written.
    pub fn of(
        case: &CheckCase,
        how: Quantized,
        mut place: impl FnMut(usize, usize, &[usize], &[usize]) -> (usize, Range<usize>),
    ) -> (QuantizedOperands, Vec<Range<usize>>) {
        let strides = case.strides(&case.y);
        let (codes, written) = place(1, case.y.at, &case.shape, &strides);
        let mut outputs = vec![written];
        let (rows, dim) = (case.rows(), case.dim());
        let count = how.scales(rows, dim);
        let scales = (count > 0).then(|| {
            let (byte_offset, written) = place(size_of::<f32>(), 0, &[count], &[1]);
            outputs.push(written);
            let [row, block] = how.scale_strides(rows, dim);
            let mut strides = vec![block; case.shape.len()];
            let mut distance = row;
            for (stride, extent) in strides.iter_mut().zip(&case.shape).rev().skip(1) {
                *stride = distance;
                distance *= extent;
            }
            let mut shape = case.shape.clone();
            *shape.last_mut().expect("a rank of at least 1") = how.groups(dim);
            ImageTensor { dtype: DType::F32, byte_offset, shape, strides }
        });
        let normed = how.copies.then(|| {
            let dtype = case.x.dtype;
            let strides = reference::strides(&case.shape, |_| 0);
            let (byte_offset, written) = place(dtype.size(), 0, &case.shape, &strides);
            outputs.push(written);
            ImageTensor { dtype, byte_offset, shape: case.shape.clone(), strides }
        });
        let in_memory = how.form.scaling == QuantScaling::Given || how.bound_in_memory && how.bound.is_some();
        let memory = in_memory.then(|| {
            let (byte_offset, _) = place(size_of::<f32>(), 0, &[1], &[1]);
            ImageTensor { dtype: DType::F32, byte_offset, shape: vec![1], strides: vec![1] }
        });
        (QuantizedOperands { how, codes, strides, scales, normed, memory }, outputs)
    }

    /// Writes what is read from memory.
    pub fn fill(&self, image: &mut AlignedBytes) {
        if let Some(memory) = &self.memory {
            let number = self.how.bound.unwrap_or(self.how.given);
            element::write(DType::F32, &mut image[memory.byte_offset..], std::iter::once(number.into()));
        }
    }

    /// Executes the call, or enqueues it.
    ///
    /// # Safety
    ///
    /// As `Call::run`, whose views of the image these are.
    pub unsafe fn run(
        &self,
        norm: &Norm<'_>,
        (place, base): (Place, u64),
        x: (View<'_>, &[usize]),
        [r, sum]: [Option<ViewMut<'_>>; 2],
        on: &impl Backend,
    ) -> Result<(), Error> {
        let QuantizedOperands { how, codes, strides, scales, normed, memory } = self;
        let (x, shape) = x;
        let memory = match memory {
            // SAFETY: the caller guarantees that the image contains this tensor.
            Some(memory) => Some(unsafe {
                View::from_raw_parts(place, base + memory.byte_offset as u64, DType::F32, &[1])
            }?),
            None => None,
        };
        let bound = match (how.bound, memory) {
            (Some(_), Some(memory)) if how.bound_in_memory => Some(Scale::Memory(memory)),
            (bound, _) => bound.map(Scale::Number),
        };
        let quantization = match (how.form.scaling, memory) {
            (QuantScaling::Given, Some(scale)) => Quantization::per_tensor(how.form.format, scale),
            (QuantScaling::Block(block), _) => Quantization::per_block(how.form.format, block),
            (QuantScaling::Token | QuantScaling::Given, _) => Quantization::per_token(how.form.format),
        };
        let quantization = quantization.preset(how.preset).upper_bound(bound);
        // SAFETY: the caller guarantees that the image contains the codes, which nothing else uses meanwhile.
        let y = unsafe { QuantizedMut::from_raw_parts(place, base + *codes as u64, how.form.format, shape) }?;
        let view = |tensor: &ImageTensor| {
            let ImageTensor { dtype, byte_offset, shape, strides } = tensor;
            let address = base + *byte_offset as u64;
            // SAFETY: the caller guarantees that the image contains this tensor, which nothing else uses meanwhile.
            unsafe { ViewMut::from_raw_parts_strided(place, address, *dtype, shape, strides) }
        };
        let mut y = y
            .with_strides(strides)?
            .scales(scales.as_ref().map(view).transpose()?)
            .normed(normed.as_ref().map(view).transpose()?);
        match (r, sum) {
            (Some(r), Some(mut sum)) => {
                norm.add_then_quantize_to(&quantization, x, r.as_view(), &mut sum, &mut y, on)
            }
            (Some(mut r), None) => norm.add_then_quantize(&quantization, x, &mut r, &mut y, on),
            (None, _) => norm.quantize_rows(&quantization, x, &mut y, on),
        }
    }
}

/// The outputs of a call, dense.
#[derive(PartialEq)]
struct QuantizedOutputs {
    codes: Vec<u8>,
    scales: Vec<f32>,
    normed: Vec<u8>,
    sum: Vec<u8>,
}

impl Hash for QuantizedOutputs {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let QuantizedOutputs { codes, scales, normed, sum } = self;
        scales.iter().for_each(|scale| scale.to_bits().hash(state));
        (codes, normed, sum).hash(state);
    }
}

/// Examines a case whose output is quantized.
pub fn examine(
    case: &CheckCase,
    executor: &mut impl Executor,
    memory: &mut ImageBuffers,
) -> Result<CaseStats, CaseFault> {
    let layout = ImageLayout::of(case);
    let ImageBuffers { before, image, digest } = memory;
    layout.fill(case, before);
    let outputs = execute(case, &layout.call, before, image, executor)?;
    outputs.hash(digest);
    let mut stats = CaseStats::default();
    for row in 0..case.rows() {
        stats.outputs += judge(case, &layout.call, before, &outputs, row)?;
    }
    if let Some(row) = case.alone {
        let alone = alone(case, &layout.call, row, before, executor)?;
        if let Some(column) = difference(case, &row_of(case, &outputs, row), &alone) {
            return Err(CaseFault::Alone { row, column });
        }
    }
    Ok(stats)
}

/// Compares a row's outputs with the reference; gives how many there are.
fn judge(
    case: &CheckCase,
    call: &Call,
    before: &AlignedBytes,
    outputs: &QuantizedOutputs,
    index: usize,
) -> Result<u64, CaseFault> {
    let Some(how) = case.quantize else { return Ok(0) };
    let dtype = case.x.dtype;
    let elements =
        |tensor: &ImageTensor| element::read(tensor.dtype, &before[row_bytes(case, tensor, index)]);
    let param = |param: &Option<ImageTensor>| param.as_ref().map(|param| head_values(case, param, 0, before));
    let (x, w, b) = (elements(&call.x), param(&call.w), param(&call.b));
    let r = call.addition.as_ref().and_then(AdditionOperands::r).map(elements);
    let row = Row { x: &x, w: w.as_deref(), b: b.as_deref(), r: r.as_deref() };
    let operation = how.operation(case);
    let of_row = row_of(case, outputs, index);
    if let Some(expected) = operation.sum(&row) {
        let sum = element::read(dtype, &of_row.sum);
        if let Some(column) = reference::first_difference(&expected, &sum) {
            let (expected, given) = (expected[column], sum[column]);
            return Err(CaseFault::Sum { row: index, column, expected, given });
        }
    }
    let normed = how.copies.then(|| element::read(dtype, &of_row.normed));
    let given = QuantizedRow { codes: &of_row.codes, scales: &of_row.scales, normed: normed.as_deref() };
    let judged = operation.judge(&row, &given);
    match judged.wrong {
        _ if !judged.promised => Ok(0),
        None => Ok(case.dim() as u64),
        Some(wrong) => Err(CaseFault::Quantized { row: index, wrong }),
    }
}

/// Executes `call` on `image`, a copy of `before`, checks that nothing but its outputs changed, and returns those.
fn execute(
    case: &CheckCase,
    call: &Call,
    before: &AlignedBytes,
    image: &mut AlignedBytes,
    executor: &mut impl Executor,
) -> Result<QuantizedOutputs, CaseFault> {
    image.clone_from(before);
    executor.execute(call, image).map_err(CaseFault::Refused)?;
    let mut outputs =
        QuantizedOutputs { codes: Vec::new(), scales: Vec::new(), normed: Vec::new(), sum: Vec::new() };
    let Some(operands) = &call.quantized else { return Ok(outputs) };
    // Restores each output's elements in the image after copying them, so that every difference that is left is a fault.
    let mut take = |range: Range<usize>, to: &mut Vec<u8>| {
        to.extend_from_slice(&image[range.clone()]);
        image[range.clone()].copy_from_slice(&before[range]);
    };
    let sum = call.addition.as_ref().and_then(AdditionOperands::sum);
    let mut scales = Vec::new();
    for row in 0..case.rows() {
        let codes = operands.codes + case.row_start(row, &operands.strides);
        take(codes..codes + case.dim(), &mut outputs.codes);
        for (tensor, to) in [(&operands.normed, &mut outputs.normed), (&sum.cloned(), &mut outputs.sum)] {
            if let Some(tensor) = tensor {
                take(row_bytes(case, tensor, row), to);
            }
        }
        if let Some(tensor) = &operands.scales {
            let [row_stride, block_stride] = operands.how.scale_strides(case.rows(), case.dim());
            for group in 0..operands.how.groups(case.dim()) {
                let at = tensor.byte_offset + (row * row_stride + group * block_stride) * size_of::<f32>();
                take(at..at + size_of::<f32>(), &mut scales);
            }
        }
    }
    outputs.scales = scales.as_chunks().0.iter().map(|&scale| f32::from_ne_bytes(scale)).collect();
    match image.iter().zip(before.iter()).position(|(after, before)| after != before) {
        None => Ok(outputs),
        Some(byte) => {
            let of = |tensor: &Option<ImageTensor>| tensor.as_ref().map(|tensor| tensor.byte_offset);
            let addition = call.addition.as_ref();
            let tensors = [
                ("x", Some(call.x.byte_offset)),
                ("y", Some(operands.codes)),
                ("scales", of(&operands.scales)),
                ("normed", of(&operands.normed)),
                ("scale", of(&operands.memory)),
                ("w", of(&call.w)),
                ("b", of(&call.b)),
                ("r", addition.and_then(AdditionOperands::r).map(|r| r.byte_offset)),
                ("sum", addition.and_then(|addition| addition.s.as_ref()).map(|s| s.byte_offset)),
            ];
            Err(nearest(tensors.into_iter().filter_map(|(name, at)| Some((name, at?))), byte))
        }
    }
}

/// The outputs of one row.
fn row_of(case: &CheckCase, outputs: &QuantizedOutputs, row: usize) -> QuantizedOutputs {
    fn part<T: Clone>(all: &[T], row: usize, len: usize) -> Vec<T> {
        all.get(row * len..(row + 1) * len).unwrap_or_default().to_vec()
    }
    let (dim, size) = (case.dim(), case.x.dtype.size());
    let groups = case.quantize.map_or(0, |how| how.groups(dim));
    QuantizedOutputs {
        codes: part(&outputs.codes, row, dim),
        scales: part(&outputs.scales, row, groups),
        normed: part(&outputs.normed, row, dim * size),
        sum: part(&outputs.sum, row, dim * size),
    }
}

/// The column of the first output in which two rows differ: of a scale that of its block's first element.
fn difference(case: &CheckCase, a: &QuantizedOutputs, b: &QuantizedOutputs) -> Option<usize> {
    let bytes = |a: &[u8], b: &[u8]| a.iter().zip(b).position(|(a, b)| a != b);
    let size = case.x.dtype.size();
    let bits = |scales: &[f32]| -> Vec<u32> { scales.iter().map(|scale| scale.to_bits()).collect() };
    let scale = bits(&a.scales).iter().zip(&bits(&b.scales)).position(|(a, b)| a != b);
    bytes(&a.codes, &b.codes)
        .or_else(|| scale.map(|index| index * case.dim() / a.scales.len()))
        .or_else(|| bytes(&a.normed, &b.normed).map(|byte| byte / size))
        .or_else(|| bytes(&a.sum, &b.sum).map(|byte| byte / size))
}

/// The outputs of one row of the case, run as a call of its own on dense tensors at aligned addresses.
fn alone(
    case: &CheckCase,
    among: &Call,
    row: usize,
    before: &AlignedBytes,
    executor: &mut impl Executor,
) -> Result<QuantizedOutputs, CaseFault> {
    let mut single = CheckCase { shape: vec![case.dim()], alone: None, ..case.clone() };
    for placement in [&mut single.x, &mut single.y] {
        (placement.gaps, placement.at) = ([0; MAX_LEADING], 0);
    }
    if let ResidualForm::PreNorm { gaps, at } = &mut single.residual {
        (*gaps, *at) = ([0; MAX_LEADING], 0);
    }
    single.addition.separate = single.addition.separate.map(|_| ([0; MAX_LEADING], 0));
    for param in [&mut single.w, &mut single.b].into_iter().flatten() {
        param.at = 0;
    }
    let layout = ImageLayout::of(&single);
    let mut start = AlignedBytes::default();
    layout.blank(&mut start);
    let mut copy = |from: Range<usize>, to: &ImageTensor| {
        start[to.byte_offset..][..from.len()].copy_from_slice(&before[from]);
    };
    copy(row_bytes(case, &among.x, row), &layout.call.x);
    let r = |call: &Call| call.addition.as_ref().and_then(AdditionOperands::r).cloned();
    if let Some((from, to)) = r(among).zip(r(&layout.call)) {
        copy(row_bytes(case, &from, row), &to);
    }
    for (from, to) in [(&among.w, &layout.call.w), (&among.b, &layout.call.b)] {
        if let (Some(from), Some(to)) = (from, to) {
            copy(head_bytes(case, from, 0), to);
        }
    }
    execute(&single, &layout.call, &start, &mut AlignedBytes::default(), executor)
}

/// What is wrong with an element, for a line of text.
pub fn explain(f: &mut fmt::Formatter<'_>, row: usize, wrong: &WrongElement) -> fmt::Result {
    use norm_host::accuracy::QuantizedPart;
    let WrongElement { part, index, low, high, given, .. } = wrong;
    let part = match part {
        QuantizedPart::Scale => "scale",
        QuantizedPart::Normed => "copy of column",
        QuantizedPart::Code => "code of column",
    };
    match low == high {
        true => write!(f, "row {row}, {part} {index}: expected {low:e}, given {given:e}"),
        false => write!(f, "row {row}, {part} {index}: expected {low:e} to {high:e}, given {given:e}"),
    }
}

/// The residual of a call, if it has one in front of its norm, and the tensor of its own that the sum has.
pub fn in_front(addition: Option<&AdditionOperands>) -> [Option<&ImageTensor>; 2] {
    match addition {
        Some(AdditionOperands { residual: ResidualOperands::PreNorm { r }, s, .. }) => [Some(r), s.as_ref()],
        _ => [None; 2],
    }
}

//! Norms whose output is quantized.

use norm_host::{
    Backend, DType, Norm, NormKind, QuantFormat, QuantPreset, QuantRecipe, Quantization, QuantizedMut,
    Result, Scale, View, ViewMut,
    accuracy::{QuantizedRow, QuantizedVerdict, round},
    reference::{self, QuantizedOperation, Row, first_difference},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    buffer::Buffer,
    case::UNTOUCHED,
    values::{Random, Values},
};

/// Which elements share a scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling {
    /// All: it is given.
    Tensor(f32),
    /// Those of a row.
    Token,
    /// So many neighbours.
    Block(usize),
}

/// What codes hold that are not written.
pub const UNTOUCHED_CODE: u8 = 0x55;

/// Everything that makes a case; all data follows from it.
#[derive(Clone, Debug)]
pub struct QuantizedCase {
    pub kind: NormKind,
    pub x: DType,
    pub w: Option<DType>,
    pub b: Option<DType>,
    pub front: Vec<usize>,
    pub dim: usize,
    /// Elements left free after each position of each axis of `front`: in `x`, in the codes, in a residual and in a sum with a
    /// tensor of its own.
    pub gaps: [[usize; 3]; 4],
    /// Elements left free after each row of the copy.
    pub copy_gap: usize,
    pub adds: bool,
    /// Whether the sum has a tensor of its own.
    pub apart: bool,
    pub format: QuantFormat,
    pub preset: QuantPreset,
    pub scaling: Scaling,
    pub bound: Option<f32>,
    pub bound_in_memory: bool,
    /// Whether the values are copied.
    pub normed: bool,
    /// Whether the scales of a block's rows are neighbours, padded to a multiple of four.
    pub column_major: bool,
    pub values: Values,
    pub eps: f32,
    pub weight_offset: f32,
    pub seed: u64,
}

/// The formats and scales that presets have formulas for.
pub const FORMS: [(QuantPreset, QuantFormat, Scaling); 16] = {
    use QuantFormat::{E4m3, Int8};
    use QuantPreset::{Exact, FlashInfer, Vllm};
    use Scaling::{Block, Tensor, Token};
    [
        (Exact, E4m3, Tensor(0.01)),
        (Exact, E4m3, Token),
        (Exact, E4m3, Block(64)),
        (Exact, E4m3, Block(128)),
        (Exact, Int8, Tensor(0.03)),
        (Exact, Int8, Token),
        (Exact, Int8, Block(64)),
        (Exact, Int8, Block(128)),
        (Vllm, E4m3, Tensor(0.01)),
        (Vllm, E4m3, Token),
        (Vllm, E4m3, Block(64)),
        (Vllm, E4m3, Block(128)),
        (Vllm, Int8, Token),
        (Vllm, Int8, Block(128)),
        (FlashInfer, E4m3, Tensor(0.01)),
        (FlashInfer, E4m3, Block(128)),
    ]
};

/// A case of a form, of `rows` dense rows.
pub fn plain(form: (QuantPreset, QuantFormat, Scaling), x: DType, rows: usize, dim: usize) -> QuantizedCase {
    let (preset, format, scaling) = form;
    QuantizedCase {
        kind: NormKind::Rms,
        x,
        w: Some(x),
        b: None,
        front: vec![rows],
        dim,
        gaps: [[0; 3]; 4],
        copy_gap: 0,
        adds: false,
        apart: false,
        format,
        preset,
        scaling,
        bound: None,
        bound_in_memory: false,
        normed: false,
        column_major: false,
        values: Values::Plain,
        eps: 1e-6,
        weight_offset: 0.0,
        seed: 30,
    }
}

prop_compose! {
    /// Cases with rows of up to `max_dim` elements.
    pub fn quantized(max_dim: usize)(
        (kind, x, form) in (select(&NormKind::ALL), select(&[DType::F16, DType::BF16]), select(&FORMS)),
        (w, b) in (option::of(select(&DType::ALL)), option::weighted(0.3, select(&DType::ALL))),
        front in vec(1_usize..4, 0..4),
        dim in prop_oneof![1_usize..70, 1..=max_dim, select(&[64, 128, 256, 1024, 2048])],
        gaps in [[0_usize..3, 0..3, 0..3], [0_usize..3, 0..3, 0..3], [0_usize..3, 0..3, 0..3], [0_usize..3, 0..3, 0..3]],
        (adds, apart, normed, column_major) in any::<(bool, bool, bool, bool)>(),
        (bound, bound_in_memory) in (option::weighted(0.3, select(&[0.5_f32, 3.0, 100.0])), any::<bool>()),
        (values, eps) in (Values::any(), select(&[1e-5_f32, 1e-6, 1e-12, 1.0])),
        weight_offset in select(&[0.0_f32, 1.0]),
        (copy_gap, given, seed) in (0_usize..3, select(&[0.01_f32, 0.0078125, 0.3]), any::<u64>()),
    ) -> QuantizedCase {
        let (preset, format, scaling) = form;
        let dim = match scaling {
            Scaling::Block(block) => dim.next_multiple_of(block),
            _ => dim,
        };
        let scaling = if let Scaling::Tensor(_) = scaling { Scaling::Tensor(given) } else { scaling };
        let takes_bound = !matches!(scaling, Scaling::Tensor(_))
            && preset != QuantPreset::FlashInfer
            && (preset, format) != (QuantPreset::Vllm, QuantFormat::Int8);
        let column_major = column_major && matches!(scaling, Scaling::Block(_));
        let b = b.map(|b| w.unwrap_or(b));
        QuantizedCase {
            kind, x, w, b, front, dim, gaps, copy_gap, adds, apart: apart && adds, format, preset, scaling,
            bound: bound.filter(|_| takes_bound), bound_in_memory, normed, column_major, values, eps,
            weight_offset: if w.is_some() { weight_offset } else { 0.0 }, seed,
        }
    }
}

/// The tensors of a case. Memory that belongs to no element holds [`UNTOUCHED`] or [`UNTOUCHED_CODE`].
#[derive(Clone)]
pub struct QuantizedTensors {
    pub x: Buffer,
    pub r: Option<Buffer>,
    pub sum: Option<Buffer>,
    pub w: Option<Buffer>,
    pub b: Option<Buffer>,
    /// The scale or the bound that is in memory.
    pub scale: Vec<f32>,
    pub codes: Vec<u8>,
    pub scales: Vec<f32>,
    pub normed: Option<Buffer>,
}

impl QuantizedCase {
    pub fn shape(&self) -> Vec<usize> {
        self.front.iter().copied().chain([self.dim]).collect()
    }

    pub fn rows(&self) -> usize {
        self.front.iter().product()
    }

    /// Of `x`, the codes, the residual and the sum.
    pub fn strides(&self, tensor: usize) -> Vec<usize> {
        reference::strides(&self.shape(), |axis| self.gaps[tensor][axis])
    }

    /// Where row `index` starts.
    pub fn start(&self, index: usize, tensor: usize) -> usize {
        reference::row_start(index, &self.front, &self.strides(tensor))
    }

    pub fn recipe(&self) -> QuantRecipe {
        match (self.preset, self.scaling) {
            (QuantPreset::Exact, _) => QuantRecipe::Exact,
            (QuantPreset::Vllm, Scaling::Tensor(_)) => QuantRecipe::VllmStatic,
            (QuantPreset::Vllm, _) => QuantRecipe::VllmDynamic,
            (QuantPreset::FlashInfer, Scaling::Tensor(_)) => QuantRecipe::FlashInferStatic,
            (QuantPreset::FlashInfer, _) => QuantRecipe::FlashInferBlock,
        }
    }

    /// Elements that share a scale that is written.
    fn block(&self) -> usize {
        if let Scaling::Block(block) = self.scaling { block } else { self.dim }
    }

    /// Scales of a row.
    fn groups(&self) -> usize {
        match self.scaling {
            Scaling::Tensor(_) => 0,
            Scaling::Token => 1,
            Scaling::Block(block) => self.dim / block,
        }
    }

    /// Elements from one row's scales to the next row's, and from one block's scale to the next.
    fn scale_strides(&self) -> [usize; 2] {
        if self.column_major { [1, self.rows().next_multiple_of(4)] } else { [self.groups(), 1] }
    }

    /// What its results follow from.
    pub fn operation(&self) -> QuantizedOperation {
        let QuantizedCase { kind, x, eps, weight_offset, adds, format, bound, .. } = *self;
        let scale = if let Scaling::Tensor(scale) = self.scaling { Some(scale) } else { None };
        let (recipe, block) = (self.recipe(), self.block());
        QuantizedOperation { kind, x, eps, weight_offset, adds, format, recipe, scale, block, bound }
    }

    pub fn tensors(&self) -> QuantizedTensors {
        let mut random = Random(self.seed);
        let len = |tensor| self.start(self.rows() - 1, tensor) + self.dim;
        let mut rows = |tensor, unused| {
            let mut values = vec![unused; len(tensor)];
            for row in 0..self.rows() {
                let start = self.start(row, tensor);
                values[start..start + self.dim].copy_from_slice(&self.values.row(
                    self.x,
                    self.dim,
                    &mut random,
                ));
            }
            Buffer::new(self.x, &values)
        };
        let x = rows(0, f64::NAN);
        let r = self.adds.then(|| rows(2, UNTOUCHED));
        let mut param = |dtype| {
            let values: Vec<f64> = (0..self.dim).map(|_| round(dtype, random.signed(2.0))).collect();
            Buffer::new(dtype, &values)
        };
        let (w, b) = (self.w.map(&mut param), self.b.map(&mut param));
        let scale = match (self.scaling, self.bound) {
            (Scaling::Tensor(scale), _) => vec![scale],
            (_, bound) => bound.into_iter().collect(),
        };
        let [row, block] = self.scale_strides();
        let scales = match self.groups() {
            0 => 0,
            groups => (self.rows() - 1) * row + (groups - 1) * block + 1,
        };
        let copied = self.rows() * (self.dim + self.copy_gap);
        QuantizedTensors {
            sum: self.apart.then(|| Buffer::new(self.x, &vec![UNTOUCHED; len(3)])),
            codes: vec![UNTOUCHED_CODE; len(1)],
            scales: vec![UNTOUCHED as f32; scales],
            normed: self.normed.then(|| Buffer::new(self.x, &vec![UNTOUCHED; copied])),
            x,
            r,
            w,
            b,
            scale,
        }
    }

    /// The norm, its parameters borrowed.
    pub fn norm<'a>(&self, w: &'a Option<Buffer>, b: &'a Option<Buffer>) -> Norm<'a> {
        let view = |p: &'a Buffer| p.view(&[self.dim], &[1]);
        self.operation().norm().weight(w.as_ref().map(view)).bias(b.as_ref().map(view))
    }

    /// The quantization; `memory` is the scale that is given, or a bound in memory.
    pub fn quantization<'a>(&self, memory: Option<View<'a>>) -> Quantization<'a> {
        let bound = self.bound.map(|bound| match memory {
            Some(memory) if self.bound_in_memory => Scale::Memory(memory),
            _ => Scale::Number(bound),
        });
        let quantization = match self.scaling {
            Scaling::Tensor(_) => {
                Quantization::per_tensor(self.format, memory.expect("the scale that is given"))
            }
            Scaling::Token => Quantization::per_token(self.format),
            Scaling::Block(block) => Quantization::per_block(self.format, block),
        };
        quantization.preset(self.preset).upper_bound(bound)
    }

    /// The codes with strides, scales and a copy.
    pub fn output<'a>(
        &self,
        codes: QuantizedMut<'a>,
        scales: Option<ViewMut<'a>>,
        normed: Option<ViewMut<'a>>,
    ) -> QuantizedMut<'a> {
        codes.with_strides(&self.strides(1)).unwrap().scales(scales).normed(normed)
    }

    /// The shape and the strides of the scales, if they are written.
    pub fn scales_layout(&self) -> Option<(Vec<usize>, Vec<usize>)> {
        let groups = self.groups();
        let shape: Vec<usize> = self.front.iter().copied().chain([groups]).collect();
        let [row, block] = self.scale_strides();
        let mut strides = vec![block; shape.len()];
        let mut distance = row;
        for axis in (0..self.front.len()).rev() {
            strides[axis] = distance;
            distance *= self.front[axis];
        }
        (groups > 0).then_some((shape, strides))
    }

    /// The strides of the copy.
    pub fn copy_strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.front.len() + 1];
        let mut distance = self.dim + self.copy_gap;
        for axis in (0..self.front.len()).rev() {
            strides[axis] = distance;
            distance *= self.front[axis];
        }
        strides
    }

    /// Runs it on the host's memory.
    pub fn run(&self, tensors: &mut QuantizedTensors, on: &impl Backend) -> Result<()> {
        let shape = self.shape();
        let QuantizedTensors { x, r, sum, w, b, scale, codes, scales, normed } = tensors;
        let memory = (!scale.is_empty()).then(|| View::from_slice(scale, &[1]).unwrap());
        // The shape's elements alone, for `with_strides` looks at what lies behind.
        let room = shape.iter().product::<usize>().max(codes.len());
        codes.resize(room, UNTOUCHED_CODE);
        let quantized = match self.format {
            QuantFormat::E4m3 => QuantizedMut::from_e4m3(codes, &shape)?,
            QuantFormat::Int8 => QuantizedMut::from_int8(signed(codes), &shape)?,
        };
        let scales = self.scales_layout().map(|(shape, strides)| {
            let address = scales.as_mut_ptr().expose_provenance() as u64;
            // SAFETY: the strides lead to elements of the vector, which is borrowed.
            unsafe { ViewMut::from_raw_parts_strided(on.place(), address, DType::F32, &shape, &strides) }
                .unwrap()
        });
        let normed = normed.as_mut().map(|normed| normed.view_mut(&shape, &self.copy_strides()));
        let mut y = self.output(quantized, scales, normed);
        let (norm, quantization) = (self.norm(w, b), self.quantization(memory));
        let x = x.view(&shape, &self.strides(0));
        match (r, sum) {
            (Some(r), Some(sum)) => {
                let sum = &mut sum.view_mut(&shape, &self.strides(3));
                norm.add_then_quantize_to(&quantization, x, r.view(&shape, &self.strides(2)), sum, &mut y, on)
            }
            (Some(r), None) => {
                let r = &mut r.view_mut(&shape, &self.strides(2));
                norm.add_then_quantize(&quantization, x, r, &mut y, on)
            }
            _ => norm.quantize_rows(&quantization, x, &mut y, on),
        }
    }

    /// A row of a tensor of elements.
    fn elements(&self, buffer: &Buffer, index: usize, tensor: usize) -> Vec<f64> {
        let start = self.start(index, tensor);
        (start..start + self.dim).map(|i| buffer.get(i)).collect()
    }

    /// The codes of row `index`.
    pub fn codes<'a>(&self, tensors: &'a QuantizedTensors, index: usize) -> &'a [u8] {
        &tensors.codes[self.start(index, 1)..][..self.dim]
    }

    /// The scales of row `index`.
    pub fn scales(&self, tensors: &QuantizedTensors, index: usize) -> Vec<f32> {
        let [row, block] = self.scale_strides();
        (0..self.groups()).map(|group| tensors.scales[index * row + group * block]).collect()
    }

    /// The copy of row `index`.
    pub fn copied(&self, tensors: &QuantizedTensors, index: usize) -> Option<Vec<f64>> {
        let start = index * (self.dim + self.copy_gap);
        tensors.normed.as_ref().map(|normed| (start..start + self.dim).map(|at| normed.get(at)).collect())
    }

    /// Calls `f` with row `index` of what the operation reads.
    pub fn read<T>(&self, before: &QuantizedTensors, index: usize, f: impl FnOnce(&Row<'_>) -> T) -> T {
        let all = |p: &Option<Buffer>| -> Option<Vec<f64>> {
            p.as_ref().map(|p| (0..self.dim).map(|at| p.get(at)).collect())
        };
        let x = self.elements(&before.x, index, 0);
        let r = before.r.as_ref().map(|r| self.elements(r, index, 2));
        let (w, b) = (all(&before.w), all(&before.b));
        f(&Row { x: &x, w: w.as_deref(), b: b.as_deref(), r: r.as_deref() })
    }

    /// Judges row `index` of what the operation made of `before`.
    pub fn judge(
        &self,
        before: &QuantizedTensors,
        after: &QuantizedTensors,
        index: usize,
    ) -> QuantizedVerdict {
        let (scales, normed) = (self.scales(after, index), self.copied(after, index));
        let given =
            QuantizedRow { codes: self.codes(after, index), scales: &scales, normed: normed.as_deref() };
        self.read(before, index, |row| self.operation().judge(row, &given))
    }

    /// The first element of row `index` of the sum that is not what it must be, or of a residual that is not to change.
    pub fn wrong_residual(
        &self,
        before: &QuantizedTensors,
        after: &QuantizedTensors,
        index: usize,
    ) -> Option<usize> {
        let expected = self.read(before, index, |row| self.operation().sum(row))?;
        let (was, is) = (before.r.as_ref()?, after.r.as_ref()?);
        let r = self.elements(is, index, 2);
        match &after.sum {
            None => first_difference(&expected, &r),
            Some(sum) => first_difference(&expected, &self.elements(sum, index, 3))
                .or_else(|| first_difference(&self.elements(was, index, 2), &r)),
        }
    }

    /// The first place outside of all rows that was written: of the codes, the residual, the sum, the scales and the copy.
    pub fn strayed(&self, after: &QuantizedTensors) -> Option<(&'static str, usize)> {
        let outside = |name,
                       len: usize,
                       starts: &dyn Fn(usize) -> usize,
                       count: usize,
                       touched: &dyn Fn(usize) -> bool| {
            let mut inside = vec![false; len];
            for row in 0..self.rows() {
                inside[starts(row)..][..count].fill(true);
            }
            (0..len).find(|&at| !inside[at] && touched(at)).map(|at| (name, at))
        };
        let elements = |name, buffer: &Option<Buffer>, tensor| {
            let buffer = buffer.as_ref()?;
            let len = buffer.bits().len();
            let touched = |at: usize| buffer.get(at) != UNTOUCHED;
            outside(name, len, &|row| self.start(row, tensor), self.dim, &touched)
        };
        let codes = &after.codes;
        let touched = |at: usize| codes[at] != UNTOUCHED_CODE;
        outside("codes", codes.len(), &|row| self.start(row, 1), self.dim, &touched)
            .or_else(|| elements("r", &after.r, 2))
            .or_else(|| elements("sum", &after.sum, 3))
            .or_else(|| {
                let normed = after.normed.as_ref()?;
                let touched = |at: usize| normed.get(at) != UNTOUCHED;
                let stride = self.dim + self.copy_gap;
                outside("normed", normed.bits().len(), &|row| row * stride, self.dim, &touched)
            })
            .or_else(|| {
                let [row, block] = self.scale_strides();
                let place = |at: usize| match self.column_major {
                    true => at % block < self.rows(),
                    false => row > 0,
                };
                let strayed = |(at, scale): (usize, &f32)| !place(at) && *scale != UNTOUCHED as f32;
                after.scales.iter().enumerate().position(strayed).map(|at| ("scales", at))
            })
    }
}

/// The same bytes, signed.
pub fn signed(codes: &mut [u8]) -> &mut [i8] {
    let len = codes.len();
    // SAFETY: both types have one byte, and every byte is a value of either.
    unsafe { std::slice::from_raw_parts_mut(codes.as_mut_ptr().cast(), len) }
}

//! A random operation on random tensors.

use norm_host::{
    Backend, DType, Norm, NormKind, Result, Rounding, Scale, View,
    accuracy::{WorstRow, round},
    problem::ResidualPlace,
    reference::{self, Operation, Row, first_difference},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    buffer::Buffer,
    values::{Random, Values},
};

/// What is added, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// Nothing: `y = norm(x)`.
    None,
    /// The input to a residual, whose sum is then normalized: `s = x + r; y = norm(s)`.
    Before,
    /// The norm to a residual: `y = r + norm(x)`.
    Behind,
}

impl Residual {
    pub const ALL: [Residual; 3] = [Residual::None, Residual::Before, Residual::Behind];
}

/// How the sum with a residual is made, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Addition {
    /// Whether neither tensor is changed: in front of the norm the sum has a tensor of its own, behind it the residual.
    pub apart: bool,
    /// Elements left free after each position of each axis of `front` in a sum with a tensor of its own.
    pub s_gaps: [usize; 3],
    /// Whether a residual in front of the norm is `f32`, beside `x` and `y` of 16 bits.
    pub wide: bool,
    pub branch_scale: f32,
    pub sum_scale: f32,
    /// Whether the latter is in memory.
    pub in_memory: bool,
}

impl Addition {
    /// In place, of the type of `x` or `y`, of what is there.
    pub const PLAIN: Addition = Addition {
        apart: false,
        s_gaps: [0; 3],
        wide: false,
        branch_scale: 1.0,
        sum_scale: 1.0,
        in_memory: false,
    };
}

/// Everything that makes a case; all data follows from it.
#[derive(Clone, Debug)]
pub struct Case {
    pub kind: NormKind,
    /// Without a residual alone.
    pub heads: bool,
    pub residual: Residual,
    /// With a residual alone.
    pub addition: Addition,
    pub x: DType,
    pub y: DType,
    pub w: Option<DType>,
    pub b: Option<DType>,
    /// Extents of the axes in front of the rows; the last is the heads where there are any.
    pub front: Vec<usize>,
    pub dim: usize,
    /// Elements left free after each position of each axis of `front`, in x and in y.
    pub gaps: Vec<(usize, usize)>,
    /// The same in a residual.
    pub r_gaps: [usize; 3],
    pub param_gap: usize,
    /// Whether all heads share the weights, and whether they share the biases.
    pub shared: [bool; 2],
    pub values: Values,
    pub eps: f32,
    pub weight_offset: f32,
    /// With an offset alone.
    pub round_offset: bool,
    /// T5's with weights alone.
    pub rounding: Rounding,
    pub seed: u64,
}

pub fn dtype() -> impl Strategy<Value = DType> {
    select(&DType::ALL)
}

prop_compose! {
    fn addition()(
        (apart, wide) in any::<(bool, bool)>(),
        s_gaps in [0_usize..3, 0..3, 0..3],
        scales in option::of((select(&[1.0_f32, 0.22, -1.5]), select(&[1.0_f32, 0.37, 3.0]))),
        in_memory: bool,
    ) -> Addition {
        let (branch_scale, sum_scale) = scales.unwrap_or((1.0, 1.0));
        Addition { apart, s_gaps, wide, branch_scale, sum_scale, in_memory: in_memory && scales.is_some() }
    }
}

prop_compose! {
    /// Cases with rows of 1 to `max_dim` elements.
    pub fn case(max_dim: usize)(
        kind in select(&NormKind::ALL),
        heads: bool,
        (residual, addition) in (select(&Residual::ALL), addition()),
        (x, y) in (dtype(), dtype()),
        (w, b) in (option::of(dtype()), option::of(dtype())),
        front in vec(1_usize..4, 0..4),
        dim in prop_oneof![1_usize..70, 1..=max_dim, select(&[63, 64, 65, 1023, 1024, 1025, 2048])],
        (gaps, r_gaps) in (vec((0_usize..3, 0_usize..3), 3), [0_usize..3, 0..3, 0..3]),
        (param_gap, shared) in (0_usize..3, [prop::bool::weighted(0.3), prop::bool::weighted(0.3)]),
        values in Values::any(),
        eps in select(&[1e-5_f32, 1e-6, 1e-12, 1.0]),
        (weight_offset, round_offset) in (select(&[0.0_f32, 1.0, -0.5]), any::<bool>()),
        rounding in select(&Rounding::ALL),
        seed: u64,
    ) -> Case {
        let heads = heads && !front.is_empty() && residual == Residual::None;
        // Biases have the weights' type.
        let b = b.map(|b| w.unwrap_or(b));
        // An offset is added to weights.
        let weight_offset = if w.is_some() { weight_offset } else { 0.0 };
        let round_offset = round_offset && weight_offset != 0.0;
        let weightless = rounding == Rounding::T5 && w.is_none();
        let rounding = if weightless { Rounding::Single } else { rounding };
        let wide = addition.wide && residual == Residual::Before && x.size() == 2 && y.size() == 2;
        let added = Addition { wide, ..addition };
        let addition = if residual == Residual::None { Addition::PLAIN } else { added };
        Case {
            kind, heads, residual, addition, x, y, w, b, front, dim, gaps, r_gaps, param_gap, shared, values, eps,
            weight_offset, round_offset, rounding, seed,
        }
    }
}

/// A row of what an operation reads, of tensors of any type.
struct RowRead {
    x: Vec<f64>,
    w: Option<Vec<f64>>,
    b: Option<Vec<f64>>,
    r: Option<Vec<f64>>,
}

impl RowRead {
    fn borrowed(&self) -> Row<'_> {
        let RowRead { x, w, b, r } = self;
        Row { x, w: w.as_deref(), b: b.as_deref(), r: r.as_deref() }
    }
}

/// The tensors of a case. Memory that belongs to no element holds 77 in `y`, `r` and `s`.
#[derive(Clone)]
pub struct Tensors {
    pub x: Buffer,
    /// The residual in front of the norm, or one behind it that has a tensor of its own.
    pub r: Option<Buffer>,
    /// The sum in front of the norm, where it has a tensor of its own.
    pub s: Option<Buffer>,
    /// What the sum is multiplied by, where that is in memory.
    pub scale: Option<Buffer>,
    pub w: Option<Buffer>,
    pub b: Option<Buffer>,
    pub y: Buffer,
}

pub const UNTOUCHED: f64 = 77.0;

impl Case {
    pub fn shape(&self) -> Vec<usize> {
        self.front.iter().copied().chain([self.dim]).collect()
    }

    pub fn rows(&self) -> usize {
        self.front.iter().product()
    }

    /// Row-major, but for the gaps.
    fn strides(&self, gap: impl Fn(usize) -> usize) -> Vec<usize> {
        reference::strides(&self.shape(), gap)
    }

    pub fn x_strides(&self) -> Vec<usize> {
        self.strides(|axis| self.gaps[axis].0)
    }

    pub fn y_strides(&self) -> Vec<usize> {
        self.strides(|axis| self.gaps[axis].1)
    }

    pub fn r_strides(&self) -> Vec<usize> {
        self.strides(|axis| self.r_gaps[axis])
    }

    pub fn s_strides(&self) -> Vec<usize> {
        self.strides(|axis| self.addition.s_gaps[axis])
    }

    /// What its results follow from.
    pub fn operation(&self) -> Operation {
        let Case { kind, x, w, y, eps, weight_offset, round_offset, rounding, .. } = *self;
        let Addition { wide, branch_scale, sum_scale, in_memory, .. } = self.addition;
        let place = match self.residual {
            Residual::None => None,
            Residual::Before => Some(ResidualPlace::InFront),
            Residual::Behind => Some(ResidualPlace::Behind),
        };
        let addition = place.map(|place| reference::Addition {
            place,
            wide,
            branch_scale,
            sum_scale,
            scale_in_memory: in_memory,
        });
        Operation { kind, x, w, y, eps, weight_offset, round_offset, rounding, addition }
    }

    /// The type of a residual.
    pub fn r_dtype(&self) -> DType {
        self.operation().sum_dtype()
    }

    /// Whether the sum in front of the norm has a tensor of its own.
    pub fn stores_apart(&self) -> bool {
        self.residual == Residual::Before && self.addition.apart
    }

    /// Of weights or biases: shape and strides. Those that are `shared` are so by all heads.
    pub fn param_layout(&self, shared: bool) -> (Vec<usize>, Vec<usize>) {
        match self.heads && !shared {
            true => (vec![self.front[self.front.len() - 1], self.dim], vec![self.dim + self.param_gap, 1]),
            false => (vec![self.dim], vec![1]),
        }
    }

    /// Where row `index` starts.
    pub fn start(&self, index: usize, strides: &[usize]) -> usize {
        reference::row_start(index, &self.front, strides)
    }

    /// Where the weights or biases of row `index` start.
    pub fn param_start(&self, index: usize, shared: bool) -> usize {
        match self.param_layout(shared) {
            (shape, strides) if shape.len() == 2 => index % shape[0] * strides[0],
            _ => 0,
        }
    }

    pub fn tensors(&self) -> Tensors {
        let mut random = Random(self.seed);
        let x_strides = self.x_strides();
        let len = |strides: &[usize]| self.start(self.rows() - 1, strides) + self.dim;
        let rows = |dtype, strides: &[usize], unused, random: &mut Random| {
            let mut values = vec![unused; len(strides)];
            for row in 0..self.rows() {
                let start = self.start(row, strides);
                values[start..start + self.dim].copy_from_slice(&self.values.row(dtype, self.dim, random));
            }
            Buffer::new(dtype, &values)
        };
        let x = rows(self.x, &x_strides, f64::NAN, &mut random);
        let mut param = |dtype, shared| {
            let (shape, strides) = self.param_layout(shared);
            let count = shape[0] * strides[0];
            let values: Vec<f64> = (0..count).map(|_| round(dtype, random.signed(2.0))).collect();
            Buffer::new(dtype, &values)
        };
        let w = self.w.map(|dtype| param(dtype, self.shared[0]));
        let b = self.b.map(|dtype| param(dtype, self.shared[1]));
        let (y_strides, r_strides) = (self.y_strides(), self.r_strides());
        let Addition { apart, in_memory, sum_scale, .. } = self.addition;
        let has_r = self.residual == Residual::Before || self.residual == Residual::Behind && apart;
        let r = has_r.then(|| rows(self.r_dtype(), &r_strides, UNTOUCHED, &mut random));
        let y = match self.residual {
            Residual::Behind if !apart => rows(self.y, &y_strides, UNTOUCHED, &mut random),
            _ => Buffer::new(self.y, &vec![UNTOUCHED; len(&y_strides)]),
        };
        let unwritten = || Buffer::new(self.r_dtype(), &vec![UNTOUCHED; len(&self.s_strides())]);
        let s = self.stores_apart().then(unwritten);
        let scale = in_memory.then(|| Buffer::F32(vec![sum_scale]));
        Tensors { x, r, s, scale, w, b, y }
    }

    /// The operation without its parameters.
    pub fn described<'a>(&self) -> Norm<'a> {
        self.operation().norm()
    }

    /// The operation, its parameters borrowed from `w` and `b`, and a scale in memory.
    pub fn norm<'a>(
        &self,
        w: &'a Option<Buffer>,
        b: &'a Option<Buffer>,
        scale: &'a Option<Buffer>,
    ) -> Norm<'a> {
        let view = |p: &'a Buffer, shared| {
            let (shape, strides) = self.param_layout(shared);
            p.view(&shape, &strides)
        };
        self.described()
            .weight(w.as_ref().map(|w| view(w, self.shared[0])))
            .bias(b.as_ref().map(|b| view(b, self.shared[1])))
            .sum_scale(self.sum_scale(scale.as_ref().map(|scale| scale.view(&[1], &[1]))))
    }

    /// What the sum is multiplied by, which is at `memory` where it is in memory.
    pub fn sum_scale<'a>(&self, memory: Option<View<'a>>) -> Scale<'a> {
        memory.map_or(Scale::Number(self.addition.sum_scale), Scale::Memory)
    }

    /// Runs it.
    pub fn run(&self, tensors: &mut Tensors, on: &impl Backend) -> Result<()> {
        let Tensors { x, r, s, scale, w, b, y } = tensors;
        let x = x.view(&self.shape(), &self.x_strides());
        let mut y = y.view_mut(&self.shape(), &self.y_strides());
        let norm = self.norm(w, b, scale);
        let (shape, r_strides) = (self.shape(), self.r_strides());
        match (self.residual, r, s) {
            (Residual::Before, Some(r), Some(s)) => {
                let s = &mut s.view_mut(&shape, &self.s_strides());
                norm.add_then_norm_to(x, r.view(&shape, &r_strides), s, &mut y, on)
            }
            (Residual::Before, Some(r), None) => {
                norm.add_then_norm(x, &mut r.view_mut(&shape, &r_strides), &mut y, on)
            }
            (Residual::Behind, Some(r), _) => {
                norm.norm_then_add_to(x, r.view(&shape, &r_strides), &mut y, on)
            }
            (Residual::Behind, None, _) => norm.norm_then_add(x, &mut y, on),
            _ if self.heads => norm.heads(x, &mut y, on),
            _ => norm.rows(x, &mut y, on),
        }
    }

    /// The elements of row `index` of a tensor with these strides.
    pub fn row(&self, buffer: &Buffer, index: usize, strides: &[usize]) -> Vec<f64> {
        self.elements(buffer, self.start(index, strides))
    }

    /// A row's elements from `start` on.
    pub fn elements(&self, buffer: &Buffer, start: usize) -> Vec<f64> {
        (start..start + self.dim).map(|i| buffer.get(i)).collect()
    }

    /// The elements of row `index` that the operation reads.
    fn read(&self, before: &Tensors, index: usize) -> RowRead {
        let param = |p: &Option<Buffer>, shared| {
            p.as_ref().map(|p| self.elements(p, self.param_start(index, shared)))
        };
        let onto_output = self.residual == Residual::Behind && before.r.is_none();
        RowRead {
            x: self.row(&before.x, index, &self.x_strides()),
            w: param(&before.w, self.shared[0]),
            b: param(&before.b, self.shared[1]),
            r: match &before.r {
                Some(r) => Some(self.row(r, index, &self.r_strides())),
                None => onto_output.then(|| self.row(&before.y, index, &self.y_strides())),
            },
        }
    }

    /// What row `index` of the sum in front of the norm must be, where there is one.
    fn sum_of(&self, before: &Tensors, index: usize) -> Option<Vec<f64>> {
        if self.residual != Residual::Before {
            return None;
        }
        Some(self.operation().normalized(&self.read(before, index).borrowed()).into_owned())
    }

    /// Judges row `index` of what the operation made of `before`.
    pub fn judge(&self, before: &Tensors, after: &Tensors, index: usize) -> WorstRow {
        let given = self.row(&after.y, index, &self.y_strides());
        self.operation().judge(&self.read(before, index).borrowed(), &given)
    }

    /// The first element of row `index` that is not what it must be, of the sum in front of the norm, in the residual or
    /// a tensor of its own; or of a residual that is not to change.
    pub fn wrong_residual(&self, before: &Tensors, after: &Tensors, index: usize) -> Option<usize> {
        let (r_before, r_after) = (before.r.as_ref()?, after.r.as_ref()?);
        let row_of_r = |r: &Buffer| self.row(r, index, &self.r_strides());
        let differ = |expected: Vec<f64>, given: Vec<f64>| first_difference(&expected, &given);
        match (self.sum_of(before, index), &after.s) {
            (Some(sum), None) => differ(sum, row_of_r(r_after)),
            (Some(sum), Some(s)) => differ(sum, self.row(s, index, &self.s_strides()))
                .or_else(|| differ(row_of_r(r_before), row_of_r(r_after))),
            (None, _) => differ(row_of_r(r_before), row_of_r(r_after)),
        }
    }
}

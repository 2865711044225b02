//! A random operation on random tensors.

use norm_host::{
    Backend, DType, Norm, NormKind, Result,
    accuracy::{WorstRow, judge_row, round},
    reference::{self, Parameters},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    buffer::Buffer,
    values::{Random, Values},
};

/// Everything that makes a case; all data follows from it.
#[derive(Clone, Debug)]
pub struct Case {
    pub kind: NormKind,
    pub heads: bool,
    pub x: DType,
    pub y: DType,
    pub w: Option<DType>,
    pub b: Option<DType>,
    /// Extents of the axes in front of the rows; the last is the heads where there are any.
    pub front: Vec<usize>,
    pub dim: usize,
    /// Elements left free after each position of each axis of `front`, in x and in y.
    pub gaps: Vec<(usize, usize)>,
    pub param_gap: usize,
    pub values: Values,
    pub eps: f32,
    pub weight_offset: f32,
    pub seed: u64,
}

pub fn dtype() -> impl Strategy<Value = DType> {
    select(&DType::ALL)
}

prop_compose! {
    /// Cases with rows of 1 to `max_dim` elements.
    pub fn case(max_dim: usize)(
        kind in select(&NormKind::ALL),
        heads: bool,
        (x, y) in (dtype(), dtype()),
        (w, b) in (option::of(dtype()), option::of(dtype())),
        front in vec(1_usize..4, 0..4),
        dim in prop_oneof![1_usize..70, 1..=max_dim, select(&[63, 64, 65, 1023, 1024, 1025, 2048])],
        gaps in vec((0_usize..3, 0_usize..3), 3),
        param_gap in 0_usize..3,
        values in Values::any(),
        eps in select(&[1e-5_f32, 1e-6, 1e-12, 1.0]),
        weight_offset in select(&[0.0_f32, 1.0, -0.5]),
        seed: u64,
    ) -> Case {
        let heads = heads && !front.is_empty();
        // Biases have the weights' type.
        let b = b.map(|b| w.unwrap_or(b));
        Case { kind, heads, x, y, w, b, front, dim, gaps, param_gap, values, eps, weight_offset, seed }
    }
}

/// The tensors of a case. Memory that belongs to no element holds 77 in `y`.
pub struct Tensors {
    pub x: Buffer,
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
    fn strides(&self, gap: impl Fn(&(usize, usize)) -> usize) -> Vec<usize> {
        let mut strides = vec![1];
        let mut span = self.dim;
        for (extent, gaps) in self.front.iter().zip(&self.gaps).rev() {
            span += gap(gaps);
            strides.insert(0, span);
            span *= extent;
        }
        strides
    }

    pub fn x_strides(&self) -> Vec<usize> {
        self.strides(|gaps| gaps.0)
    }

    pub fn y_strides(&self) -> Vec<usize> {
        self.strides(|gaps| gaps.1)
    }

    pub fn param_shape(&self) -> Vec<usize> {
        if self.heads { vec![self.front[self.front.len() - 1], self.dim] } else { vec![self.dim] }
    }

    pub fn param_strides(&self) -> Vec<usize> {
        if self.heads { vec![self.dim + self.param_gap, 1] } else { vec![1] }
    }

    /// Where row `index` starts, by walking the indices of all axes: no merging here.
    pub fn start(&self, index: usize, strides: &[usize]) -> usize {
        let mut rest = index;
        let axes = self.front.iter().zip(strides).rev();
        axes.map(|(extent, stride)| {
            let position = rest % extent;
            rest /= extent;
            position * stride
        })
        .sum()
    }

    /// Where the parameters of row `index` start.
    pub fn param_start(&self, index: usize) -> usize {
        let head = if self.heads { index % self.front[self.front.len() - 1] } else { 0 };
        head * self.param_strides()[0]
    }

    pub fn tensors(&self) -> Tensors {
        let mut random = Random(self.seed);
        let x_strides = self.x_strides();
        let len = |strides: &[usize]| self.start(self.rows() - 1, strides) + self.dim;
        let mut x = vec![f64::NAN; len(&x_strides)];
        for row in 0..self.rows() {
            let start = self.start(row, &x_strides);
            x[start..start + self.dim].copy_from_slice(&self.values.row(self.x, self.dim, &mut random));
        }
        let heads = self.param_shape().iter().rev().nth(1).copied().unwrap_or(1);
        let count = heads * (self.dim + self.param_gap);
        let mut param = |dtype| {
            let values: Vec<f64> = (0..count).map(|_| round(dtype, random.signed(2.0))).collect();
            Buffer::new(dtype, &values)
        };
        Tensors {
            x: Buffer::new(self.x, &x),
            w: self.w.map(&mut param),
            b: self.b.map(&mut param),
            y: Buffer::new(self.y, &vec![UNTOUCHED; len(&self.y_strides())]),
        }
    }

    /// The operation, its parameters borrowed from `w` and `b`.
    pub fn norm<'a>(&self, w: &'a Option<Buffer>, b: &'a Option<Buffer>) -> Norm<'a> {
        let view = |p: &'a Buffer| p.view(&self.param_shape(), &self.param_strides());
        Norm::new(self.kind, self.eps)
            .weight(w.as_ref().map(view))
            .weight_offset(self.weight_offset)
            .bias(b.as_ref().map(view))
    }

    /// Runs it, `y = norm(x)`.
    pub fn run(&self, tensors: &mut Tensors, on: &impl Backend) -> Result<()> {
        let Tensors { x, w, b, y } = tensors;
        let x = x.view(&self.shape(), &self.x_strides());
        let mut y = y.view_mut(&self.shape(), &self.y_strides());
        let norm = self.norm(w, b);
        if self.heads { norm.heads(x, &mut y, on) } else { norm.rows(x, &mut y, on) }
    }

    /// Judges row `index` of what [`run`](Self::run) left in `tensors`.
    pub fn judge(&self, tensors: &Tensors, index: usize) -> WorstRow {
        let take = |buffer: &Buffer, start: usize| -> Vec<f64> {
            (start..start + self.dim).map(|i| buffer.get(i)).collect()
        };
        let x: Vec<f64> = take(&tensors.x, self.start(index, &self.x_strides()));
        let x: Vec<f64> = x.into_iter().map(|x| reference::input(self.x, x)).collect();
        let param = |p: &Option<Buffer>| p.as_ref().map(|p| take(p, self.param_start(index)));
        let (w, b) = (param(&tensors.w), param(&tensors.b));
        let parameters = Parameters {
            kind: self.kind,
            eps: self.eps.into(),
            weight: w.as_deref(),
            weight_offset: self.weight_offset.into(),
            bias: b.as_deref(),
        };
        let y = take(&tensors.y, self.start(index, &self.y_strides()));
        judge_row(&x, &parameters, self.y, &y)
    }
}

//! Norm and rotation of queries, keys and values.

use norm_host::{
    Backend, DType, Norm, NormKind, Pairing, Positions, QkNormRope, Qkv, Result, RopeRounding, Rotary,
    Rounding, View, ViewMut,
    accuracy::WorstRow,
    reference::{Head, HeadOperation, HeadParameters},
};
use proptest::{option, prelude::*, sample::select};

use super::{
    buffer::Buffer,
    case::dtype,
    values::{Random, Values},
};

/// An operation on queries, keys and values, with everything that its result depends on.
#[derive(Clone, Debug)]
pub struct QkRope {
    pub dtype: DType,
    /// Heads of queries, keys and values; 0 of keys or values: there are none.
    pub heads: [usize; 3],
    pub tokens: usize,
    pub head_dim: usize,
    pub norms: [Option<HeadNorm>; 3],
    /// The type of all weights: that of the heads or `f32`.
    pub w: DType,
    pub rotation: Option<Rotation>,
    pub norm_behind: bool,
    pub before_weight: bool,
    pub rounding: RopeRounding,
    pub layout: Layout,
    /// Elements in front of the first of each tensor.
    pub at: usize,
    pub values: Values,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct HeadNorm {
    pub kind: NormKind,
    pub eps: f32,
    /// `None` without weights; whether each head has its own.
    pub weights: Option<bool>,
    pub weight_offset: f32,
}

#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    pub pairs: usize,
    pub pairing: Pairing,
    pub table: DType,
    pub rows: usize,
    /// Whether both tables are halves of the rows of one tensor.
    pub joined: bool,
    pub wide_positions: bool,
}

/// Where heads lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All in one tensor, with so many unused columns behind.
    Packed(usize),
    /// In tensors of their own, `(tokens, heads, head_dim)` with so many elements unused behind each head and each token.
    Apart([usize; 2]),
    /// In tensors of their own, `(heads, tokens, head_dim)`.
    ByHead,
}

/// The tensors.
#[derive(Clone)]
pub struct Tensors {
    /// One tensor if packed, else those of queries, keys and values.
    pub x: Vec<Buffer>,
    pub w: [Option<Buffer>; 3],
    pub cos: Buffer,
    pub sin: Buffer,
    pub narrow: Vec<u32>,
    pub wide: Vec<i64>,
}

prop_compose! {
    fn head_norm()(
        kind in select(&[NormKind::Rms, NormKind::Rms, NormKind::Layer]),
        eps in select(&[1e-5_f32, 1e-6]),
        weights in option::weighted(0.8, any::<bool>()),
        weight_offset in select(&[0.0_f32, 0.0, 1.0]),
    ) -> HeadNorm {
        let weight_offset = if weights.is_some() { weight_offset } else { 0.0 };
        HeadNorm { kind, eps, weights, weight_offset }
    }
}

prop_compose! {
    /// Any operation, of heads of 1 to `max_dim` elements, most of them of whole vectors.
    pub fn qk_rope(max_dim: usize)(
        (dtype, w, table) in (dtype(), any::<bool>(), any::<bool>()),
        (heads, tokens) in ([1_usize..5, 0..4, 0..3], 0_usize..6),
        (dim, is_whole) in (1_usize..=max_dim, prop::bool::weighted(0.7)),
        norms in [option::weighted(0.8, head_norm()), option::weighted(0.8, head_norm()), option::of(head_norm())],
        rotation in option::weighted(0.85, (0.0_f64..1.0, any::<bool>(), select(&Pairing::ALL), any::<[bool; 2]>())),
        (norm_behind, before_weight, rounding) in (any::<bool>(), any::<bool>(), select(&RopeRounding::ALL)),
        (layout, gaps, at) in (0..3, [0_usize..3, 0..3], 0_usize..8),
        (values, seed) in (Values::any(), any::<u64>()),
    ) -> QkRope {
        let head_dim = if is_whole { (dim.div_ceil(16) * 16).min(max_dim) } else { dim };
        let unit = if is_whole { 8 } else { 1 };
        let [w, table] = [w, table].map(|is_wide| if is_wide { DType::F32 } else { dtype });
        let of = |(share, is_full, pairing, [joined, wide_positions]): (f64, bool, Pairing, [bool; 2])| {
            let most = head_dim / 2;
            let partial = ((share * most as f64) as usize / unit * unit).max(1);
            let pairs = if is_full { most } else { partial };
            Rotation { pairs, pairing, table, rows: 7, joined, wide_positions }
        };
        let layout = match layout {
            0 => Layout::Packed(gaps[0] * unit),
            1 => Layout::Apart(gaps.map(|gap| gap * unit)),
            _ => Layout::ByHead,
        };
        let norms = [0, 1, 2].map(|part| norms[part].filter(|_| heads[part] > 0));
        QkRope {
            dtype, heads, tokens, head_dim, norms, w,
            rotation: rotation.filter(|_| head_dim > 1).map(of),
            norm_behind, before_weight, rounding, layout,
            at: if is_whole { 0 } else { at },
            values, seed,
        }
    }
}

impl QkRope {
    /// Queries and keys as Qwen 3 has them: normed with shared weights, and rotated as a whole.
    pub fn plain(dtype: DType, head_dim: usize, pairing: Pairing) -> QkRope {
        let norm = HeadNorm { kind: NormKind::Rms, eps: 1e-6, weights: Some(false), weight_offset: 0.0 };
        QkRope {
            dtype,
            heads: [4, 2, 0],
            tokens: 3,
            head_dim,
            norms: [Some(norm), Some(norm), None],
            w: dtype,
            rotation: Some(Rotation {
                pairs: head_dim / 2,
                pairing,
                table: DType::F32,
                rows: 7,
                joined: false,
                wide_positions: false,
            }),
            norm_behind: false,
            before_weight: false,
            rounding: RopeRounding::Single,
            layout: Layout::Packed(0),
            at: 0,
            values: Values::Plain,
            seed: 1,
        }
    }

    fn parts(&self) -> impl Iterator<Item = usize> {
        let heads = self.heads;
        (0..3).filter(move |&part| part == 0 || heads[part] > 0)
    }

    /// Columns of a packed tensor.
    fn columns(&self) -> usize {
        self.heads.iter().sum::<usize>() * self.head_dim
    }

    /// Strides of tokens and of heads.
    fn strides(&self, part: usize) -> [usize; 2] {
        let dim = self.head_dim;
        match self.layout {
            Layout::Packed(gap) => [self.columns() + gap, dim],
            Layout::Apart([of_head, of_token]) => {
                let head = dim + of_head;
                [self.heads[part] * head + of_token, head]
            }
            Layout::ByHead => [dim, self.tokens * dim],
        }
    }

    /// The tensor, and in it the first element of a head.
    fn start(&self, part: usize, token: usize, head: usize) -> (usize, usize) {
        let [of_token, of_head] = self.strides(part);
        let within = token * of_token + head * of_head + self.at;
        match self.layout {
            Layout::Packed(_) => (0, within + self.heads[..part].iter().sum::<usize>() * self.head_dim),
            Layout::Apart(_) | Layout::ByHead => (part, within),
        }
    }

    pub fn tensors(&self) -> Tensors {
        let mut random = Random(self.seed);
        let rows = |rows: usize, dim: usize, dtype: DType, random: &mut Random, values: Values| -> Vec<f64> {
            (0..rows).flat_map(|_| values.row(dtype, dim, random)).collect()
        };
        let tokens = self.tokens.max(1);
        let sizes = match self.layout {
            Layout::Packed(_) => vec![self.strides(0)[0] * tokens],
            Layout::Apart(_) => (0..3).map(|part| self.strides(part)[0] * tokens).collect(),
            Layout::ByHead => self.heads.iter().map(|heads| heads * tokens * self.head_dim).collect(),
        };
        let x = sizes.iter().map(|size| {
            let dim = self.head_dim;
            let values = rows(size.div_ceil(dim) + 1, dim, self.dtype, &mut random, self.values);
            let front = vec![f64::NAN; self.at];
            Buffer::new(self.dtype, &[front, values[..*size].to_vec()].concat())
        });
        let x = x.collect();
        let mut w = [None, None, None];
        for part in self.parts() {
            let Some(is_own) = self.norms[part].and_then(|norm| norm.weights) else { continue };
            let count = if is_own { self.heads[part] } else { 1 };
            let values = rows(count, self.head_dim, self.w, &mut random, Values::Plain);
            w[part] = Some(Buffer::new(self.w, &[vec![f64::NAN; self.at], values].concat()));
        }
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        let mut table = self.dtype;
        let mut count = 1;
        if let Some(Rotation { pairs, table: dtype, rows, joined, .. }) = self.rotation {
            table = dtype;
            count = rows;
            for _ in 0..rows {
                let angles: Vec<f64> = (0..pairs).map(|_| random.signed(4.0)).collect();
                cos.extend(angles.iter().map(|angle| angle.cos()));
                let sines = angles.iter().map(|angle| angle.sin());
                if joined { cos.extend(sines) } else { sin.extend(sines) }
            }
        }
        let narrow: Vec<u32> = (0..self.tokens).map(|_| random.below(count) as u32).collect();
        let wide = narrow.iter().map(|&position| position.into()).collect();
        Tensors { x, w, cos: Buffer::new(table, &cos), sin: Buffer::new(table, &sin), narrow, wide }
    }

    /// The description, with those tensors.
    fn description<'a>(&self, w: [Option<View<'a>>; 3], rotary: Option<Rotary<'a>>) -> QkNormRope<'a> {
        let order = if self.before_weight { Rounding::BeforeWeight } else { Rounding::Single };
        let norm = |part: usize| {
            let HeadNorm { kind, eps, weight_offset, .. } = self.norms[part]?;
            Some(Norm::new(kind, eps).weight(w[part]).weight_offset(weight_offset).rounding(order))
        };
        QkNormRope::new()
            .q_norm(norm(0))
            .k_norm(norm(1))
            .v_norm(norm(2))
            .rotary(rotary)
            .norm_behind(self.norm_behind)
            .rounding(self.rounding)
    }

    fn rotary<'a>(&self, cos: &'a Buffer, sin: &'a Buffer, positions: Positions<'a>) -> Option<Rotary<'a>> {
        let Rotation { pairs, pairing, rows, joined, .. } = self.rotation?;
        let table = |buffer: &'a Buffer, from: usize, stride: usize| {
            buffer.view_from(from, &[rows, pairs], &[stride, 1])
        };
        let (cos, sin) = match joined {
            true => (table(cos, 0, 2 * pairs), table(cos, pairs, 2 * pairs)),
            false => (table(cos, 0, pairs), table(sin, 0, pairs)),
        };
        Some(Rotary::new(cos, sin, positions).pairing(pairing))
    }

    /// The operation in place.
    pub fn run(&self, tensors: &mut Tensors, on: &impl Backend) -> Result<()> {
        let Tensors { x, w, cos, sin, narrow, wide } = tensors;
        let positions = match self.rotation {
            Some(Rotation { wide_positions: true, .. }) => Positions::from_slice(wide),
            _ => Positions::from_slice(narrow),
        };
        let description = self.description(self.weights(w), self.rotary(cos, sin, positions));
        let dim = self.head_dim;
        if let (Layout::Packed(_), [x]) = (self.layout, &mut x[..]) {
            let shape = [self.tokens, self.columns()];
            let view = x.view_mut_from(self.at, &shape, &[self.strides(0)[0], 1]);
            return description.in_place(Qkv::<ViewMut<'_>>::packed(view, self.heads, dim)?, on);
        }
        let mut views: Vec<Option<ViewMut<'_>>> = x
            .iter_mut()
            .enumerate()
            .map(|(part, x)| {
                let [of_token, of_head] = self.strides(part);
                let shape = [self.tokens, self.heads[part], dim];
                (self.heads[part] > 0).then(|| x.view_mut_from(self.at, &shape, &[of_token, of_head, 1]))
            })
            .collect();
        let (v, k, q) = (views.pop().flatten(), views.pop().flatten(), views.pop().flatten());
        description.in_place(Qkv::new(q.expect("there are queries")).k(k).v(v), on)
    }

    /// The operation into dense tensors of their own, of which it returns those of queries, keys and values.
    pub fn run_to(&self, tensors: &Tensors, on: &impl Backend) -> Result<[Buffer; 3]> {
        let Tensors { x, w, cos, sin, narrow, wide } = tensors;
        let positions = match self.rotation {
            Some(Rotation { wide_positions: true, .. }) => Positions::from_slice(wide),
            _ => Positions::from_slice(narrow),
        };
        let description = self.description(self.weights(w), self.rotary(cos, sin, positions));
        let shape = |part: usize| [self.tokens, self.heads[part], self.head_dim];
        let view = |part: usize| {
            let (tensor, from) = self.start(part, 0, 0);
            let [of_token, of_head] = self.strides(part);
            (self.heads[part] > 0).then(|| x[tensor].view_from(from, &shape(part), &[of_token, of_head, 1]))
        };
        let mut out = [0, 1, 2].map(|part| {
            Buffer::new(self.dtype, &vec![f64::NAN; self.tokens * self.heads[part] * self.head_dim])
        });
        let [q, k, v] = &mut out;
        let [q, k, v] = [(0, q), (1, k), (2, v)].map(|(part, y)| {
            let [_, heads, dim] = shape(part);
            (heads > 0).then(|| y.view_mut_from(0, &shape(part), &[heads * dim, dim, 1]))
        });
        let written = Qkv::new(q.expect("there are queries")).k(k).v(v);
        let read = Qkv::new(view(0).expect("there are queries")).k(view(1)).v(view(2));
        description.to(read, written, on)?;
        Ok(out)
    }

    fn weights<'a>(&self, w: &'a [Option<Buffer>; 3]) -> [Option<View<'a>>; 3] {
        [0, 1, 2].map(|part| {
            let w = w[part].as_ref()?;
            let (heads, dim) = (self.heads[part], self.head_dim);
            Some(match self.norms[part]?.weights? {
                true => w.view_from(self.at, &[heads, dim], &[dim, 1]),
                false => w.view_from(self.at, &[dim], &[1]),
            })
        })
    }

    /// Each head's part, token, number and elements.
    pub fn heads_of<'a>(&'a self, x: &'a [Buffer]) -> impl Iterator<Item = ([usize; 3], Vec<f64>)> + 'a {
        let all = self.parts().flat_map(move |part| {
            (0..self.tokens).flat_map(move |token| (0..self.heads[part]).map(move |head| [part, token, head]))
        });
        all.map(move |[part, token, head]| {
            let (tensor, start) = self.start(part, token, head);
            let elements = (start..start + self.head_dim).map(|index| x[tensor].get(index)).collect();
            ([part, token, head], elements)
        })
    }

    /// Copies the elements of all heads.
    pub fn copy_heads(&self, from: &[Buffer], to: &mut [Buffer]) {
        for ([part, token, head], _) in self.heads_of(from) {
            let (tensor, start) = self.start(part, token, head);
            to[tensor].copy_from(&from[tensor], start..start + self.head_dim);
        }
    }

    /// Every head of `after`, held to the promise.
    pub fn judge(&self, before: &Tensors, after: &[Buffer]) -> Vec<([usize; 3], WorstRow)> {
        let operation = HeadOperation {
            dtype: self.dtype,
            pairing: self.rotation.map_or(Pairing::Halves, |rotation| rotation.pairing),
            norm_behind: self.norm_behind,
            before_weight: self.before_weight,
            rounding: self.rounding,
        };
        let dim = self.head_dim;
        let mut verdicts = Vec::new();
        for ((at, x), (_, given)) in self.heads_of(&before.x).zip(self.heads_of(after)) {
            let [part, token, head] = at;
            let w: Option<Vec<f64>> = before.w[part].as_ref().map(|w| {
                let is_own = self.norms[part].and_then(|norm| norm.weights) == Some(true);
                let start = self.at + if is_own { head * dim } else { 0 };
                (start..start + dim).map(|index| w.get(index)).collect()
            });
            let norm = self.norms[part].map(|HeadNorm { kind, eps, weight_offset, .. }| HeadParameters {
                kind,
                eps: eps.into(),
                weight: w.as_deref(),
                weight_offset: weight_offset.into(),
            });
            let tables = self.rotation.filter(|_| part < 2).map(|Rotation { pairs, joined, .. }| {
                let row = before.narrow[token] as usize * if joined { 2 } else { 1 } * pairs;
                let cos: Vec<f64> = (row..row + pairs).map(|index| before.cos.get(index)).collect();
                let (sin, from) = if joined { (&before.cos, row + pairs) } else { (&before.sin, row) };
                (cos, (from..from + pairs).map(|index| sin.get(index)).collect::<Vec<f64>>())
            });
            let turn = tables.as_ref().map(|(cos, sin)| [&cos[..], &sin[..]]);
            verdicts.push((at, operation.judge(&Head { x: &x, norm, turn }, &given)));
        }
        verdicts
    }
}

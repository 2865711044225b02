//! Two norms with a residual between them.

use norm_host::{Backend, NormKind, Result, Rounding, accuracy::WorstRow};
use proptest::{option, prelude::*, sample::select};

use super::{
    buffer::Buffer,
    case::{Addition, Case, Residual, Tensors, case, dtype},
};

/// `s = r + norm(x); y = next(s)`, the sum in the place of `r` or in a tensor of its own.
#[derive(Clone, Debug)]
pub struct Sandwich {
    /// A norm with a residual behind it, whose output is the sum.
    pub first: Case,
    /// A norm of rows of that type and with those strides.
    pub second: Case,
}

/// The tensors of both; the second's `x` is the first's `y`, and what is there by itself counts for nothing.
#[derive(Clone)]
pub struct Between {
    pub first: Tensors,
    pub second: Tensors,
}

prop_compose! {
    /// Any two norms, of rows of 1 to `max_dim` elements.
    pub fn sandwich(max_dim: usize)(
        first in case(max_dim),
        addition in (any::<bool>(), option::of(select(&[0.22_f32, -1.5])), option::of(select(&[0.37_f32, 3.0]))),
        (kind, w, bias, y) in (select(&NormKind::ALL), option::of(dtype()), any::<bool>(), dtype()),
        alike in prop::bool::weighted(0.6),
        gaps in [0_usize..3, 0..3, 0..3],
        (weight_offset, eps) in (select(&[0.0_f32, 1.0]), select(&[1e-5_f32, 1e-6])),
        (rounding, round_offset) in (select(&Rounding::ALL), any::<bool>()),
    ) -> Sandwich {
        let (apart, branch, sum) = addition;
        let addition = Addition {
            apart,
            branch_scale: branch.unwrap_or(1.0),
            sum_scale: sum.unwrap_or(1.0),
            in_memory: sum.is_some(),
            ..Addition::PLAIN
        };
        let first = Case { heads: false, residual: Residual::Behind, addition, ..first };
        // Often as one kernel serves them.
        let (kind, w, rounding) = if alike { (NormKind::Rms, first.w, first.rounding) } else { (kind, w, rounding) };
        let first = if alike { Case { kind, b: None, y: first.x, ..first } } else { first };
        let b = w.filter(|_| bias && !alike);
        let weight_offset = if w.is_some() { weight_offset } else { 0.0 };
        let rounding = if rounding == Rounding::T5 && w.is_none() { Rounding::Single } else { rounding };
        let second = Case { kind, w, b, y, eps, weight_offset, rounding, ..first.clone() };
        Sandwich::new(first, Case { round_offset: round_offset && weight_offset != 0.0, ..second }, gaps)
    }
}

impl Sandwich {
    /// `first`, and `second` of what it gives, with gaps of its own in `y`.
    pub fn new(first: Case, second: Case, gaps: [usize; 3]) -> Sandwich {
        let first = Case { heads: false, residual: Residual::Behind, ..first };
        let gaps = first.gaps.iter().zip(gaps).map(|(&(_, sum), y)| (sum, y)).collect();
        let plain = Case { heads: false, residual: Residual::None, addition: Addition::PLAIN, ..second };
        let (front, seed) = (first.front.clone(), !first.seed);
        let second = Case { x: first.y, front, dim: first.dim, gaps, seed, ..plain };
        Sandwich { first, second }
    }

    pub fn tensors(&self) -> Between {
        Between { first: self.first.tensors(), second: self.second.tensors() }
    }

    /// One call.
    pub fn run(&self, tensors: &mut Between, on: &impl Backend) -> Result<()> {
        let Sandwich { first, second } = self;
        let Between { first: Tensors { x, r, scale, w, b, y: sum, .. }, second: of_second } = tensors;
        let shape = first.shape();
        let norm = first.norm(w, b, scale);
        let next = second.norm(&of_second.w, &of_second.b, &of_second.scale);
        let x = x.view(&shape, &first.x_strides());
        let sum = &mut sum.view_mut(&shape, &first.y_strides());
        let y = &mut of_second.y.view_mut(&shape, &second.y_strides());
        match r {
            Some(r) => norm.sandwich_rows_to(&next, x, r.view(&shape, &first.r_strides()), sum, y, on),
            None => norm.sandwich_rows(&next, x, sum, y, on),
        }
    }

    /// Two.
    pub fn run_apart(&self, tensors: &mut Between, on: &impl Backend) -> Result<()> {
        self.first.run(&mut tensors.first, on)?;
        tensors.second.x = tensors.first.y.clone();
        self.second.run(&mut tensors.second, on)
    }

    /// Row `index` of the sum, then of `y`, held to the promises of either norm.
    pub fn judge(&self, before: &Between, after: &Between, index: usize) -> [WorstRow; 2] {
        let of_second = Tensors { x: after.first.y.clone(), ..before.second.clone() };
        [
            self.first.judge(&before.first, &after.first, index),
            self.second.judge(&of_second, &after.second, index),
        ]
    }

    /// The bits of all that is there but of the second's `x`, gaps included.
    pub fn bits(tensors: &Between) -> Vec<Vec<u32>> {
        let Between { first, second } = tensors;
        let all = |tensors: &Tensors| -> Vec<Vec<u32>> {
            let Tensors { r, s, scale, w, b, y, .. } = tensors;
            let optional = [r, s, scale, w, b].into_iter().flatten();
            optional.chain([y]).map(Buffer::bits).collect()
        };
        [vec![first.x.bits()], all(first), all(second)].concat()
    }
}

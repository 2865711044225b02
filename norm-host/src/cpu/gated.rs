//! Gated RMSNorms.
//!
//! ```text
//! sum_sq = Σ x², or Σ (x · act(g))²                    pass SumSq or GatedSumSq
//! rstd = 1 / sqrt(sum_sq / dim + eps)
//! y = round(x · rstd · w · act(g)), or                 pass WriteGated
//!     round(x · act(g) · rstd · w)
//! ```
//!
//! The gate stands where a row has the residual behind the norm. A pass that needs the activations computes them.

use std::marker::PhantomData;

use norm_kernels::abi::{Activation, Gating};

use super::{
    algorithm::{Pass, Passes, SumSq},
    chunk::{CHUNK, Chunk},
    dispatch::{Isa, RowFn},
    form::{Any, Form},
    loops::{Dest, Elementwise, Source, map},
    passes::{Chunks, OneChunk},
    round::rounded,
    row::RowRange,
    simd::{Arithmetic, Floats, Simd},
    sum::Origin,
    tasks::TASK,
    team,
    workspace::{Workspace, with_workspace},
};
use crate::{DType, problem::GatedProblem};

/// Normalizes all rows, spread over threads as the rows of other norms are.
///
/// # Safety
///
/// As [`Backend::run_gated`](crate::Backend::run_gated).
pub(super) unsafe fn run(problem: &GatedProblem, isa: Isa) {
    let (norm, roundings, gating) = (problem.with_gate_as_residual(), problem.roundings(), problem.gating);
    let dim = norm.dim as usize;
    let share_chunks = dim > TASK && norm.rows < rayon::current_num_threads() as u64;
    let normalize = |range| {
        // SAFETY: the caller promises the memory of all rows, no two of which share an output; each is in one task.
        let mut rows = unsafe { RowRange::new(&norm, &roundings, range) };
        if dim > CHUNK {
            for mut row in rows.iter::<Any<true>>() {
                let form = PhantomData::<Any<true>>;
                normalize(&mut Chunks { isa, row: &mut row, parallel: share_chunks, form }, gating);
            }
        } else {
            with_workspace(|space| isa.run(GatedRows { rows: &mut rows, gating, space }));
        }
    };
    if share_chunks || norm.rows.saturating_sub(1).saturating_mul(norm.dim.into()) < TASK as u64 {
        return normalize(0..norm.rows);
    }
    let rows_per_task = TASK.div_ceil(dim) as u64;
    team::share(norm.rows, rows_per_task, &normalize);
}

/// Normalizes rows of one chunk, with their passes inlined.
struct GatedRows<'a, 'p> {
    rows: &'a mut RowRange<'p>,
    gating: Gating,
    space: &'a mut Workspace,
}

impl RowFn for GatedRows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let GatedRows { rows, gating, space } = self;
        let rows = rows.iter::<Any<true>>();
        let stream = rows.stream;
        for row in rows {
            // SAFETY: nobody else has the row, so that there is no other chunk of it.
            let chunk = unsafe { Chunk::new(&row, 0) };
            let form = PhantomData::<Any<true>>;
            normalize(&mut OneChunk { simd, chunk, space, form }, gating);
        }
        if stream {
            simd.fence();
        }
    }
}

/// Normalizes a row.
#[inline(always)]
fn normalize(passes: &mut impl Passes, gating: Gating) {
    let sum_sq = match gating.gates_first() {
        true => passes.run(GatedSumSq(gating)),
        false => passes.run(SumSq(Origin)),
    };
    let rstd = passes.row().rstd(sum_sq);
    passes.run(WriteGated { gating, rstd });
}

/// The sum of squares of what is normalized, where the gate comes first.
#[derive(Clone, Copy)]
struct GatedSumSq(Gating);

impl Pass for GatedSumSq {
    type Output = f64;

    #[inline(always)]
    fn over<S: Simd, F: Form>(self, simd: S, chunk: &mut Chunk<'_>, space: &mut Workspace) -> f64 {
        chunk.gated_sum_sq(simd, self.0, space)
    }
}

/// Stores the output.
#[derive(Clone, Copy)]
struct WriteGated {
    gating: Gating,
    rstd: f32,
}

impl Pass for WriteGated {
    type Output = ();

    const WRITES: bool = true;

    #[inline(always)]
    fn over<S: Simd, F: Form>(self, simd: S, chunk: &mut Chunk<'_>, space: &mut Workspace) {
        chunk.write_gated(simd, self.gating, self.rstd, space);
    }
}

/// What is the same for all elements of a row.
#[derive(Clone, Copy)]
pub(super) struct GatedAffine {
    pub(super) gating: Gating,
    pub(super) rstd: f32,
    pub(super) weight_offset: f32,
    /// The type to which the normalized value is rounded.
    pub(super) normalized: Option<DType>,
    /// The type to which a norm is rounded before a gate behind it multiplies it.
    pub(super) result: Option<DType>,
}

impl GatedAffine {
    /// Writes the outputs for `x` and the gate `g`, given the weights if there are any.
    #[inline(always)]
    pub(super) fn write<S: Simd>(
        self,
        simd: S,
        (x, g, w): (Source<'_>, Source<'_>, Option<Source<'_>>),
        y: Dest<'_>,
    ) {
        match w {
            None => map(simd, self, (x, g), y),
            Some(w) => map(simd, self, (x, g, w), y),
        };
    }

    #[inline(always)]
    fn one<A: Arithmetic>(self, simd: A, x: A::F32, g: A::F32, w: Option<A::F32>) -> A::F32 {
        let activated = activate(simd, self.gating.activation, g);
        let first = self.gating.gates_first();
        let value = if first { x.mul(activated) } else { x };
        let normalized = rounded(value.mul(simd.splat(self.rstd)), self.normalized);
        let norm = match w {
            None => normalized,
            Some(w) => normalized.mul(w.add(simd.splat(self.weight_offset))),
        };
        if first { norm } else { rounded(norm, self.result).mul(activated) }
    }
}

impl Elementwise<2> for GatedAffine {
    #[inline(always)]
    fn apply<A: Arithmetic>(self, simd: A, [x, g]: [A::F32; 2]) -> A::F32 {
        self.one(simd, x, g, None)
    }
}

impl Elementwise<3> for GatedAffine {
    #[inline(always)]
    fn apply<A: Arithmetic>(self, simd: A, [x, g, w]: [A::F32; 3]) -> A::F32 {
        self.one(simd, x, g, Some(w))
    }
}

/// `x * act(g)`
#[derive(Clone, Copy)]
pub(super) struct Gated(pub(super) Activation);

impl Elementwise<2> for Gated {
    #[inline(always)]
    fn apply<A: Arithmetic>(self, simd: A, [x, g]: [A::F32; 2]) -> A::F32 {
        x.mul(activate(simd, self.0, g))
    }
}

/// `g / (1 + exp(-g))`, or `1 / (1 + exp(-g))`.
///
/// Beyond ±170 the exponential is infinite or 0 in `f32`, as it is at 170.
#[inline(always)]
fn activate<A: Arithmetic>(simd: A, activation: Activation, g: A::F32) -> A::F32 {
    let exp = exp_of_negative(simd, g.clamp(170.0));
    let sigmoid = exp.add(simd.splat(1.0)).reciprocal();
    match activation {
        Activation::Silu => sigmoid.mul(g),
        Activation::Sigmoid => sigmoid,
    }
}

/// `exp(-g)` for `g` from -170 to 170, with a relative error of 2⁻²² at most; infinite or 0 where `f32` does not hold it.
///
/// `-g / ln 2` is split into an integer `n` and a rest `f` of at most a half. `2^f` is the Taylor polynomial of degree 7,
/// which is off by 5.3e-9 at most; `2^n` is two factors, because `n` may lie outside the exponents of `f32`.
#[inline(always)]
fn exp_of_negative<A: Arithmetic>(simd: A, g: A::F32) -> A::F32 {
    /// `-log2(e)` as two `f32`.
    const HIGH: f32 = -std::f32::consts::LOG2_E;
    const LOW: f32 = (-std::f64::consts::LOG2_E - HIGH as f64) as f32;
    /// Added to a number below 2²² and subtracted again, it leaves the nearest integer.
    const TO_INTEGER: f32 = 1.5 * (1 << 23) as f32;
    /// `ln(2)^k / k!`, from `k = 7` down to 0.
    const TAYLOR: [f32; 8] = taylor();
    let to_integer = simd.splat(TO_INTEGER);
    let integer = |value: A::F32| value.add(to_integer).sub(to_integer);
    let n = integer(g.mul(simd.splat(HIGH)));
    let f = g.mul_add(simd.splat(HIGH), simd.splat(0.0).sub(n)).add(g.mul(simd.splat(LOW)));
    let mut power = simd.splat(TAYLOR[0]);
    for coefficient in &TAYLOR[1..] {
        power = power.mul_add(f, simd.splat(*coefficient));
    }
    let half = integer(n.mul(simd.splat(0.5)));
    power.mul(half.power_of_two()).mul(n.sub(half).power_of_two())
}

/// `ln(2)^k / k!`, from `k = 7` down to 0.
const fn taylor() -> [f32; 8] {
    let (mut coefficients, mut term, mut k) = ([0.0; 8], 1.0, 0);
    while k < 8 {
        coefficients[7 - k] = term as f32;
        k += 1;
        term *= std::f64::consts::LN_2 / k as f64;
    }
    coefficients
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::{
        Element, Gate, Norm, Place, Rounding, View, ViewMut,
        accuracy::activation_error,
        check::{self, Form},
        cpu::simd::{Portable, Vector},
        reference::{activate as exact, first_difference},
    };

    /// Every gate of 16 bits, and those of `f32` that are a thousand steps apart.
    #[test]
    fn activations_keep_their_bound() {
        let halves =
            (0..=u16::MAX).flat_map(|bits| [f16::from_bits(bits).to_f32(), bf16::from_bits(bits).to_f32()]);
        let singles = (0..u32::MAX / 65_521).map(|step| f32::from_bits(step * 65_521));
        for g in halves.chain(singles).filter(|g| !g.is_nan()) {
            for activation in Activation::ALL {
                let given = f64::from(activate(Portable, activation, Portable.splat(g)).to_array()[0]);
                let expected = exact(activation, g.into());
                if expected.is_nan() || given.is_nan() {
                    assert!(expected.is_nan() && given.is_nan(), "{activation:?} of {g}");
                    continue;
                }
                let error = (given - expected).abs();
                assert!(
                    given == expected || error <= activation_error(activation, g.into()) / 2.0,
                    "{activation:?} of {g}: expected {expected}, given {given}"
                );
            }
        }
    }

    /// The bits of three rows, each with one element that is not finite, or whose gate is not.
    fn bits<E: Element>(isa: Isa, gating: Gating, dim: usize, of: fn(f32) -> E) -> Vec<f64> {
        let values = |seed: usize| -> Vec<E> {
            let finite = |i: usize| ((i * 7919 + seed) % 10_007) as f32 / 997.0 - 5.0;
            (0..3 * dim).map(|i| of(if i % dim == seed { f32::INFINITY } else { finite(i) })).collect()
        };
        let (x, g, w, mut y) = (values(1), values(5), values(dim), values(0));
        let shape = [3, dim];
        let gate = Gate::new(View::from_slice(&g, &shape).unwrap(), gating.activation).order(gating.order);
        let norm = Norm::rms(1e-6).rounding(Rounding::BeforeWeight);
        let norm = norm.weight(View::from_slice(&w[..dim], &shape[1..]).unwrap());
        let (x, to) = (View::from_slice(&x, &shape).unwrap(), ViewMut::from_slice(&mut y, &shape).unwrap());
        let problem = check::gated(&norm, Form::Rows, &gate, (&x.raw, Some(&to.raw)), Place::Host).unwrap();
        // SAFETY: the slices live until the call returns, and nothing else uses that of `y`.
        unsafe { run(&problem, isa) };
        y.into_iter().map(Into::into).collect()
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        for gating in Gating::ALL {
            for dim in [7, 8, 100, CHUNK + 17] {
                let [ours, portable] = [Isa::detect(), Isa::Portable(Portable)].map(|isa| {
                    let single = bits(isa, gating, dim, |value| value);
                    [single, bits(isa, gating, dim, bf16::from_f32), bits(isa, gating, dim, f16::from_f32)]
                });
                for (ours, portable) in ours.iter().zip(&portable) {
                    assert_eq!(first_difference(portable, ours), None, "{gating:?}, {dim}");
                    assert!(ours.iter().filter(|y| y.is_finite()).count() >= dim - 1, "{gating:?}, {dim}");
                }
            }
        }
    }
}

//! The sum of a branch and a residual, element by element.

use super::{
    element::Element,
    loops::{Dest, Elementwise, Source, map},
    round::rounded,
    simd::{Arithmetic, Floats, Simd},
};
use crate::DType;

/// What the branch and the sum are multiplied by, and where either is rounded to 16 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaling {
    /// What the branch is multiplied by.
    pub(super) branch: f32,
    /// What the sum is multiplied by.
    pub(super) sum: f32,
    /// The type to which the scaled branch is rounded before it is added.
    pub(super) rounded_branch: Option<DType>,
    /// The type to which the sum is rounded before it is multiplied.
    pub(super) rounded_sum: Option<DType>,
}

/// Writes `branch + r`, or what `scaling` makes of them, to `to`.
#[inline(always)]
pub(super) fn add<S: Simd>(
    simd: S,
    (branch, r): (Source<'_>, Source<'_>),
    scaling: Option<Scaling>,
    to: Dest<'_>,
) {
    match scaling {
        None => map(simd, Add, (branch, r), to),
        Some(scaling) => map(simd, AddScaled(scaling), (branch, r), to),
    };
}

/// Writes `branch + r` to `to`, where all are elements of one type in memory.
#[inline(always)]
pub(super) fn add_uniform<S: Simd, E: Element>(
    simd: S,
    terms: (Source<'_, E::Term>, Source<'_, E::Term>),
    to: Dest<'_, E>,
) {
    map(simd, Add, terms, to);
}

/// `branch + r`
#[derive(Clone, Copy)]
struct Add;

impl Elementwise<2> for Add {
    #[inline(always)]
    fn apply<A: Arithmetic>(self, _: A, [branch, r]: [A::F32; 2]) -> A::F32 {
        branch.add(r)
    }
}

/// `(branch * scaling.branch + r) * scaling.sum`
#[derive(Clone, Copy)]
struct AddScaled(Scaling);

impl Elementwise<2> for AddScaled {
    #[inline(always)]
    fn apply<A: Arithmetic>(self, simd: A, [branch, r]: [A::F32; 2]) -> A::F32 {
        let Scaling { branch: by, sum: scale, rounded_branch, rounded_sum } = self.0;
        let sum = rounded(branch.mul(simd.splat(by)), rounded_branch).add(r);
        rounded(sum, rounded_sum).mul(simd.splat(scale))
    }
}

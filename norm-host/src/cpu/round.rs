//! Roundings to 16 bits between the steps of a norm, of values that stay in `f32`.

#[cfg(test)]
mod tests;

use super::{
    loops::{Dest, Elementwise, Source, map},
    simd::{Arithmetic, Floats, Simd},
};
use crate::DType;

/// Which intermediate results are rounded between the normalized value and the output.
pub(super) trait Intermediate: Copy {
    /// Whether the product with the weight is rounded: then no addition can be fused with it.
    fn rounds_product(self) -> bool;

    /// The normalized value, rounded or not.
    fn normalized<V: Floats>(self, value: V) -> V;

    /// The product of the normalized value and the weight, rounded or not.
    fn product<V: Floats>(self, value: V) -> V;
}

/// None is rounded.
#[derive(Clone, Copy)]
pub(super) struct Unrounded;

/// One of the two may be rounded. The type is looked up for each vector: compiled once for each type and place, the code
/// would take as much room in an engine as all code without such roundings.
#[derive(Clone, Copy)]
pub(super) struct Rounded {
    pub(super) normalized: Option<DType>,
    pub(super) product: Option<DType>,
}

impl Intermediate for Unrounded {
    #[inline(always)]
    fn rounds_product(self) -> bool {
        false
    }

    #[inline(always)]
    fn normalized<V: Floats>(self, value: V) -> V {
        value
    }

    #[inline(always)]
    fn product<V: Floats>(self, value: V) -> V {
        value
    }
}

impl Intermediate for Rounded {
    #[inline(always)]
    fn rounds_product(self) -> bool {
        self.product.is_some()
    }

    #[inline(always)]
    fn normalized<V: Floats>(self, value: V) -> V {
        rounded(value, self.normalized)
    }

    #[inline(always)]
    fn product<V: Floats>(self, value: V) -> V {
        rounded(value, self.product)
    }
}

/// `value` rounded to `to`, if that is a type of 16 bits.
#[inline(always)]
pub(super) fn rounded<V: Floats>(value: V, to: Option<DType>) -> V {
    match to {
        Some(DType::F16) => value.round_f16(),
        Some(DType::BF16) => value.round_bf16(),
        Some(DType::F32) | None => value,
    }
}

/// Writes `values + offset`, rounded to `dtype`, a type of 16 bits, to `to`.
#[inline(always)]
pub(super) fn add_and_round<'a, S: Simd>(
    simd: S,
    values: Source<'_>,
    offset: f32,
    dtype: DType,
    to: Dest<'a>,
) -> Source<'a> {
    map(simd, AddAndRound { offset, dtype }, (values,), to)
}

/// Writes `values`, rounded to `dtype`, a type of 16 bits, to `to`.
#[inline(always)]
pub(super) fn round<'a, S: Simd>(simd: S, values: Source<'_>, dtype: DType, to: Dest<'a>) -> Source<'a> {
    // -0 is what leaves every value as it is, -0 included.
    add_and_round(simd, values, -0.0, dtype, to)
}

/// `x + offset`, rounded.
#[derive(Clone, Copy)]
struct AddAndRound {
    offset: f32,
    dtype: DType,
}

impl Elementwise<1> for AddAndRound {
    #[inline(always)]
    fn apply<A: Arithmetic>(self, simd: A, [x]: [A::F32; 1]) -> A::F32 {
        rounded(x.add(simd.splat(self.offset)), Some(self.dtype))
    }
}

//! Roundings to 16 bits between the steps of a norm, of values that stay in `f32`.

#[cfg(test)]
mod tests;

use super::vector::{Vector, WIDTH, load_some, store_some};
use crate::DType;

/// What is rounded between the normalized value and the output.
pub(super) trait Between {
    /// Whether the product with the weight is rounded: then no addition can be fused with it.
    const PRODUCT: bool;

    /// The normalized value, rounded or not.
    fn normalized<V: Vector>(n: V) -> V;

    /// The product of the normalized value and the weight, rounded or not.
    fn product<V: Vector>(product: V) -> V;
}

/// Nothing is.
pub(super) struct Nothing;

/// The normalized value is, to a type of this tag.
pub(super) struct Normalized<const TO: u32>;

/// The product is, to a type of this tag.
pub(super) struct Product<const TO: u32>;

/// The tags of [`Normalized`] and [`Product`]. Types cannot be constants of a generic, numbers can.
pub(super) const F16: u32 = DType::F16 as u32;
pub(super) const BF16: u32 = DType::BF16 as u32;

impl Between for Nothing {
    const PRODUCT: bool = false;

    #[inline(always)]
    fn normalized<V: Vector>(n: V) -> V {
        n
    }

    #[inline(always)]
    fn product<V: Vector>(product: V) -> V {
        product
    }
}

impl<const TO: u32> Between for Normalized<TO> {
    const PRODUCT: bool = false;

    #[inline(always)]
    fn normalized<V: Vector>(n: V) -> V {
        rounded::<V, TO>(n)
    }

    #[inline(always)]
    fn product<V: Vector>(product: V) -> V {
        product
    }
}

impl<const TO: u32> Between for Product<TO> {
    const PRODUCT: bool = true;

    #[inline(always)]
    fn normalized<V: Vector>(n: V) -> V {
        n
    }

    #[inline(always)]
    fn product<V: Vector>(product: V) -> V {
        rounded::<V, TO>(product)
    }
}

#[inline(always)]
fn rounded<V: Vector, const TO: u32>(value: V) -> V {
    match TO {
        F16 => value.round_f16(),
        _ => value.round_bf16(),
    }
}

/// Adds `offset` to each of `values` where it is, and rounds the sum to `to`, a type of 16 bits. Of -0 nothing is left
/// but the rounding.
///
/// # Safety
///
/// The machine has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn add_and_round<V: Vector>(values: &mut [f32], offset: f32, to: DType) {
    // SAFETY: the caller promises the instructions.
    unsafe {
        match to {
            DType::F16 => add_and_round_to::<V, F16>(values, offset),
            _ => add_and_round_to::<V, BF16>(values, offset),
        }
    }
}

/// # Safety
///
/// The machine has the instructions of `V`.
#[inline(always)]
unsafe fn add_and_round_to<V: Vector, const TO: u32>(values: &mut [f32], offset: f32) {
    let (vectors, rest) = values.as_chunks_mut::<WIDTH>();
    // SAFETY: a chunk has a vector's elements, the rest has fewer; the caller promises the instructions.
    unsafe {
        let offset = V::splat(offset);
        for vector in vectors {
            rounded::<V, TO>(V::load(vector.as_ptr()).add(offset)).store(vector.as_mut_ptr());
        }
        if !rest.is_empty() {
            let sum = load_some::<V>(rest.as_ptr(), rest.len()).add(offset);
            store_some(rounded::<V, TO>(sum), rest.as_mut_ptr(), rest.len());
        }
    }
}

//! Roundings to 16 bits between the steps of a norm, of values that stay in `f32`.

#[cfg(test)]
mod tests;

use super::vector::{Vector, WIDTH, load_some, store_some};
use crate::DType;

/// What is rounded between the normalized value and the output.
pub(super) trait Between: Copy {
    /// Whether the product with the weight is rounded: then no addition can be fused with it.
    fn rounds_product(self) -> bool;

    /// The normalized value, rounded or not.
    fn normalized<V: Vector>(self, n: V) -> V;

    /// The product of the normalized value and the weight, rounded or not.
    fn product<V: Vector>(self, product: V) -> V;
}

/// Nothing is.
#[derive(Clone, Copy)]
pub(super) struct Nothing;

/// One of the two may be, which is asked for each vector: compiled once for each type and place, the code for it would
/// take as much room in an engine as all that is not rounded.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    pub(super) normalized: Option<DType>,
    pub(super) product: Option<DType>,
}

impl Between for Nothing {
    #[inline(always)]
    fn rounds_product(self) -> bool {
        false
    }

    #[inline(always)]
    fn normalized<V: Vector>(self, n: V) -> V {
        n
    }

    #[inline(always)]
    fn product<V: Vector>(self, product: V) -> V {
        product
    }
}

impl Between for Steps {
    #[inline(always)]
    fn rounds_product(self) -> bool {
        self.product.is_some()
    }

    #[inline(always)]
    fn normalized<V: Vector>(self, n: V) -> V {
        rounded(n, self.normalized)
    }

    #[inline(always)]
    fn product<V: Vector>(self, product: V) -> V {
        rounded(product, self.product)
    }
}

/// Rounded to that type, if it is one of 16 bits.
#[inline(always)]
pub(super) fn rounded<V: Vector>(value: V, to: Option<DType>) -> V {
    match to {
        Some(DType::F16) => value.round_f16(),
        Some(DType::BF16) => value.round_bf16(),
        Some(DType::F32) | None => value,
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
    let (vectors, rest) = values.as_chunks_mut::<WIDTH>();
    // SAFETY: a chunk has a vector's elements, the rest has fewer; the caller promises the instructions.
    unsafe {
        let offset = V::splat(offset);
        for vector in vectors {
            rounded(V::load(vector.as_ptr()).add(offset), Some(to)).store(vector.as_mut_ptr());
        }
        if !rest.is_empty() {
            let sum = load_some::<V>(rest.as_ptr(), rest.len()).add(offset);
            store_some(rounded(sum, Some(to)), rest.as_mut_ptr(), rest.len());
        }
    }
}

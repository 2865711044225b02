//! Templates: the compiled entries. Each serves several entry points, because it leaves open which 16-bit types they have.

use super::{
    DType, EntryPoint, GatedKernel, GatedVariant, GroupKernel, GroupVariant, Kernel, NormKind, Pairing,
    QuantKernel, QuantVariant, RopeKernel, ShardKernel, Variant,
};

/// An entry of the compiled text, which serves several [`EntryPoint`]s.
///
/// A template is compiled for the sizes of the elements of x, w and y. The conversions of 16-bit elements, which depend on
/// the type too, are pseudo-instructions in its text, which the host expands for the types of an entry point: see
/// `norm_host::ptx::specialize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Template {
    /// A norm of whole rows.
    Norm {
        /// Which normalization.
        kind: NormKind,
        /// Bits of an element of `x`: 16 or 32.
        x: u32,
        /// Bits of an element of the weights and biases.
        w: u32,
        /// Bits of an element of `y`.
        y: u32,
        /// Its row of the table of variants.
        variant: Variant,
        /// Whether the residual is f32 beside 16-bit `x` and `y`.
        wide: bool,
    },
    /// A norm whose output is quantized: [`QuantKernel`]. Its `x` has 16 bits.
    Quant {
        /// Which normalization.
        kind: NormKind,
        /// Bits of an element of the weights and biases.
        w: u32,
        /// How it works on a row.
        variant: QuantVariant,
    },
    /// The sums of squares of shards: [`ShardKernel::Partial`].
    Partial {
        /// Bits of an element of `x`.
        x: u32,
        /// Whether rows are whole, aligned vectors.
        vectors: bool,
    },
    /// The norm of shards, given those sums: [`ShardKernel::Apply`].
    Apply {
        /// Bits of an element of `x`.
        x: u32,
        /// Bits of an element of the weights and biases.
        w: u32,
        /// Bits of an element of `y`.
        y: u32,
        /// Whether rows are whole, aligned vectors.
        vectors: bool,
    },
    /// A gated RMSNorm.
    Gated {
        /// Bits of an element of `x` and `y`.
        x: u32,
        /// Bits of an element of the weights.
        w: u32,
        /// How it works on a row.
        variant: GatedVariant,
    },
    /// QK norm and RoPE: [`RopeKernel`]. The elements' size of weights and tables is open, too.
    Rope {
        /// Bits of an element of the heads.
        x: u32,
        /// Which elements are rotated together.
        pairing: Pairing,
        /// Whether heads, weights and tables are whole, aligned vectors.
        vectors: bool,
    },
    /// A sum of rows over devices, and perhaps its norm: [`GroupKernel`].
    Group {
        /// The norm, if there is one.
        norm: Option<NormKind>,
        /// Bits of an element of `x` and `y`.
        x: u32,
        /// Bits of an element of the weights and biases.
        w: u32,
        /// How it works on a row.
        variant: GroupVariant,
    },
}

/// The number of elements in a vector, which is 16 bytes of the wider of `x` and `y`.
pub const fn width(x: DType, y: DType) -> u32 {
    16 / (if x.size() > y.size() { x.size() } else { y.size() }) as u32
}

/// Bits of an element.
const fn bits(dtype: DType) -> u32 {
    8 * dtype.size() as u32
}

impl EntryPoint {
    /// The template that serves this entry point.
    pub const fn template(self) -> Template {
        match self {
            EntryPoint::Norm(Kernel { kind, x, w, y, variant, addition, .. }) => {
                let wide = addition.wide;
                Template::Norm { kind, x: bits(x), w: bits(w), y: bits(y), variant, wide }
            }
            EntryPoint::Quant(QuantKernel { kind, w, variant, .. }) => {
                Template::Quant { kind, w: bits(w), variant }
            }
            EntryPoint::Shard(ShardKernel::Partial { x, vectors }) => {
                Template::Partial { x: bits(x), vectors }
            }
            EntryPoint::Shard(ShardKernel::Apply { x, w, y, vectors, .. }) => {
                Template::Apply { x: bits(x), w: bits(w), y: bits(y), vectors }
            }
            EntryPoint::Gated(GatedKernel { x, w, variant, .. }) => {
                Template::Gated { x: bits(x), w: bits(w), variant }
            }
            EntryPoint::Rope(RopeKernel { x, pairing, vectors, .. }) => {
                Template::Rope { x: bits(x), pairing, vectors }
            }
            EntryPoint::Group(GroupKernel { norm, x, w, variant, .. }) => {
                Template::Group { norm, x: bits(x), w: bits(w), variant }
            }
        }
    }
}

impl Template {
    /// The entry points that it serves, of those in [`EntryPoint::all`], in that order.
    pub fn entry_points(self) -> impl Iterator<Item = EntryPoint> {
        EntryPoint::all().filter(move |entry| entry.template() == self)
    }

    /// Every template, in the order in which [`EntryPoint::all`] first needs it.
    pub fn all() -> impl Iterator<Item = Template> {
        // The first entry point that each template serves.
        let first = |&(index, entry): &(usize, EntryPoint)| {
            EntryPoint::all().position(|other| other.template() == entry.template()) == Some(index)
        };
        EntryPoint::all().enumerate().filter(first).map(|(_, entry)| entry.template())
    }
}

/// Its name in the compiled text, such as `rms_b16_b32_b16_add2_r32`: norm, bits of x, w and y, variant, and the bits of the
/// residual if they are not those of `x`.
impl core::fmt::Display for Template {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let access = |vectors| if vectors { "vector" } else { "scalar" };
        match *self {
            Template::Norm { kind, x, w, y, variant, wide } => {
                let residual = if wide { "_r32" } else { "" };
                write!(f, "{}_b{x}_b{w}_b{y}_{}{residual}", kind.name(), variant.name())
            }
            Template::Quant { kind, w, variant } => write!(f, "{}_b16_b{w}_{}", kind.name(), variant.name()),
            Template::Partial { x, vectors } => write!(f, "rms_partial_b{x}_{}", access(vectors)),
            Template::Apply { x, w, y, vectors } => {
                write!(f, "rms_apply_b{x}_b{w}_b{y}_{}", access(vectors))
            }
            Template::Gated { x, w, variant } => write!(f, "gated_b{x}_b{w}_{}", variant.name()),
            Template::Rope { x, pairing, vectors } => write!(f, "rope_b{x}_{pairing}_{}", access(vectors)),
            Template::Group { norm: None, x, variant, .. } => write!(f, "all_reduce_b{x}_{}", variant.name()),
            Template::Group { norm: Some(norm), x, w, variant } => {
                write!(f, "all_reduce_{}_b{x}_b{w}_{}", norm.name(), variant.name())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{collections::BTreeSet, string::ToString};

    #[test]
    fn templates_have_names_of_their_own_and_are_few() {
        let names: BTreeSet<_> = Template::all().map(|template| template.to_string()).collect();
        assert_eq!((names.len(), Template::all().count()), (256, 256));
        assert_eq!(Template::all().map(|template| template.entry_points().count()).sum::<usize>(), 892);
    }
}

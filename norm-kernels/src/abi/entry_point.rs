//! The entry points of the PTX, and their names.

use core::fmt::{self, Write};

use super::{
    Addition, EpilogueRounding, GatedKernel, Gating, GroupKernel, Kernel, QuantFormat, QuantKernel,
    QuantRecipe, RopeKernel, Rounding, ShardKernel,
};

/// An entry point of the PTX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryPoint {
    /// A norm of whole rows.
    Norm(Kernel),
    /// A norm of whole rows whose output is quantized.
    Quant(QuantKernel),
    /// A step of a norm of rows that are split over devices.
    Shard(ShardKernel),
    /// A gated RMSNorm.
    Gated(GatedKernel),
    /// QK norm and RoPE.
    Rope(RopeKernel),
    /// A sum of rows over devices, and perhaps its norm.
    Group(GroupKernel),
}

impl EntryPoint {
    /// Every entry point that rounds once, is not [scaled](Addition), and of gated ones has [`Gating::DEFAULT`]; of those whose
    /// output is quantized those with [`QuantRecipe::Exact`] and [`QuantFormat::E4m3`].
    pub fn all() -> impl Iterator<Item = EntryPoint> {
        let whole = Kernel::all().map(EntryPoint::Norm).chain(QuantKernel::all().map(EntryPoint::Quant));
        let norms = whole.chain(ShardKernel::all().map(EntryPoint::Shard));
        let norms = norms.chain(GatedKernel::all().map(EntryPoint::Gated));
        let norms = norms.chain(RopeKernel::all().map(EntryPoint::Rope));
        norms.chain(GroupKernel::all().map(EntryPoint::Group))
    }

    /// The same entry point with another format and formula; `None` if its output is not quantized, or there is no such
    /// recipe for the format.
    pub const fn quantizing(self, format: QuantFormat, recipe: QuantRecipe) -> Option<EntryPoint> {
        match self {
            EntryPoint::Quant(kernel) if recipe.takes(format) => {
                Some(EntryPoint::Quant(QuantKernel { format, recipe, ..kernel }))
            }
            _ => None,
        }
    }

    /// The same entry point with another epilogue. [`ShardKernel::Partial`] and a [`GroupKernel`] without a norm, which have no
    /// epilogue, and [`QuantKernel`], whose recipe says what it rounds, stay as they are; a [`RopeKernel`] has of it whether it rounds before the weight.
    pub const fn with_epilogue(self, epilogue: EpilogueRounding) -> EntryPoint {
        match self {
            EntryPoint::Norm(kernel) => EntryPoint::Norm(Kernel { epilogue, ..kernel }),
            EntryPoint::Quant(kernel) => EntryPoint::Quant(kernel),
            EntryPoint::Shard(ShardKernel::Apply { x, w, y, vectors, .. }) => {
                EntryPoint::Shard(ShardKernel::Apply { x, w, y, vectors, epilogue })
            }
            EntryPoint::Shard(partial @ ShardKernel::Partial { .. }) => EntryPoint::Shard(partial),
            EntryPoint::Gated(kernel) => EntryPoint::Gated(GatedKernel { epilogue, ..kernel }),
            EntryPoint::Rope(kernel) => {
                let before_weight = matches!(epilogue.order, Rounding::BeforeWeight);
                EntryPoint::Rope(RopeKernel { before_weight, ..kernel })
            }
            EntryPoint::Group(kernel @ GroupKernel { norm: Some(_), .. }) => {
                EntryPoint::Group(GroupKernel { epilogue, ..kernel })
            }
            // Without a norm the sum is rounded once.
            EntryPoint::Group(kernel) => EntryPoint::Group(kernel),
        }
    }

    /// The same entry point, [scaled](Addition); `None` if it adds no residual.
    pub const fn scaled(self) -> Option<EntryPoint> {
        match self {
            EntryPoint::Norm(kernel) if kernel.variant.may_add() => {
                let addition = Addition { scaled: true, ..kernel.addition };
                Some(EntryPoint::Norm(Kernel { addition, ..kernel }))
            }
            _ => None,
        }
    }

    /// The same entry point with another gating; `None` if it has no gate.
    pub const fn gated(self, gating: Gating) -> Option<EntryPoint> {
        match self {
            EntryPoint::Gated(kernel) => Some(EntryPoint::Gated(GatedKernel { gating, ..kernel })),
            EntryPoint::Norm(_)
            | EntryPoint::Quant(_)
            | EntryPoint::Shard(_)
            | EntryPoint::Rope(_)
            | EntryPoint::Group(_) => None,
        }
    }

    /// Every one in every form: [`all`](EntryPoint::all), each with every gating and [`EpilogueRounding`] that it takes, and
    /// [scaled](Addition); and every recipe of quantized rows. Some come more than once.
    pub fn every() -> impl Iterator<Item = EntryPoint> {
        let entries = EntryPoint::all()
            .flat_map(|entry| {
                let gated = Gating::ALL[1..].iter().map(move |gating| entry.gated(*gating));
                [Some(entry), entry.scaled()].into_iter().chain(gated).flatten()
            })
            .flat_map(|entry| EpilogueRounding::all().map(move |epilogue| entry.with_epilogue(epilogue)))
            .chain(RopeKernel::all().flat_map(RopeKernel::roundings).map(EntryPoint::Rope));
        entries.chain(QuantKernel::every().map(EntryPoint::Quant))
    }

    /// The entry point of this name.
    pub fn named(name: &str) -> Option<EntryPoint> {
        EntryPoint::every().find(|entry| {
            let mut rest = Rest(name);
            write!(rest, "{entry}").is_ok() && rest.0.is_empty()
        })
    }

    /// The largest block that launches it, which the PTX states as `.maxntid`.
    pub const fn max_threads(self) -> u32 {
        match self {
            EntryPoint::Norm(kernel) => kernel.variant.max_threads(),
            EntryPoint::Quant(kernel) => kernel.variant.max_threads(),
            EntryPoint::Shard(_) => ShardKernel::MAX_THREADS,
            EntryPoint::Gated(kernel) => kernel.max_threads(),
            EntryPoint::Rope(_) => RopeKernel::MAX_THREADS,
            EntryPoint::Group(kernel) => kernel.max_threads(),
        }
    }
}

/// A name, of which everything written to it is removed from the front; an error if it begins otherwise.
struct Rest<'a>(&'a str);

impl Write for Rest<'_> {
    fn write_str(&mut self, written: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(written).ok_or(fmt::Error)?;
        Ok(())
    }
}

impl From<Kernel> for EntryPoint {
    fn from(kernel: Kernel) -> EntryPoint {
        EntryPoint::Norm(kernel)
    }
}

impl From<QuantKernel> for EntryPoint {
    fn from(kernel: QuantKernel) -> EntryPoint {
        EntryPoint::Quant(kernel)
    }
}

impl From<ShardKernel> for EntryPoint {
    fn from(kernel: ShardKernel) -> EntryPoint {
        EntryPoint::Shard(kernel)
    }
}

impl From<GatedKernel> for EntryPoint {
    fn from(kernel: GatedKernel) -> EntryPoint {
        EntryPoint::Gated(kernel)
    }
}

impl From<RopeKernel> for EntryPoint {
    fn from(kernel: RopeKernel) -> EntryPoint {
        EntryPoint::Rope(kernel)
    }
}

impl From<GroupKernel> for EntryPoint {
    fn from(kernel: GroupKernel) -> EntryPoint {
        EntryPoint::Group(kernel)
    }
}

/// Its name in the PTX.
impl fmt::Display for EntryPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntryPoint::Norm(kernel) => kernel.fmt(f),
            EntryPoint::Quant(kernel) => kernel.fmt(f),
            EntryPoint::Shard(kernel) => kernel.fmt(f),
            EntryPoint::Gated(kernel) => kernel.fmt(f),
            EntryPoint::Rope(kernel) => kernel.fmt(f),
            EntryPoint::Group(kernel) => kernel.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn entry_points_are_found_by_their_names() {
        for (entry, epilogue) in EntryPoint::all().step_by(29).zip(EpilogueRounding::all().cycle()) {
            let entry = entry.with_epilogue(epilogue);
            assert_eq!(EntryPoint::named(&entry.to_string()), Some(entry));
        }
        for name in
            ["", "rms", "rms_f16_f16_f16_block4_t", "rms_f16_f16_f16_block4_t5_", "rms_partial_f16_vector_t5"]
        {
            assert_eq!(EntryPoint::named(name), None, "{name}");
        }
    }
}

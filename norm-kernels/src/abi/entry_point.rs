//! Everything that the PTX has an entry point for.

use super::{Kernel, ShardKernel};

/// An entry point, by what launches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryPoint {
    /// A norm of whole rows.
    Norm(Kernel),
    /// A step of a norm of rows that are split over devices.
    Shard(ShardKernel),
}

impl EntryPoint {
    /// Every one.
    pub fn all() -> impl Iterator<Item = EntryPoint> {
        Kernel::all().map(EntryPoint::Norm).chain(ShardKernel::all().map(EntryPoint::Shard))
    }

    /// The largest block that launches it, which the PTX states as `.maxntid`.
    pub const fn max_threads(self) -> u32 {
        match self {
            EntryPoint::Norm(kernel) => kernel.variant.max_threads(),
            EntryPoint::Shard(_) => ShardKernel::MAX_THREADS,
        }
    }
}

impl From<Kernel> for EntryPoint {
    fn from(kernel: Kernel) -> EntryPoint {
        EntryPoint::Norm(kernel)
    }
}

impl From<ShardKernel> for EntryPoint {
    fn from(kernel: ShardKernel) -> EntryPoint {
        EntryPoint::Shard(kernel)
    }
}

/// Its name in the PTX.
impl core::fmt::Display for EntryPoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            EntryPoint::Norm(kernel) => kernel.fmt(f),
            EntryPoint::Shard(kernel) => kernel.fmt(f),
        }
    }
}

//! The table of kernel variants: everything that names, compiles, launches or tests a kernel derives from it.

use super::NormKind;

/// Calls `$then!` with the arguments that follow it and the table, a row per variant.
///
/// A macro, because the name of an entry point must be a literal where it is compiled. The columns are the fields of
/// [`VariantSpec`]: the variant and its name in entry points; the threads that share a row; where they keep it; how memory
/// is accessed; whether a residual is added; the largest block; and, for RMSNorm and for LayerNorm, when weights and biases
/// are loaded, or `-` if that norm has no such kernel.
macro_rules! variants {
    ($then:ident! $($arguments:tt)*) => {
        $then! { [$($arguments)*]
            Warp2  "warp2"  Warp    (Registers 2) Vector Never  512  Preload  Preload
            Warp4  "warp4"  Warp    (Registers 4) Vector Never  256  -        OnDemand
            Block2 "block2" Block   (Registers 2) Vector Never  256  Preload  -
            Block4 "block4" Block   (Registers 4) Vector Never  512  Preload  OnDemand
            Short4 "short4" Block   (Registers 4) Vector Never  512  -        Preload
            Add2   "add2"   Block   (Registers 2) Vector Always 256  Preload  -
            Add4   "add4"   Block   (Registers 4) Vector Always 512  Preload  PreloadNarrow
            Sandwich2 "sandwich2" Block (Registers 2) Vector Between 256 PreloadNarrow -
            Sandwich4 "sandwich4" Block (Registers 4) Vector Between 512 PreloadNarrow -
            Staged "staged" Cluster (Shared)      Vector Either 1024 OnDemand OnDemand
            Mixed  "mixed"  Cluster (Hybrid 2)    Vector Never  1024 OnDemand OnDemand
            Stream "stream" Cluster (Reload)      Vector Either 1024 OnDemand OnDemand
            Scalar "scalar" Cluster (Reload)      Scalar Either 1024 OnDemand OnDemand
        }
    };
}
#[cfg(all(feature = "entry-points", any(target_arch = "nvptx64", feature = "rust-cuda")))]
pub(crate) use variants;

/// How a kernel works on a row: a row of the table [`VARIANTS`].
///
/// Every variant deals a row to threads as the launch's tile says, and adds in the same order, so that all variants give
/// the same bits for one tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// At most two vectors a thread, held in registers; lanes of a warp share a row, and a block has several rows.
    Warp2,
    /// [`Warp2`](Variant::Warp2) with at most four vectors a thread.
    Warp4,
    /// At most two vectors a thread, held in registers; a block has one row.
    Block2,
    /// [`Block2`](Variant::Block2) with at most four vectors a thread.
    Block4,
    /// LayerNorm's [`Block4`](Variant::Block4) for short grids, which are bound by latency: it preloads weights and biases.
    /// RMSNorm has no such sibling, because its `Block4` preloads for grids of any length.
    Short4,
    /// [`Block2`](Variant::Block2) with a residual, `r += x` before the norm.
    Add2,
    /// [`Block4`](Variant::Block4) with a residual, `r += x` before the norm.
    Add4,
    /// Two norms with a residual between them, `s = r + norm(x); y = norm(s)`: at most two vectors a thread, held in
    /// registers; a block has one row.
    Sandwich2,
    /// [`Sandwich2`](Variant::Sandwich2) with at most four vectors a thread.
    Sandwich4,
    /// Any tile whose vectors fit the shared memory, where they are kept. Also serves RMSNorm with biases, LayerNorm with a
    /// weight offset, and residuals.
    Staged,
    /// Any tile whose vectors fit registers and shared memory together: the first [`HYBRID_VECTORS`] of each thread are held
    /// in registers, the others in shared memory.
    Mixed,
    /// Any row of whole, aligned vectors, which every pass loads again.
    Stream,
    /// Any row, element by element: odd lengths and unaligned addresses. Every pass loads it again.
    Scalar,
}

/// The threads that share a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Lanes of a warp; a block has several rows.
    Warp,
    /// A block.
    Block,
    /// Lanes of a warp, a block, or the blocks of a cluster: the launch decides.
    Cluster,
}

/// Where a thread keeps its part of the row between passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In registers, at most so many vectors.
    Registers(u32),
    /// In shared memory.
    Shared,
    /// At most so many vectors in registers, the others in shared memory.
    Hybrid(u32),
    /// Nowhere: every pass loads it again.
    Reload,
}

/// How global memory is accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whole, aligned vectors.
    Vector,
    /// Element by element.
    Scalar,
}

/// Whether a variant adds a residual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResidualSupport {
    /// It adds none.
    Never,
    /// It adds one in front of the norm, and is launched only with a residual.
    Always,
    /// It adds one in front of the norm or behind it, if there is one.
    Either,
    /// It adds one between two norms, and is launched only with a residual.
    Between,
}

/// When weights and biases are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamLoads {
    /// With the row, before the reduction. That shortens the latency, and takes registers.
    Preload,
    /// With the row if they are no wider than x, else after the reduction: in f32 beside 16-bit x they would take more
    /// registers than there are.
    PreloadNarrow,
    /// After the reduction. A variant of [`Scope::Block`] that does so serves bandwidth-bound (long) grids alone; a sibling
    /// variant preloads and covers short ones.
    OnDemand,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariantSpec {
    /// The variant that the row describes.
    pub variant: Variant,
    /// Its name in entry points.
    pub name: &'static str,
    /// The threads that share a row.
    pub scope: Scope,
    /// Where a thread keeps its part of the row between passes.
    pub storage: Storage,
    /// How memory is accessed.
    pub access: Access,
    /// Whether it adds a residual.
    pub residual: ResidualSupport,
    /// The largest block that launches it, which the PTX states as `.maxntid`.
    pub max_threads: u32,
    /// When RMSNorm loads its weights; `None` if it has no kernel of this variant.
    pub rms: Option<ParamLoads>,
    /// When LayerNorm loads its weights and biases; `None` if it has no kernel of this variant.
    pub layer: Option<ParamLoads>,
}

/// Vectors that a thread of [`Variant::Mixed`] holds in registers.
pub const HYBRID_VECTORS: u32 = match Variant::Mixed.spec().storage {
    Storage::Hybrid(vectors) => vectors,
    _ => unreachable!(),
};

macro_rules! storage {
    (Registers $vectors:literal) => {
        Storage::Registers($vectors)
    };
    (Hybrid $vectors:literal) => {
        Storage::Hybrid($vectors)
    };
    ($storage:ident) => {
        Storage::$storage
    };
}

macro_rules! params {
    (-) => {
        None
    };
    ($params:ident) => {
        Some(ParamLoads::$params)
    };
}

macro_rules! rows {
    ([] $($variant:ident $name:literal $scope:ident ($($storage:tt)+) $access:ident $residual:ident $threads:literal $rms:tt $layer:tt)*) => {
        /// The table of variants.
        pub const VARIANTS: [VariantSpec; Variant::ALL.len()] = [$(VariantSpec {
            variant: Variant::$variant,
            name: $name,
            scope: Scope::$scope,
            storage: storage!($($storage)+),
            access: Access::$access,
            residual: ResidualSupport::$residual,
            max_threads: $threads,
            rms: params!($rms),
            layer: params!($layer),
        }),*];

        impl Variant {
            /// Every variant, in the order of the table.
            pub const ALL: [Variant; [$($name),*].len()] = [$(Variant::$variant),*];
        }
    };
}
variants!(rows!);

impl Variant {
    /// Its row of the table.
    pub const fn spec(self) -> VariantSpec {
        VARIANTS[self as usize]
    }

    /// The name used in kernel names.
    pub const fn name(self) -> &'static str {
        self.spec().name
    }

    /// When that norm loads weights and biases; `None` if it has no kernel of this variant.
    pub const fn params(self, kind: NormKind) -> Option<ParamLoads> {
        match kind {
            NormKind::Rms => self.spec().rms,
            NormKind::Layer => self.spec().layer,
        }
    }

    /// Whether that norm has a kernel of this variant.
    pub const fn serves(self, kind: NormKind) -> bool {
        self.params(kind).is_some()
    }

    /// The most vectors that a thread holds, all in registers; `None` if the variant keeps some elsewhere.
    pub const fn register_vectors(self) -> Option<u32> {
        match self.spec().storage {
            Storage::Registers(vectors) => Some(vectors),
            _ => None,
        }
    }

    /// The largest block that launches it.
    pub const fn max_threads(self) -> u32 {
        self.spec().max_threads
    }

    /// Whether the blocks of a cluster may share a row.
    pub const fn takes_clusters(self) -> bool {
        matches!(self.spec().scope, Scope::Cluster)
    }

    /// Whether it is launched only with a residual.
    pub const fn adds(self) -> bool {
        matches!(self.spec().residual, ResidualSupport::Always | ResidualSupport::Between)
    }

    /// Whether it can add a residual.
    pub const fn may_add(self) -> bool {
        !matches!(self.spec().residual, ResidualSupport::Never)
    }

    /// Whether it is two norms with a residual between them, with [`SecondNorm`](super::SecondNorm) as second argument.
    pub const fn is_sandwich(self) -> bool {
        matches!(self.spec().residual, ResidualSupport::Between)
    }

    /// Whether it is compiled for a [wide](super::Addition) residual too.
    pub const fn takes_wide(self) -> bool {
        match self.spec().storage {
            Storage::Registers(_) => matches!(self.spec().residual, ResidualSupport::Always),
            Storage::Shared | Storage::Reload => true,
            Storage::Hybrid(_) => false,
        }
    }

    /// True if this variant serves bandwidth-bound (long) grids alone; a sibling variant covers short ones.
    pub const fn is_for_long_grids(self, kind: NormKind) -> bool {
        matches!((self.spec().scope, self.params(kind)), (Scope::Block, Some(ParamLoads::OnDemand)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_their_variants_with_names_of_their_own() {
        for (index, row) in VARIANTS.iter().enumerate() {
            assert_eq!((row.variant as usize, row.variant), (index, Variant::ALL[index]));
            assert!(VARIANTS[..index].iter().all(|other| other.name != row.name), "{}", row.name);
            assert!(row.rms.is_some() || row.layer.is_some(), "{}", row.name);
        }
    }
}

//! The table of kernel variants: everything that names, compiles, launches or tests a kernel derives from it.

use super::NormKind;

/// Calls `$then!` with what stands behind it and the table, a row per variant.
///
/// A macro, because the name of an entry point must be a literal where it is compiled. The columns are fields of
/// [`VariantSpec`]: the variant and its name in entry points; the scope that shares a row; the row's storage; how memory is
/// accessed; whether it adds a residual; the largest block; and, for RMSNorm and for LayerNorm, when weights and
/// biases are loaded, `-` where that norm has no such kernel.
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

/// A kernel's scope, storage, access, residual and loads of parameters: a row of [`VARIANTS`].
///
/// All of them deal a row out as its tile says and add in the same order, so for one tile
/// they give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Two vectors a thread, held in registers; several rows a block.
    Warp2,
    /// The same with four vectors a thread.
    Warp4,
    /// Two vectors a thread, held in registers; a row a block.
    Block2,
    /// The same with four vectors a thread.
    Block4,
    /// LayerNorm's [`Block4`](Variant::Block4) for short grids, which latency bounds: it preloads weights and biases.
    /// RMSNorm needs no such twin, because its `Block4` preloads in any grid.
    Short4,
    /// [`Block2`](Variant::Block2) with a residual, `r += x` before the norm.
    Add2,
    /// The same with four vectors a thread.
    Add4,
    /// Two norms with a residual between them, `s = r + norm(x); y = norm(s)`: two vectors a thread, held in registers; a
    /// row a block.
    Sandwich2,
    /// The same with four vectors a thread.
    Sandwich4,
    /// Any tile whose vectors fit the shared memory, where they are kept; also adds biases to
    /// RMSNorm, offsets to LayerNorm's weights, and residuals.
    Staged,
    /// Any tile whose vectors fit the shared memory but for [`HYBRID_VECTORS`] a thread, which are held in
    /// registers.
    Mixed,
    /// Any row of whole, aligned vectors: every pass reads it again.
    Stream,
    /// Any row, element by element: odd lengths and unaligned addresses.
    Scalar,
}

/// The threads that share a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Lanes of a warp; a block has several rows.
    Warp,
    /// A block.
    Block,
    /// Whatever the launch says: lanes of a warp, a block, or the blocks of a cluster.
    Cluster,
}

/// Where a thread keeps its part of the row between passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// At most so many vectors, in registers.
    Registers(u32),
    /// Shared memory.
    Shared,
    /// At most so many vectors in registers, the others in shared memory.
    Hybrid(u32),
    /// Nowhere: each pass loads it again.
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
pub enum Residual {
    /// It supports none.
    Never,
    /// In front of the norm, and it is launched with one alone.
    Always,
    /// With one, in front of the norm or behind it, or without.
    Either,
    /// Between two norms.
    Between,
}

/// When weights and biases are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Params {
    /// With the row, before the reduction. That takes registers, and shortens the latency.
    Preload,
    /// With the row where they are no wider than x, else after the reduction: in f32 beside 16-bit x they would take
    /// more registers than there are.
    PreloadNarrow,
    /// After the reduction. A variant of [`Scope::Block`] that does so serves long grids alone; a sibling preloads
    /// for the short ones.
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
    /// Where the row is kept.
    pub storage: Storage,
    /// How memory is accessed.
    pub access: Access,
    /// Whether it adds a residual.
    pub residual: Residual,
    /// The largest block that launches it, which the PTX states as `.maxntid`.
    pub max_threads: u32,
    /// When RMSNorm loads its weights; `None` where it has no such kernel.
    pub rms: Option<Params>,
    /// The same for LayerNorm.
    pub layer: Option<Params>,
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
        Some(Params::$params)
    };
}

macro_rules! rows {
    ([] $($variant:ident $name:literal $scope:ident ($($storage:tt)+) $access:ident $residual:ident $threads:literal $rms:tt $layer:tt)*) => {
        /// The table, in the order of kernel numbers.
        pub const VARIANTS: [VariantSpec; Variant::ALL.len()] = [$(VariantSpec {
            variant: Variant::$variant,
            name: $name,
            scope: Scope::$scope,
            storage: storage!($($storage)+),
            access: Access::$access,
            residual: Residual::$residual,
            max_threads: $threads,
            rms: params!($rms),
            layer: params!($layer),
        }),*];

        impl Variant {
            /// All of them, in the order of kernel numbers.
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

    /// When that normalization's weights and biases are loaded; `None` where it has no such kernel.
    pub const fn params(self, kind: NormKind) -> Option<Params> {
        match kind {
            NormKind::Rms => self.spec().rms,
            NormKind::Layer => self.spec().layer,
        }
    }

    /// Whether that normalization has such a kernel.
    pub const fn serves(self, kind: NormKind) -> bool {
        self.params(kind).is_some()
    }

    /// Vectors that a thread holds in registers alone; `None` where it takes any number.
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

    /// Whether its blocks may work on a row together, as a cluster.
    pub const fn takes_clusters(self) -> bool {
        matches!(self.spec().scope, Scope::Cluster)
    }

    /// Whether it adds a residual, without which it is not taken.
    pub const fn adds(self) -> bool {
        matches!(self.spec().residual, Residual::Always | Residual::Between)
    }

    /// Whether it adds a residual, always or where there is one.
    pub const fn may_add(self) -> bool {
        !matches!(self.spec().residual, Residual::Never)
    }

    /// Whether it is two norms with a residual between them, and takes [`SecondNorm`](super::SecondNorm) as its second
    /// argument.
    pub const fn is_sandwich(self) -> bool {
        matches!(self.spec().residual, Residual::Between)
    }

    /// Whether it is compiled for a [wide](super::Addition) residual too: those that stage it are not, since sums of twice
    /// the size leave shared memory for half the rows.
    pub const fn takes_wide(self) -> bool {
        match self.spec().storage {
            Storage::Registers(_) => matches!(self.spec().residual, Residual::Always),
            Storage::Reload => true,
            Storage::Shared | Storage::Hybrid(_) => false,
        }
    }

    /// True if this variant serves bandwidth-bound (long) grids alone; a sibling variant covers short ones.
    pub const fn is_for_long_grids(self, kind: NormKind) -> bool {
        matches!((self.spec().scope, self.params(kind)), (Scope::Block, Some(Params::OnDemand)))
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

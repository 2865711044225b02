//! Which variant takes a launch.

use std::ops::RangeInclusive;

use norm_kernels::abi::{DType, NormKind, Variant, stages_residual_behind_norm};

use super::{
    DeviceProfile, Tile,
    ladders::{
        EXTRAS, LAYER, LAYER_RESIDUAL, LAYER_WIDE_RESIDUAL, RMS, RMS_RESIDUAL, RMS_WIDE_RESIDUAL, SANDWICH,
    },
};

/// What a variant is selected by, for vectors that are all whole and aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LaunchShape {
    /// Which normalization.
    pub kind: NormKind,
    /// The types of x, of weights and biases, and of y.
    pub types: [DType; 3],
    /// How rows are dealt to threads.
    pub tile: Tile,
    /// There is a residual in front of the norm.
    pub residual: bool,
    /// It is `f32` beside `x` and `y` of 16 bits.
    pub wide: bool,
    /// There is a residual behind the norm, RMSNorm has biases or LayerNorm a weight offset, which kernels that keep the
    /// row in registers do not support.
    pub extras: bool,
    /// Blocks of the grid, which say whether it is a short or a long one: [`DeviceProfile::short_grid`].
    pub blocks: u64,
}

impl LaunchShape {
    /// The variant that takes it. What no row of its ladder is for is streamed: any row can be.
    pub fn select(&self, profile: DeviceProfile) -> Variant {
        self.rule(profile).map_or(Variant::Stream, |rule| rule.variant)
    }

    /// The variant that takes a sandwich whose rows are dealt out so; `None` where it is two launches.
    pub(super) fn select_sandwich(&self, profile: DeviceProfile) -> Option<Variant> {
        let fits =
            |rule: &&Rule| rule.is_for(self, profile) && self.tile.fits(rule.variant, self.types[0], profile);
        SANDWICH.iter().find(fits).map(|rule| rule.variant)
    }

    /// The row of its ladder that decides: the first that is for it and whose variant can take it.
    pub(super) fn rule(&self, profile: DeviceProfile) -> Option<&'static Rule> {
        let ladder = match (self.extras, self.residual, self.kind) {
            (true, ..) => EXTRAS,
            (false, true, NormKind::Rms) if self.wide => RMS_WIDE_RESIDUAL,
            (false, true, NormKind::Layer) if self.wide => LAYER_WIDE_RESIDUAL,
            (false, true, NormKind::Rms) => RMS_RESIDUAL,
            (false, true, NormKind::Layer) => LAYER_RESIDUAL,
            (false, false, NormKind::Rms) => RMS,
            (false, false, NormKind::Layer) => LAYER,
        };
        ladder.iter().find(|rule| rule.is_for(self, profile) && self.can_be_taken_by(rule.variant, profile))
    }

    /// Whether a variant of its ladder can take the launch at all.
    fn can_be_taken_by(&self, variant: Variant, profile: DeviceProfile) -> bool {
        let [x, w, _] = self.types;
        let biases = self.kind == NormKind::Layer;
        let knows_extras = variant != Variant::Staged
            || stages_residual_behind_norm(biases, x.size(), w.size(), self.tile.width);
        (knows_extras || !self.extras)
            && (variant.takes_wide() || !self.wide)
            && self.tile.fits(variant, if self.wide { DType::F32 } else { x }, profile)
    }
}

/// A row of a ladder of variants: for which launches its variant is the best. What a variant can take at all
/// ([`Tile::fits`](super::Tile::fits)) is no part of it.
pub(super) struct Rule {
    pub variant: Variant,
    /// Vectors in a row.
    pub row: RangeInclusive<u32>,
    /// Vectors a thread.
    pub vectors: RangeInclusive<u32>,
    /// Blocks that share a row.
    pub blocks: RangeInclusive<u32>,
    pub types: Types,
    pub grid: Grid,
    pub memory: Memory,
    /// It needs an L1 cache of [`LARGE_L1`](super::ladders::LARGE_L1).
    pub large_l1: bool,
}

/// Sizes of x's, w's and y's elements.
#[derive(Clone, Copy)]
pub(super) enum Types {
    Any,
    /// x and y of one size, and weights no wider.
    Narrow,
    /// All of 16 bits.
    Narrow16,
    /// Weights wider than x and y.
    WideWeights,
}

/// Blocks of a grid, in multiples of [`short_grid`](super::DeviceProfile::short_grid).
#[derive(Clone, Copy)]
pub(super) enum Grid {
    Any,
    AtMost(u64),
    Above(u64),
}

/// How fast memory is beside the multiprocessors.
#[derive(Clone, Copy)]
pub(super) enum Memory {
    Any,
    Fast,
    Slow,
}

/// A variant for any launch that it can take.
pub(super) const fn take(variant: Variant) -> Rule {
    Rule {
        variant,
        row: 0..=u32::MAX,
        vectors: 0..=u32::MAX,
        blocks: 0..=u32::MAX,
        types: Types::Any,
        grid: Grid::Any,
        memory: Memory::Any,
        large_l1: false,
    }
}

impl Rule {
    /// Whether the launch is one of those that it is for.
    fn is_for(&self, shape: &LaunchShape, profile: DeviceProfile) -> bool {
        self.row.contains(&shape.tile.row_vectors())
            && self.vectors.contains(&shape.tile.vectors)
            && self.blocks.contains(&shape.tile.blocks)
            && self.types.include(shape.types)
            && self.grid.includes(shape.blocks, profile)
            && self.memory.includes(profile)
            && (!self.large_l1 || profile.has_large_l1())
    }
}

impl Types {
    fn include(self, [x, w, y]: [DType; 3]) -> bool {
        match self {
            Types::Any => true,
            Types::Narrow => x.size() == y.size() && w.size() <= x.size(),
            Types::Narrow16 => x.size() == 2 && y.size() == 2 && w.size() == 2,
            Types::WideWeights => w.size() > x.size() && w.size() > y.size(),
        }
    }
}

impl Grid {
    /// Whether a grid of so many blocks is as long as that.
    pub(super) fn includes(self, blocks: u64, profile: DeviceProfile) -> bool {
        match self {
            Grid::Any => true,
            Grid::AtMost(times) => blocks <= profile.short_grid.saturating_mul(times),
            Grid::Above(times) => blocks > profile.short_grid.saturating_mul(times),
        }
    }
}

impl Memory {
    fn includes(self, profile: DeviceProfile) -> bool {
        match self {
            Memory::Any => true,
            Memory::Fast => profile.has_fast_memory(),
            Memory::Slow => !profile.has_fast_memory(),
        }
    }
}

/// Every variant that operations take for rows of `dim` elements, whatever else they ask for, and whether or not vectors
/// are whole and aligned; some of them several times.
pub(crate) fn variants_of_rows(
    kind: NormKind,
    types: [DType; 3],
    dim: u32,
    profile: DeviceProfile,
) -> impl Iterator<Item = Variant> {
    let [x, _, y] = types;
    let tile = Tile::new(kind, x, y, dim, profile);
    // Grids that are short, of middle length, and long.
    let grids = [1, profile.short_grid.saturating_add(1), u64::MAX];
    let launches = grids.into_iter().flat_map(move |blocks| {
        let inputs = [(false, false), (true, false), (true, true)];
        inputs.map(|(residual, extras)| LaunchShape {
            kind,
            types,
            tile,
            residual,
            wide: false,
            extras,
            blocks,
        })
    });
    launches.map(move |launch| launch.select(profile)).chain([Variant::Scalar])
}

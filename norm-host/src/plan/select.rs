//! Selection of the kernel variant for a launch, by the tables in `ladders`.

use norm_kernels::abi::{DType, NormKind, Variant, stages_residual_behind_norm};

use super::{
    DeviceProfile, Tile,
    ladders::{
        EXTRAS, LAYER, LAYER_RESIDUAL, LAYER_WIDE_RESIDUAL, RMS, RMS_RESIDUAL, RMS_WIDE_RESIDUAL, SANDWICH,
    },
    rules::{Grid, Memory, Rule, Types},
};

/// The properties of a launch by which its variant is selected, given that all vectors are whole and aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LaunchShape {
    /// Which normalization.
    pub kind: NormKind,
    /// The types of x, of weights and biases, and of y.
    pub types: [DType; 3],
    /// How rows are divided among blocks and threads.
    pub tile: Tile,
    /// There is a residual in front of the norm.
    pub residual: bool,
    /// The residual is `f32` where `x` and `y` have 16 bits.
    pub wide: bool,
    /// There is a residual behind the norm, biases of RMSNorm, or a weight offset of LayerNorm: options that kernels which
    /// hold the row in registers do not support.
    pub extras: bool,
    /// Blocks of the grid: at most [`DeviceProfile::short_grid`] of them are a short grid, more a long one.
    pub blocks: u64,
}

impl LaunchShape {
    /// The fastest variant that supports the launch. Where no rule applies it is [`Variant::Stream`], which supports rows
    /// of any length.
    pub fn select(&self, profile: DeviceProfile) -> Variant {
        self.rule(profile).map_or(Variant::Stream, |rule| rule.variant)
    }

    /// The variant for both norms of a sandwich in one launch; `None` where they are two launches.
    pub(super) fn select_sandwich(&self, profile: DeviceProfile) -> Option<Variant> {
        let fits =
            |rule: &&Rule| rule.is_for(self, profile) && self.tile.fits(rule.variant, self.types[0], profile);
        SANDWICH.iter().find(fits).map(|rule| rule.variant)
    }

    /// The rule that decides: the first in its table that is for the launch and whose variant supports it.
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
        ladder.iter().find(|rule| rule.is_for(self, profile) && self.is_supported_by(rule.variant, profile))
    }

    /// Whether a variant supports the launch.
    fn is_supported_by(&self, variant: Variant, profile: DeviceProfile) -> bool {
        let [x, w, _] = self.types;
        let biases = self.kind == NormKind::Layer;
        let supports_extras = variant != Variant::Staged
            || stages_residual_behind_norm(biases, x.size(), w.size(), self.tile.width);
        (supports_extras || !self.extras)
            && (variant.takes_wide() || !self.wide)
            && self.tile.fits(variant, if self.wide { DType::F32 } else { x }, profile)
    }
}

impl Rule {
    /// Whether the launch is one of those that the rule is for.
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
    /// Whether a grid of that many blocks is in this range.
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

/// Every variant that operations on rows of `dim` elements may use, for all options and alignments; some are listed
/// several times.
pub(crate) fn variants_of_rows(
    kind: NormKind,
    types: [DType; 3],
    dim: u32,
    profile: DeviceProfile,
) -> impl Iterator<Item = Variant> {
    let [x, _, y] = types;
    let tile = Tile::new(kind, x, y, dim, profile);
    // A short, a medium and a long grid.
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

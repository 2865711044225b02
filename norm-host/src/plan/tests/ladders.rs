//! No row of a ladder is out of place, and none is never taken.

use std::{collections::BTreeSet, fs, path::Path};

use norm_kernels::abi::{Addition, DType, MAX_STAGED_VECTORS, ResidualSupport};

use super::*;
use crate::plan::{
    ladders::{
        EXTRAS, LAYER, LAYER_RESIDUAL, LAYER_TILES, LAYER_WIDE_RESIDUAL, RMS, RMS_RESIDUAL, RMS_TILES,
        RMS_WIDE_RESIDUAL, SANDWICH,
    },
    rules::{Grid, Rule, TileRule},
};
use crate::problem::ResidualPlace;

/// The numbers `T1`, `T2` … in a text.
fn numbers(text: &str) -> BTreeSet<u32> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter_map(|word| word.strip_prefix('T')?.parse().ok()).collect()
}

#[test]
fn every_threshold_has_its_figures_in_the_tuning_notes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [ladders, notes] = ["src/plan/ladders.rs", "../docs/TUNING.md"]
        .map(|path| fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}")));
    let rows = notes.lines().filter_map(|line| line.strip_prefix("| T")?.split_once(" |"));
    let rows: Vec<u32> = rows.map(|(number, _)| number.parse().expect("a number")).collect();
    assert!((1..).zip(&rows).all(|(expected, &given)| expected == given), "{rows:?}");
    assert_eq!(numbers(&ladders), rows.into_iter().collect());
}

#[test]
fn tile_rules_ascend_to_the_longest_row_and_kernels_know_them() {
    for rules in [RMS_TILES, LAYER_TILES] {
        assert!(rules.is_sorted_by(|one, next| one.up_to < next.up_to));
        assert_eq!(rules.last().map(|last| last.up_to), Some(u32::MAX));
        for &TileRule { up_to, blocks, vectors, packed } in rules {
            assert!(blocks.is_power_of_two() && blocks <= 16, "{up_to}");
            assert!((1..=MAX_STAGED_VECTORS).contains(&vectors), "{up_to}");
            // A row of several a block is no longer than what a warp has room for.
            assert!(packed == 0 || blocks == 1 && up_to <= WARP * vectors, "{up_to}");
        }
    }
}

#[test]
fn ladders_hold_the_variants_that_are_made_for_them() {
    use NormKind::{Layer, Rms};
    use ResidualSupport::{Always, Between, Either, Never};
    for (ladder, norms, known) in [
        (RMS, &[Rms][..], [Never, Either]),
        (LAYER, &[Layer], [Never, Either]),
        (RMS_RESIDUAL, &[Rms], [Always, Either]),
        (LAYER_RESIDUAL, &[Layer], [Always, Either]),
        (RMS_WIDE_RESIDUAL, &[Rms], [Always, Either]),
        (LAYER_WIDE_RESIDUAL, &[Layer], [Always, Either]),
        (SANDWICH, &[Rms], [Between; 2]),
        (EXTRAS, &NormKind::ALL, [Either; 2]),
    ] {
        for Rule { variant, grid, .. } in ladder {
            assert!(known.contains(&variant.spec().residual), "{variant:?}");
            for &kind in norms {
                assert!(variant.serves(kind), "{variant:?}");
                assert!(!variant.is_for_long_grids(kind) || matches!(grid, Grid::Above(1)), "{variant:?}");
            }
        }
    }
}

/// Rows of every layout and on both sides of every threshold, in grids of every length.
fn launches(profile: DeviceProfile) -> impl Iterator<Item = LaunchShape> {
    let rows = (0..=18)
        .flat_map(|power| [1, 2].map(|more| (1 << power) + more - 1))
        .chain((896..=4224).step_by(128));
    let rows = rows.chain([150_000, 200_000]);
    let types =
        DTYPES.into_iter().flat_map(|x| DTYPES.into_iter().flat_map(move |w| DTYPES.map(|y| [x, w, y])));
    let norms = types.flat_map(|types| NormKind::ALL.map(|kind| (kind, types)));
    rows.flat_map(move |row| norms.clone().map(move |norm| (row, norm))).flat_map(
        move |(row, (kind, types))| {
            let [x, _, y] = types;
            let tile = Tile::new(kind, x, y, row * norm_kernels::abi::width(x, y), profile);
            let grids = [1, 8 * profile.short_grid, u64::MAX].into_iter();
            grids.flat_map(move |blocks| {
                let inputs = [(false, false), (true, false), (false, true), (true, true)];
                let narrow = inputs.map(|input| (input, false));
                // Beside x and y of 16 bits a residual may be wide.
                let wide = narrow
                    .map(|(input, _)| (input, true))
                    .into_iter()
                    .filter(move |((residual, _), _)| *residual && Addition::is_wide_beside(x, y));
                narrow.into_iter().chain(wide).map(move |((residual, extras), wide)| LaunchShape {
                    kind,
                    types,
                    tile,
                    residual,
                    wide,
                    extras,
                    blocks,
                })
            })
        },
    )
}

#[test]
fn every_rule_decides_for_some_launch() {
    // One whose PTX knows no clusters, too.
    let profiles = [H200, H100, A100, DeviceProfile { max_cluster: 1, ..H100 }];
    let deciding: Vec<&Rule> = profiles
        .iter()
        .flat_map(|&profile| launches(profile).filter_map(move |launch| launch.rule(profile)))
        .collect();
    let ladders = [RMS, LAYER, RMS_RESIDUAL, LAYER_RESIDUAL, RMS_WIDE_RESIDUAL, LAYER_WIDE_RESIDUAL, EXTRAS];
    for (index, rule) in ladders.into_iter().flatten().enumerate() {
        let decides = deciding.iter().any(|&other| std::ptr::eq(other, rule));
        assert!(decides, "row {index} of the ladders, {:?}", rule.variant);
    }
}

#[test]
fn a_variant_that_is_selected_can_take_the_launch() {
    for profile in PROFILES {
        for launch in launches(profile) {
            let variant = launch.select(profile);
            let LaunchShape { kind, types, tile, residual, wide, extras, .. } = launch;
            let x = if wide { DType::F32 } else { types[0] };
            assert!(variant.serves(kind) && tile.fits(variant, x, profile), "{launch:?}: {variant:?}");
            let known = match variant.spec().residual {
                ResidualSupport::Never => !residual && !extras,
                ResidualSupport::Always => residual && !extras,
                ResidualSupport::Either => true,
                // Such a launch is selected elsewhere.
                ResidualSupport::Between => false,
            };
            assert!(known && (variant.takes_wide() || !wide), "{launch:?}: {variant:?}");
        }
    }
}

proptest! {
    /// What decides over bits is what devices share: rows are dealt out alike whatever else differs.
    #[test]
    fn clusters_alone_change_a_tile(
        x in dtype(), y in dtype(), dim in dim(), one in profile(), other in profile(), layer in any::<bool>(),
    ) {
        let kind = if layer { NormKind::Layer } else { NormKind::Rms };
        let tile = |profile| Tile::new(kind, x, y, dim, profile);
        prop_assert_eq!(tile(one), tile(DeviceProfile { max_cluster: one.max_cluster, ..other }));
    }

    #[test]
    fn what_operations_take_is_preloaded(
        x in dtype(), y in dtype(), w in dtype(), rows in rows(), dim in dim(), profile in profile(),
        layer in any::<bool>(), shift in 0..2_u64,
        place in prop::sample::select(&[None, Some(ResidualPlace::InFront), Some(ResidualPlace::Behind)]),
    ) {
        let mut problem = dense(x, y, rows, dim);
        problem.kind = if layer { NormKind::Layer } else { NormKind::Rms };
        problem.x.address += shift * x.size() as u64;
        problem.w = Some(Param { address: 1 << 30, dtype: w, stride: 0 });
        problem.residual = match place {
            Some(ResidualPlace::InFront) => in_front(x),
            Some(ResidualPlace::Behind) => behind(problem).residual,
            None => None,
        };
        let taken = Plan::new(&problem, profile).unwrap().kernel;
        let mut preloaded = variants_of_rows(taken.kind, [x, w, y], dim, profile);
        prop_assert!(preloaded.any(|variant| variant == taken.variant), "{taken}");
    }
}

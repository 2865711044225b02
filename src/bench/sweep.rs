//! `--sweep`: the tiles that kernels support for a case, beside the one that planning selects.

use norm_host::plan::{DeviceProfile, Plan, Tile};
use norm_kernels::abi::{Access, Kernel, ResidualSupport, Scope, Storage, Variant, VariantSpec, WARP};

use super::case::BenchCase;
use super::record::TileRecord;

/// The block sizes, in threads, that are tried for variants with several rows in a block.
const PACKED: [u32; 4] = [64, 128, 256, 512];

/// The block sizes, in threads, that are tried for variants that load a row again for each pass.
const STREAMED: [u32; 10] = [32, 64, 96, 128, 192, 256, 384, 512, 768, 1024];

/// The block sizes, in threads, that are tried for variants that stage rows in shared memory.
const STAGED: [u32; 4] = [128, 256, 512, 1024];

/// A kernel variant, and a tile for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    variant: Variant,
    tile: Tile,
    /// Whether planning selects it.
    chosen: bool,
}

impl Tiling {
    /// The plan with its variant and tile replaced by these.
    pub fn apply(self, plan: Plan, profile: DeviceProfile) -> Plan {
        plan.with_tile(self.variant, self.tile, profile)
    }

    /// The tiling as it is written to results.
    pub fn record(self) -> TileRecord {
        let Tile { blocks, threads, vectors, rows, .. } = self.tile;
        let access = self.variant.name().to_owned();
        TileRecord { access, blocks, threads, vectors, rows, chosen: self.chosen }
    }
}

/// The tiling that planning selects for a case, and all others that can take its rows. `plan` is the case's plan for a
/// device with that profile, for any addresses that are multiples of 16.
pub fn tilings(case: &BenchCase, plan: &Plan, profile: DeviceProfile) -> Vec<Tiling> {
    let Kernel { kind, y, variant: selected, .. } = plan.kernel;
    let x = plan.kernel.normalized();
    let tile = Tile::new(kind, x, y, plan.args.dim, profile).for_variant(selected);
    let mut found = vec![Tiling { variant: selected, tile, chosen: true }];
    for variant in Variant::ALL {
        let VariantSpec { residual, access, .. } = variant.spec();
        let takes_any = residual == ResidualSupport::Either && access == Access::Vector;
        let serves = variant.serves(kind)
            // If rows are not whole vectors, only the scalar variant can take them; if they are, it is never the fastest.
            && (variant == Variant::Scalar) == (selected == Variant::Scalar)
            // The kernels of a sandwich have a second argument, which a plan for one norm lacks.
            && !variant.is_sandwich()
            // Vector variants that hold a row in registers either add a residual or do not, and have no biases with
            // RMSNorm.
            && (takes_any
                || variant.adds() == case.op.has_residual()
                    && (!case.op.has_bias() || kind == norm_host::NormKind::Layer));
        if serves {
            let tiles = tiles(variant, tile, plan.args.dim, profile).into_iter();
            let fits = |tile: &Tile| tile.fits(variant, x, profile);
            let others = tiles.filter(|other| (variant, *other) != (selected, tile) && fits(other));
            found.extend(others.map(|tile| Tiling { variant, tile, chosen: false }));
        }
    }
    found.retain(|tiling| tiling.tile.grid(plan.args.rows.into()) <= norm_host::plan::MAX_GRID);
    found
}

/// Tiles with which `variant` may take rows of `dim` elements. `selected` is the tile that planning selects.
fn tiles(variant: Variant, selected: Tile, dim: u32, profile: DeviceProfile) -> Vec<Tile> {
    // Vectors in a row.
    let row = dim.div_ceil(selected.width);
    let tile = |blocks: u32, threads: u32, rows: u32| {
        let vectors = row.div_ceil(blocks).div_ceil(threads);
        Tile { blocks, threads, vectors, rows, ..selected }
    };
    let kernel = variant.spec();
    match (kernel.scope, kernel.storage) {
        (Scope::Warp, Storage::Registers(held)) => {
            let lanes = row.div_ceil(held).next_power_of_two();
            let packed =
                PACKED.into_iter().filter(|&threads| lanes <= WARP && threads <= variant.max_threads());
            packed.map(|threads| Tile { vectors: held, ..tile(1, lanes, threads / lanes) }).collect()
        }
        (_, Storage::Registers(held)) => {
            let least = row.div_ceil(held).next_multiple_of(WARP);
            // Beyond twice the least, threads would use less than half of the vectors that they can hold.
            let most = u32::min(variant.max_threads(), 2 * least);
            (least..=most).step_by(WARP as usize).map(|threads| tile(1, threads, 1)).collect()
        }
        (_, Storage::Shared | Storage::Hybrid(_)) => {
            let blocks = [1, 2, 4, 8, 16].into_iter().filter(|&blocks| blocks <= profile.max_cluster);
            let shares = blocks.filter(|&blocks| blocks == 1 || row / blocks >= 512);
            let tiles = shares.flat_map(|blocks| STAGED.map(|threads| tile(blocks, threads, 1)));
            tiles.filter(|tile| tile.threads / 2 < row.div_ceil(tile.blocks)).collect()
        }
        (_, Storage::Reload) if kernel.access == Access::Vector => {
            let blocks = [1, 2, 4, 8, 16].into_iter().filter(|&blocks| blocks <= profile.max_cluster);
            let shares = blocks.filter(|&blocks| blocks == 1 || row / blocks >= 4096);
            let tiles = shares.flat_map(|blocks| STREAMED.map(|threads| tile(blocks, threads, 1)));
            tiles.filter(|tile| tile.threads <= row.next_multiple_of(WARP)).collect()
        }
        (_, Storage::Reload) => {
            let useful = row.next_multiple_of(WARP);
            STREAMED
                .into_iter()
                .filter(|&threads| threads <= useful)
                .map(|threads| tile(1, threads, 1))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::call::{self, TensorAddresses};
    use norm_host::{Place, Rounding};

    const H200: DeviceProfile = DeviceProfile::of_capability((9, 0));

    fn of(op: super::super::op::Op, types: &str, extents: &str) -> (BenchCase, Plan, Vec<Tiling>) {
        let (types, extents) = (types.parse().unwrap(), extents.parse().unwrap());
        let case = BenchCase { op, types, extents, rounding: Rounding::Single };
        let tensors = TensorAddresses {
            place: Place::Cuda(0),
            x: 1 << 20,
            y: 1 << 40,
            w: 1 << 50,
            b: 1 << 51,
            r: 1 << 52,
            sum: 1 << 52,
        };
        let plan = Plan::new(&call::problem(&case, tensors), H200).unwrap();
        let tilings = tilings(&case, &plan, H200);
        (case, plan, tilings)
    }

    #[test]
    fn every_tiling_covers_every_row_and_vector_and_fits_its_kernel() {
        use super::super::op::Op;
        for (op, types, extents) in [
            (Op::Rms, "f16", "1000x64"),
            (Op::Rms, "f16", "1000x4096"),
            (Op::Rms, "f16:f32:f32", "7x131072"),
            (Op::Layer, "bf16", "33x8192"),
            (Op::Head, "f16", "9x32x128"),
            (Op::Rms, "f16", "5x1001"),
        ] {
            let (case, plan, tilings) = of(op, types, extents);
            assert!(tilings.len() > 1, "{case:?}");
            assert_eq!(tilings.iter().filter(|tiling| tiling.chosen).count(), 1);
            assert_eq!(tilings[0].apply(plan, H200), plan, "the chosen one changes nothing");
            let width = 16 / u32::max(case.types.x.size() as u32, case.types.y.size() as u32);
            for tiling in tilings {
                let other = tiling.apply(plan, H200);
                let [threads, rows, _] = other.block;
                let blocks = other.cluster;
                assert!(other.grid[0] / blocks * rows >= other.args.rows, "{tiling:?}");
                assert!(threads * rows <= other.kernel.variant.max_threads(), "{tiling:?}");
                assert!(threads.is_multiple_of(WARP) || threads.is_power_of_two() && threads < WARP);
                assert!((threads * rows).is_multiple_of(WARP), "{tiling:?}");
                let held = other.kernel.variant.register_vectors();
                let covers = |held: u32| threads * held * width >= other.args.share;
                assert!(other.args.share * blocks >= other.args.dim, "{tiling:?}");
                assert!(held.is_none_or(covers), "{tiling:?}");
                assert!(other.shared_bytes <= H200.max_shared_bytes);
                assert!(norm_kernels::abi::Kernel::all().any(|kernel| kernel == other.kernel), "{tiling:?}");
            }
        }
    }

    #[test]
    fn problems_have_the_strides_of_dense_tensors() {
        use super::super::op::Op;
        let (_, plan, _) = of(Op::Head, "f16", "9x32x128");
        assert_eq!((plan.args.rows, plan.args.dim), (9 * 32, 128));
        assert_eq!((plan.args.w_stride, plan.args.inner.extent, plan.args.outer[1].extent), (128, 32, 9));
        assert_eq!(plan.args.outer[1].x_stride, 32 * 128);
        let (_, plan, _) = of(Op::Layer, "f16", "9x128");
        assert_eq!((plan.args.rows, plan.args.w_stride, plan.args.b), (9, 0, 1 << 51));
    }
}

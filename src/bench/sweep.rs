//! Other ways to lay a row over threads than the one that operations take.

use norm_host::Plan;
use norm_kernels::abi::{Access, Tile, WARP};

use super::case::Case;
use super::record::TileRecord;

/// Threads of the blocks that are tried where several rows share one.
const PACKED: [u32; 3] = [64, 128, 256];

/// Threads of the blocks that are tried where rows are streamed.
const STREAMED: [u32; 10] = [32, 64, 96, 128, 192, 256, 384, 512, 768, 1024];

/// A kernel's way to reach memory with a block for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    access: Access,
    /// Threads that share a row, and rows of a block.
    block: [u32; 2],
    /// Vectors of a row's threads, the same for each.
    vectors: u32,
    /// Whether operations take it.
    chosen: bool,
}

impl Tiling {
    /// A plan for the same problem with this tiling in its tile's place.
    pub fn apply(self, plan: Plan) -> Plan {
        let mut plan = plan;
        plan.kernel.access = self.access;
        let [threads, rows] = self.block;
        plan.block = [threads, rows, 1];
        plan.grid[0] = u32::try_from(plan.args.rows.div_ceil(rows.into())).unwrap_or(u32::MAX);
        plan
    }

    pub fn record(self) -> TileRecord {
        TileRecord {
            access: self.access.name().to_owned(),
            threads: self.block[0],
            vectors: self.vectors,
            rows: self.block[1],
            chosen: self.chosen,
        }
    }
}

/// The tiling that operations take for a case, and every other that holds its rows. `plan` is the
/// one for the case, on any addresses aligned to 16.
pub fn tilings(case: &Case, plan: &Plan) -> Vec<Tiling> {
    let tile = Tile::new(plan.kernel.kind, plan.kernel.x, plan.kernel.y, plan.args.dim);
    let vectors = plan.args.dim.div_ceil(tile.width);
    let chosen = tiling(plan.kernel.access, [plan.block[0], plan.block[1]], vectors, true);
    let mut found = vec![chosen];
    for access in Access::ALL {
        let serves = access.serves(plan.kernel.kind)
            // Where vectors are not whole, only the scalar path may be taken; where they are, it
            // is never the fastest.
            && (access == Access::Scalar) == (plan.kernel.access == Access::Scalar)
            // Kernels that hold a row of RMSNorm add no biases.
            && (!case.op.has_bias() || plan.kernel.kind == norm_host::NormKind::Layer || access == Access::Stream);
        let blocks = if serves { blocks(access, vectors) } else { Vec::new() };
        let others = blocks.into_iter().filter(|block| (access, *block) != (chosen.access, chosen.block));
        found.extend(others.map(|block| tiling(access, block, vectors, false)));
    }
    found.retain(|tiling| plan.args.rows.div_ceil(tiling.block[1].into()) <= norm_host::MAX_GRID);
    found
}

fn tiling(access: Access, block: [u32; 2], vectors: u32, chosen: bool) -> Tiling {
    Tiling { access, block, vectors: vectors.div_ceil(block[0]), chosen }
}

/// The blocks with which `access` can take rows of so many vectors.
fn blocks(access: Access, vectors: u32) -> Vec<[u32; 2]> {
    match (access, access.held_vectors()) {
        (Access::Warp1 | Access::Warp2 | Access::Warp4, Some(held)) => {
            let lanes = vectors.div_ceil(held).next_power_of_two();
            if lanes > WARP {
                return Vec::new();
            }
            PACKED.into_iter().map(|threads| [lanes, threads / lanes]).collect()
        }
        (_, Some(held)) => {
            let least = vectors.div_ceil(held).next_multiple_of(WARP);
            // Beyond twice the least, half of the threads would have nothing.
            let most = u32::min(access.max_threads(), 2 * least);
            (least..=most).step_by(WARP as usize).map(|threads| [threads, 1]).collect()
        }
        (_, None) => {
            let useful = u32::max(vectors, 1).next_multiple_of(WARP);
            STREAMED.into_iter().filter(|&threads| threads <= useful).map(|threads| [threads, 1]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::call::{self, Tensors};
    use norm_host::Place;

    fn of(op: super::super::op::Op, types: &str, extents: &str) -> (Case, Plan, Vec<Tiling>) {
        let case = Case { op, types: types.parse().unwrap(), extents: extents.parse().unwrap() };
        let tensors =
            Tensors { place: Place::Cuda(0), x: 1 << 20, y: 1 << 40, w: 1 << 50, b: 1 << 51, r: 1 << 52 };
        let plan = Plan::new(&call::problem(&case, tensors)).unwrap();
        let tilings = tilings(&case, &plan);
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
            assert_eq!(tilings[0].apply(plan), plan, "the chosen one changes nothing");
            let width = 16 / u32::max(case.types.x.size() as u32, case.types.y.size() as u32);
            for tiling in tilings {
                let other = tiling.apply(plan);
                let [threads, rows, _] = other.block;
                assert!(u64::from(other.grid[0]) * u64::from(rows) >= other.args.rows, "{tiling:?}");
                assert!(threads * rows <= other.kernel.access.max_threads(), "{tiling:?}");
                assert!(threads.is_multiple_of(WARP) || threads.is_power_of_two() && threads < WARP);
                assert!((threads * rows).is_multiple_of(WARP), "{tiling:?}");
                let held = other.kernel.access.held_vectors();
                let covers = |held: u32| threads * held * width >= other.args.dim;
                assert!(held.is_none_or(covers), "{tiling:?}");
                assert_eq!((other.args, other.shared_bytes), (plan.args, plan.shared_bytes));
                assert!(norm_kernels::abi::Kernel::all().any(|kernel| kernel == other.kernel), "{tiling:?}");
            }
        }
    }

    #[test]
    fn problems_have_the_strides_of_dense_tensors() {
        use super::super::op::Op;
        let (_, plan, _) = of(Op::Head, "f16", "9x32x128");
        assert_eq!((plan.args.rows, plan.args.dim), (9 * 32, 128));
        assert_eq!((plan.args.w_stride, plan.args.axes[2].extent, plan.args.axes[1].extent), (128, 32, 9));
        assert_eq!(plan.args.axes[1].x_stride, 32 * 128);
        let (_, plan, _) = of(Op::Layer, "f16", "9x128");
        assert_eq!((plan.args.rows, plan.args.w_stride, plan.args.b), (9, 0, 1 << 51));
    }
}

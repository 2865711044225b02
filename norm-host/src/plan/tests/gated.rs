//! Which kernel a gated norm takes, and how its rows are dealt to threads.

use norm_kernels::abi::{GatedVariant, Gating, width};

use super::*;
use crate::problem::GatedProblem;

/// Dense rows with weights, and a gate beside them.
fn problem([x, g, w]: [DType; 3], rows: u64, dim: u32) -> GatedProblem {
    let mut norm = dense(x, x, rows, dim);
    norm.w = Some(Param { address: 1 << 15, dtype: w, stride: 0 });
    norm.axes[2].r_stride = dim.into();
    GatedProblem { norm, gate: Operand { address: 1 << 13, dtype: g }, gating: Gating::DEFAULT }
}

const TYPES: [[DType; 3]; 4] = [
    [DType::F16; 3],
    [DType::BF16, DType::BF16, DType::F32],
    [DType::F32, DType::BF16, DType::BF16],
    [DType::F32; 3],
];

#[test]
fn a_launch_is_given_the_gate_in_the_place_of_the_residual() {
    let problem = problem([DType::F16; 3], 7, 4096);
    let GatedPlan { kernel, grid, block, cluster, args, .. } = GatedPlan::new(&problem, H200).unwrap();
    assert_eq!(kernel.to_string(), "gated_f16_f16_block_silu");
    assert_eq!((grid, block, cluster), ([7, 1, 1], [256, 1, 1], 1));
    let Args { x, y, w, r, s, b, accumulate, inner, .. } = args;
    assert_eq!((x, y, w, r), (1 << 20, 1 << 40, 1 << 15, 1 << 13));
    assert_eq!((s, b, accumulate, inner.r_stride), (0, 0, 0, 4096));
}

/// How many rows there are decides how many a block has, and never how one is dealt to threads.
#[test]
fn every_tile_fits_its_kernel_for_any_number_of_rows() {
    let dims = (1..600).chain((600..70_000).step_by(997)).chain([8192, 8200, 65_536, 1 << 20, MAX_DIM]);
    let mut chosen = std::collections::BTreeSet::new();
    for dim in dims {
        for types in TYPES {
            for profile in [H200, DeviceProfile::LEAST] {
                let plan = |rows| GatedPlan::new(&problem(types, rows, dim), profile).unwrap();
                let (one, many) = (plan(1), plan(1 << 20));
                let dealt = |plan: &GatedPlan| (plan.block[0], plan.cluster, plan.args.share, plan.kernel);
                assert_eq!(dealt(&one), dealt(&many), "{types:?}, {dim}");
                for GatedPlan { kernel, grid, block: [threads, rows, _], cluster, args, .. } in [one, many] {
                    assert!(threads * rows <= kernel.max_threads(), "{kernel}, {dim}");
                    assert!((threads * rows).is_multiple_of(32), "{kernel}, {dim}");
                    assert!(grid[0] * rows >= args.rows * cluster, "{kernel}, {dim}");
                    assert!(cluster == 1 || kernel.variant.reloads(), "{kernel}, {dim}");
                    assert!(args.share * cluster >= dim, "{kernel}, {dim}");
                    let held = threads * width(kernel.x, kernel.x) * GatedVariant::REGISTER_VECTORS;
                    assert!(kernel.variant.reloads() || held >= dim, "{kernel}, {dim}");
                    chosen.insert(kernel.variant.name());
                }
            }
        }
    }
    assert_eq!(chosen.len(), GatedVariant::ALL.len());
}

/// A row of a token's heads, or a few, are spread over multiprocessors; many fill blocks.
#[test]
fn few_rows_have_blocks_of_a_warp() {
    let block = |rows| GatedPlan::new(&problem([DType::BF16; 3], rows, 128), H200).unwrap().block;
    assert_eq!((block(1), block(32), block(1 << 20)), ([8, 4, 1], [8, 4, 1], [8, 32, 1]));
}

/// Whatever is not whole, aligned vectors goes element by element.
#[test]
fn a_gate_between_vectors_has_the_kernel_for_elements() {
    let whole = problem([DType::F16; 3], 4, 256);
    let name = |problem: &GatedProblem| GatedPlan::new(problem, H200).unwrap().kernel.variant;
    assert_eq!(name(&whole), GatedVariant::Warp);
    let gate = Operand { address: whole.gate.address + 2, ..whole.gate };
    assert_eq!(name(&GatedProblem { gate, ..whole }), GatedVariant::Scalar);
    let mut strided = whole;
    strided.norm.axes[2].r_stride = 257;
    assert_eq!(name(&strided), GatedVariant::Scalar);
    assert_eq!(name(&problem([DType::F16; 3], 4, 255)), GatedVariant::Scalar);
    // The stride between rows of which there is one is never used.
    let mut one = problem([DType::F16; 3], 1, 256);
    one.norm.axes[2].r_stride = 257;
    assert_eq!(name(&one), GatedVariant::Warp);
}

/// 8251 vectors in eight blocks: seven of 1032 and one of 1027.
#[test]
fn the_last_share_has_a_reciprocal_of_its_own() {
    let reciprocals = |profile| {
        let GatedPlan { cluster, args, .. } =
            GatedPlan::new(&problem([DType::F32; 3], 3, 33_004), profile).unwrap();
        (cluster, args.share, args.share_reciprocal, args.last_share_reciprocal)
    };
    assert_eq!(reciprocals(H200), (8, 4128, 1.0 / 4128.0, 1.0 / 4108.0));
    assert_eq!(reciprocals(A100), (1, 33_004, 1.0 / 33_004.0, 1.0 / 33_004.0));
}

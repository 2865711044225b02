//! No launch exceeds what a device has, and every element has one owner.

mod all_reduce;
mod gated;
mod ladders;
mod prefetch;
mod profile;
mod quantized;
mod residual;
mod sandwich;
mod select;
mod tile;

use norm_kernels::abi::{Axis, MAX_BLOCK_THREADS, MAX_DIM, NormKind, Rounding, WARP};
use proptest::prelude::*;

use super::*;
use crate::{
    DType,
    problem::{Operand, Param, Residual},
};

const DTYPES: [DType; 3] = DType::ALL;

/// Rows close together, at addresses that suit any vector.
fn dense(x: DType, y: DType, rows: u64, dim: u32) -> Problem {
    let stride = u64::from(dim);
    Problem {
        kind: NormKind::Rms,
        x: Operand { address: 1 << 20, dtype: x },
        y: Operand { address: 1 << 40, dtype: y },
        residual: None,
        w: None,
        b: None,
        axes: [Axis::ONE, Axis::ONE, dense_axis(rows, stride)],
        rows,
        dim,
        eps: 1e-6,
        weight_offset: 0.0,
        round_offset: false,
        rounding: Rounding::Single,
        overlap: true,
    }
}

/// An axis whose neighbours are as far apart in every tensor.
fn dense_axis(extent: u64, stride: u64) -> Axis {
    Axis { extent, x_stride: stride, y_stride: stride, r_stride: stride, s_stride: stride }
}

/// A residual in front of the norm, of that type, which is the sum too.
fn in_front(dtype: DType) -> Option<Residual> {
    let r = Operand { address: 1 << 13, dtype };
    Some(Residual::in_front(r, r))
}

/// The problem with its output as the residual behind the norm.
fn behind(problem: Problem) -> Problem {
    Problem { residual: Some(Residual::behind(problem.y, problem.y)), ..problem }
}

/// With clusters and fast memory.
const H200: DeviceProfile = DeviceProfile::of_capability((9, 0));
/// The same with slower memory.
const H100: DeviceProfile = DeviceProfile { memory_bytes_per_clock: 12, ..H200 };
/// Without clusters.
const A100: DeviceProfile = DeviceProfile::of_capability((8, 0));

const PROFILES: [DeviceProfile; 4] = [H200, H100, A100, DeviceProfile::LEAST];

fn profile() -> impl Strategy<Value = DeviceProfile> {
    prop::sample::select(&PROFILES)
}

/// The vectors of a thread, and the elements of a vector.
fn tile(plan: &Plan) -> (u32, u32) {
    let width = 16 / usize::max(plan.kernel.x.size(), plan.kernel.y.size()) as u32;
    (plan.args.share.div_ceil(width).div_ceil(plan.block[0]), width)
}

/// The row and the elements of it that a thread owns, as the kernels work them out from the
/// block's place in the grid and the thread's in the block.
fn owned(plan: &Plan, block: u64, [tx, ty]: [u32; 2]) -> (u64, impl Iterator<Item = u32>) {
    let (vectors, width) = tile(plan);
    let [across, _, _] = plan.block;
    let (cluster, rank) = (block / u64::from(plan.cluster), (block % u64::from(plan.cluster)) as u32);
    let row = cluster * u64::from(plan.block[1]) + u64::from(ty);
    let from = rank * plan.args.share;
    let end = u32::min(from + plan.args.share, plan.args.dim);
    let rows = u64::from(plan.args.rows);
    let elements = (0..vectors)
        .flat_map(move |v| (0..width).map(move |lane| from + (tx + v * across) * width + lane))
        .filter(move |&element| element < end && row < rows);
    (row, elements)
}

/// Where an element is worked on: block, thread, vector and lane. The other way round.
fn owner(plan: &Plan, row: u64, element: u32) -> (u64, [u32; 2], u32, u32) {
    let (_, width) = tile(plan);
    let [across, rows, _] = plan.block;
    let (rank, element) = (element / plan.args.share, element % plan.args.share);
    let vector = element / width;
    let thread = [vector % across, (row % u64::from(rows)) as u32];
    let block = row / u64::from(rows) * u64::from(plan.cluster) + u64::from(rank);
    (block, thread, vector / across, element % width)
}

fn dtype() -> impl Strategy<Value = DType> {
    prop::sample::select(&DTYPES)
}

/// Dims of every size, and around every threshold of the tiles.
fn dim() -> impl Strategy<Value = u32> {
    let near = |at: u32| (at - 2)..=(at + 2);
    prop_oneof![
        1..=300_u32,
        1..=40_000_u32,
        1..=MAX_DIM,
        (7..=24_u32).prop_flat_map(move |power| near((1 << power) - 2)),
        near(512 * 4 * 4),
        near(512 * 4 * 8),
    ]
}

fn rows() -> impl Strategy<Value = u64> {
    // So many that clusters of 16 fit the grid.
    prop_oneof![1..=1000_u64, 1..=(1_u64 << 27) - 1, Just((1 << 27) - 1)]
}

proptest! {
    #[test]
    fn no_launch_exceeds_what_a_device_has(
        x in dtype(), y in dtype(), rows in rows(), dim in dim(), shift in 0..4_u64, profile in profile(),
        layer in any::<bool>(),
    ) {
        let mut problem = dense(x, y, rows, dim);
        problem.kind = if layer { NormKind::Layer } else { NormKind::Rms };
        problem.x.address += shift * x.size() as u64;
        let plan = Plan::new(&problem, profile).unwrap();
        let [across, down, deep] = plan.block;
        prop_assert!(across * down <= plan.kernel.variant.max_threads());
        prop_assert!(across * down <= MAX_BLOCK_THREADS);
        prop_assert_eq!(deep, 1);
        prop_assert!(across.is_multiple_of(WARP) || (across < WARP && across.is_power_of_two()));
        prop_assert!((across * down).is_multiple_of(WARP));
        prop_assert!(down == 1 || across <= WARP);
        prop_assert!(plan.cluster <= profile.max_cluster && plan.grid[0].is_multiple_of(plan.cluster));
        prop_assert!(plan.cluster == 1 || (down == 1 && plan.kernel.variant.takes_clusters()));
        prop_assert!(plan.shared_bytes <= profile.max_shared_bytes);
        prop_assert!(plan.args.share * plan.cluster >= dim && plan.args.share * (plan.cluster - 1) < dim);
        prop_assert!(u64::from(plan.grid[0]) <= MAX_GRID && plan.grid[0] >= 1);
        prop_assert_eq!((plan.grid[1], plan.grid[2]), (1, 1));
        // The blocks hold the rows, and the last of them is not empty.
        let clusters = u64::from(plan.grid[0] / plan.cluster);
        prop_assert!(clusters * u64::from(down) >= rows && (clusters - 1) * u64::from(down) < rows);
    }

    #[test]
    fn every_element_has_an_owner_that_owns_it_once(
        x in dtype(), y in dtype(), rows in rows(), dim in dim(), at in any::<(u64, u32)>(), profile in profile(),
    ) {
        let plan = Plan::new(&dense(x, y, rows, dim), profile).unwrap();
        let (row, element) = (at.0 % rows, at.1 % dim);
        let (block, thread, vector, lane) = owner(&plan, row, element);
        // It is one of those that are launched,
        prop_assert!(block < u64::from(plan.grid[0]));
        prop_assert!(thread[0] < plan.block[0] && thread[1] < plan.block[1]);
        let (vectors, width) = tile(&plan);
        prop_assert!(vector < vectors && lane < width);
        // and what it owns leads back, once. Others cannot own it: a thread's elements
        // determine the thread, by the divisions above.
        let (of_row, elements) = owned(&plan, block, thread);
        prop_assert_eq!(of_row, row);
        prop_assert_eq!(elements.filter(|&owned| owned == element).count(), 1);
    }

    #[test]
    fn small_launches_cover_every_element_once(
        x in dtype(), y in dtype(), rows in 1..80_u64, dim in prop_oneof![1..70_u32, 250..1200_u32],
    ) {
        let plan = Plan::new(&dense(x, y, rows, dim), H200).unwrap();
        let mut times = vec![0_u8; rows as usize * dim as usize];
        for block in 0..u64::from(plan.grid[0]) {
            for ty in 0..plan.block[1] {
                for tx in 0..plan.block[0] {
                    let (row, elements) = owned(&plan, block, [tx, ty]);
                    for element in elements {
                        times[row as usize * dim as usize + element as usize] += 1;
                    }
                }
            }
        }
        prop_assert!(times.iter().all(|&times| times == 1));
    }

    #[test]
    fn the_number_of_rows_changes_no_tile(
        x in dtype(), y in dtype(), a in rows(), b in rows(), dim in dim(), profile in profile(),
        layer in any::<bool>(), residual in any::<bool>(),
    ) {
        let plan = |rows| {
            let mut problem = dense(x, y, rows, dim);
            problem.kind = if layer { NormKind::Layer } else { NormKind::Rms };
            problem.residual = in_front(x).filter(|_| residual);
            Plan::new(&problem, profile).unwrap()
        };
        let (a, b) = (plan(a), plan(b));
        let tile = |plan: &Plan| {
            let Args { share, share_reciprocal, last_share_reciprocal, .. } = plan.args;
            (plan.block, plan.cluster, share, share_reciprocal, last_share_reciprocal)
        };
        prop_assert_eq!(tile(&a), tile(&b));
        // The kernel neither, among few rows, among many or between.
        let length = |plan: &Plan| [1, 8].map(|times| u64::from(plan.grid[0]) <= times * profile.short_grid);
        if length(&a) == length(&b) {
            prop_assert_eq!((a.kernel, a.shared_bytes), (b.kernel, b.shared_bytes));
        }
    }

    #[test]
    fn vectors_are_taken_only_where_all_are_aligned(
        x in dtype(), y in dtype(), w in dtype(),
        address in prop::array::uniform4(0..16_u64), stride in prop::array::uniform4(0..24_u64),
        dim in 1..100_u32, heads in 1..3_u64,
    ) {
        let mut problem = dense(x, y, 1, dim);
        problem.x.address += address[0] * x.size() as u64;
        problem.y.address += address[1] * y.size() as u64;
        let base = 1 << 30;
        let param = |dtype: DType, address: u64, stride| {
            Some(Param { address: base + address * dtype.size() as u64, dtype, stride })
        };
        problem.w = param(w, address[2], stride[2]);
        problem.b = param(w, address[3], stride[3]);
        let rows = 2 * heads;
        let far =
            Axis { x_stride: 1000 + stride[0], y_stride: 1000 + stride[1], ..dense_axis(2, 1000) };
        problem.axes = [Axis::ONE, far, dense_axis(heads, 200)];
        problem.rows = rows;

        let plan = Plan::new(&problem, H200).unwrap();
        let (_, width) = tile(&plan);
        // Every vector of every row, one by one.
        let whole = dim % width == 0;
        let fits = |address: u64, dtype: DType, element: u64| {
            let bytes = u64::min(u64::from(width) * dtype.size() as u64, 16);
            (address + element * dtype.size() as u64).is_multiple_of(bytes)
        };
        let mut aligned = true;
        for outer in 0..2 {
            for head in 0..heads {
                for vector in 0..u64::from(dim.div_ceil(width)) {
                    let column = vector * u64::from(width);
                    aligned &= fits(problem.x.address, x, outer * far.x_stride + head * 200 + column);
                    aligned &= fits(problem.y.address, y, outer * far.y_stride + head * 200 + column);
                    for param in [problem.w, problem.b].into_iter().flatten() {
                        aligned &= fits(param.address, w, head * param.stride + column);
                    }
                }
            }
        }
        prop_assert_eq!(plan.kernel.variant != Variant::Scalar, whole && aligned);
    }
}

#[test]
fn parameters_choose_the_kernel_and_are_passed_on() {
    let param = |dtype, stride| Some(Param { address: 1 << 12, dtype, stride });
    let plan = |w, b| {
        let mut problem = dense(DType::F16, DType::F32, 7, 64);
        (problem.w, problem.b, problem.weight_offset) = (w, b, 1.0);
        Plan::new(&problem, H200).map(|plan| (plan.kernel.w, plan.args))
    };
    let (dtype, args) = plan(None, None).unwrap();
    assert_eq!((dtype, args.w, args.w_stride, args.weight_offset.to_bits()), (DType::F16, 0, 0, 1 << 31));
    assert_eq!((args.rows, args.dim, args.eps), (7, 64, 1e-6));
    let (dtype, args) = plan(None, param(DType::BF16, 64)).unwrap();
    assert_eq!((dtype, args.b, args.b_stride), (DType::BF16, 1 << 12, 64));
    assert_eq!((args.w, args.weight_offset.to_bits()), (0, 1 << 31));
    let (dtype, args) = plan(param(DType::F32, 0), param(DType::F32, 64)).unwrap();
    assert_eq!((dtype, args.w, args.w_stride, args.b_stride), (DType::F32, 1 << 12, 0, 64));
    assert_eq!(args.weight_offset, 1.0);
    let mixed = plan(param(DType::F32, 0), param(DType::F16, 0));
    assert_eq!(mixed, Err(Error::DType { arg: Arg::B, expected: DType::F32, given: DType::F16 }));
}

#[test]
fn rows_for_more_blocks_than_a_grid_has_are_an_error() {
    let plan = |dtype, rows, dim| Plan::new(&dense(dtype, dtype, rows, dim), H200);
    // One row a block.
    assert!(plan(DType::F16, MAX_GRID, 4096).is_ok());
    let error = plan(DType::F16, MAX_GRID + 1, 4096).unwrap_err();
    assert_eq!(error, Error::GridTooLarge { arg: Arg::X, blocks: 1 << 31, max: MAX_GRID });
    // Many rows a block, and still no more rows than that.
    assert!(plan(DType::F32, MAX_GRID, 4).is_ok());
    assert!(plan(DType::F32, MAX_GRID + 1, 4).is_err());
    assert!(plan(DType::F32, u64::MAX, 4).is_err());
    // Eight blocks a row.
    assert!(plan(DType::F16, MAX_GRID / 8, 131_072).is_ok());
    assert!(plan(DType::F16, MAX_GRID / 8 + 1, 131_072).is_err());
    assert!(plan(DType::F16, u64::MAX, 131_072).is_err());
}

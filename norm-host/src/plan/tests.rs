//! No launch exceeds a device's limits, and every element has one owner.

use norm_kernels::abi::{Axis, MAX_BLOCK_THREADS, MAX_DIM, NormKind, WARP};
use proptest::prelude::*;

use super::*;
use crate::problem::Operand;

const DTYPES: [DType; 3] = DType::ALL;

/// Rows close together, at addresses that suit any vector.
fn dense(x: DType, y: DType, rows: u64, dim: u32) -> Problem {
    let stride = u64::from(dim);
    Problem {
        kind: NormKind::Rms,
        x: Operand { address: 1 << 20, dtype: x },
        y: Operand { address: 1 << 40, dtype: y },
        r: None,
        accumulate: false,
        w: None,
        b: None,
        axes: [Axis::ONE, Axis::ONE, Axis { extent: rows, x_stride: stride, y_stride: stride, r_stride: 0 }],
        rows,
        dim,
        eps: 1e-6,
        weight_offset: 0.0,
        overlap: true,
    }
}

/// With clusters, without, and with little shared memory.
const LIMITS: [Limits; 3] =
    [Limits::of_capability((9, 0)), Limits::of_capability((8, 0)), Limits::of_capability((8, 6))];

/// As the first of them, but with slower memory.
const H100: Limits = Limits { memory_rate: 12, ..LIMITS[0] };

fn limits() -> impl Strategy<Value = Limits> {
    prop_oneof![prop::sample::select(&LIMITS), Just(H100)]
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
    fn no_launch_exceeds_a_limit(
        x in dtype(), y in dtype(), rows in rows(), dim in dim(), shift in 0..4_u64, limits in limits(),
        layer in any::<bool>(),
    ) {
        let mut problem = dense(x, y, rows, dim);
        problem.kind = if layer { NormKind::Layer } else { NormKind::Rms };
        problem.x.address += shift * x.size() as u64;
        let plan = Plan::new(&problem, limits).unwrap();
        let [across, down, deep] = plan.block;
        prop_assert!(across * down <= plan.kernel.variant.max_threads());
        prop_assert!(across * down <= MAX_BLOCK_THREADS);
        prop_assert_eq!(deep, 1);
        prop_assert!(across.is_multiple_of(WARP) || (across < WARP && across.is_power_of_two()));
        prop_assert!((across * down).is_multiple_of(WARP));
        prop_assert!(down == 1 || across <= WARP);
        prop_assert!(plan.cluster <= limits.cluster && plan.grid[0].is_multiple_of(plan.cluster));
        prop_assert!(plan.cluster == 1 || (down == 1 && plan.kernel.variant.takes_clusters()));
        prop_assert!(plan.shared_bytes <= limits.shared_bytes);
        prop_assert!(plan.args.share * plan.cluster >= dim && plan.args.share * (plan.cluster - 1) < dim);
        prop_assert!(u64::from(plan.grid[0]) <= MAX_GRID && plan.grid[0] >= 1);
        prop_assert_eq!((plan.grid[1], plan.grid[2]), (1, 1));
        // The blocks hold the rows, and the last of them is not empty.
        let clusters = u64::from(plan.grid[0] / plan.cluster);
        prop_assert!(clusters * u64::from(down) >= rows && (clusters - 1) * u64::from(down) < rows);
    }

    #[test]
    fn every_element_has_an_owner_that_owns_it_once(
        x in dtype(), y in dtype(), rows in rows(), dim in dim(), at in any::<(u64, u32)>(), limits in limits(),
    ) {
        let plan = Plan::new(&dense(x, y, rows, dim), limits).unwrap();
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
        let plan = Plan::new(&dense(x, y, rows, dim), LIMITS[0]).unwrap();
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
        x in dtype(), y in dtype(), a in rows(), b in rows(), dim in dim(), limits in limits(),
        layer in any::<bool>(), residual in any::<bool>(),
    ) {
        let plan = |rows| {
            let mut problem = dense(x, y, rows, dim);
            problem.kind = if layer { NormKind::Layer } else { NormKind::Rms };
            problem.r = residual.then_some(Operand { address: 1 << 13, dtype: x });
            Plan::new(&problem, limits).unwrap()
        };
        let (a, b) = (plan(a), plan(b));
        let tile = |plan: &Plan| (plan.block, plan.cluster, plan.args.share, plan.args.share_reciprocals);
        prop_assert_eq!(tile(&a), tile(&b));
        // The kernel neither, among few rows, among many or between.
        let length = |plan: &Plan| [1, 8].map(|times| u64::from(plan.grid[0]) <= times * limits.short_grid);
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
        let far = Axis { extent: 2, x_stride: 1000 + stride[0], y_stride: 1000 + stride[1], r_stride: 0 };
        problem.axes = [Axis::ONE, far, Axis { extent: heads, x_stride: 200, y_stride: 200, r_stride: 0 }];
        problem.rows = rows;

        let plan = Plan::new(&problem, LIMITS[0]).unwrap();
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
fn every_pair_of_types_takes_every_access() {
    for x in DTYPES {
        for y in DTYPES {
            let plan = |dim| Plan::new(&dense(x, y, 5, dim), LIMITS[0]).unwrap();
            let access = |dim| plan(dim).kernel.variant;
            let width = Tile::new(NormKind::Rms, x, y, 1, LIMITS[0]).width;
            assert_eq!(access(width), Variant::Warp2);
            assert_eq!(access(64 * width), Variant::Warp2);
            assert_eq!(access(65 * width), Variant::Block2);
            assert_eq!(access(513 * width), Variant::Block4);
            assert_eq!(access(1025 * width), Variant::Staged);
            assert_eq!((access(65_536 * width), plan(65_536 * width).cluster), (Variant::Staged, 16));
            assert_eq!((access(131_072 * width), plan(131_072 * width).cluster), (Variant::Mixed, 16));
            assert_eq!((access(300_000 * width), plan(300_000 * width).cluster), (Variant::Stream, 16));
            assert_eq!(access(65 * width + 1), Variant::Scalar);
            let old = Plan::new(&dense(x, y, 5, 131_072 * width), LIMITS[1]).unwrap();
            assert_eq!((old.kernel.variant, old.cluster), (Variant::Stream, 1));
        }
    }
}

#[test]
fn what_kernels_in_registers_do_not_know_is_staged() {
    let w = Some(Param { address: 1 << 12, dtype: DType::F16, stride: 0 });
    for (kind, in_registers) in [(NormKind::Rms, Variant::Block2), (NormKind::Layer, Variant::Short4)] {
        let access = |problem| Plan::new(&problem, LIMITS[0]).unwrap().kernel.variant;
        let plain = Problem { kind, w, ..dense(DType::F16, DType::F16, 5, 2048) };
        assert_eq!(access(plain), in_registers);
        let rms = kind == NormKind::Rms;
        let biased = if rms { Variant::Staged } else { in_registers };
        assert_eq!(access(Problem { b: w, ..plain }), biased);
        let offset = if rms { in_registers } else { Variant::Staged };
        assert_eq!(access(Problem { weight_offset: 1.0, ..plain }), offset);
        // Nothing to be added to.
        assert_eq!(access(Problem { w: None, weight_offset: 1.0, ..plain }), in_registers);
        assert_eq!(access(Problem { accumulate: true, ..plain }), Variant::Staged);
    }
}

#[test]
fn residuals_are_added_in_registers_where_that_is_faster() {
    let on = |limits, kind, rows, dim, problem: fn(Problem) -> Problem| {
        let r = Some(Operand { address: 1 << 13, dtype: DType::F16 });
        let plan =
            Plan::new(&problem(Problem { kind, r, ..dense(DType::F16, DType::F16, rows, dim) }), limits);
        plan.unwrap().kernel.variant
    };
    let access = |kind, rows, dim, problem| on(LIMITS[0], kind, rows, dim, problem);
    for (kind, dim, expected) in [
        (NormKind::Rms, 512, [Variant::Staged; 2]),
        (NormKind::Rms, 2048, [Variant::Add2; 2]),
        (NormKind::Rms, 4096, [Variant::Add2; 2]),
        (NormKind::Rms, 8192, [Variant::Add4; 2]),
        (NormKind::Rms, 16_384, [Variant::Add4, Variant::Staged]),
        (NormKind::Rms, 20_480, [Variant::Staged; 2]),
        (NormKind::Layer, 1024, [Variant::Add4; 2]),
        (NormKind::Layer, 8192, [Variant::Add4; 2]),
        (NormKind::Layer, 16_384, [Variant::Add4; 2]),
    ] {
        assert_eq!(
            [512, 513].map(|rows| access(kind, rows, dim, |plain| plain)),
            expected,
            "{kind:?} of {dim}"
        );
        let accumulated = |plain| Problem { accumulate: true, ..plain };
        assert_eq!(access(kind, 5, dim, accumulated), Variant::Staged);
    }
    let many = |limits, dim| [4096, 4097].map(|rows| on(limits, NormKind::Rms, rows, dim, |plain| plain));
    assert_eq!(many(LIMITS[0], 2048), [Variant::Add2; 2]);
    assert_eq!(many(LIMITS[0], 4096), [Variant::Add2, Variant::Staged]);
    assert_eq!([2048, 4096].map(|dim| many(H100, dim)), [[Variant::Add2, Variant::Add4]; 2]);
    assert_eq!(on(H100, NormKind::Rms, 4097, 16_384, |plain| plain), Variant::Add4);
    // A row a block, though without a residual several share one.
    let problem = |r| Problem { kind: NormKind::Layer, r, ..dense(DType::F16, DType::F16, 9, 1024) };
    let block =
        |r| Plan::new(&problem(r), LIMITS[0]).map(|plan| (plan.kernel.variant, plan.block, plan.grid));
    assert_eq!(block(None), Ok((Variant::Warp4, [32, 8, 1], [2, 1, 1])));
    let r = problem(None).x;
    assert_eq!(block(Some(r)), Ok((Variant::Add4, [32, 1, 1], [9, 1, 1])));
}

/// The bits stay: the tile is the same.
#[test]
fn rows_beyond_a_short_grid_may_take_another_kernel_with_the_same_tile() {
    let access = |kind, w: DType, rows, dim, limits| {
        let w = Some(Param { address: 1 << 12, dtype: w, stride: 0 });
        let plan =
            Plan::new(&Problem { kind, w, ..dense(DType::F16, DType::F16, rows, dim) }, limits).unwrap();
        (plan.kernel.variant, plan.block, plan.cluster, plan.args.share)
    };
    let cases = [
        (NormKind::Layer, DType::F16, 4096, [Variant::Short4, Variant::Block4]),
        (NormKind::Layer, DType::F16, 1024, [Variant::Warp4; 2]),
        (NormKind::Layer, DType::F16, 32_768, [Variant::Staged; 2]),
        (NormKind::Rms, DType::F16, 7168, [Variant::Block4; 2]),
        (NormKind::Rms, DType::F16, 8192, [Variant::Block4, Variant::Stream]),
        (NormKind::Rms, DType::F32, 8192, [Variant::Block4; 2]),
        (NormKind::Rms, DType::F16, 32_768, [Variant::Staged, Variant::Stream]),
        (NormKind::Rms, DType::F16, 40_960, [Variant::Staged; 2]),
    ];
    for (kind, w, dim, expected) in cases {
        let [few, many] = [512, 513].map(|rows| access(kind, w, rows, dim, LIMITS[0]));
        assert_eq!([few.0, many.0], expected, "{kind:?} of {dim}");
        assert_eq!((few.1, few.2, few.3), (many.1, many.2, many.3), "{kind:?} of {dim}");
    }
    // Slower memory, where registers are no longer what long grids lack.
    let cases = [
        (NormKind::Rms, DType::F16, 8192, [Variant::Block4; 2]),
        (NormKind::Rms, DType::F16, 16_384, [Variant::Staged, Variant::Stream]),
        (NormKind::Rms, DType::F16, 32_768, [Variant::Staged, Variant::Mixed]),
        (NormKind::Rms, DType::F16, 65_536, [Variant::Staged; 2]),
        (NormKind::Layer, DType::F16, 8192, [Variant::Short4, Variant::Block4]),
        (NormKind::Layer, DType::F16, 16_384, [Variant::Short4, Variant::Stream]),
        (NormKind::Layer, DType::F32, 4096, [Variant::Short4, Variant::Block4]),
        (NormKind::Layer, DType::F32, 8192, [Variant::Short4, Variant::Stream]),
    ];
    for (kind, w, dim, expected) in cases {
        let [few, many] = [512, 513].map(|rows| access(kind, w, rows, dim, H100));
        assert_eq!([few.0, many.0], expected, "{kind:?} of {dim}");
        assert_eq!((few.1, few.2, few.3), (many.1, many.2, many.3), "{kind:?} of {dim}");
    }
    for dim in [8192, 32_768] {
        let [slow, fast] =
            [H100, LIMITS[0]].map(|limits| access(NormKind::Rms, DType::F16, 513, dim, limits));
        assert_ne!(slow.0, fast.0);
        assert_eq!((slow.1, slow.2, slow.3), (fast.1, fast.2, fast.3), "how fast memory is changes no bit");
    }
    // An L1 cache that is too small for the rows of all blocks.
    let a100 = Limits::of_capability((8, 0));
    assert_eq!(access(NormKind::Rms, DType::F16, 513, 8192, a100).0, Variant::Block4);
}

#[test]
fn parameters_choose_the_kernel_and_are_passed_on() {
    let param = |dtype, stride| Some(Param { address: 1 << 12, dtype, stride });
    let plan = |w, b| {
        let mut problem = dense(DType::F16, DType::F32, 7, 64);
        (problem.w, problem.b, problem.weight_offset) = (w, b, 1.0);
        Plan::new(&problem, LIMITS[0]).map(|plan| (plan.kernel.w, plan.args))
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
    let plan = |dtype, rows, dim| Plan::new(&dense(dtype, dtype, rows, dim), LIMITS[0]);
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

#[test]
fn rows_are_prefetched_where_it_pays() {
    let l2_prefetch_rows = |kind, rows, dim| {
        let problem = Problem { kind, ..dense(DType::F16, DType::F16, rows, dim) };
        Plan::new(&problem, LIMITS[0]).unwrap().args.l2_prefetch_rows
    };
    // A block's own row, where the grid is short; no other, where rows are short.
    assert_eq!(
        (l2_prefetch_rows(NormKind::Rms, 1, 4096), l2_prefetch_rows(NormKind::Rms, 512, 4096)),
        (0, 0)
    );
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 513, 4096), NO_PREFETCH);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 1 << 20, 64), NO_PREFETCH);
    // 4 MiB.
    assert_eq!(l2_prefetch_rows(NormKind::Layer, 32768, 4096), 512);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 32768, 8192), 256);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 512, 1 << 19), 4);
    // Those of all blocks fill the cache.
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 512, 1 << 20), NO_PREFETCH);
}

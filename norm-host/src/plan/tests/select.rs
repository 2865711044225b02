//! Which variant takes what.

use super::*;

#[test]
fn every_pair_of_types_takes_every_kind_of_variant() {
    for x in DTYPES {
        for y in DTYPES {
            let plan = |dim| Plan::new(&dense(x, y, 5, dim), H200).unwrap();
            let variant = |dim| plan(dim).kernel.variant;
            let width = Tile::new(NormKind::Rms, x, y, 1, H200).width;
            assert_eq!(variant(width), Variant::Warp2);
            assert_eq!(variant(64 * width), Variant::Warp2);
            assert_eq!(variant(65 * width), Variant::Block2);
            assert_eq!(variant(513 * width), Variant::Block4);
            assert_eq!(variant(1025 * width), Variant::Staged);
            assert_eq!((variant(65_536 * width), plan(65_536 * width).cluster), (Variant::Staged, 16));
            assert_eq!((variant(131_072 * width), plan(131_072 * width).cluster), (Variant::Mixed, 16));
            assert_eq!((variant(300_000 * width), plan(300_000 * width).cluster), (Variant::Stream, 16));
            assert_eq!(variant(65 * width + 1), Variant::Scalar);
            let old = Plan::new(&dense(x, y, 5, 131_072 * width), A100).unwrap();
            assert_eq!((old.kernel.variant, old.cluster), (Variant::Stream, 1));
        }
    }
}

#[test]
fn what_kernels_in_registers_do_not_know_is_staged() {
    let w = Some(Param { address: 1 << 12, dtype: DType::F16, stride: 0 });
    for (kind, in_registers) in [(NormKind::Rms, Variant::Block2), (NormKind::Layer, Variant::Short4)] {
        let variant = |problem| Plan::new(&problem, H200).unwrap().kernel.variant;
        let plain = Problem { kind, w, ..dense(DType::F16, DType::F16, 5, 2048) };
        assert_eq!(variant(plain), in_registers);
        let rms = kind == NormKind::Rms;
        let biased = if rms { Variant::Staged } else { in_registers };
        assert_eq!(variant(Problem { b: w, ..plain }), biased);
        let offset = if rms { in_registers } else { Variant::Staged };
        assert_eq!(variant(Problem { weight_offset: 1.0, ..plain }), offset);
        // Nothing to be added to.
        assert_eq!(variant(Problem { w: None, weight_offset: 1.0, ..plain }), in_registers);
        assert_eq!(variant(behind(plain)), Variant::Staged);
    }
}

#[test]
fn residuals_are_added_in_registers_where_that_is_faster() {
    let on = |profile, kind, rows, dim, problem: fn(Problem) -> Problem| {
        let residual = in_front(DType::F16);
        let plain = Problem { kind, residual, ..dense(DType::F16, DType::F16, rows, dim) };
        Plan::new(&problem(plain), profile).unwrap().kernel.variant
    };
    let variant = |kind, rows, dim, problem| on(H200, kind, rows, dim, problem);
    for (kind, dim, expected) in [
        (NormKind::Rms, 512, [Variant::Staged; 2]),
        (NormKind::Rms, 2048, [Variant::Add2; 2]),
        (NormKind::Rms, 4096, [Variant::Add2; 2]),
        (NormKind::Rms, 8192, [Variant::Add4; 2]),
        (NormKind::Rms, 16_384, [Variant::Add4; 2]),
        (NormKind::Rms, 20_480, [Variant::Staged; 2]),
        (NormKind::Layer, 1024, [Variant::Add4; 2]),
        (NormKind::Layer, 8192, [Variant::Add4; 2]),
        (NormKind::Layer, 16_384, [Variant::Add4; 2]),
    ] {
        assert_eq!(
            [512, 513].map(|rows| variant(kind, rows, dim, |plain| plain)),
            expected,
            "{kind:?} of {dim}"
        );
        assert_eq!(variant(kind, 5, dim, behind), Variant::Staged);
    }
    let many = |profile, dim| [4096, 4097].map(|rows| on(profile, NormKind::Rms, rows, dim, |plain| plain));
    assert_eq!(many(H200, 2048), [Variant::Add2; 2]);
    assert_eq!(many(H200, 4096), [Variant::Add2; 2]);
    assert_eq!([2048, 4096].map(|dim| many(H100, dim)), [[Variant::Add2, Variant::Add4]; 2]);
    assert_eq!(on(H100, NormKind::Rms, 4097, 16_384, |plain| plain), Variant::Add4);
    // A row a block, though without a residual several share one.
    let block = |residual| {
        let plain = dense(DType::F16, DType::F16, 9, 1024);
        let plan = Plan::new(&Problem { kind: NormKind::Layer, residual, ..plain }, H200);
        plan.map(|plan| (plan.kernel.variant, plan.block, plan.grid))
    };
    assert_eq!(block(None), Ok((Variant::Warp4, [32, 8, 1], [2, 1, 1])));
    assert_eq!(block(in_front(DType::F16)), Ok((Variant::Add4, [32, 1, 1], [9, 1, 1])));
}

/// The bits stay: the tile is the same.
#[test]
fn rows_beyond_a_short_grid_may_take_another_kernel_with_the_same_tile() {
    let variant = |kind, w: DType, rows, dim, profile| {
        let w = Some(Param { address: 1 << 12, dtype: w, stride: 0 });
        let plan =
            Plan::new(&Problem { kind, w, ..dense(DType::F16, DType::F16, rows, dim) }, profile).unwrap();
        (plan.kernel.variant, plan.block, plan.cluster, plan.args.share)
    };
    let cases = [
        (NormKind::Layer, DType::F16, 4096, [Variant::Short4, Variant::Block4]),
        (NormKind::Layer, DType::F16, 1024, [Variant::Warp4; 2]),
        (NormKind::Layer, DType::F16, 32_768, [Variant::Staged; 2]),
        (NormKind::Rms, DType::F16, 7168, [Variant::Block4; 2]),
        (NormKind::Rms, DType::F16, 8192, [Variant::Block4; 2]),
        (NormKind::Rms, DType::F16, 16_384, [Variant::Staged, Variant::Stream]),
        (NormKind::Rms, DType::F32, 8192, [Variant::Block4; 2]),
        (NormKind::Rms, DType::F16, 32_768, [Variant::Staged; 2]),
        (NormKind::Rms, DType::F16, 40_960, [Variant::Staged; 2]),
    ];
    for (kind, w, dim, expected) in cases {
        let [few, many] = [512, 513].map(|rows| variant(kind, w, rows, dim, H200));
        assert_eq!([few.0, many.0], expected, "{kind:?} of {dim}");
        assert_eq!((few.1, few.2, few.3), (many.1, many.2, many.3), "{kind:?} of {dim}");
    }
    // Slower memory, where registers are no longer what long grids lack.
    let cases = [
        (NormKind::Rms, DType::F16, 8192, [Variant::Block4; 2]),
        (NormKind::Rms, DType::F16, 16_384, [Variant::Staged, Variant::Stream]),
        (NormKind::Rms, DType::F16, 32_768, [Variant::Staged; 2]),
        (NormKind::Rms, DType::F16, 65_536, [Variant::Staged; 2]),
        (NormKind::Layer, DType::F16, 8192, [Variant::Short4, Variant::Block4]),
        (NormKind::Layer, DType::F16, 16_384, [Variant::Short4, Variant::Stream]),
        (NormKind::Layer, DType::F32, 4096, [Variant::Short4, Variant::Block4]),
        (NormKind::Layer, DType::F32, 8192, [Variant::Short4, Variant::Stream]),
    ];
    for (kind, w, dim, expected) in cases {
        let [few, many] = [512, 513].map(|rows| variant(kind, w, rows, dim, H100));
        assert_eq!([few.0, many.0], expected, "{kind:?} of {dim}");
        assert_eq!((few.1, few.2, few.3), (many.1, many.2, many.3), "{kind:?} of {dim}");
    }
    for dim in [8208, 14_336] {
        let [slow, fast] = [H100, H200].map(|profile| variant(NormKind::Rms, DType::F16, 513, dim, profile));
        assert_ne!(slow.0, fast.0);
        assert_eq!((slow.1, slow.2, slow.3), (fast.1, fast.2, fast.3), "how fast memory is changes no bit");
    }
    // An L1 cache that is too small for the rows of all blocks.
    assert_eq!(variant(NormKind::Rms, DType::F16, 513, 16_384, A100).0, Variant::Staged);
}

/// On both sides of every threshold, in rows of 16 bits.
#[test]
fn thresholds_are_where_they_were_measured() {
    use Variant::{Add2, Add4, Block4, Mixed, Staged, Stream};
    let without_clusters = DeviceProfile { max_cluster: 1, ..H100 };
    let (f16, f32, rms, layer) = (DType::F16, DType::F32, NormKind::Rms, NormKind::Layer);
    for (profile, kind, w, residual, rows, last, expected) in [
        (H200, rms, f16, false, 513, 8192, [Block4, Stream]),
        (H200, rms, f16, false, 513, 16_384, [Stream, Staged]),
        (H100, rms, f16, false, 513, 8192, [Block4, Staged]),
        (H100, rms, f16, false, 513, 14_336, [Staged, Stream]),
        (H100, rms, f16, false, 513, 16_384, [Stream, Staged]),
        (H100, layer, f16, false, 513, 14_336, [Block4, Stream]),
        (H100, layer, f16, false, 513, 16_384, [Stream, Staged]),
        (H100, layer, f32, false, 513, 7168, [Block4, Stream]),
        (H100, layer, f32, false, 513, 16_384, [Stream, Staged]),
        (without_clusters, layer, f32, false, 513, 16_384, [Stream, Stream]),
        (without_clusters, layer, f32, false, 513, 65_536, [Stream, Mixed]),
        (H200, layer, f32, false, 513, 16_384, [Block4, Staged]),
        (A100, rms, f16, false, 513, 8192, [Block4, Staged]),
        (A100, layer, f16, false, 513, 16_384, [Block4, Staged]),
        (H200, rms, f16, true, 1, 512, [Staged, Add2]),
        (H200, rms, f16, true, 1, 4096, [Add2, Add4]),
        (H200, rms, f16, true, 1, 16_384, [Add4, Staged]),
        (H200, rms, f16, true, 513, 16_384, [Add4, Staged]),
        (H200, rms, f16, true, 4097, 512, [Staged, Add2]),
        (H200, rms, f16, true, 4097, 4096, [Add2, Add4]),
        (H100, rms, f16, true, 4097, 512, [Staged, Add4]),
        (H100, rms, f16, true, 4097, 16_384, [Add4, Staged]),
        (H200, layer, f16, true, 513, 512, [Staged, Add4]),
        (H200, layer, f16, true, 513, 16_384, [Add4, Staged]),
    ] {
        let selected = [last, last + 8].map(|dim| {
            let w = Some(Param { address: 1 << 12, dtype: w, stride: 0 });
            let mut problem = Problem { kind, w, ..dense(f16, f16, rows, dim) };
            problem.residual = in_front(f16).filter(|_| residual);
            Plan::new(&problem, profile).unwrap().kernel.variant
        });
        assert_eq!(
            selected, expected,
            "{kind:?} of {last}, w {w}, residual {residual}, {rows} rows, {profile:?}"
        );
    }
}

#[test]
fn memory_and_l1_count_from_their_thresholds_on() {
    let selected = |profile| {
        let problem = dense(DType::F16, DType::F16, 513, 12_288);
        Plan::new(&problem, profile).unwrap().kernel.variant
    };
    let memory = |memory_bytes_per_clock| DeviceProfile { memory_bytes_per_clock, ..H200 };
    assert_eq!([15, 16].map(|bytes| selected(memory(bytes))), [Variant::Staged, Variant::Stream]);
    let l1 = |max_shared_bytes| DeviceProfile { max_shared_bytes, ..H200 };
    assert_eq!(
        [224 << 10, (224 << 10) - 1].map(|bytes| selected(l1(bytes))),
        [Variant::Stream, Variant::Staged]
    );
}

/// The stride between rows of which there is one is never used.
#[test]
fn one_row_takes_vectors_whatever_its_stride() {
    for (rows, is_scalar) in [(1, false), (2, true)] {
        for of_x in [true, false] {
            let mut problem = dense(DType::F16, DType::F16, rows, 256);
            let Axis { x_stride, y_stride, .. } = &mut problem.axes[2];
            *(if of_x { x_stride } else { y_stride }) = 257;
            let Plan { kernel, .. } = Plan::new(&problem, H200).unwrap();
            assert_eq!(kernel.variant == Variant::Scalar, is_scalar, "{rows} rows, of x: {of_x}");
        }
    }
}

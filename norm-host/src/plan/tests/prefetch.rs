//! What is prefetched.

use norm_kernels::abi::NO_PREFETCH;

use super::*;

#[test]
fn rows_are_prefetched_where_it_pays() {
    let l2_prefetch_rows = |kind, rows, dim| {
        let problem = Problem { kind, ..dense(DType::F16, DType::F16, rows, dim) };
        Plan::new(&problem, H200).unwrap().args.l2_prefetch_rows
    };
    // A block's own row, where the grid is short; no other, where rows are short.
    assert_eq!(
        (l2_prefetch_rows(NormKind::Rms, 1, 4096), l2_prefetch_rows(NormKind::Rms, 512, 4096)),
        (0, 0)
    );
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 513, 4096), NO_PREFETCH);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 1 << 20, 64), NO_PREFETCH);
    // 3 MiB of what registers hold, where the grid is very long; 4 MiB of longer rows in any grid that is not short.
    assert_eq!(l2_prefetch_rows(NormKind::Layer, 32768, 1024), 1536);
    assert_eq!(l2_prefetch_rows(NormKind::Layer, 32768, 2040), (3 << 20) / 4080);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 32768, 4096), 384);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 1025, 4096), 384);
    assert_eq!(l2_prefetch_rows(NormKind::Layer, 513, 4096), 512);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 32768, 8192), 192);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 513, 8192), 256);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 32768, 16_384), 128);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 512, 1 << 19), 4);
    // One vector less, a grid that is not as long, and element by element.
    assert_eq!(l2_prefetch_rows(NormKind::Layer, 1 << 20, 1016), NO_PREFETCH);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 1 << 20, 1016), NO_PREFETCH);
    assert_eq!(l2_prefetch_rows(NormKind::Layer, 513, 4088), NO_PREFETCH);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 1024, 4096), NO_PREFETCH);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 513, 8184), NO_PREFETCH);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 32768, 8193), NO_PREFETCH);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 1, 8193), NO_PREFETCH);
    // Those of all blocks fill the cache.
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 512, 1 << 20), NO_PREFETCH);
}

#[test]
fn rows_with_a_residual_are_prefetched_where_it_pays() {
    let with = |dtype, rows, dim, profile| {
        let residual = Some(Residual::in_front(
            Operand { address: 1 << 50, dtype },
            Operand { address: 1 << 51, dtype },
        ));
        let problem = Problem { residual, ..dense(DType::F16, DType::F16, rows, dim) };
        Plan::new(&problem, profile).unwrap().args.l2_prefetch_rows
    };
    // The distance is 1 MiB of x beside a residual in f32, and 2 MiB beside any other.
    assert_eq!(with(DType::F32, 1025, 1024, H200), 512);
    assert_eq!(with(DType::F32, 1024, 1024, H200), NO_PREFETCH);
    assert_eq!(with(DType::F32, 1025, 1020, H200), NO_PREFETCH);
    assert_eq!(with(DType::F16, 1025, 4096, H200), 256);
    assert_eq!(with(DType::F16, 1024, 4096, H200), NO_PREFETCH);
    assert_eq!(with(DType::F16, 1025, 1024, H200), 1024);
    assert_eq!(with(DType::F16, 1025, 1016, H200), NO_PREFETCH);
    // Slower memory: as it was measured there.
    assert_eq!(with(DType::F32, 1025, 1024, H100), NO_PREFETCH);
    assert_eq!(with(DType::F16, 1 << 20, 4096, H100), NO_PREFETCH);
    assert_eq!(with(DType::F16, 513, 8192, H100), 256);
}

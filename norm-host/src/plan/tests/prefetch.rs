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
    // 4 MiB.
    assert_eq!(l2_prefetch_rows(NormKind::Layer, 32768, 4096), 512);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 32768, 8192), 256);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 512, 1 << 19), 4);
    // One vector less, and element by element.
    assert_eq!(l2_prefetch_rows(NormKind::Layer, 32768, 4088), NO_PREFETCH);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 32768, 8184), NO_PREFETCH);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 32768, 8193), NO_PREFETCH);
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 1, 8193), NO_PREFETCH);
    // Those of all blocks fill the cache.
    assert_eq!(l2_prefetch_rows(NormKind::Rms, 512, 1 << 20), NO_PREFETCH);
}

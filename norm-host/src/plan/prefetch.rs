//! Selection of what a block prefetches into the L2 cache before it starts on its row.

use norm_kernels::abi::{Kernel, NO_PREFETCH, NormKind, Variant};

use super::{
    DeviceProfile, Tile,
    ladders::PREFETCHES,
    rules::{Loads, Prefetch, PrefetchRule},
};

/// The distance in rows from a block's own row to the one that it prefetches, as
/// [`Args::l2_prefetch_rows`](norm_kernels::abi::Args::l2_prefetch_rows).
pub(super) fn l2_prefetch_rows(
    kernel: Kernel,
    tile: Tile,
    rows: u32,
    dim: u32,
    profile: DeviceProfile,
) -> u32 {
    let loads = match kernel.variant {
        variant if variant.is_sandwich() => Loads::ResidualBetween,
        variant if !variant.adds() => Loads::Alone,
        _ if kernel.addition.wide => Loads::WideResidual,
        _ => Loads::Residual,
    };
    let launch = (kernel.variant, kernel.kind, loads);
    distance(launch, u64::from(dim) * kernel.x.size() as u64, tile.grid(rows.into()), profile)
}

/// The distance for a launch whose rows of `x` have so many bytes.
pub(super) fn distance(
    (variant, kind, loads): (Variant, NormKind, Loads),
    row_bytes: u64,
    blocks: u64,
    profile: DeviceProfile,
) -> u32 {
    let is_for = |rule: &&PrefetchRule| {
        rule.variant.is_none_or(|named| named == variant)
            && rule.norm.is_none_or(|named| named == kind)
            && (rule.loads == Loads::Any || rule.loads == loads)
            && rule.grid.includes(blocks, profile)
            && rule.memory.includes(profile)
            && rule.row_bytes.contains(&row_bytes)
    };
    match PREFETCHES.iter().find(is_for).map(|rule| rule.prefetch) {
        Some(Prefetch::OwnRow) => 0,
        Some(Prefetch::BytesAhead(bytes)) => u32::try_from((bytes / row_bytes).max(1)).unwrap_or(NO_PREFETCH),
        Some(Prefetch::Nothing) | None => NO_PREFETCH,
    }
}

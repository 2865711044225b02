//! Distinct sectors: each sector that a launch touches counts once, however often it is requested.

use std::collections::BTreeMap;

use super::{Counts, SECTOR};
use crate::check::pages::Footprint;
use crate::memory::region::Region;

/// Adds to `counts` how many sectors of each allocation were loaded, and stored. `regions` are in
/// the order of their addresses and lie apart.
pub fn add(counts: &mut Counts, footprints: &[(u64, Footprint)], regions: &[Region]) {
    let read = footprints.iter().flat_map(|(_, footprint)| footprint.read());
    for (name, sectors) in distinct(read, regions) {
        counts.global.entry(name.to_owned()).or_default().loads.distinct_sectors = sectors;
    }
    let written = footprints.iter().flat_map(|(_, footprint)| footprint.written());
    for (name, sectors) in distinct(written, regions) {
        counts.global.entry(name.to_owned()).or_default().stores.distinct_sectors = sectors;
    }
}

/// The sectors that runs of bytes touch in allocations of each name.
fn distinct<'a, 'b>(
    runs: impl Iterator<Item = &'b (u64, u64)>,
    regions: &'a [Region],
) -> BTreeMap<&'a str, u64> {
    let mut runs: Vec<(u64, u64)> = runs.copied().collect();
    runs.sort_unstable();
    // By name, their number and the first sector behind them.
    let mut found: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (start, length) in runs {
        let end = start + length;
        let first = regions.partition_point(|region| region.end() <= start);
        for region in regions[first..].iter().take_while(|region| region.start < end) {
            let from = region.start.max(start) / SECTOR;
            let to = region.end().min(end).div_ceil(SECTOR);
            let (sectors, behind) = found.entry(&region.name).or_default();
            *sectors += to.saturating_sub(from.max(*behind));
            *behind = to.max(*behind);
        }
    }
    found.into_iter().map(|(name, (sectors, _))| (name, sectors)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_counts_once_for_each_name() {
        // Rows of `x` that share the sector from 32 on, and a neighbour of theirs that has part of it too.
        let regions = [(0, "x", 40), (40, "x", 16), (56, "w", 40)];
        let regions = regions.map(|(start, name, bytes)| Region::new(start, name, bytes));
        let count = |runs: &[(u64, u64)]| distinct(runs.iter(), &regions).into_iter().collect::<Vec<_>>();
        assert_eq!(count(&[(0, 96)]), [("w", 2), ("x", 2)]);
        assert_eq!(count(&[(0, 16), (0, 32), (16, 16)]), [("x", 1)]);
        assert_eq!(count(&[(32, 8), (40, 4), (8, 4), (48, 8)]), [("x", 2)]);
        assert_eq!(count(&[(40, 24), (64, 32), (0, 8)]), [("w", 2), ("x", 2)]);
        assert_eq!(count(&[]), []);
    }
}

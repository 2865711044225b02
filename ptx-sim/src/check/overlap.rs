//! Races between clusters: nothing orders them, so any byte that one writes and another accesses
//! is a race. Found when all have run, from what each accessed: exactly, and whatever the order
//! in which they happened to run.

use super::pages::{Footprint, Runs};

/// A byte that two clusters access: its address, the cluster that wrote it, and the other one
/// with whether it wrote too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    pub address: u64,
    pub writer: u64,
    pub other: u64,
    pub other_writes: bool,
}

/// The first such byte in the order of addresses, of writes before reads. Footprints carry their
/// cluster's number; strong accesses race with none.
pub fn find(footprints: &[(u64, Footprint)]) -> Option<Overlap> {
    let runs = |pick: fn(&Runs) -> &Vec<(u64, u64)>| {
        let mut runs: Vec<(u64, u64, u64)> = footprints
            .iter()
            .flat_map(|(cluster, footprint)| {
                pick(&footprint.weak).iter().map(|&(start, length)| (start, start + length, *cluster))
            })
            .collect();
        runs.sort_unstable();
        runs
    };
    let written = runs(|runs| &runs.written);
    for pair in written.windows(2) {
        let [(_, end, writer), (start, _, other)] = [pair[0], pair[1]];
        if start < end {
            return Some(Overlap { address: start, writer, other, other_writes: true });
        }
    }
    // Written runs are apart from each other now, so ends are in order too.
    for (start, end, reader) in runs(|runs| &runs.read) {
        let first = written.partition_point(|&(_, written_end, _)| written_end <= start);
        let met = written[first..].iter().take_while(|&&(from, _, _)| from < end);
        if let Some(&(from, _, writer)) = met.into_iter().find(|&&(_, _, writer)| writer != reader) {
            return Some(Overlap { address: from.max(start), writer, other: reader, other_writes: false });
        }
    }
    None
}

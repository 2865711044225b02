//! Races between clusters: nothing orders them, so any byte that one writes and another accesses
//! is a race. Found when all have run, from what each accessed: exactly, and whatever the order
//! in which they happened to run.

use super::pages::Footprint;

/// A byte that two clusters access: its address, the cluster that wrote it, and the other one
/// with how it accessed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    pub address: u64,
    pub writer: u64,
    pub other: u64,
    pub how: How,
}

/// How the other cluster of an overlap accesses the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Writes,
    Reads,
    /// By way of a cache that sees no stores.
    ReadsNonCoherently,
}

/// The first such byte in the order of addresses, of writes before reads. Footprints carry their
/// cluster's number. Strong accesses race with none, but a cache that sees no stores sees no strong ones either.
pub fn find(footprints: &[(u64, Footprint)]) -> Option<Overlap> {
    let written = runs(footprints, |footprint| &footprint.weak.written);
    for pair in written.windows(2) {
        let [(_, end, writer), (start, _, other)] = [pair[0], pair[1]];
        if start < end {
            return Some(Overlap { address: start, writer, other, how: How::Writes });
        }
    }
    // Written runs are apart from each other now, so ends are in order too.
    let read = runs(footprints, |footprint| &footprint.weak.read);
    let non_coherent = runs(footprints, |footprint| &footprint.non_coherent);
    first(&written, &read, How::Reads)
        .or_else(|| first(&written, &non_coherent, How::ReadsNonCoherently))
        .or_else(|| {
            // Strong stores may overlap, which the search must not meet.
            let strong = footprints.iter().flat_map(|(cluster, footprint)| {
                let runs = footprint.strong.written.iter();
                runs.map(|&(start, length)| (start, start + length, *cluster))
            });
            if non_coherent.is_empty() {
                return None;
            }
            strong.into_iter().find_map(|run| first(&[run], &non_coherent, How::ReadsNonCoherently))
        })
}

/// Runs of bytes by address: the start, the end, and the cluster.
fn runs(
    footprints: &[(u64, Footprint)],
    pick: impl Fn(&Footprint) -> &Vec<(u64, u64)>,
) -> Vec<(u64, u64, u64)> {
    let mut runs: Vec<(u64, u64, u64)> = footprints
        .iter()
        .flat_map(|(cluster, footprint)| {
            pick(footprint).iter().map(|&(start, length)| (start, start + length, *cluster))
        })
        .collect();
    runs.sort_unstable();
    runs
}

/// The first read byte that another cluster has written. Written runs are by address and apart from each other.
fn first(written: &[(u64, u64, u64)], read: &[(u64, u64, u64)], how: How) -> Option<Overlap> {
    read.iter().find_map(|&(start, end, reader)| {
        let first = written.partition_point(|&(_, written_end, _)| written_end <= start);
        let mut met = written[first..].iter().take_while(|&&(from, _, _)| from < end);
        let &(from, _, writer) = met.find(|&&(_, _, writer)| writer != reader)?;
        Some(Overlap { address: from.max(start), writer, other: reader, how })
    })
}

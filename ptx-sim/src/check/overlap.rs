//! Races between clusters. Nothing orders clusters, so any byte that one writes and another accesses is a race. Races are
//! found when all clusters have run, from the footprint of each. So none is missed, and the order in which clusters
//! happened to run does not matter.

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
    /// Through the non-coherent cache (`ld.global.nc`, `ldu`).
    ReadsNonCoherently,
}

/// The first such byte by address; two writes are reported before a write and a read. Each footprint comes with its
/// cluster's number. Strong accesses are no races among themselves, but a non-coherent load may miss strong stores too.
pub fn find(footprints: &[(u64, Footprint)]) -> Option<Overlap> {
    let written = runs(footprints, |footprint| &footprint.weak.written);
    for pair in written.windows(2) {
        let [(_, end, writer), (start, _, other)] = [pair[0], pair[1]];
        if start < end {
            return Some(Overlap { address: start, writer, other, how: How::Writes });
        }
    }
    // Weakly written runs do not overlap from here on, so their ends are sorted too, as `first` requires.
    let read = runs(footprints, |footprint| &footprint.weak.read);
    let non_coherent = runs(footprints, |footprint| &footprint.non_coherent);
    first(&written, &read, How::Reads)
        .or_else(|| first(&written, &non_coherent, How::ReadsNonCoherently))
        .or_else(|| {
            // Strong stores may overlap, which `first` does not allow, so it gets one run at a time.
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

/// The first byte that one cluster reads and another has written. `written` is sorted by address, without overlaps.
fn first(written: &[(u64, u64, u64)], read: &[(u64, u64, u64)], how: How) -> Option<Overlap> {
    read.iter().find_map(|&(start, end, reader)| {
        let first = written.partition_point(|&(_, written_end, _)| written_end <= start);
        let mut met = written[first..].iter().take_while(|&&(from, _, _)| from < end);
        let &(from, _, writer) = met.find(|&&(_, _, writer)| writer != reader)?;
        Some(Overlap { address: from.max(start), writer, other: reader, how })
    })
}

//! Races between clusters: which threads and instructions they are of.
//!
//! Once a cluster has ended, only the bytes that it accessed are kept. So the two clusters of a race are run again, on memory
//! as it was before the launch, to find the thread and the instruction of each access.

use super::cluster::Cluster;
use super::grid::Grid;
use crate::check::overlap::{self, How, Overlap};
use crate::check::pages::Footprint;
use crate::fault::{Fault, FaultKind, Party};

/// The first race between clusters, if there is one. `before` is the launch on memory as it was.
pub fn race(before: &Grid<'_>, footprints: &[(u64, Footprint)]) -> Option<Box<Fault>> {
    let Overlap { address, writer, other, how } = overlap::find(footprints)?;
    let find_writer = || party(before, writer, address, How::Writes);
    let find_other = || party(before, other, address, how);
    // Run in the order of their numbers: the second may wait for the first.
    let (writer, other) = if writer < other {
        (find_writer(), find_other())
    } else {
        let other = find_other();
        (find_writer(), other)
    };
    let element = before.memory.element(address);
    let kind = match how {
        How::ReadsNonCoherently => FaultKind::NonCoherent { address, element, writes: true, other },
        How::Reads | How::Writes => {
            FaultKind::Race { space: "global", address, element, writes: true, other }
        }
    };
    Some(Box::new(Fault {
        kernel: before.kernel.name.clone(),
        line: writer.line,
        block: writer.block,
        thread: writer.thread.unwrap_or_default(),
        kind,
    }))
}

/// The last access to a byte by a cluster, found by running the cluster again. If it does not access the byte this time,
/// because it depends on another cluster, only the cluster is known.
fn party(before: &Grid<'_>, number: u64, address: u64, how: How) -> Party {
    let mut cluster = Cluster::new(before);
    // A fault in this second run does not matter: the access may come before it.
    let _ = cluster.run_all(number);
    let found = match how {
        How::ReadsNonCoherently => cluster.last_non_coherent(address),
        How::Reads | How::Writes => cluster.last(address, how == How::Writes),
    };
    found.unwrap_or_else(|| cluster.unknown(how == How::Writes))
}

//! Races between clusters, and whose they are.
//!
//! Of a cluster that has ended only the bytes are remembered that it accessed. So the two clusters
//! of a race are run once more, on memory as it was before the launch, and looked at while each of
//! their accesses still has its thread and instruction.

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
    // In their order: the second may wait for the first.
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

/// Who of a cluster accessed a byte last. Where it does not do so again, because what it does hangs
/// on another cluster, all there is to say is which cluster it was.
fn party(before: &Grid<'_>, number: u64, address: u64, how: How) -> Party {
    let mut cluster = Cluster::new(before);
    // What it meets this time is no news: the access may lie before it.
    let _ = cluster.run_all(number);
    let found = match how {
        How::ReadsNonCoherently => cluster.last_non_coherent(address),
        How::Reads | How::Writes => cluster.last(address, how == How::Writes),
    };
    found.unwrap_or_else(|| cluster.unknown(how == How::Writes))
}

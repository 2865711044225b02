//! Launches in flight: launches that may still run while a later one of their stream runs. Each is recorded as the bytes of
//! global memory that it accesses, with the instruction that does.

use super::pages::{PAGE, Page, Pages};
use super::shadow::{self, Entry};
use crate::fault::Party;

/// A launch that may not have ended.
#[derive(Clone, Debug)]
pub struct InFlight {
    pub kernel: String,
    pub accesses: Accesses,
    /// Whether `griddepcontrol.wait` of the next launch waits for this one. It waits for the launch directly before it, and
    /// so for all those that that launch has waited for.
    pub awaited: bool,
}

/// The accesses of a launch, by address once they are [sorted](Accesses::sort).
#[derive(Clone, Debug, Default)]
pub struct Accesses {
    written: Vec<Access>,
    read: Vec<Access>,
}

/// Neighbouring bytes that one instruction of one block accesses.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    pub start: u64,
    pub end: u64,
    /// The instruction's line in the PTX, 0 if it is not known.
    pub line: u32,
    pub block: [u32; 3],
}

impl Accesses {
    /// Stores to these ranges, by a kernel of which nothing else is known.
    pub fn stores(ranges: &[std::ops::Range<u64>]) -> Accesses {
        let access = |range: &std::ops::Range<u64>| Access {
            start: range.start,
            end: range.end,
            line: 0,
            block: [0; 3],
        };
        let mut accesses = Accesses { written: ranges.iter().map(access).collect(), read: Vec::new() };
        accesses.sort();
        accesses
    }

    /// What a cluster has accessed. `place` gives the line and the block of an entry; without an entry, line 0 and the
    /// cluster's first block. Reads are kept only where `may_still_read` is true.
    pub fn of(
        pages: &Pages,
        place: impl Fn(Option<Entry>) -> (u32, [u32; 3]),
        may_still_read: impl Fn(Option<Entry>) -> bool,
    ) -> Accesses {
        let mut accesses = Accesses::default();
        for (start, page) in pages.all() {
            let mut add = |writes: bool, from: u64, to: u64, entry: Option<Entry>| {
                let (line, block) = place(entry);
                let (start, end) = (start + from, start + to);
                let all = if writes { &mut accesses.written } else { &mut accesses.read };
                match all.last_mut() {
                    Some(last) if last.end == start && last.line == line && last.block == block => {
                        last.end = end
                    }
                    _ => all.push(Access { start, end, line, block }),
                }
            };
            for bits in [&page.weak.written, &page.strong.written] {
                for (from, length) in bits.runs(PAGE) {
                    for at in from..from + length {
                        add(
                            true,
                            at,
                            at + 1,
                            shadow::last(&page.records, at as usize, true, pages.generation),
                        );
                    }
                }
            }
            for bits in [&page.weak.read, &page.strong.read, &page.non_coherent.read] {
                for (from, length) in bits.runs(PAGE) {
                    for at in from..from + length {
                        let entry = reader(page, at, pages.generation);
                        if may_still_read(entry) {
                            add(false, at, at + 1, entry);
                        }
                    }
                }
            }
        }
        accesses
    }

    /// Adds the accesses of another cluster.
    pub fn add(&mut self, other: Accesses) {
        self.written.extend(other.written);
        self.read.extend(other.read);
    }

    /// Removes all accesses that overlap a range.
    pub fn forget(&mut self, start: u64, end: u64) {
        for all in [&mut self.written, &mut self.read] {
            all.retain(|access| access.end <= start || access.start >= end);
        }
    }

    /// Sorts by address, and cuts overlaps: of several accesses to one byte, the first is kept.
    pub fn sort(&mut self) {
        for all in [&mut self.written, &mut self.read] {
            all.sort_unstable_by_key(|access| (access.start, access.end));
            let mut end = 0;
            all.retain_mut(|access| {
                access.start = access.start.max(end);
                end = end.max(access.end);
                access.start < access.end
            });
        }
    }

    /// The recorded access that conflicts with this one, and the first byte that both access. Recorded stores conflict with
    /// any access, recorded loads with stores only.
    pub fn conflict(&self, address: u64, bytes: u64, writes: bool) -> Option<(u64, Party)> {
        let find = |all: &[Access], writes: bool| {
            let first = all.partition_point(|access| access.end <= address);
            let &Access { start, line, block, .. } =
                all.get(first).filter(|access| access.start < address + bytes)?;
            Some((start.max(address), Party { line, block, thread: None, writes }))
        };
        find(&self.written, true).or_else(|| if writes { find(&self.read, false) } else { None })
    }
}

fn reader(page: &Page, at: u64, generation: u8) -> Option<Entry> {
    shadow::last(&page.records, at as usize, false, generation).or_else(|| page.non_coherent.reader(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_conflicts_with_loads_and_stores_and_a_load_with_stores() {
        let access = |start, end, line| Access { start, end, line, block: [0; 3] };
        let mut accesses = Accesses {
            written: vec![access(16, 24, 2), access(0, 8, 1), access(4, 12, 3)],
            read: vec![access(32, 40, 4)],
        };
        accesses.sort();
        let found = |address, bytes, writes| {
            accesses.conflict(address, bytes, writes).map(|(at, party)| (at, party.line, party.writes))
        };
        assert_eq!(found(0, 4, false), Some((0, 1, true)));
        assert_eq!(found(6, 4, false), Some((6, 1, true)));
        assert_eq!(found(9, 1, true), Some((9, 3, true)));
        assert_eq!(found(12, 4, true), None);
        assert_eq!(found(12, 8, true), Some((16, 2, true)));
        assert_eq!(found(24, 8, true), None);
        assert_eq!(found(32, 4, false), None);
        assert_eq!(found(28, 8, true), Some((32, 4, false)));
        accesses.forget(20, 36);
        assert!(accesses.conflict(16, 24, true).is_none());
    }
}

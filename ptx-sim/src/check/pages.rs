//! What the cluster under way has done to global memory, a page at a time.

use std::collections::HashMap;

use super::shadow::Record;
use crate::memory::bits::Bits;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// A page.
pub struct Page {
    pub records: Vec<Record>,
    pub read: Bits,
    pub written: Bits,
}

/// The pages that a cluster has touched. One worker uses them for one cluster after another.
#[derive(Default)]
pub struct Pages {
    places: HashMap<u64, usize>,
    pages: Vec<Page>,
    last: (u64, usize),
    /// Changes from cluster to cluster, so that records need not be cleared.
    pub generation: u8,
}

/// Runs of bytes that one cluster accessed, by address.
#[derive(Clone, Debug, Default)]
pub struct Footprint {
    pub read: Vec<(u64, u64)>,
    pub written: Vec<(u64, u64)>,
}

impl Pages {
    /// Begins a cluster.
    pub fn start(&mut self) {
        self.places.clear();
        self.last = (u64::MAX, 0);
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.generation = 1;
            self.pages.iter_mut().for_each(|page| page.records.fill(Record::default()));
        }
    }

    /// The page that holds an address.
    pub fn of(&mut self, address: u64) -> &mut Page {
        let number = address / PAGE;
        if self.last.0 != number {
            let count = self.places.len();
            let at = *self.places.entry(number).or_insert(count);
            if at == self.pages.len() {
                let records = vec![Record::default(); PAGE as usize / 2];
                self.pages.push(Page { records, read: Bits::new(PAGE), written: Bits::new(PAGE) });
            } else if at == count {
                self.pages[at].read.clear();
                self.pages[at].written.clear();
            }
            self.last = (number, at);
        }
        &mut self.pages[self.last.1]
    }

    /// What the cluster accessed.
    pub fn footprint(&self) -> Footprint {
        let mut places: Vec<(u64, usize)> = self.places.iter().map(|(&number, &at)| (number, at)).collect();
        places.sort_unstable();
        let mut footprint = Footprint::default();
        for (number, at) in places {
            let page = &self.pages[at];
            for (from, bits) in [(&mut footprint.read, &page.read), (&mut footprint.written, &page.written)] {
                for (start, length) in bits.runs(PAGE) {
                    let start = number * PAGE + start;
                    match from.last_mut() {
                        Some(last) if last.0 + last.1 == start => last.1 += length,
                        _ => from.push((start, length)),
                    }
                }
            }
        }
        footprint
    }
}

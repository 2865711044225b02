//! What the running cluster has accessed of global memory, a page at a time.

use std::collections::HashMap;
use std::sync::Arc;

use super::shadow::{Entry, Record};
use crate::kernel::op::Semantics;
use crate::memory::bits::Bits;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// What a cluster has accessed of a page.
pub struct Page {
    pub records: Vec<Record>,
    /// Strong accesses for one device or less, where launches run beside each other: they race with weak ones, and with those of
    /// other devices.
    pub of_device: Vec<Record>,
    /// Those for the whole system: they race with weak ones, and with those of other devices that are not for the whole system.
    pub of_system: Vec<Record>,
    pub weak: Touched,
    /// By strong accesses, which order memory by themselves (volatile, relaxed or stronger), and so are no races.
    pub strong: Touched,
    pub non_coherent: NonCoherent,
}

/// Bytes of a page that have been read through the non-coherent cache (`ld.global.nc`, `ldu`), and the last reader of
/// every two bytes. They have no records, since any store to them is a fault.
pub struct NonCoherent {
    pub read: Bits,
    readers: Vec<Entry>,
}

impl NonCoherent {
    /// Notes a load. `readers` is allocated by the first one, since few pages have any.
    pub fn note(&mut self, from: u64, bytes: u32, reader: Entry) {
        self.read.set(from, bytes);
        if self.readers.is_empty() {
            self.readers.resize(PAGE as usize / 2, Entry::default());
        }
        self.readers[from as usize / 2..(from as usize + bytes as usize).div_ceil(2)].fill(reader);
    }

    /// The access that read a byte.
    pub fn reader(&self, at: u64) -> Option<Entry> {
        let is_read = self.read.get(at, 1) != 0;
        self.readers.get(at as usize / 2).copied().filter(|_| is_read)
    }
}

/// Bytes of a page that have been accessed.
pub struct Touched {
    pub read: Bits,
    pub written: Bits,
}

impl Page {
    fn new() -> Page {
        let records = vec![Record::default(); PAGE as usize / 2];
        let non_coherent = NonCoherent { read: Bits::new(PAGE), readers: Vec::new() };
        let [of_device, of_system] = [Vec::new(), Vec::new()];
        Page { records, of_device, of_system, weak: Touched::new(), strong: Touched::new(), non_coherent }
    }

    pub fn touched(&mut self, semantics: Semantics) -> &mut Touched {
        if semantics.is_strong() { &mut self.strong } else { &mut self.weak }
    }

    /// Which of these bytes the cluster has written.
    pub fn written(&self, from: u64, bytes: u32) -> u64 {
        self.weak.written.get(from, bytes) | self.strong.written.get(from, bytes)
    }
}

impl Touched {
    fn new() -> Touched {
        Touched { read: Bits::new(PAGE), written: Bits::new(PAGE) }
    }

    fn clear(&mut self) {
        self.read.clear();
        self.written.clear();
    }
}

/// The pages that a cluster has touched. One worker uses them for one cluster after another.
#[derive(Default)]
pub struct Pages {
    places: HashMap<u64, usize>,
    pages: Vec<Page>,
    last: (u64, usize),
    /// Changes from cluster to cluster, so that records need not be cleared.
    pub generation: u8,
    /// Where launches run beside each other, the clock of the last store for the whole system to each address: of a release
    /// what came before it, of others what came before their launch.
    pub releases: Option<HashMap<u64, Arc<[u32]>>>,
    /// How many vectors have been seen in parts there.
    pub torn: usize,
}

/// What one cluster accessed.
#[derive(Clone, Debug, Default)]
pub struct Footprint {
    pub weak: Runs,
    pub strong: Runs,
    /// Read through the non-coherent cache.
    pub non_coherent: Vec<(u64, u64)>,
}

impl Footprint {
    pub fn read(&self) -> impl Iterator<Item = &(u64, u64)> {
        self.weak.read.iter().chain(&self.strong.read).chain(&self.non_coherent)
    }

    pub fn written(&self) -> impl Iterator<Item = &(u64, u64)> {
        self.weak.written.iter().chain(&self.strong.written)
    }
}

/// Runs of bytes, each its address and length, by address.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    pub read: Vec<(u64, u64)>,
    pub written: Vec<(u64, u64)>,
}

impl Runs {
    /// Adds the runs of a page whose address is above all pages added so far.
    fn extend(&mut self, start: u64, touched: &Touched) {
        extend(&mut self.read, start, &touched.read);
        extend(&mut self.written, start, &touched.written);
    }
}

fn extend(runs: &mut Vec<(u64, u64)>, start: u64, bits: &Bits) {
    for (offset, length) in bits.runs(PAGE) {
        match runs.last_mut() {
            Some(last) if last.0 + last.1 == start + offset => last.1 += length,
            _ => runs.push((start + offset, length)),
        }
    }
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
                self.pages.push(Page::new());
            } else if at == count {
                self.pages[at].weak.clear();
                self.pages[at].strong.clear();
                self.pages[at].non_coherent.read.clear();
            }
            self.last = (number, at);
        }
        &mut self.pages[self.last.1]
    }

    /// The pages by address, each with its first byte's.
    pub fn all(&self) -> impl Iterator<Item = (u64, &Page)> {
        let mut places: Vec<(u64, usize)> = self.places.iter().map(|(&number, &at)| (number, at)).collect();
        places.sort_unstable();
        places.into_iter().map(|(number, at)| (number * PAGE, &self.pages[at]))
    }

    /// What the cluster accessed.
    pub fn footprint(&self) -> Footprint {
        let mut footprint = Footprint::default();
        for (start, page) in self.all() {
            footprint.weak.extend(start, &page.weak);
            footprint.strong.extend(start, &page.strong);
            extend(&mut footprint.non_coherent, start, &page.non_coherent.read);
        }
        footprint
    }
}

//! The last accesses to each byte within a cluster, for finding races.
//!
//! Threads have clocks that barriers advance and exchange (vector clocks, a component a warp).
//! Two conflicting accesses are a race unless the clock of the second thread shows that the first happened before: the
//! method of FastTrack (Flanagan and Freund 2009). FastTrack keeps all readers of a byte; here three are kept: the last
//! one, another lane of its warp, and the last one of another warp. A barrier of a block orders a writer after all three or
//! none, a barrier of a warp after the first two. So nothing is missed as long as whole blocks and whole warps take part in
//! barriers.

use crate::kernel::file::WARP;

/// Two neighbouring bytes: the last write, and the reads that are kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    writer: Entry,
    readers: [Entry; 3],
}

/// An access in one word: 15 bits of thread (16384 of a cluster at most, and as many that stand for
/// their asynchronous stores), 20 of clock, 19 of instruction, 2 of bytes, 8 of generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry(u64);

const CLOCK_BITS: u32 = 20;
const INSTRUCTION_BITS: u32 = 19;

impl Entry {
    /// An access by a thread of the cluster. Generations tell clusters apart that use the same
    /// records one after the other; 0 is none.
    pub fn new(thread: u32, clock: u32, instruction: u32, generation: u8) -> Entry {
        let clock = u64::from(clock.min((1 << CLOCK_BITS) - 1));
        let instruction = u64::from(instruction.min((1 << INSTRUCTION_BITS) - 1));
        Entry(u64::from(thread) | clock << 15 | instruction << 35 | u64::from(generation) << 56)
    }

    fn with_bytes(self, bytes: u64) -> Entry {
        Entry(self.0 | bytes << 54)
    }

    pub fn thread(self) -> u32 {
        self.0 as u32 & 0x7fff
    }

    fn warp(self) -> u32 {
        self.thread() / WARP as u32
    }

    pub fn clock(self) -> u32 {
        (self.0 >> 15) as u32 & ((1 << CLOCK_BITS) - 1)
    }

    pub fn instruction(self) -> u32 {
        (self.0 >> 35) as u32 & ((1 << INSTRUCTION_BITS) - 1)
    }

    /// Whether both are of one warp of one cluster.
    fn is_of_warp(self, other: Entry) -> bool {
        self.generation() == other.generation() && self.warp() == other.warp()
    }

    fn bytes(self) -> u64 {
        self.0 >> 54 & 3
    }

    fn generation(self) -> u64 {
        self.0 >> 56
    }

    /// Whether both are of one cluster and touch a common byte.
    fn meets(self, other: Entry) -> bool {
        self.generation() == other.generation() && self.bytes() & other.bytes() != 0
    }
}

/// The last access of that kind to the byte at `at`, of this generation.
pub fn last(records: &[Record], at: usize, writes: bool, generation: u8) -> Option<Entry> {
    let Record { writer, readers } = records[at / 2];
    let mut entries = if writes { [writer; 3] } else { readers }.into_iter();
    entries.find(|entry| entry.generation() == u64::from(generation) && entry.bytes() >> (at % 2) & 1 == 1)
}

/// Whether an access of `bytes` bytes from `at` on races with a recorded one: that one, whether it wrote, and the byte. `before`
/// says whether an access happens before this one.
pub fn race(
    records: &[Record],
    at: usize,
    bytes: usize,
    me: Entry,
    writes: bool,
    before: impl Fn(Entry) -> bool,
) -> Option<(Entry, bool, usize)> {
    parts(at, bytes).find_map(|(index, byte, mask)| {
        let record = records.get(index)?;
        record.race(me.with_bytes(mask), writes, &before).map(|(other, wrote)| (other, wrote, byte))
    })
}

/// The records of `bytes` bytes from `at` on: each its index, its first of these bytes, and which of its two are among them.
fn parts(at: usize, bytes: usize) -> impl Iterator<Item = (usize, usize, u64)> {
    (at / 2..(at + bytes).div_ceil(2)).map(move |index| {
        let low = u64::from(index * 2 >= at);
        let high = u64::from(index * 2 + 1 < at + bytes);
        (index, (index * 2).max(at), low | high << 1)
    })
}

impl Record {
    fn race(&self, me: Entry, writes: bool, before: &impl Fn(Entry) -> bool) -> Option<(Entry, bool)> {
        if self.writer != me && me.meets(self.writer) && !before(self.writer) {
            return Some((self.writer, true));
        }
        let mut readers = self.readers.into_iter().filter(|_| writes);
        readers.find(|&reader| me.meets(reader) && !before(reader)).map(|reader| (reader, false))
    }

    fn note(&mut self, me: Entry, writes: bool) {
        if writes {
            let same = me.generation() == self.writer.generation() && me.thread() == self.writer.thread();
            self.writer = me.with_bytes(me.bytes() | if same { self.writer.bytes() } else { 0 });
        } else if self.readers[0].generation() == me.generation() && self.readers[0].thread() == me.thread() {
            self.readers[0] = me.with_bytes(me.bytes() | self.readers[0].bytes());
        } else {
            let [last, _, elsewhere] = self.readers;
            self.readers =
                if me.is_of_warp(last) { [me, last, elsewhere] } else { [me, Entry::default(), last] };
        }
    }
}

/// Records an access of `bytes` bytes from `at` on. If it races with an earlier one, gives that access, whether that wrote,
/// and the byte, as [`race`].
pub fn touch(
    records: &mut [Record],
    at: usize,
    bytes: usize,
    me: Entry,
    writes: bool,
    before: impl Fn(Entry) -> bool,
) -> Option<(Entry, bool, usize)> {
    for (index, byte, mask) in parts(at, bytes) {
        let me = me.with_bytes(mask);
        if let Some((other, wrote)) = records[index].race(me, writes, &before) {
            return Some((other, wrote, byte));
        }
        records[index].note(me, writes);
    }
    None
}

/// Records an access without looking for races.
pub fn note(records: &mut [Record], at: usize, bytes: usize, me: Entry, writes: bool) {
    parts(at, bytes).for_each(|(index, _, mask)| records[index].note(me.with_bytes(mask), writes));
}

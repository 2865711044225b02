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

/// Records an access of `bytes` bytes from `at` on. If it races with an earlier one, gives that access, whether that wrote,
/// and the byte. `before` says whether an access happens before this one.
pub fn touch(
    records: &mut [Record],
    at: usize,
    bytes: usize,
    me: Entry,
    writes: bool,
    before: impl Fn(Entry) -> bool,
) -> Option<(Entry, bool, usize)> {
    let range = at / 2..(at + bytes).div_ceil(2);
    for (index, record) in range.clone().zip(&mut records[range]) {
        let low = u64::from(index * 2 >= at);
        let high = u64::from(index * 2 + 1 < at + bytes);
        let me = me.with_bytes(low | high << 1);
        let found = |other: Entry, wrote: bool| Some((other, wrote, (index * 2).max(at)));
        if record.writer != me && me.meets(record.writer) && !before(record.writer) {
            return found(record.writer, true);
        }
        if writes {
            for reader in record.readers {
                if me.meets(reader) && !before(reader) {
                    return found(reader, false);
                }
            }
            let same = me.generation() == record.writer.generation() && me.thread() == record.writer.thread();
            let bytes = if same { record.writer.bytes() } else { 0 };
            record.writer = me.with_bytes(bytes);
        } else if record.readers[0].generation() == me.generation()
            && record.readers[0].thread() == me.thread()
        {
            record.readers[0] = me.with_bytes(record.readers[0].bytes());
        } else {
            let [last, _, elsewhere] = record.readers;
            record.readers =
                if me.is_of_warp(last) { [me, last, elsewhere] } else { [me, Entry::default(), last] };
        }
    }
    None
}

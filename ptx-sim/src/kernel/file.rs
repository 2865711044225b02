//! A warp's registers, as a structure of arrays: a row of 32 lanes for each.

use crate::text::registers::Register;

/// Threads in a warp.
pub const WARP: usize = 32;

/// One bit a lane.
pub type Mask = u32;

/// A register in every lane.
pub type Row<T> = [T; WARP];

/// The registers of one warp.
#[derive(Debug, Default)]
pub struct File {
    pub predicates: Vec<Mask>,
    pub words: Vec<Row<u32>>,
    pub wides: Vec<Row<u64>>,
    /// Which lanes of each have been written, in the order of the fields above.
    written: [Vec<Mask>; 3],
}

impl File {
    /// Makes room for that many registers of each kind, none of them written. Values of an earlier warp are not cleared, since
    /// a read before a write is a fault.
    pub fn reset(&mut self, counts: [u32; 3]) {
        let [predicates, words, wides] = counts.map(|count| count as usize);
        self.predicates.resize(predicates, 0);
        self.words.resize(words, [0; WARP]);
        self.wides.resize(wides, [0; WARP]);
        for (written, count) in self.written.iter_mut().zip([predicates, words, wides]) {
            written.clear();
            written.resize(count, 0);
        }
    }

    /// The lanes that have written a register.
    pub fn written(&self, register: Register) -> Mask {
        self.written[register.class.file()][register.slot as usize]
    }

    /// Records that these lanes have written a register.
    pub fn mark(&mut self, register: Register, lanes: Mask) {
        self.written[register.class.file()][register.slot as usize] |= lanes;
    }

    /// Writes a row in the lanes of `active`.
    pub fn write<R: Raw>(&mut self, slot: u32, row: &Row<R>, active: Mask) {
        let target = R::row_mut(self, slot);
        if active == Mask::MAX {
            *target = *row;
        } else {
            for lane in 0..WARP {
                if active >> lane & 1 == 1 {
                    target[lane] = row[lane];
                }
            }
        }
    }

    /// Writes a predicate in the lanes of `active`.
    pub fn write_predicate(&mut self, slot: u32, lanes: Mask, active: Mask) {
        let target = &mut self.predicates[slot as usize];
        *target = *target & !active | lanes & active;
    }
}

/// What a row is made of.
pub trait Raw: Copy + Default + Send + Sync + 'static {
    fn row(file: &File, slot: u32) -> &Row<Self>;
    fn row_mut(file: &mut File, slot: u32) -> &mut Row<Self>;
}

impl Raw for u32 {
    fn row(file: &File, slot: u32) -> &Row<u32> {
        &file.words[slot as usize]
    }
    fn row_mut(file: &mut File, slot: u32) -> &mut Row<u32> {
        &mut file.words[slot as usize]
    }
}

impl Raw for u64 {
    fn row(file: &File, slot: u32) -> &Row<u64> {
        &file.wides[slot as usize]
    }
    fn row_mut(file: &mut File, slot: u32) -> &mut Row<u64> {
        &mut file.wides[slot as usize]
    }
}

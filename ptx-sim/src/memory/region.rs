//! One allocation of global memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::bits::Bits;

/// What may be done with an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Writable,
    ReadOnly,
    Freed,
}

/// An allocation. Worker threads that run different blocks access its words at the same time, so the words are atomic: a race
/// of the kernel is no data race of the simulator. Races are found by records of accesses.
#[derive(Debug)]
pub struct Region {
    pub name: String,
    pub start: u64,
    pub bytes: u64,
    pub state: State,
    /// Whether a kernel must write all of it.
    pub output: bool,
    /// The address that its elements are counted from, and the bytes of one.
    pub elements: (u64, u32),
    /// Bytes written before the current launch.
    pub written: Bits,
    /// The contents, in words from the multiple of 4 at or below `start` on.
    words: Arc<[AtomicU32]>,
}

impl Region {
    pub fn new(start: u64, name: &str, bytes: u64) -> Region {
        let words = ((start & 3) + bytes).div_ceil(4);
        Region {
            name: name.to_owned(),
            start,
            bytes,
            state: State::Writable,
            output: false,
            elements: (start, 1),
            written: Bits::new(bytes),
            words: (0..words).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// A copy; a read-only allocation is shared with it.
    pub fn copy(&self) -> Region {
        let words = match self.state {
            State::Writable => self.words.iter().map(|word| AtomicU32::new(word.load(Relaxed))).collect(),
            // Kernels cannot write it.
            State::ReadOnly | State::Freed => Arc::clone(&self.words),
        };
        let (name, written) = (self.name.clone(), self.written.clone());
        Region { name, written, words, ..*self }
    }

    /// Where it ends.
    pub fn end(&self) -> u64 {
        self.start + self.bytes
    }

    /// Puts bytes at its beginning.
    pub fn fill(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.bytes as usize)];
        for (at, chunk) in bytes.chunks(4).enumerate() {
            self.store(self.start + at as u64 * 4, chunk);
        }
        self.written.set_all(0, bytes.len() as u64);
    }

    /// Reads bytes that are in it.
    pub fn load(&self, address: u64, bytes: &mut [u8]) {
        let offset = (address - (self.start & !3)) as usize;
        if offset.is_multiple_of(4) && bytes.len().is_multiple_of(4) {
            for (chunk, word) in bytes.chunks_exact_mut(4).zip(&self.words[offset / 4..]) {
                chunk.copy_from_slice(&word.load(Relaxed).to_le_bytes());
            }
        } else {
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = self.words[(offset + at) / 4].load(Relaxed).to_le_bytes()[(offset + at) % 4];
            }
        }
    }

    /// Writes bytes that are in it.
    pub fn store(&self, address: u64, bytes: &[u8]) {
        let offset = (address - (self.start & !3)) as usize;
        if offset.is_multiple_of(4) && bytes.len().is_multiple_of(4) {
            for (chunk, word) in bytes.chunks_exact(4).zip(&self.words[offset / 4..]) {
                let mut value = [0; 4];
                value.copy_from_slice(chunk);
                word.store(u32::from_le_bytes(value), Relaxed);
            }
        } else {
            for (at, &byte) in bytes.iter().enumerate() {
                let (word, shift) = (&self.words[(offset + at) / 4], (offset + at) % 4 * 8);
                // Other threads may write the word's other bytes at the same time.
                word.fetch_and(!(0xff << shift), Relaxed);
                word.fetch_or(u32::from(byte) << shift, Relaxed);
            }
        }
    }
}

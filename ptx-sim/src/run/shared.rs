//! The shared memory of one block.

use crate::check::shadow::{Entry, Record, last, touch};
use crate::fault::FaultKind;
use crate::memory::bits::{Bits, low_bits};

/// The bytes of shared memory, which of them have been written, and the last accesses.
#[derive(Debug, Default)]
pub struct Shared {
    bytes: Vec<u8>,
    written: Bits,
    records: Vec<Record>,
}

/// A race: the earlier access, whether that wrote, and the byte.
pub struct Race {
    pub other: Entry,
    pub wrote: bool,
    pub address: u64,
}

/// What is wrong with an access.
pub enum Wrong {
    Fault(FaultKind),
    Race(Race),
}

impl Shared {
    /// Makes room for a new block. Bytes of the block before are not cleared, since reading them is a fault.
    pub fn start(&mut self, bytes: u64, clear_records: bool) {
        self.bytes.resize(bytes as usize, 0);
        self.written = Bits::new(bytes);
        if clear_records {
            self.records.clear();
        }
        self.records.resize(bytes.div_ceil(2) as usize, Record::default());
    }

    /// Reads bytes.
    pub fn load(
        &mut self,
        address: u64,
        bytes: &mut [u8],
        me: Option<Entry>,
        before: impl Fn(Entry) -> bool,
    ) -> Result<(), Wrong> {
        let at = self.check(address, bytes.len() as u32)?;
        let written = self.written.get(at as u64, bytes.len() as u32);
        let missing = !written & low_bits(bytes.len() as u32);
        if missing != 0 {
            let address = address + u64::from(missing.trailing_zeros());
            return Err(Wrong::Fault(FaultKind::UninitializedMemory {
                space: "shared",
                address,
                element: None,
            }));
        }
        self.touch(at, bytes.len(), me, false, before)?;
        bytes.copy_from_slice(&self.bytes[at..at + bytes.len()]);
        Ok(())
    }

    /// Writes bytes.
    pub fn store(
        &mut self,
        address: u64,
        bytes: &[u8],
        me: Option<Entry>,
        before: impl Fn(Entry) -> bool,
    ) -> Result<(), Wrong> {
        let at = self.check(address, bytes.len() as u32)?;
        self.touch(at, bytes.len(), me, true, before)?;
        self.written.set(at as u64, bytes.len() as u32);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// The last store to a byte, strong stores aside.
    pub fn writer(&self, address: u64, generation: u8) -> Option<Entry> {
        last(&self.records, address as usize, true, generation)
    }

    /// Checks that an access lies within the block's shared memory, and gives its offset there.
    pub fn check(&self, address: u64, bytes: u32) -> Result<usize, Wrong> {
        let end = address.checked_add(u64::from(bytes)).filter(|&end| end <= self.bytes.len() as u64);
        if end.is_none() {
            let near = Some(format!("the block has {} bytes", self.bytes.len()));
            return Err(Wrong::Fault(FaultKind::OutOfBounds { space: "shared", address, bytes, near }));
        }
        Ok(address as usize)
    }

    fn touch(
        &mut self,
        at: usize,
        bytes: usize,
        me: Option<Entry>,
        writes: bool,
        before: impl Fn(Entry) -> bool,
    ) -> Result<(), Wrong> {
        let Some(me) = me else { return Ok(()) };
        match touch(&mut self.records, at, bytes, me, writes, before) {
            None => Ok(()),
            Some((other, wrote, address)) => Err(Wrong::Race(Race { other, wrote, address: address as u64 })),
        }
    }
}

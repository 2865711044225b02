//! Global memory.

pub mod address;
pub mod bits;
pub mod region;

use crate::fault::{Element, FaultKind};
use bits::Bits;
use region::{Region, State};

/// The device's global memory: what the host allocates, and what kernels read and write.
///
/// Every allocation has a name, which messages and counts use, and lies apart from the others,
/// so that an access behind its end is found.
#[derive(Debug, Default)]
pub struct Memory {
    /// By address.
    regions: Vec<Region>,
}

/// Why memory was not given out or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The bytes are in no allocation, or in one that has been freed.
    #[error("{bytes} bytes at {address:#x} are in no allocation")]
    NotAllocated {
        /// The first byte.
        address: u64,
        /// How many.
        bytes: u64,
    },
    /// The bytes are another allocation's, or there are no such addresses.
    #[error("{bytes} bytes at {address:#x} are not free")]
    NotFree {
        /// The first byte.
        address: u64,
        /// How many.
        bytes: u64,
    },
}

/// The lowest address given out.
const FIRST: u64 = 0x10_0000;
/// Allocations are aligned to this, as the CUDA driver's are.
const ALIGN: u64 = 256;
/// Bytes left free between allocations.
const GAP: u64 = 4096;

impl Memory {
    /// No memory at all.
    pub fn new() -> Memory {
        Memory::default()
    }

    /// Allocates bytes that nothing has written.
    pub fn allocate(&mut self, name: &str, bytes: u64) -> u64 {
        self.add(Region::new(self.next(), name, bytes))
    }

    /// Allocates bytes that a kernel must write, all of them.
    pub fn output(&mut self, name: &str, bytes: u64) -> u64 {
        let mut region = Region::new(self.next(), name, bytes);
        region.output = true;
        self.add(region)
    }

    /// Allocates memory with something in it.
    pub fn upload(&mut self, name: &str, bytes: &[u8]) -> u64 {
        let mut region = Region::new(self.next(), name, bytes.len() as u64);
        region.fill(bytes);
        self.add(region)
    }

    /// Allocates memory with something in it that kernels may only read: a store to it is a fault.
    pub fn upload_read_only(&mut self, name: &str, bytes: &[u8]) -> u64 {
        let mut region = Region::new(self.next(), name, bytes.len() as u64);
        region.fill(bytes);
        region.state = State::ReadOnly;
        self.add(region)
    }

    /// Makes an allocation at an address of the caller's choice. `contents` are there already;
    /// without them nothing has written it, and with `output` a kernel must.
    ///
    /// # Errors
    /// [`MemoryError::NotFree`] where it would overlap another or leave global memory.
    pub fn place(
        &mut self,
        address: u64,
        name: &str,
        bytes: u64,
        contents: Option<&[u8]>,
        output: bool,
    ) -> Result<(), MemoryError> {
        let not_free = MemoryError::NotFree { address, bytes };
        let end = address.checked_add(bytes).filter(|&end| address != 0 && end <= address::SHARED);
        let end = end.ok_or_else(|| not_free.clone())?;
        let at = self.regions.partition_point(|region| region.start < address);
        let after = at.checked_sub(1).is_some_and(|before| self.regions[before].end() > address);
        let before = self.regions.get(at).is_some_and(|next| next.start < end);
        if after || before {
            return Err(not_free);
        }
        let mut region = Region::new(address, name, bytes);
        if let Some(contents) = contents {
            region.fill(contents);
        }
        region.output = output;
        self.regions.insert(at, region);
        Ok(())
    }

    /// Says what lies in an allocation, so that messages can name it: elements of `size` bytes, which are counted from
    /// the address `first`, at or in front of the allocation's start.
    ///
    /// # Errors
    /// [`MemoryError::NotAllocated`] if no allocation begins at `address`, or behind its start at `first`.
    pub fn set_elements(&mut self, address: u64, first: u64, size: u32) -> Result<(), MemoryError> {
        // Not a search through all: an operation may have an allocation a row.
        let at = self.regions.partition_point(|region| region.start <= address).checked_sub(1);
        let at = at.filter(|&at| self.regions[at].start == address && first <= address);
        let at = at.ok_or(MemoryError::NotAllocated { address, bytes: u64::from(size) })?;
        self.regions[at].elements = (first, size.max(1));
        Ok(())
    }

    /// Frees an allocation. An access to it is an error from now on.
    ///
    /// # Errors
    /// [`MemoryError::NotAllocated`] if none begins there.
    pub fn free(&mut self, address: u64) -> Result<(), MemoryError> {
        let found =
            self.regions.iter_mut().find(|region| region.start == address && region.state != State::Freed);
        let region = found.ok_or(MemoryError::NotAllocated { address, bytes: 0 })?;
        region.state = State::Freed;
        Ok(())
    }

    /// What bytes hold; those that nothing wrote are zeros.
    ///
    /// # Errors
    /// [`MemoryError::NotAllocated`] if they are not all in one allocation.
    pub fn read(&self, address: u64, bytes: u64) -> Result<Vec<u8>, MemoryError> {
        let region = self.find(address).map(|at| &self.regions[at]).filter(|region| {
            region.state != State::Freed && address.checked_add(bytes).is_some_and(|end| end <= region.end())
        });
        let region = region.ok_or(MemoryError::NotAllocated { address, bytes })?;
        let mut contents = vec![0; bytes as usize];
        contents
            .chunks_mut(32)
            .enumerate()
            .for_each(|(at, chunk)| region.load(address + at as u64 * 32, chunk));
        Ok(contents)
    }

    /// A copy of all memory. Read-only allocations are shared with it.
    pub(crate) fn copy(&self) -> Memory {
        Memory { regions: self.regions.iter().map(Region::copy).collect() }
    }

    /// The element that an address lies in.
    pub(crate) fn element(&self, address: u64) -> Option<Box<Element>> {
        let region = &self.regions[self.find(address)?];
        let (first, size) = region.elements;
        let index = (address - first) / u64::from(size);
        Some(Box::new(Element { buffer: region.name.clone(), index, size }))
    }

    /// The allocations. Counts are kept by their index here.
    pub(crate) fn regions(&self) -> &[Region] {
        &self.regions
    }

    pub(crate) fn regions_mut(&mut self) -> &mut [Region] {
        &mut self.regions
    }

    /// Takes an allocation back for good.
    pub(crate) fn remove(&mut self, address: u64) {
        self.regions.retain(|region| region.start != address);
    }

    /// The last allocation that begins at or before an address, if the address is in it.
    pub(crate) fn find(&self, address: u64) -> Option<usize> {
        let at = self.regions.partition_point(|region| region.start <= address).checked_sub(1)?;
        (address < self.regions[at].end()).then_some(at)
    }

    /// The allocation that an access lies in. `guess` is tried first.
    pub(crate) fn check(
        &self,
        address: u64,
        bytes: u32,
        writes: bool,
        guess: usize,
    ) -> Result<usize, FaultKind> {
        let holds = |region: &Region| {
            address >= region.start
                && address.checked_add(u64::from(bytes)).is_some_and(|end| end <= region.end())
        };
        let at = if self.regions.get(guess).is_some_and(holds) { Some(guess) } else { self.find(address) };
        let Some(region) = at.map(|at| &self.regions[at]).filter(|region| holds(region)) else {
            return Err(FaultKind::OutOfBounds { space: "global", address, bytes, near: self.near(address) });
        };
        match region.state {
            State::Freed => Err(FaultKind::Freed { address, bytes, buffer: region.name.clone() }),
            State::ReadOnly if writes => Err(FaultKind::ReadOnly { address, buffer: region.name.clone() }),
            _ => Ok(at.unwrap_or(0)),
        }
    }

    /// The allocation that has not been freed and holds all of these bytes.
    pub(crate) fn holds(&self, address: u64, bytes: u64) -> Option<usize> {
        let at = self.find(address)?;
        let region = &self.regions[at];
        let fits = address.checked_add(bytes).is_some_and(|end| end <= region.end());
        (fits && region.state != State::Freed).then_some(at)
    }

    /// Says where the closest allocation below an address is.
    fn near(&self, address: u64) -> Option<String> {
        let at = self.regions.partition_point(|region| region.start <= address).checked_sub(1)?;
        let region = &self.regions[at];
        let past = address.saturating_sub(region.end());
        Some(format!("{} ends {past} bytes before it", region.name))
    }

    fn next(&self) -> u64 {
        let end = self.regions.last().map_or(FIRST, |region| region.end() + GAP);
        end.next_multiple_of(ALIGN)
    }

    fn add(&mut self, region: Region) -> u64 {
        let start = region.start;
        self.regions.push(region);
        start
    }
}

/// Bytes that nothing wrote in buffers declared as outputs: the buffer's name, the first such
/// byte's address and offset, and how many there are.
pub(crate) fn unwritten(memory: &Memory) -> Option<(String, u64, u64, u64)> {
    memory.regions.iter().filter(|region| region.output && region.state != State::Freed).find_map(|region| {
        let missing = region.bytes - Bits::count(&region.written);
        (missing > 0).then(|| {
            let first = region.written.first_clear();
            (region.name.clone(), region.start + first, first, missing)
        })
    })
}

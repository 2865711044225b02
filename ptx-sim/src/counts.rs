//! What a launch did, in numbers.

pub(crate) mod distinct;
mod kind;
pub(crate) mod requests;

use std::collections::BTreeMap;

pub use kind::InstructionKind;

/// Bytes of a sector: the least that a GPU moves between its L2 cache and a multiprocessor.
pub const SECTOR: u64 = 32;

/// What a launch did.
///
/// "Instructions" are a warp's: one for all its lanes. "Thread instructions" count the lanes
/// that took part. Requests are memory instructions of a warp that moved something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Counts {
    /// Instructions of each kind.
    pub instructions: BTreeMap<InstructionKind, u64>,
    /// Instructions, times lanes that took part.
    pub thread_instructions: u64,
    /// The most instructions that one warp ran.
    pub longest_warp: u64,
    /// Global memory by the allocation's name.
    pub global: BTreeMap<String, Traffic>,
    /// Loads and stores of shared memory.
    pub shared: SharedTraffic,
    /// Barriers of blocks and clusters, one for each warp that passes.
    pub barriers: u64,
    /// Branches at which a warp diverged.
    pub divergent_branches: u64,
    /// `griddepcontrol` instructions.
    pub dependent_launch: u64,
    /// Prefetches of threads whose bytes lie outside every allocation, or partly. The PTX ISA does not say what they do; a
    /// GPU ignores them, as far as one can see. [`LineCounts`] has them by line.
    pub stray_prefetches: u64,
    /// What was run of each line of the PTX.
    pub lines: BTreeMap<u32, LineCounts>,
}

/// What was run of one line of the PTX.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LineCounts {
    /// Instructions of warps.
    pub instructions: u64,
    /// The same, times lanes that took part.
    pub thread_instructions: u64,
    /// Branches at which a warp diverged.
    pub divergent_branches: u64,
    /// Prefetches of threads whose bytes lie outside every allocation, or partly.
    pub stray_prefetches: u64,
}

/// Traffic between a kernel and one allocation of global memory. No cache is modelled: what is
/// requested twice counts twice, except in [`Requests::distinct_sectors`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Traffic {
    /// What loads did.
    pub loads: Requests,
    /// What stores did.
    pub stores: Requests,
    /// What prefetches requested. Only bulk prefetches state a number of bytes. Distinct sectors are not counted.
    pub prefetches: Requests,
}

/// Requests of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Requests {
    /// Memory instructions of warps.
    pub requests: u64,
    /// Accesses of threads.
    pub accesses: u64,
    /// Bytes that threads requested.
    pub bytes: u64,
    /// Sectors of 32 bytes that each request touched, added up over all requests: the traffic with L1.
    pub sectors: u64,
    /// Sectors that any request touched, each counted once a launch: the traffic with memory if caches hold what is
    /// requested again.
    pub distinct_sectors: u64,
}

/// Traffic with shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SharedTraffic {
    /// Memory instructions of warps.
    pub requests: u64,
    /// Bytes that threads requested.
    pub bytes: u64,
    /// Bank conflicts: passes of the 32 banks beyond those that conflict-free addresses would take.
    pub conflicts: u64,
    /// Accesses of threads to other blocks of their cluster.
    pub remote: u64,
}

impl Requests {
    /// Sectors a request; 16 where 32 lanes access 16 bytes each side by side.
    pub fn sectors_a_request(&self) -> f64 {
        self.sectors as f64 / self.requests.max(1) as f64
    }

    /// Bytes a thread's access.
    pub fn bytes_an_access(&self) -> f64 {
        self.bytes as f64 / self.accesses.max(1) as f64
    }

    /// Bytes of the requests' sectors, as a multiple of `minimum`, the bytes that had to be moved.
    pub fn factor(&self, minimum: u64) -> f64 {
        (self.sectors * SECTOR) as f64 / minimum.max(1) as f64
    }

    /// Bytes of distinct sectors, as a multiple of the same.
    pub fn distinct_factor(&self, minimum: u64) -> f64 {
        (self.distinct_sectors * SECTOR) as f64 / minimum.max(1) as f64
    }

    fn add(&mut self, other: &Requests) {
        self.requests += other.requests;
        self.accesses += other.accesses;
        self.bytes += other.bytes;
        self.sectors += other.sectors;
        self.distinct_sectors += other.distinct_sectors;
    }
}

impl Traffic {
    pub(crate) fn add(&mut self, other: &Traffic) {
        self.loads.add(&other.loads);
        self.stores.add(&other.stores);
        self.prefetches.add(&other.prefetches);
    }
}

impl LineCounts {
    pub(crate) fn add(&mut self, other: &LineCounts) {
        self.instructions += other.instructions;
        self.thread_instructions += other.thread_instructions;
        self.divergent_branches += other.divergent_branches;
        self.stray_prefetches += other.stray_prefetches;
    }
}

impl SharedTraffic {
    pub(crate) fn add(&mut self, other: &SharedTraffic) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.conflicts += other.conflicts;
        self.remote += other.remote;
    }
}

impl Counts {
    /// Instructions of all kinds.
    pub fn total(&self) -> u64 {
        self.instructions.values().sum()
    }

    /// The traffic of all allocations together. A sector that two of them share is two.
    pub fn all_global(&self) -> Traffic {
        let mut sum = Traffic::default();
        self.global.values().for_each(|traffic| sum.add(traffic));
        sum
    }
}

//! Where threads wait for each other: a block's barriers, and the cluster's.

use crate::kernel::file::Mask;

/// A barrier. Each time it completes is a generation.
#[derive(Debug, Default)]
pub struct Meeting {
    /// The lanes of each warp that have arrived.
    pub arrived: Vec<Mask>,
    /// Threads it waits for, where the instruction says so.
    pub threads: Option<u32>,
    pub generation: u32,
    /// What those that arrive know of all warps' clocks, and what the last generation knew.
    gathered: Vec<u32>,
    pub released: Vec<u32>,
}

impl Meeting {
    pub fn new(warps: usize) -> Meeting {
        Meeting { arrived: vec![0; warps], ..Meeting::default() }
    }

    /// Lanes arrive, with what their warp knows if it says so.
    pub fn arrive(&mut self, warp: usize, lanes: Mask, clock: Option<&[u32]>) {
        self.arrived[warp] |= lanes;
        if let Some(clock) = clock {
            join(&mut self.gathered, clock);
        }
    }

    /// Completes if all have come: those of each warp that still run and, where a number of
    /// threads is given, that many. Whole warps count as 32.
    pub fn complete(&mut self, live: impl Iterator<Item = (Mask, Mask)>) -> bool {
        let mut count = 0;
        let mut all = true;
        for ((valid, live), arrived) in live.zip(&self.arrived) {
            all &= live & !arrived == 0;
            count += if *arrived == valid && valid != 0 { 32 } else { arrived.count_ones() };
        }
        let complete = count > 0 && self.threads.map_or(all, |threads| count >= threads);
        if complete {
            self.generation += 1;
            self.arrived.fill(0);
            self.threads = None;
            self.released = std::mem::take(&mut self.gathered);
        }
        complete
    }
}

/// The later of both in every component.
pub fn join(clock: &mut Vec<u32>, other: &[u32]) {
    if clock.len() < other.len() {
        clock.resize(other.len(), 0);
    }
    for (known, other) in clock.iter_mut().zip(other) {
        *known = (*known).max(*other);
    }
}

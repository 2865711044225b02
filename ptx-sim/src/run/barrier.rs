//! Where threads wait for each other: a block's barriers, and the cluster's.

use crate::kernel::file::Mask;

/// A barrier. Each time it completes is a generation.
#[derive(Debug, Default)]
pub struct Barrier {
    /// The lanes of each warp that have arrived.
    arrived: Vec<Mask>,
    /// Threads it waits for, where the instruction says so.
    pub threads: Option<u32>,
    pub generation: u32,
    /// What the warps that have arrived know of all warps' clocks.
    gathered: Vec<u32>,
    /// Lanes that have arrived and wait for this generation to complete, now or later.
    waiting: u32,
    /// Generations that have completed and that some lanes have not been woken from.
    released: Vec<Release>,
}

/// What a generation tells those that waited for it. Each has a clock of its own: a barrier of some of a block's warps
/// may complete again before one that waited for an earlier generation runs on, and what others did in between is not
/// ordered before that one.
#[derive(Debug)]
struct Release {
    generation: u32,
    clock: Vec<u32>,
    /// Lanes that have not been woken.
    waiting: u32,
}

impl Barrier {
    pub fn new(warps: usize) -> Barrier {
        Barrier { arrived: vec![0; warps], ..Barrier::default() }
    }

    /// Lanes arrive, with what their warp knows if it says so; whether they will be woken too.
    pub fn arrive(&mut self, warp: usize, lanes: Mask, clock: Option<&[u32]>, waits: bool) {
        self.arrived[warp] |= lanes;
        if let Some(clock) = clock {
            join(&mut self.gathered, clock);
        }
        if waits {
            self.waiting += lanes.count_ones();
        }
    }

    /// Completes if all have come: those of each warp that still run and, where a number of
    /// threads is given, that many. Whole warps count as 32.
    pub fn complete(&mut self, live: impl Iterator<Item = (Mask, Mask)>) {
        let mut count = 0;
        let mut all = true;
        for ((valid, live), arrived) in live.zip(&self.arrived) {
            all &= live & !arrived == 0;
            count += if *arrived == valid && valid != 0 { 32 } else { arrived.count_ones() };
        }
        if count == 0 || !self.threads.map_or(all, |threads| count >= threads) {
            return;
        }
        let (clock, waiting) = (std::mem::take(&mut self.gathered), std::mem::take(&mut self.waiting));
        self.released.push(Release { generation: self.generation, clock, waiting });
        self.generation += 1;
        self.arrived.fill(0);
        self.threads = None;
        self.forget();
    }

    /// Wakes lanes that wait for a generation: what they learn, or `None` while it has not completed.
    pub fn wake(&mut self, generation: u32, lanes: Mask) -> Option<Vec<u32>> {
        let release = self.released.iter_mut().find(|release| release.generation == generation)?;
        release.waiting = release.waiting.saturating_sub(lanes.count_ones());
        let clock =
            if release.waiting == 0 { std::mem::take(&mut release.clock) } else { release.clock.clone() };
        self.forget();
        Some(clock)
    }

    fn forget(&mut self) {
        self.released.retain(|release| release.waiting > 0);
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

//! Where threads wait for each other: a block's barriers, and the cluster's.

use crate::kernel::file::Mask;

/// A barrier. It completes any number of times; a generation is the time from one completion to the next.
#[derive(Debug, Default)]
pub struct Barrier {
    /// The lanes of each warp that have arrived.
    arrived: Vec<Mask>,
    /// The number of threads it waits for, if the instruction gives one; otherwise all of the block.
    pub threads: Option<u32>,
    pub generation: u32,
    /// The vector clocks of the warps that have arrived, joined.
    gathered: Vec<u32>,
    /// Lanes that have arrived and wait for this generation to complete, now or later.
    waiting: u32,
    /// Generations that have completed, while some of their lanes have not been woken.
    released: Vec<Release>,
}

/// A completed generation, and the joined clock that its lanes take over when they are woken. Each generation has a clock of
/// its own: if only some of a block's warps take part, the barrier may complete again before a warp of an earlier
/// generation goes on, and what other warps did in between does not happen before that.
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

    /// Lanes of a warp arrive. With `clock`, the warp's vector clock, what they did so far happens before all that waiting
    /// lanes do next; with `waits` they are themselves to be woken.
    pub fn arrive(&mut self, warp: usize, lanes: Mask, clock: Option<&[u32]>, waits: bool) {
        self.arrived[warp] |= lanes;
        if let Some(clock) = clock {
            join(&mut self.gathered, clock);
        }
        if waits {
            self.waiting += lanes.count_ones();
        }
    }

    /// Completes the generation if enough lanes have arrived: `threads` of them if that is given, else every lane that still
    /// runs. Whole warps count as 32.
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

    /// Wakes lanes that wait for a generation, and gives its joined clock; `None` if it has not completed.
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

/// Joins a vector clock with another: the maximum of each component.
pub fn join(clock: &mut Vec<u32>, other: &[u32]) {
    if clock.len() < other.len() {
        clock.resize(other.len(), 0);
    }
    for (known, other) in clock.iter_mut().zip(other) {
        *known = (*known).max(*other);
    }
}

//! A warp: registers, and the parts that it has split into.

use crate::kernel::file::{File, Mask};
use crate::kernel::{Kernel, Order};
use crate::run::copies::Copies;

/// A part of a diverged warp: lanes that execute the same instructions.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub at: u32,
    pub lanes: Mask,
    /// Its position in the kernel's [`Order`]: the lowest runs first.
    pub place: u32,
    pub wait: Wait,
}

/// What a part waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Nothing,
    /// Other lanes, which must reach the same instruction.
    Lanes(Mask),
    /// The end of a barrier's generation.
    Barrier {
        number: u32,
        generation: u32,
    },
    /// The end of a generation of the cluster's barrier.
    Cluster {
        generation: u32,
    },
    /// The end of a phase of one of the block's mbarriers.
    Mbarrier {
        offset: u64,
        phase: u32,
    },
}

/// A warp: registers, diverged parts, and the vector clock by which races are found.
#[derive(Debug, Default)]
pub struct Warp {
    pub file: File,
    pub parts: Vec<Part>,
    /// Lanes that have a thread, and those whose thread still runs.
    pub valid: Mask,
    pub live: Mask,
    /// Its place in the cluster, its block's place there, and its place in the block.
    pub index: usize,
    pub block: usize,
    pub in_block: usize,
    /// Its vector clock: a component for each warp of the cluster, its own included. Where launches run beside each other, for
    /// each warp of all, of which the cluster's are those from `base` on.
    pub clock: Vec<u32>,
    pub base: usize,
    /// Lanes that have arrived at the cluster's barrier and not waited, and the generation at which they arrived.
    pub cluster_arrived: Mask,
    pub cluster_generation: u32,
    /// How often it has passed the cluster's barrier. Once is enough to know that all blocks have started, even if they
    /// arrived `.relaxed`, which orders no accesses.
    pub met_cluster: u32,
    /// The mbarrier, by its offset, and the phase for which `try_wait` has given up once.
    pub gave_up: Option<(u64, u32)>,
    /// Lanes that have executed `griddepcontrol.wait`.
    pub waited: Mask,
    pub instructions: u64,
    pub copies: Copies,
    /// Each lane's local memory, and which of its bytes have been written.
    pub local: Vec<u8>,
    pub local_written: Vec<bool>,
}

impl Warp {
    /// Makes it a new warp at the kernel's first instruction.
    pub fn start(
        &mut self,
        kernel: &Kernel,
        valid: Mask,
        [index, block, in_block]: [usize; 3],
        (base, before): (usize, &[u32]),
    ) {
        self.file.reset(kernel.files);
        self.parts.clear();
        self.parts.push(Part { at: 0, lanes: valid, place: 0, wait: Wait::Nothing });
        (self.valid, self.live) = (valid, valid);
        (self.index, self.block, self.in_block) = (index, block, in_block);
        self.base = base;
        self.clock.clear();
        self.clock.extend_from_slice(before);
        self.tick();
        (self.cluster_arrived, self.cluster_generation, self.met_cluster) = (0, 0, 0);
        self.gave_up = None;
        self.waited = 0;
        self.instructions = 0;
        self.copies = Copies::default();
        let local = kernel.local as usize * 32;
        self.local.clear();
        self.local.resize(local, 0);
        self.local_written.clear();
        self.local_written.resize(local, false);
    }

    /// Its own component of the clock, which its accesses are recorded with.
    pub fn now(&self) -> u32 {
        self.clock[self.number()]
    }

    /// Its place among all warps that have a component of the clock.
    pub fn number(&self) -> usize {
        self.base + self.index
    }

    /// Whether an access of a thread of the cluster, recorded at `clock`, happens before what `lane` does now.
    pub fn is_after(&self, lane: usize, thread: u32, clock: u32) -> bool {
        let warp = (thread / 32) as usize;
        if warp == self.number() {
            thread as usize % 32 == lane || clock < self.now()
        } else {
            self.clock.get(warp).is_some_and(|&known| known >= clock)
        }
    }

    /// Advances its own clock: accesses from here on are ordered only by later barriers.
    pub fn tick(&mut self) {
        let number = self.number();
        self.clock[number] += 1;
    }

    /// Joins the clock of a completed barrier: what was done before its arrivals happens before what this warp does next.
    pub fn learn(&mut self, released: &[u32]) {
        let (own, number) = (self.now(), self.number());
        super::barrier::join(&mut self.clock, released);
        self.clock[number] = own;
    }

    /// The part to run next: of those that do not wait, the one furthest behind.
    pub fn next(&self) -> Option<usize> {
        let ready = self.parts.iter().enumerate().filter(|(_, part)| part.wait == Wait::Nothing);
        ready.min_by_key(|(_, part)| (part.place, part.at)).map(|(at, _)| at)
    }

    /// Merges parts that stand at the same instruction and wait for no barrier.
    pub fn merge(&mut self) {
        let open = |part: &Part| matches!(part.wait, Wait::Nothing | Wait::Lanes(_));
        let mut at = 0;
        while at < self.parts.len() {
            let mut other = at + 1;
            while other < self.parts.len() {
                let (a, b) = (self.parts[at], self.parts[other]);
                if a.at == b.at && a.place == b.place && open(&a) && open(&b) {
                    self.parts[at].lanes |= b.lanes;
                    self.parts[at].wait = Wait::Nothing;
                    self.parts.swap_remove(other);
                } else {
                    other += 1;
                }
            }
            at += 1;
        }
    }

    /// Splits lanes off a part, which go on at instruction `to`.
    pub fn split(&mut self, part: usize, lanes: Mask, to: u32, order: &Order) {
        let from = self.parts[part].at;
        self.parts[part].lanes &= !lanes;
        let place = order.arrival(from, to);
        self.parts.push(Part { at: to, lanes, place, wait: Wait::Nothing });
    }
}

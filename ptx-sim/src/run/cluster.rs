//! The blocks of one cluster, run together. Without clusters, a block is one.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::barrier::Barrier;
use super::grid::Grid;
use super::lane::ThreadId;
use super::mbarrier::Mbarrier;
use super::shape::Shape;
use super::shared::Shared;
use super::special_registers::{self, Setting};
use super::step::TURN;
use super::tally::Tally;
use super::warp::{Wait, Warp};
use crate::check::in_flight::InFlight;
use crate::check::pages::Pages;
use crate::check::shadow::Entry;
use crate::counts::requests;
use crate::fault::{Fault, FaultKind};
use crate::kernel::Kernel;
use crate::kernel::file::{Mask, Row};
use crate::kernel::op::CopyAsync;
use crate::memory::Memory;

/// Why a warp stopped: the lane, what it did wrong, and the instruction, `None` for the current one.
pub struct Abort {
    pub lane: u32,
    pub at: Option<u32>,
    pub kind: FaultKind,
}

impl Abort {
    pub fn new(lane: u32, kind: FaultKind) -> Abort {
        Abort { lane, at: None, kind }
    }

    pub fn at(at: u32, lane: u32, kind: FaultKind) -> Abort {
        Abort { lane, at: Some(at), kind }
    }

    pub fn or_at(self, at: u32) -> Abort {
        Abort { at: self.at.or(Some(at)), ..self }
    }
}

/// A running cluster. A worker thread uses one of these for all its clusters, one after the other.
pub struct Cluster<'a> {
    pub kernel: &'a Kernel,
    pub memory: &'a Memory,
    pub arguments: &'a [u8],
    pub limit: u64,
    /// Instructions that a warp may run before another has its turn.
    pub turn: u64,
    pub shared: Vec<Shared>,
    /// The sixteen barriers of each block.
    pub barriers: Vec<Vec<Barrier>>,
    pub cluster_barrier: Barrier,
    /// By the block's rank and the offset in its shared memory.
    pub mbarriers: HashMap<(usize, u64), Mbarrier>,
    pub pages: Pages,
    pub tally: Tally,
    /// The block's rank and the offset in its shared memory of the last read of unwritten memory.
    pub unwritten: Option<(usize, u64)>,
    /// The allocation of the last access, in which the next one is looked for first.
    pub guess: usize,
    grid: &'a Grid<'a>,
    number: u64,
    /// Where launches run beside each other, the place of the first warp among all.
    base: usize,
    /// Where launches run beside each other, the clock of what came before this one.
    pub before: Arc<[u32]>,
    /// The clocks that loads without acquire have seen, by which later launches of the stream come behind what they are of.
    pub learned: Vec<u32>,
    /// Where launches run beside each other, elements of vectors that the others do not see before this cluster's next turn: of each
    /// the address and the bytes.
    pub torn: Vec<(u64, Box<[u8]>)>,
    /// Whether `griddepcontrol.wait` waits for all launches in flight.
    pub all_awaited: bool,
    /// The clock of each warp's first `griddepcontrol.wait`.
    pub waits: Vec<Option<u32>>,
    /// For each block, once it has executed `griddepcontrol.launch_dependents`, whether that was before any of its threads
    /// executed `griddepcontrol.wait`.
    pub lets_begin: Vec<Option<bool>>,
    /// The valid and the live lanes of each warp.
    lanes: Vec<(Mask, Mask)>,
    /// The vector clocks of each block's warps that have ended, joined.
    ended: Vec<Option<Vec<u32>>>,
    /// For each block, the clock of each warp's last access to its shared memory from another block, followed by the clock
    /// of each warp's last asynchronous store to it.
    reached: Vec<Vec<u32>>,
    warps: Vec<Warp>,
}

impl<'a> Cluster<'a> {
    pub fn new(grid: &'a Grid<'a>) -> Cluster<'a> {
        let tally = Tally::new(grid.kernel.code.len(), grid.memory.regions().len());
        Cluster {
            kernel: grid.kernel,
            memory: grid.memory,
            arguments: grid.arguments,
            limit: grid.limit,
            turn: TURN,
            shared: Vec::new(),
            barriers: Vec::new(),
            cluster_barrier: Barrier::default(),
            mbarriers: HashMap::new(),
            pages: Pages::default(),
            tally,
            unwritten: None,
            guess: 0,
            grid,
            number: 0,
            base: 0,
            before: Arc::new([]),
            learned: Vec::new(),
            torn: Vec::new(),
            all_awaited: grid.in_flight.iter().all(|launch| launch.awaited),
            waits: Vec::new(),
            lets_begin: Vec::new(),
            lanes: Vec::new(),
            ended: Vec::new(),
            reached: Vec::new(),
            warps: Vec::new(),
        }
    }

    pub fn shape(&self) -> &'a Shape {
        &self.grid.shape
    }

    /// Warps of a block, and of all.
    pub fn warps_a_block(&self) -> usize {
        self.grid.shape.warps()
    }

    pub fn warps(&self) -> usize {
        self.lanes.len()
    }

    /// Where launches run beside each other, the place of the first warp among all.
    pub fn base(&self) -> usize {
        self.base
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where launches run beside each other, the places of this launch's warps among all.
    pub fn warps_of_launch(&self) -> Range<usize> {
        let a_block = self.grid.shape.warps();
        let first = self.base - self.number as usize * a_block;
        first..first + self.grid.shape.cluster_count() as usize * a_block
    }

    /// The earlier launches of the stream that may still run.
    pub fn in_flight(&self) -> &'a [InFlight] {
        self.grid.in_flight
    }

    /// Runs the cluster of that number to its end.
    pub fn run_all(&mut self, number: u64) -> Result<(), Box<Fault>> {
        self.pages.start();
        self.start(number, 0, &[]);
        let mut warps = std::mem::take(&mut self.warps);
        let result = self.take_turns(&mut warps);
        for warp in &warps {
            self.tally.longest_warp = self.tally.longest_warp.max(warp.instructions);
        }
        self.warps = warps;
        result
    }

    /// Begins the cluster of that number, whose warps have the components of clocks from `base` on. `before` is the clock of
    /// what happened before it; empty for a cluster whose warps alone have components.
    pub fn start(&mut self, number: u64, base: usize, before: &[u32]) {
        let grid = self.grid;
        let (ranks, a_block) = (grid.shape.ranks() as usize, grid.shape.warps());
        let count = ranks * a_block;
        (self.number, self.base) = (number, base);
        self.before = before.into();
        self.learned.clear();
        let alone = vec![0; count];
        let before = if before.is_empty() { &alone[..] } else { before };
        // Generations of records start over: older records must not be taken for those of this cluster.
        let clear = self.pages.generation == 1;
        self.shared.resize_with(ranks, Shared::default);
        self.shared.iter_mut().for_each(|shared| shared.start(grid.shared_bytes, clear));
        self.barriers = (0..ranks).map(|_| (0..16).map(|_| Barrier::new(a_block)).collect()).collect();
        self.cluster_barrier = Barrier::new(count);
        self.mbarriers.clear();
        self.waits = vec![None; count];
        self.lets_begin = vec![None; ranks];
        self.ended = vec![None; ranks];
        self.reached = vec![vec![0; 2 * count]; ranks];
        self.warps.resize_with(count, Warp::default);
        self.lanes.clear();
        let setting = Setting {
            shape: &grid.shape,
            cluster: number,
            variables: grid.variables,
            dynamic_shared: grid.dynamic_shared,
            total_shared: grid.shared_bytes as u32,
        };
        for (index, warp) in self.warps.iter_mut().enumerate() {
            let (block, in_block) = (index / a_block, index % a_block);
            let threads = grid.shape.threads() - in_block as u32 * 32;
            let valid = if threads >= 32 { Mask::MAX } else { (1 << threads) - 1 };
            warp.start(grid.kernel, valid, [index, block, in_block], (base, before));
            special_registers::write(&grid.kernel.initial_values, &setting, warp);
            self.lanes.push((valid, valid));
        }
    }

    /// Runs each warp in turn until all have ended.
    fn take_turns(&mut self, warps: &mut [Warp]) -> Result<(), Box<Fault>> {
        while !self.round(warps)? {}
        Ok(())
    }

    /// Gives each warp a turn. Whether all have ended.
    fn round(&mut self, warps: &mut [Warp]) -> Result<bool, Box<Fault>> {
        let mut progress = false;
        for index in 0..warps.len() {
            let warp = &mut warps[index];
            self.wake(warp);
            if warp.next().is_some() {
                progress = true;
                if let Err(abort) = self.run(warp) {
                    return Err(self.explain(warps, index, abort));
                }
            }
        }
        if warps.iter().all(|warp| warp.parts.is_empty()) {
            return Ok(true);
        }
        if progress { Ok(false) } else { Err(self.stuck(warps)) }
    }

    /// Gives each warp a turn of that many instructions, with what all clusters have accessed. Whether all have ended.
    pub fn turn(&mut self, pages: &mut Pages, instructions: u64) -> Result<bool, Box<Fault>> {
        self.turn = instructions;
        std::mem::swap(&mut self.pages, pages);
        self.mend();
        let mut warps = std::mem::take(&mut self.warps);
        let result = self.round(&mut warps);
        if !matches!(result, Ok(false)) {
            self.mend();
        }
        self.warps = warps;
        std::mem::swap(&mut self.pages, pages);
        result
    }

    /// The joined clocks of its warps, and of what they have seen.
    pub fn clock(&self) -> Vec<u32> {
        let mut joined = self.learned.clone();
        self.warps.iter().for_each(|warp| super::barrier::join(&mut joined, &warp.clock));
        joined
    }

    /// Wakes the parts of a warp whose barrier has completed.
    pub fn wake(&mut self, warp: &mut Warp) {
        for part in 0..warp.parts.len() {
            let wait = warp.parts[part].wait;
            let lanes = warp.parts[part].lanes;
            let learned = match wait {
                Wait::Mbarrier { offset, phase } => {
                    if self.has_ended(warp.block, offset, phase) {
                        warp.parts[part].wait = Wait::Nothing;
                    }
                    None
                }
                Wait::Barrier { number, generation } => {
                    self.barriers[warp.block][number as usize].wake(generation, lanes)
                }
                Wait::Cluster { generation } => self.cluster_barrier.wake(generation, lanes),
                Wait::Nothing | Wait::Lanes(_) => None,
            };
            if let Some(clock) = learned {
                warp.learn(&clock);
                warp.met_cluster += u32::from(matches!(wait, Wait::Cluster { .. }));
                warp.parts[part].wait = Wait::Nothing;
            }
        }
        if warp.parts.len() > 1 {
            warp.merge();
        }
    }

    /// Completes a block's barriers at which all threads have arrived.
    pub fn settle(&mut self, block: usize) {
        let a_block = self.grid.shape.warps();
        for barrier in &mut self.barriers[block] {
            barrier.complete(self.lanes[block * a_block..][..a_block].iter().copied());
        }
    }

    pub fn settle_cluster(&mut self) {
        self.cluster_barrier.complete(self.lanes.iter().copied());
    }

    /// Threads have exited: barriers no longer wait for them.
    pub fn leave(&mut self, warp: &Warp, active: Mask) -> Result<(), Abort> {
        self.lanes[warp.index].1 = warp.live;
        self.settle(warp.block);
        self.settle_cluster();
        if warp.live != 0 {
            return Ok(());
        }
        let known = self.ended[warp.block].get_or_insert_with(Vec::new);
        super::barrier::join(known, &warp.clock);
        let a_block = self.grid.shape.warps();
        if self.lanes[warp.block * a_block..][..a_block].iter().any(|(_, live)| *live != 0) {
            return Ok(());
        }
        // The block's shared memory ends with it, so every access from other blocks must happen before this.
        let mut known = known.iter().skip(self.base).copied().chain(std::iter::repeat(0));
        let late = self.reached[warp.block].iter().any(|&reached| Some(reached) > known.next());
        if late {
            let (rank, state) = (warp.block as u32, "ended: it exits unwarned");
            let kind = FaultKind::RemoteLifetime { rank, address: None, state };
            return Err(Abort::new(active.trailing_zeros(), kind));
        }
        Ok(())
    }

    /// A warp accesses another block's shared memory, or any block's by an asynchronous store. Records it, so that `leave`
    /// can check that it happens before that block ends. Fails if the block has ended or may not have started.
    pub fn reach(&mut self, warp: &Warp, rank: usize, address: u64, user: usize) -> Result<(), FaultKind> {
        let a_block = self.grid.shape.warps();
        let lifetime = |state| FaultKind::RemoteLifetime { rank: rank as u32, address: Some(address), state };
        let range = rank * a_block..(rank + 1) * a_block;
        if self.lanes[range.clone()].iter().all(|(_, live)| *live == 0) {
            return Err(lifetime("ended"));
        }
        let known = self.base + range.start..self.base + range.end;
        if warp.met_cluster == 0 && warp.clock[known].iter().all(|&clock| clock == 0) {
            return Err(lifetime("not begun"));
        }
        self.reached[rank][user] = warp.now();
        Ok(())
    }

    /// The record of an access; `None` for strong accesses, which order memory by themselves.
    pub fn entry(&self, warp: &Warp, id: ThreadId) -> Option<Entry> {
        (!id.semantics.is_strong()).then(|| self.entry_of(warp, id))
    }

    /// The record of any access.
    pub fn entry_of(&self, warp: &Warp, id: ThreadId) -> Entry {
        let thread = warp.number() as u32 * 32 + id.lane;
        Entry::new(thread, warp.now(), id.at, self.pages.generation)
    }

    pub fn count_copy(&mut self, copy: &CopyAsync, sources: &Row<u64>, active: Mask) {
        if active == 0 {
            return;
        }
        let loads = &mut self.tally.global[self.guess].loads;
        loads.requests += 1;
        loads.accesses += u64::from(active.count_ones());
        loads.bytes += u64::from(active.count_ones()) * u64::from(copy.size);
        loads.sectors += requests::sectors(sources, active);
    }
}

//! One warp, instruction by instruction, until it waits or ends.

use super::access::{addresses, lanes};
use super::cluster::{Abort, Cluster};
use super::collective;
use super::lane::{ThreadId, aligned};
use super::warp::{Wait, Warp};
use crate::fault::FaultKind;
use crate::kernel::file::{Mask, WARP};
use crate::kernel::op::{Barrier, CopyAsync, Op, Semantics, Space, guarded};

/// Instructions that a warp may run before another has its turn, so that one that waits for
/// another's store does not wait for ever.
pub const TURN: u64 = 1 << 16;

impl Cluster<'_> {
    /// Runs a warp until all its parts wait, it has ended, or its turn is over.
    pub fn run(&mut self, warp: &mut Warp) -> Result<(), Abort> {
        let kernel = self.kernel;
        let until = warp.instructions + self.turn;
        while let Some(part) = warp.next() {
            // A part that is alone runs on. If there are others, it stops at every basic block, where they may merge.
            let alone = warp.parts.len() == 1;
            loop {
                let at = warp.parts[part].at;
                let instruction = &kernel.code[at as usize];
                let lanes = warp.parts[part].lanes;
                let active = guarded(instruction.guard, &warp.file.predicates, lanes);
                warp.instructions += 1;
                self.tally.count(at, active);
                for &register in &instruction.reads {
                    let needed = if instruction.guard.is_some_and(|guard| guard.predicate == register) {
                        lanes
                    } else {
                        active
                    };
                    let missing = needed & !warp.file.written(register);
                    if missing != 0 {
                        let register = kernel.names.of(register);
                        let kind = FaultKind::UninitializedRegister { register };
                        return Err(Abort::at(at, missing.trailing_zeros(), kind));
                    }
                }
                let goes_on = self.execute(warp, part, active).map_err(|abort| abort.or_at(at))?;
                for &register in &instruction.writes {
                    warp.file.mark(register, active);
                }
                if warp.instructions >= self.limit {
                    let instructions = warp.instructions;
                    return Err(Abort::at(at, lanes.trailing_zeros(), FaultKind::Endless { instructions }));
                }
                if !goes_on {
                    break;
                }
                let next = warp.parts[part].at;
                let may_end = kernel.order.begins[next as usize] && (!alone || warp.instructions >= until);
                // Other launches are to see what has been torn.
                if may_end || !self.torn.is_empty() {
                    break;
                }
            }
            if warp.parts.len() > 1 {
                warp.merge();
            }
            if warp.instructions >= until || !self.torn.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Executes the instruction that a part stands at. False if the next part to run must be chosen anew.
    fn execute(&mut self, warp: &mut Warp, part: usize, active: Mask) -> Result<bool, Abort> {
        let kernel = self.kernel;
        let at = warp.parts[part].at;
        let lanes = warp.parts[part].lanes;
        let mut goes_on = true;
        match &kernel.code[at as usize].op {
            Op::Compute(compute) => {
                if active != 0 {
                    compute(&mut warp.file, active);
                }
            }
            Op::Load(access) => {
                if active != 0 {
                    self.load(warp, access, active, at)?;
                }
            }
            Op::Store(access) => {
                if active != 0 {
                    self.store(warp, access, active, at)?;
                }
            }
            Op::CopyAsync(copy) => self.copy(warp, copy, active, at)?,
            Op::CommitCopies => warp.copies.commit(active),
            Op::WaitCopies(pending) => self.finish_copies(warp, active, *pending)?,
            Op::Shuffle(shuffle) if active != 0 => {
                if let Some(wanted) = collective::members(warp, "shfl.sync", shuffle.members, active)? {
                    warp.parts[part].wait = Wait::Lanes(wanted);
                    return Ok(false);
                }
                collective::shuffle(warp, shuffle, active)?;
            }
            Op::Vote(vote) if active != 0 => {
                if let Some(slot) = vote.members
                    && let Some(wanted) = collective::members(warp, "a vote", slot, active)?
                {
                    warp.parts[part].wait = Wait::Lanes(wanted);
                    return Ok(false);
                }
                collective::vote(warp, vote, active);
            }
            Op::WarpBarrier { members } if active != 0 => {
                if let Some(wanted) = collective::members(warp, "bar.warp.sync", *members, active)? {
                    warp.parts[part].wait = Wait::Lanes(wanted);
                    return Ok(false);
                }
                // Clocks are kept by warp, so only a barrier of all live lanes can order accesses.
                if active == warp.live {
                    warp.tick();
                }
            }
            Op::Shuffle(_) | Op::Vote(_) | Op::WarpBarrier { .. } => {}
            Op::Barrier(barrier) if active != 0 => {
                if barrier.aligned && active != warp.live {
                    warp.parts[part].wait = Wait::Lanes(warp.live);
                    return Ok(false);
                }
                goes_on = self.barrier(warp, part, barrier, active)?;
            }
            Op::ClusterArrive { aligned, release } if active != 0 => {
                if *aligned && active != warp.live {
                    warp.parts[part].wait = Wait::Lanes(warp.live);
                    return Ok(false);
                }
                self.cluster_arrive(warp, active, *release)?;
            }
            Op::ClusterWait { aligned } if active != 0 => {
                if *aligned && active != warp.live {
                    warp.parts[part].wait = Wait::Lanes(warp.live);
                    return Ok(false);
                }
                goes_on = self.cluster_wait(warp, part, active)?;
            }
            Op::Barrier(_) | Op::ClusterArrive { .. } | Op::ClusterWait { .. } => {}
            Op::Mbarrier(mbarrier) => {
                if active != 0 && !self.mbarrier(warp, part, mbarrier, active, at)? {
                    return Ok(false);
                }
            }
            Op::FenceMbarriers => self.fence_mbarriers(warp),
            Op::StoreAsync(store) => self.store_async(warp, store, active, at)?,
            Op::Prefetch(prefetch) => self.prefetch(warp, prefetch, active, at)?,
            Op::WaitForLaunches => self.wait_for_launches(warp, active),
            Op::LaunchDependents => self.launch_dependents(warp, active),
            // A nanosecond an instruction.
            Op::Timer { target } => warp.file.write(*target, &[warp.instructions; WARP], active),
            Op::Branch { target } => return Ok(self.branch(warp, part, active, *target)),
            Op::Exit => {
                self.finish_copies(warp, active, None)?;
                warp.live &= !active;
                self.leave(warp, active)?;
                if active == lanes {
                    warp.parts.swap_remove(part);
                    return Ok(false);
                }
                warp.parts[part].lanes &= !active;
            }
            Op::Trap if active != 0 => return Err(Abort::new(active.trailing_zeros(), FaultKind::Trap)),
            Op::Trap | Op::Nothing => {}
        }
        self.advance(warp, part, at + 1);
        Ok(goes_on)
    }

    fn advance(&self, warp: &mut Warp, part: usize, to: u32) {
        let from = warp.parts[part].at;
        if self.kernel.order.begins[to as usize] {
            warp.parts[part].place = self.kernel.order.arrival(from, to);
        }
        warp.parts[part].at = to;
    }

    fn branch(&mut self, warp: &mut Warp, part: usize, taken: Mask, target: u32) -> bool {
        let lanes = warp.parts[part].lanes;
        if taken == lanes {
            self.advance(warp, part, target);
            return true;
        }
        if taken == 0 {
            let next = warp.parts[part].at + 1;
            self.advance(warp, part, next);
            return true;
        }
        self.tally.diverge(warp.parts[part].at);
        warp.split(part, taken, target, &self.kernel.order);
        let next = warp.parts[part].at + 1;
        self.advance(warp, part, next);
        false
    }

    /// A block's barrier. False if the part waits now.
    fn barrier(
        &mut self,
        warp: &mut Warp,
        part: usize,
        barrier: &Barrier,
        active: Mask,
    ) -> Result<bool, Abort> {
        let first = active.trailing_zeros();
        let lane = first as usize;
        let number = warp.file.words[barrier.number as usize][lane];
        let threads = barrier.threads.map(|slot| warp.file.words[slot as usize][lane]);
        // A count of 0 stands for all threads.
        let threads = threads.filter(|&threads| threads != 0);
        if number > 15 || threads.is_some_and(|threads| threads % 32 != 0) {
            let threads = threads.unwrap_or(0);
            return Err(Abort::new(first, FaultKind::Barrier { number, threads }));
        }
        self.tally.barriers += 1;
        let waits = barrier.waits;
        let barrier = &mut self.barriers[warp.block][number as usize];
        let generation = barrier.generation;
        barrier.threads = threads.or(barrier.threads);
        barrier.arrive(warp.in_block, active, Some(&warp.clock), waits);
        warp.tick();
        if waits {
            warp.parts[part].wait = Wait::Barrier { number, generation };
        }
        self.settle(warp.block);
        // A part that waits goes on behind the instruction when it is woken.
        Ok(!waits)
    }

    fn cluster_arrive(&mut self, warp: &mut Warp, active: Mask, release: bool) -> Result<(), Abort> {
        let twice = warp.cluster_arrived & active;
        if twice != 0 {
            return Err(Abort::new(
                twice.trailing_zeros(),
                FaultKind::ClusterBarrier { instruction: "arrive" },
            ));
        }
        self.tally.barriers += 1;
        warp.cluster_arrived |= active;
        warp.cluster_generation = self.cluster_barrier.generation;
        self.announce_mbarriers(warp);
        self.cluster_barrier.arrive(warp.index, active, release.then_some(&warp.clock), true);
        warp.tick();
        self.settle_cluster();
        Ok(())
    }

    fn cluster_wait(&mut self, warp: &mut Warp, part: usize, active: Mask) -> Result<bool, Abort> {
        let early = active & !warp.cluster_arrived;
        if early != 0 {
            return Err(Abort::new(
                early.trailing_zeros(),
                FaultKind::ClusterBarrier { instruction: "wait" },
            ));
        }
        warp.cluster_arrived &= !active;
        warp.parts[part].wait = Wait::Cluster { generation: warp.cluster_generation };
        Ok(false)
    }

    fn copy(&mut self, warp: &mut Warp, copy: &CopyAsync, active: Mask, at: u32) -> Result<(), Abort> {
        let (targets, sources) = (addresses(warp, copy.target), addresses(warp, copy.source));
        let ignored = copy.ignore.map_or(0, |guard| guarded(Some(guard), &warp.file.predicates, active));
        for lane in lanes(active) {
            let number = lane as u32;
            let abort = |kind| Abort::new(number, kind);
            let wanted = copy
                .source_size
                .map_or(copy.size, |slot| warp.file.words[slot as usize][lane].min(copy.size));
            let wanted = if ignored >> lane & 1 == 1 { 0 } else { wanted };
            aligned("shared", targets[lane], copy.size as usize).map_err(abort)?;
            aligned("global", sources[lane], copy.size as usize).map_err(abort)?;
            let mut bytes = [0; 16];
            let id = ThreadId { lane: number, at, semantics: Semantics::Weak, element: 0 };
            // If fewer bytes than all are read, byte by byte: their number need not be a power of two.
            let step = if wanted == copy.size { copy.size as usize } else { 1 };
            for from in (0..wanted as usize).step_by(step) {
                let address = sources[lane].wrapping_add(from as u64);
                self.load_lane(warp, id, Space::Global, address, &mut bytes[from..from + step])
                    .map_err(abort)?;
            }
            warp.copies.begin(number, at, targets[lane], bytes, copy.size);
        }
        self.count_copy(copy, &sources, active & !ignored);
        Ok(())
    }

    /// Writes the bytes of finished copies to shared memory, as stores of the threads that waited for them.
    fn finish_copies(&mut self, warp: &mut Warp, active: Mask, pending: Option<u32>) -> Result<(), Abort> {
        for copy in warp.copies.finish(active, pending) {
            let id = ThreadId { lane: copy.lane, at: copy.at, semantics: Semantics::Weak, element: 0 };
            self.store_lane(warp, id, Space::Shared, copy.target, &copy.bytes[..copy.size as usize])
                .map_err(|kind| Abort::at(copy.at, copy.lane, kind))?;
        }
        Ok(())
    }
}

//! Diagnosis: the thread, the instruction and the kind of a fault.

use super::cluster::{Abort, Cluster};
use super::warp::{Wait, Warp};
use crate::check::pages::PAGE;
use crate::check::shadow::{self, Entry};
use crate::fault::{Fault, FaultKind, Party};
use crate::kernel::op::Op;

/// How many turns each warp gets while a store is looked for.
const MOST_TURNS: u32 = 16;

impl Cluster<'_> {
    pub fn race(
        &self,
        space: &'static str,
        address: u64,
        writes: bool,
        other: Entry,
        wrote: bool,
    ) -> FaultKind {
        let element = (space == "global").then(|| self.memory.element(address)).flatten();
        FaultKind::Race { space, address, element, writes, other: self.party(other, wrote) }
    }

    /// The fault of a byte of global memory that the kernel both writes and reads through the non-coherent cache
    /// (`ld.global.nc`, `ldu`). `writes` says which of the two the current access does.
    pub fn non_coherent(&mut self, address: u64, writes: bool) -> FaultKind {
        let other = if writes { self.last_non_coherent(address) } else { self.last(address, true) };
        let other = other.unwrap_or_else(|| self.unknown(!writes));
        FaultKind::NonCoherent { address, element: self.memory.element(address), writes, other }
    }

    /// The last load of a byte of global memory through the non-coherent cache.
    pub fn last_non_coherent(&mut self, address: u64) -> Option<Party> {
        let reader = self.pages.of(address).non_coherent.reader(address % PAGE)?;
        Some(self.party(reader, false))
    }

    /// An unknown thread of this cluster: strong accesses leave no record of their thread.
    pub fn unknown(&self, writes: bool) -> Party {
        Party { line: 0, block: self.shape().block_at(self.number(), 0), thread: None, writes }
    }

    /// The last store to a byte of global memory (`writes`), or the last load of it.
    pub fn last(&mut self, address: u64, writes: bool) -> Option<Party> {
        let generation = self.pages.generation;
        let records = &self.pages.of(address).records;
        let entry = shadow::last(records, (address % PAGE) as usize, writes, generation)?;
        Some(self.party(entry, writes))
    }

    pub fn party(&self, entry: Entry, writes: bool) -> Party {
        let warp = entry.thread() as usize / 32;
        if self.base() > warp || self.base() + 2 * self.warps() <= warp {
            // Of a launch beside this one. Where launches run beside each other, their kernels have the same lines.
            return self.beside(entry, writes);
        }
        let (block, thread) = self.place(entry.thread() as usize);
        let line =
            self.kernel.code.get(entry.instruction() as usize).map_or(0, |instruction| instruction.line);
        Party { line, block, thread: Some(thread), writes }
    }

    /// An access by a launch beside this one, of which only its line is known.
    fn beside(&self, entry: Entry, writes: bool) -> Party {
        let line =
            self.kernel.code.get(entry.instruction() as usize).map_or(0, |instruction| instruction.line);
        Party { line, block: [0; 3], thread: None, writes }
    }

    /// The block and thread behind a thread's number in the cluster.
    fn place(&self, thread: usize) -> ([u32; 3], [u32; 3]) {
        let shape = self.shape();
        // A thread's asynchronous stores are recorded under a second number, above those of all threads.
        let (warp, lane) = ((thread / 32 - self.base()) % self.warps(), thread % 32);
        let (block, in_block) = (warp / shape.warps(), warp % shape.warps());
        (shape.block_at(self.number(), block as u32), shape.thread_at((in_block * 32 + lane) as u32))
    }

    pub fn fault(&self, warp: &Warp, abort: Abort) -> Box<Fault> {
        let (block, thread) = self.place(warp.number() * 32 + abort.lane as usize % 32);
        let line = abort
            .at
            .and_then(|at| self.kernel.code.get(at as usize))
            .map_or(0, |instruction| instruction.line);
        Box::new(Fault { kernel: self.kernel.name.clone(), line, block, thread, kind: abort.kind })
    }

    /// The fault of a warp. If it read memory that nothing has written, the other warps run on without it: if one of them
    /// writes there, no barrier separates the two, so the fault is a race rather than a read of uninitialized memory.
    pub fn explain(&mut self, warps: &mut [Warp], index: usize, abort: Abort) -> Box<Fault> {
        let kind = match abort.kind {
            FaultKind::UninitializedMemory { space: "shared", .. } => {
                let place = self.unwritten.take();
                place.and_then(|(rank, offset)| {
                    let other = self.storing(warps, index, |cluster| {
                        cluster.shared[rank].writer(offset, cluster.pages.generation)
                    })?;
                    Some(self.race("shared", offset, false, other, true))
                })
            }
            FaultKind::UninitializedMemory { space: "global", address, .. } => {
                let other = self.storing(warps, index, |cluster| {
                    let generation = cluster.pages.generation;
                    shadow::last(
                        &cluster.pages.of(address).records,
                        (address % PAGE) as usize,
                        true,
                        generation,
                    )
                });
                other.map(|other| self.race("global", address, false, other, true))
            }
            _ => None,
        };
        let abort = Abort { kind: kind.unwrap_or(abort.kind), ..abort };
        self.fault(&warps[index], abort)
    }

    /// Runs all warps but one until `written` finds a store, or no warp can go on.
    fn storing(
        &mut self,
        warps: &mut [Warp],
        without: usize,
        written: impl Fn(&mut Self) -> Option<Entry>,
    ) -> Option<Entry> {
        for _ in 0..MOST_TURNS {
            let mut progress = false;
            for (_, warp) in warps.iter_mut().enumerate().filter(|(index, _)| *index != without) {
                self.wake(warp);
                if warp.next().is_none() {
                    continue;
                }
                progress = true;
                if self.run(warp).is_err() {
                    // A fault of this warp is not the one being explained: it just stops.
                    warp.parts.clear();
                }
                if let Some(entry) = written(self) {
                    return Some(entry);
                }
            }
            if !progress {
                break;
            }
        }
        None
    }

    /// The fault if no warp can go on: a deadlock, or a warp whose lanes diverged.
    pub fn stuck(&self, warps: &[Warp]) -> Box<Fault> {
        let parts = || warps.iter().flat_map(|warp| warp.parts.iter().map(move |part| (warp, part)));
        // Lanes that wait for the rest of their warp are the cause; threads that wait at a barrier are a consequence.
        let split = parts().find(|(_, part)| matches!(part.wait, Wait::Lanes(_)));
        let Some((warp, part)) = split.or_else(|| parts().next()) else {
            // Not reached: with no parts, all warps have ended.
            return Box::new(Fault {
                kernel: self.kernel.name.clone(),
                line: 0,
                block: [0; 3],
                thread: [0; 3],
                kind: FaultKind::Deadlock { instruction: "nothing", waiting: 0, exited: 0 },
            });
        };
        let lane = part.lanes.trailing_zeros();
        let (at, kind) = match part.wait {
            Wait::Lanes(needed) => {
                let kind =
                    FaultKind::Divergence { instruction: self.called(part.at), present: part.lanes, needed };
                (part.at, kind)
            }
            wait => {
                let waiting = parts().map(|(_, part)| part.lanes.count_ones()).sum();
                let exited = warps.iter().map(|warp| (warp.valid & !warp.live).count_ones()).sum();
                // A part that waits for a barrier stands behind it, one that waits for an mbarrier stands at it.
                let passed = !matches!(wait, Wait::Mbarrier { .. });
                let at = part.at.saturating_sub(u32::from(passed));
                (at, FaultKind::Deadlock { instruction: self.called(at), waiting, exited })
            }
        };
        self.fault(warp, Abort::at(at, lane, kind))
    }

    /// The instruction's name in a message.
    fn called(&self, at: u32) -> &'static str {
        match self.kernel.code.get(at as usize).map(|instruction| &instruction.op) {
            Some(Op::Shuffle(_)) => "shfl.sync",
            Some(Op::Vote(_)) => "a vote",
            Some(Op::WarpBarrier { .. }) => "bar.warp.sync",
            Some(Op::Barrier(_)) => "a barrier of the block",
            Some(Op::ClusterArrive { .. }) => "barrier.cluster.arrive",
            Some(Op::ClusterWait { .. }) => "barrier.cluster.wait",
            Some(Op::Mbarrier(_)) => "mbarrier.try_wait",
            _ => "an instruction",
        }
    }
}

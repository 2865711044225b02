//! `griddepcontrol`: launches that begin before earlier launches of their stream have ended (PTX ISA, "griddepcontrol").

use super::cluster::Cluster;
use super::grid::OfStream;
use super::warp::Warp;
use crate::check::in_flight::Accesses;
use crate::check::shadow::Entry;
use crate::fault::FaultKind;
use crate::kernel::file::Mask;

impl Cluster<'_> {
    /// `griddepcontrol.wait`: from here on, the awaited launches have ended for these lanes.
    pub fn wait_for_launches(&mut self, warp: &mut Warp, active: Mask) {
        if active != 0 {
            warp.waited |= active;
            self.waits[warp.index].get_or_insert(warp.now());
        }
    }

    /// `griddepcontrol.launch_dependents`. Only the first of a block has an effect.
    pub fn launch_dependents(&mut self, warp: &Warp, active: Mask) {
        if active != 0 {
            let early = !self.has_waited(warp.block);
            self.lets_begin[warp.block].get_or_insert(early);
        }
    }

    /// Whether any thread of a block has executed `griddepcontrol.wait`.
    fn has_waited(&self, block: usize) -> bool {
        let warps = self.warps_a_block();
        self.waits[block * warps..][..warps].iter().any(Option::is_some)
    }

    /// Whether a thread has executed `griddepcontrol.wait`, or a barrier orders it after a thread that has.
    fn knows_of_wait(&self, warp: &Warp, lane: u32) -> bool {
        warp.waited >> lane & 1 == 1
            || self.waits.iter().enumerate().any(|(index, wait)| {
                wait.is_some_and(|wait| {
                    if index == warp.index {
                        wait < warp.now()
                    } else {
                        warp.clock[self.base() + index] >= wait
                    }
                })
            })
    }

    /// Checks an access to global memory against those of launches in flight.
    #[inline(always)]
    pub fn check_in_front(
        &self,
        warp: &Warp,
        lane: u32,
        address: u64,
        bytes: u32,
        writes: bool,
    ) -> Result<(), FaultKind> {
        let has_waited = warp.waited >> lane & 1 == 1 && self.all_awaited;
        if has_waited || self.in_flight().is_empty() {
            return Ok(());
        }
        self.conflict_in_front(warp, lane, address, bytes, writes)
    }

    /// The slow way of [`check_in_front`](Cluster::check_in_front), for a thread that has not waited itself, or whose wait
    /// does not cover all launches in flight.
    #[cold]
    fn conflict_in_front(
        &self,
        warp: &Warp,
        lane: u32,
        address: u64,
        bytes: u32,
        writes: bool,
    ) -> Result<(), FaultKind> {
        let waited = self.knows_of_wait(warp, lane);
        for launch in self.in_flight().iter().filter(|launch| !(waited && launch.awaited)) {
            if let Some((address, other)) = launch.accesses.conflict(address, bytes.into(), writes) {
                let (element, kernel) = (self.memory.element(address), launch.kernel.clone());
                return Err(FaultKind::DependentLaunch { address, element, writes, waited, kernel, other });
            }
        }
        Ok(())
    }

    /// What of this cluster, which has ended, the next launches of the stream are checked against.
    pub fn of_stream(&self) -> OfStream {
        let block = |entry: Entry| entry.thread() as usize / 32 % self.warps() / self.warps_a_block();
        let place = |entry: Option<Entry>| {
            let party = entry.map_or_else(|| self.unknown(false), |entry| self.party(entry, false));
            (party.line, party.block)
        };
        // A block that does not launch dependents has ended, and all its reads with it, before the next launch begins.
        let may_still_read = |entry: Option<Entry>| match entry {
            Some(entry) => self.lets_begin[block(entry)].is_some(),
            None => self.lets_begin.iter().any(Option::is_some),
        };
        let blocks = 0..self.lets_begin.len();
        OfStream {
            accesses: Accesses::of(&self.pages, place, may_still_read),
            waited: self.waits.iter().any(Option::is_some),
            begins_next_late: blocks
                .into_iter()
                .any(|block| !self.lets_begin[block].unwrap_or(!self.has_waited(block))),
        }
    }
}

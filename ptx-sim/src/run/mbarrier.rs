//! Mbarriers, and stores that arrive at them (PTX ISA, "mbarrier", "st.async").

use super::access::{Data, addresses, gathered, lanes};
use super::barrier::join;
use super::cluster::{Abort, Cluster};
use super::lane::{ThreadId, aligned, resolve};
use super::warp::{Wait, Warp};
use crate::check::shadow::Entry;
use crate::fault::FaultKind;
use crate::kernel::file::{Mask, Raw, Row, WARP};
use crate::kernel::op::{Mbarrier as Instruction, MbarrierAction, Phase, Semantics, Space, StoreAsync};
use crate::memory::address;

/// What the 8 bytes of an initialized mbarrier hold. The PTX ISA leaves that open; here a mark shows if anything else has
/// been written to them.
const MARK: [u8; 8] = *b"mbarrier";

/// The most arrivals, and the most bytes, that an mbarrier can count (PTX ISA, "mbarrier").
const MOST: u32 = (1 << 20) - 1;

/// An mbarrier.
#[derive(Debug)]
pub struct Mbarrier {
    /// Arrivals that end a phase, and those that this one still lacks.
    expected: u32,
    pending: u32,
    /// Bytes that this phase expects, less those that have come.
    bytes: i64,
    /// Phases that have ended.
    phase: u32,
    initialized: Entry,
    /// Whether `fence.mbarrier_init` has followed the initialization.
    fenced: bool,
    /// The first generation of the cluster's barrier that follows the fence. After it, all blocks may use the mbarrier, even
    /// if threads arrived `.relaxed`.
    announced: Option<u32>,
    /// The joined vector clocks of this phase's arrivals, and those of all phases that have ended.
    gathered: Vec<u32>,
    released: Vec<u32>,
}

impl Mbarrier {
    fn advance(&mut self) {
        if self.pending == 0 && self.bytes == 0 {
            self.phase = self.phase.wrapping_add(1);
            self.pending = self.expected;
            join(&mut self.released, &std::mem::take(&mut self.gathered));
        }
    }
}

/// The block of an mbarrier, and its place in that block's shared memory.
type Key = (usize, u64);

impl Cluster<'_> {
    /// Carries out an `mbarrier` instruction. False if the part waits before it.
    pub fn mbarrier(
        &mut self,
        warp: &mut Warp,
        part: usize,
        instruction: &Instruction,
        active: Mask,
        at: u32,
    ) -> Result<bool, Abort> {
        let places = addresses(warp, instruction.place);
        for lane in lanes(active) {
            let number = lane as u32;
            let abort = |kind| Abort::new(number, kind);
            let place = instruction.space;
            let word = |warp: &Warp, slot: u32| warp.file.words[slot as usize][lane];
            match instruction.action {
                MbarrierAction::Initialize { count } => {
                    let id = ThreadId { lane: number, at, semantics: Semantics::Weak, element: 0 };
                    let count = word(warp, count);
                    self.initialize(warp, id, place, places[lane], count).map_err(abort)?;
                }
                MbarrierAction::Invalidate => {
                    let key = self.find(warp, number, place, places[lane], warp.index).map_err(abort)?;
                    self.mbarriers.remove(&key);
                }
                MbarrierAction::Arrive { count, bytes, state, scope } => {
                    let key = self.find(warp, number, place, places[lane], warp.index).map_err(abort)?;
                    let phase = self.mbarriers.get(&key).map_or(0, |found| found.phase);
                    if let Some(bytes) = bytes {
                        let bytes = i64::from(word(warp, bytes));
                        self.expect(key, bytes).map_err(abort)?;
                    }
                    let tells = scope.orders(key.0 == warp.block);
                    let count = count.map_or(1, |count| word(warp, count));
                    self.arrive(key, count, tells.then_some(&warp.clock)).map_err(abort)?;
                    if let Some(state) = state {
                        warp.file.write(state, &[u64::from(phase); WARP], 1 << lane);
                    }
                }
                MbarrierAction::Expect { bytes } => {
                    let key = self.find(warp, number, place, places[lane], warp.index).map_err(abort)?;
                    let bytes = i64::from(word(warp, bytes));
                    self.expect(key, bytes).map_err(abort)?;
                }
                MbarrierAction::Test { .. } => {}
            }
        }
        if let MbarrierAction::Arrive { .. } = instruction.action {
            warp.tick();
        }
        match instruction.action {
            MbarrierAction::Test { .. } => self.test(warp, part, instruction, &places, active),
            _ => Ok(true),
        }
    }

    fn initialize(
        &mut self,
        warp: &mut Warp,
        id: ThreadId,
        space: Space,
        at: u64,
        count: u32,
    ) -> Result<(), FaultKind> {
        let (_, address) = resolve(space, at);
        if address::rank(address).is_some_and(|rank| rank != warp.block as u64) {
            return Err(wrong(address, "is another block's: only its own block may initialize it"));
        }
        let key = (warp.block, address::offset(address));
        self.store_lane(warp, id, space, at, &MARK)?;
        if count == 0 || count > MOST {
            return Err(wrong(key.1, format!("for {count} arrivals: expected 1 to {MOST}")));
        }
        let thread = warp.number() as u32 * 32 + id.lane;
        let new = Mbarrier {
            expected: count,
            pending: count,
            bytes: 0,
            phase: 0,
            initialized: Entry::new(thread, warp.now(), id.at, self.pages.generation),
            fenced: false,
            announced: None,
            gathered: Vec::new(),
            released: Vec::new(),
        };
        match self.mbarriers.insert(key, new) {
            None => Ok(()),
            Some(_) => Err(wrong(key.1, "is initialized again without `mbarrier.inval`")),
        }
    }

    /// The mbarrier at an address, if its initialization happens before this use. `user` is as for [`Cluster::locate`].
    fn find(&mut self, warp: &Warp, lane: u32, space: Space, at: u64, user: usize) -> Result<Key, FaultKind> {
        let (_, address) = resolve(space, at);
        aligned("shared", address, 8)?;
        let (rank, offset) = self.locate(warp, address, 8, user)?;
        let mut held = [0; 8];
        // This read is not recorded, because `initialized` is what the order is checked by, below.
        let intact = self.shared[rank].load(offset, &mut held, None, |_| true).is_ok() && held == MARK;
        let Some(found) = self.mbarriers.get(&(rank, offset)).filter(|_| intact) else {
            return Err(wrong(offset, "is not initialized, or has been overwritten"));
        };
        let made = found.initialized;
        let told = found.announced.is_some_and(|generation| warp.met_cluster > generation);
        if told || warp.is_after(lane as usize, made.thread(), made.clock()) {
            Ok((rank, offset))
        } else {
            Err(self.race("shared", offset, false, made, true))
        }
    }

    fn expect(&mut self, key: Key, bytes: i64) -> Result<(), FaultKind> {
        let Some(found) = self.mbarriers.get_mut(&key) else { return Ok(()) };
        found.bytes += bytes;
        if found.bytes.unsigned_abs() > u64::from(MOST) {
            return Err(wrong(key.1, format!("counts {} bytes: expected {MOST} at most", found.bytes)));
        }
        Ok(())
    }

    fn arrive(&mut self, key: Key, count: u32, clock: Option<&Vec<u32>>) -> Result<(), FaultKind> {
        let Some(found) = self.mbarriers.get_mut(&key) else { return Ok(()) };
        let Some(left) = found.pending.checked_sub(count).filter(|_| count > 0) else {
            let problem = format!("has {count} arrivals where it lacks {}", found.pending);
            return Err(wrong(key.1, problem));
        };
        found.pending = left;
        if let Some(clock) = clock {
            join(&mut found.gathered, clock);
        }
        found.advance();
        Ok(())
    }

    /// `test_wait` and `try_wait`. False if the part waits.
    fn test(
        &mut self,
        warp: &mut Warp,
        part: usize,
        instruction: &Instruction,
        places: &Row<u64>,
        active: Mask,
    ) -> Result<bool, Abort> {
        let MbarrierAction::Test { done, phase, waits, scope } = instruction.action else { return Ok(true) };
        let mut ended: Mask = 0;
        let mut open = None;
        for lane in lanes(active) {
            let abort = |kind| Abort::new(lane as u32, kind);
            let key =
                self.find(warp, lane as u32, instruction.space, places[lane], warp.index).map_err(abort)?;
            if key.0 != warp.block {
                return Err(abort(wrong(key.1, "is another block's: only its own block may wait for it")));
            }
            let Some(found) = self.mbarriers.get(&key) else { continue };
            let is_over = match phase {
                Phase::State(slot) => u64::row(&warp.file, slot)[lane] != u64::from(found.phase),
                Phase::Parity(slot) => u32::row(&warp.file, slot)[lane] & 1 != found.phase & 1,
            };
            if is_over {
                ended |= 1 << lane;
                let mut released = found.released.clone();
                for (index, clock) in released.iter_mut().enumerate() {
                    let block = index % self.warps() / self.warps_a_block();
                    if !scope.orders(block == warp.block) {
                        *clock = 0;
                    }
                }
                warp.learn(&released);
            } else {
                open = open.or(Some((key.1, found.phase)));
            }
        }
        if let Some((offset, phase)) = open.filter(|_| waits) {
            // `try_wait` may give up before the phase ends. It does so once here, to find kernels that do not try again.
            if warp.gave_up == Some((offset, phase)) {
                warp.parts[part].wait = Wait::Mbarrier { offset, phase };
                return Ok(false);
            }
            warp.gave_up = Some((offset, phase));
        }
        warp.file.write_predicate(done, ended, active);
        Ok(true)
    }

    /// Whether a phase that a part waits for has ended.
    pub fn has_ended(&self, block: usize, offset: u64, phase: u32) -> bool {
        self.mbarriers.get(&(block, offset)).is_none_or(|found| found.phase != phase)
    }

    /// `fence.mbarrier_init`: the next arrival at the cluster's barrier publishes the mbarriers that this warp initialized.
    pub fn fence_mbarriers(&mut self, warp: &Warp) {
        self.own_mbarriers(warp).for_each(|found| found.fenced = true);
    }

    /// The warp arrives at the cluster's barrier, which publishes its fenced mbarriers.
    pub fn announce_mbarriers(&mut self, warp: &Warp) {
        let generation = self.cluster_barrier.generation;
        for found in self.own_mbarriers(warp).filter(|found| found.fenced) {
            found.announced.get_or_insert(generation);
        }
    }

    fn own_mbarriers(&mut self, warp: &Warp) -> impl Iterator<Item = &mut Mbarrier> {
        let index = warp.number();
        self.mbarriers.values_mut().filter(move |found| found.initialized.thread() as usize / 32 == index)
    }

    /// `st.async`: stores that no thread, not even this one, may read before the mbarrier's phase has ended.
    pub fn store_async(
        &mut self,
        warp: &mut Warp,
        store: &StoreAsync,
        active: Mask,
        at: u32,
    ) -> Result<(), Abort> {
        let bytes = store.access.bytes() as usize;
        let data = gathered(warp, &store.access);
        let (targets, barriers) = (addresses(warp, store.access.place), addresses(warp, store.barrier));
        for lane in lanes(active) {
            let data: &Data = &data[lane];
            self.send(warp, lane, store.access.space, [targets[lane], barriers[lane]], &data[..bytes], at)
                .map_err(|kind| Abort::new(lane as u32, kind))?;
        }
        self.count(&store.access, &targets, active, true, warp.block);
        warp.tick();
        Ok(())
    }

    fn send(
        &mut self,
        warp: &Warp,
        lane: usize,
        space: Space,
        [target, barrier]: [u64; 2],
        data: &[u8],
        at: u32,
    ) -> Result<(), FaultKind> {
        let (_, target) = resolve(space, target);
        aligned("shared", target, data.len())?;
        // Recorded as if another warp had written, whose clock only the mbarrier passes on.
        let sender = warp.index + self.warps();
        let key = self.find(warp, lane as u32, space, barrier, sender)?;
        let (rank, offset) = self.locate(warp, target, data.len(), sender)?;
        if rank != key.0 {
            let problem =
                format!("is in block {} of the cluster, what `st.async` writes in block {rank}", key.0);
            return Err(wrong(key.1, problem));
        }
        let me = Entry::new((sender * 32 + lane) as u32, warp.now(), at, self.pages.generation);
        let before = |entry: Entry| warp.is_after(lane, entry.thread(), entry.clock());
        let stored = self.shared[rank].store(offset, data, Some(me), before);
        stored.map_err(|problem| self.wrong(problem, "shared", true))?;
        self.expect(key, -(data.len() as i64))?;
        if let Some(found) = self.mbarriers.get_mut(&key) {
            let mut clock = vec![0; sender + 1];
            clock[sender] = warp.now();
            join(&mut found.gathered, &clock);
            found.advance();
        }
        Ok(())
    }
}

fn wrong(address: u64, problem: impl Into<String>) -> FaultKind {
    FaultKind::Mbarrier { address, problem: problem.into() }
}

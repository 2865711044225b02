//! One thread's access to memory, with every check.

use std::sync::Arc;

use super::barrier;
use super::cluster::Cluster;
use super::shared::Wrong;
use super::warp::Warp;
use crate::check::pages::PAGE;
use crate::check::shadow::{self, Entry, Record, touch};
use crate::fault::FaultKind;
use crate::kernel::file::WARP;
use crate::kernel::op::{Semantics, Space};
use crate::memory::address;
use crate::memory::bits::low_bits;

/// One thread at one instruction.
#[derive(Clone, Copy)]
pub struct ThreadId {
    pub lane: u32,
    pub at: u32,
    pub semantics: Semantics,
    /// Bytes of an element of a vector; 0 where that does not matter.
    pub element: u32,
}

impl Cluster<'_> {
    pub fn load_lane(
        &mut self,
        warp: &mut Warp,
        id: ThreadId,
        space: Space,
        address: u64,
        data: &mut [u8],
    ) -> Result<(), FaultKind> {
        let (space, address) = resolve(space, address);
        match space {
            Space::Shared | Space::Cluster => {
                aligned("shared", address, data.len())?;
                let (rank, offset) = self.locate(warp, address, data.len(), warp.index)?;
                let me = self.entry(warp, id);
                let before = |entry: Entry| warp.is_after(id.lane as usize, entry.thread(), entry.clock());
                let result = self.shared[rank].load(offset, data, me, before);
                result.map_err(|wrong| {
                    if let Wrong::Fault(FaultKind::UninitializedMemory { address, .. }) = wrong {
                        self.unwritten = Some((rank, address));
                    }
                    self.wrong(wrong, "shared", false)
                })
            }
            Space::Local => {
                let range = local(warp, id.lane, address, data.len())?;
                match warp.local_written[range.clone()].iter().position(|&written| !written) {
                    Some(missing) => {
                        let address = address + missing as u64;
                        Err(FaultKind::UninitializedMemory { space: "local", address, element: None })
                    }
                    None => {
                        data.copy_from_slice(&warp.local[range]);
                        Ok(())
                    }
                }
            }
            Space::Param => {
                aligned("param", address, data.len())?;
                self.param(address, data)
            }
            Space::Global | Space::Constant | Space::Generic => self.load_global(warp, id, address, data),
        }
    }

    pub fn store_lane(
        &mut self,
        warp: &mut Warp,
        id: ThreadId,
        space: Space,
        address: u64,
        data: &[u8],
    ) -> Result<(), FaultKind> {
        let (space, address) = resolve(space, address);
        match space {
            Space::Shared | Space::Cluster => {
                aligned("shared", address, data.len())?;
                let (rank, offset) = self.locate(warp, address, data.len(), warp.index)?;
                let me = self.entry(warp, id);
                let before = |entry: Entry| warp.is_after(id.lane as usize, entry.thread(), entry.clock());
                let result = self.shared[rank].store(offset, data, me, before);
                result.map_err(|wrong| self.wrong(wrong, "shared", true))
            }
            Space::Local => {
                let range = local(warp, id.lane, address, data.len())?;
                warp.local[range.clone()].copy_from_slice(data);
                warp.local_written[range].fill(true);
                Ok(())
            }
            Space::Param => Err(FaultKind::ReadOnly { address, buffer: "the parameters".to_owned() }),
            Space::Global | Space::Constant | Space::Generic => self.store_global(warp, id, address, data),
        }
    }

    fn load_global(
        &mut self,
        warp: &mut Warp,
        id: ThreadId,
        address: u64,
        data: &mut [u8],
    ) -> Result<(), FaultKind> {
        aligned("global", address, data.len())?;
        let bytes = data.len() as u32;
        if self.torn.iter().any(|&(at, _)| (address..address + u64::from(bytes)).contains(&at)) {
            self.mend();
        }
        let region = self.memory.check(address, bytes, false, self.guess)?;
        self.guess = region;
        self.check_in_front(warp, id.lane, address, bytes, false)?;
        let region = &self.memory.regions()[region];
        let me = self.entry(warp, id);
        let page = self.pages.of(address);
        let within = address % PAGE;
        // Writes before the launch and by this cluster count. A write by another cluster would be a race.
        let written = region.written.get(address - region.start, bytes) | page.written(within, bytes);
        if written != low_bits(bytes) {
            let address = address + u64::from(written.trailing_ones());
            let element = self.memory.element(address);
            return Err(FaultKind::UninitializedMemory { space: "global", address, element });
        }
        if let (Semantics::NonCoherent, Some(me)) = (id.semantics, me) {
            // The non-coherent cache may miss whatever the kernel has written, even the thread itself.
            let stale = page.written(within, bytes);
            if stale != 0 {
                return Err(self.non_coherent(address + u64::from(stale.trailing_zeros()), false));
            }
            page.non_coherent.note(within, bytes, me);
            region.load(address, data);
            return Ok(());
        }
        page.touched(id.semantics).read.set(within, bytes);
        if let Some(me) = me {
            let before = |entry: Entry| warp.is_after(id.lane as usize, entry.thread(), entry.clock());
            let race = touch(&mut page.records, within as usize, data.len(), me, false, before)
                .or_else(|| shadow::race(&page.of_device, within as usize, data.len(), me, false, before))
                .or_else(|| shadow::race(&page.of_system, within as usize, data.len(), me, false, before));
            if let Some((other, wrote, at)) = race {
                return Err(self.race("global", address - within + at as u64, false, other, wrote));
            }
        }
        region.load(address, data);
        if id.semantics.is_strong() && self.pages.releases.is_some() {
            self.meet_other_kinds(warp, id, address, data.len(), false)?;
        }
        if id.semantics.is_of_system() && self.pages.releases.is_some() {
            for at in (address..address + u64::from(bytes)).step_by(4) {
                let Some(clock) = self.pages.releases.as_ref().and_then(|all| all.get(&at)) else { continue };
                match id.semantics {
                    Semantics::Acquire => warp.learn(clock),
                    _ => barrier::join(&mut self.learned, clock),
                }
            }
        }
        Ok(())
    }

    fn store_global(
        &mut self,
        warp: &mut Warp,
        id: ThreadId,
        address: u64,
        data: &[u8],
    ) -> Result<(), FaultKind> {
        aligned("global", address, data.len())?;
        let bytes = data.len() as u32;
        let region = self.memory.check(address, bytes, true, self.guess)?;
        self.guess = region;
        self.check_in_front(warp, id.lane, address, bytes, true)?;
        let region = &self.memory.regions()[region];
        let me = self.entry(warp, id);
        let page = self.pages.of(address);
        let within = address % PAGE;
        let stale = page.non_coherent.read.get(within, bytes);
        if stale != 0 {
            return Err(self.non_coherent(address + u64::from(stale.trailing_zeros()), true));
        }
        page.touched(id.semantics).written.set(within, bytes);
        if let Some(me) = me {
            let before = |entry: Entry| warp.is_after(id.lane as usize, entry.thread(), entry.clock());
            let race = touch(&mut page.records, within as usize, data.len(), me, true, before)
                .or_else(|| shadow::race(&page.of_device, within as usize, data.len(), me, true, before))
                .or_else(|| shadow::race(&page.of_system, within as usize, data.len(), me, true, before));
            if let Some((other, wrote, at)) = race {
                return Err(self.race("global", address - within + at as u64, true, other, wrote));
            }
        }
        if self.pages.releases.is_none() || !id.semantics.is_strong() {
            region.store(address, data);
            return Ok(());
        }
        let element = id.element as usize;
        if id.semantics == Semantics::System && element > 0 && element < data.len() {
            // Nothing says when the elements of a vector are seen: another launch may see some before one of them.
            let late = self.pages.torn % (data.len() / element);
            self.pages.torn = self.pages.torn.wrapping_add(1);
            for (index, part) in data.chunks(element).enumerate() {
                let at = address + (index * element) as u64;
                if index == late {
                    self.torn.push((at, part.into()));
                } else {
                    region.store(at, part);
                }
            }
        } else {
            region.store(address, data);
        }
        if id.semantics == Semantics::Release {
            self.mend();
        }
        self.meet_other_kinds(warp, id, address, data.len(), true)?;
        let clock: Option<Arc<[u32]>> = match id.semantics {
            Semantics::Release => Some(warp.clock[..].into()),
            Semantics::System => Some(self.before.clone()),
            _ => None,
        };
        // An element of a vector is accessed at an address of its own.
        for at in (address..address + u64::from(bytes)).step_by(4) {
            let releases = self.pages.releases.get_or_insert_default();
            match &clock {
                Some(clock) => releases.insert(at, clock.clone()),
                None => releases.remove(&at),
            };
        }
        if id.semantics == Semantics::Release {
            warp.tick();
        }
        Ok(())
    }

    /// Stores what is late of vectors.
    pub fn mend(&mut self) {
        for (address, part) in std::mem::take(&mut self.torn) {
            // It was found when the vector was stored.
            if let Ok(region) = self.memory.check(address, part.len() as u32, true, self.guess) {
                self.memory.regions()[region].store(address, &part);
            }
        }
    }

    /// Notes a strong access, and whether it races: with a weak one, or with one by another device if one of the two is not for
    /// the whole system.
    fn meet_other_kinds(
        &mut self,
        warp: &Warp,
        id: ThreadId,
        address: u64,
        bytes: usize,
        writes: bool,
    ) -> Result<(), FaultKind> {
        let me = self.entry_of(warp, id);
        let of_launch = self.warps_of_launch();
        let is_of_system = id.semantics.is_of_system();
        let page = self.pages.of(address);
        let within = (address % PAGE) as usize;
        let own = if is_of_system { &mut page.of_system } else { &mut page.of_device };
        if own.is_empty() {
            own.resize(PAGE as usize / 2, Record::default());
        }
        shadow::note(own, within, bytes, me, writes);
        let before = |entry: Entry| warp.is_after(id.lane as usize, entry.thread(), entry.clock());
        let no_race = |entry: Entry| of_launch.contains(&(entry.thread() as usize / WARP)) || before(entry);
        let race = shadow::race(&page.records, within, bytes, me, writes, before)
            .or_else(|| shadow::race(&page.of_device, within, bytes, me, writes, no_race))
            .or_else(|| {
                let of_system = if is_of_system { &[][..] } else { &page.of_system };
                shadow::race(of_system, within, bytes, me, writes, no_race)
            });
        match race {
            Some((other, wrote, at)) => {
                Err(self.race("global", address - within as u64 + at as u64, writes, other, wrote))
            }
            None => Ok(()),
        }
    }

    /// The rank of the block whose shared memory an address is in, and the offset there. `user` is the index by which the
    /// access is recorded: the warp's, or that of its asynchronous stores.
    pub fn locate(
        &mut self,
        warp: &Warp,
        at: u64,
        bytes: usize,
        user: usize,
    ) -> Result<(usize, u64), FaultKind> {
        let rank = address::rank(at).unwrap_or(warp.block as u64);
        if rank >= self.shared.len() as u64 {
            let near = Some(format!("the cluster has {} blocks", self.shared.len()));
            let bytes = bytes as u32;
            return Err(FaultKind::OutOfBounds { space: "shared::cluster", address: at, bytes, near });
        }
        let rank = rank as usize;
        if rank != warp.block || user != warp.index {
            self.reach(warp, rank, address::offset(at), user)?;
        }
        Ok((rank, address::offset(at)))
    }

    pub fn param(&self, address: u64, data: &mut [u8]) -> Result<(), FaultKind> {
        let from = usize::try_from(address).ok();
        let found = from.and_then(|from| self.arguments.get(from..from.checked_add(data.len())?));
        match found {
            Some(found) => {
                data.copy_from_slice(found);
                Ok(())
            }
            None => {
                let near = Some(format!("the parameters have {} bytes", self.arguments.len()));
                Err(FaultKind::OutOfBounds { space: "param", address, bytes: data.len() as u32, near })
            }
        }
    }

    pub fn wrong(&self, wrong: Wrong, space: &'static str, writes: bool) -> FaultKind {
        match wrong {
            Wrong::Fault(kind) => kind,
            Wrong::Race(race) => self.race(space, race.address, writes, race.other, race.wrote),
        }
    }
}

/// The space of a generic address, and the address there.
pub fn resolve(space: Space, address: u64) -> (Space, u64) {
    if space != Space::Generic {
        return (space, address);
    }
    match address::window(address) {
        Some(address::SHARED) => (Space::Cluster, address - address::SHARED),
        Some(address::LOCAL) => (Space::Local, address - address::LOCAL),
        Some(address::PARAM) => (Space::Param, address - address::PARAM),
        _ => (Space::Global, address),
    }
}

pub fn aligned(space: &'static str, address: u64, bytes: usize) -> Result<(), FaultKind> {
    // Vectors of a length that is no power of two do not exist.
    if address & (bytes as u64 - 1) == 0 {
        Ok(())
    } else {
        Err(FaultKind::Misaligned { space, address, align: bytes as u32 })
    }
}

fn local(warp: &Warp, lane: u32, address: u64, bytes: usize) -> Result<std::ops::Range<usize>, FaultKind> {
    aligned("local", address, bytes)?;
    let size = warp.local.len() as u64 / 32;
    match address.checked_add(bytes as u64) {
        Some(end) if end <= size => {
            let from = (u64::from(lane) * size + address) as usize;
            Ok(from..from + bytes)
        }
        _ => {
            let near = Some(format!("the thread has {size} bytes"));
            Err(FaultKind::OutOfBounds { space: "local", address, bytes: bytes as u32, near })
        }
    }
}

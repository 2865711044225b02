//! Loads and stores.

use super::cluster::{Cluster, Stop};
use super::shared::Wrong;
use super::warp::Warp;
use crate::check::pages::PAGE;
use crate::check::shadow::{Entry, touch};
use crate::counts::requests;
use crate::fault::FaultKind;
use crate::kernel::file::{Mask, Raw, Row, WARP};
use crate::kernel::op::{Access, Place, Space};
use crate::memory::address;
use crate::memory::bits::low_bits;
use crate::text::registers::{Class, Register};

/// What an access of one thread moves, at most.
pub type Data = [u8; 32];

/// One thread at one instruction.
#[derive(Clone, Copy)]
pub struct Who {
    pub lane: u32,
    pub at: u32,
    /// Whether the access orders memory by itself, and so races with none.
    pub strong: bool,
}

/// The addresses of all lanes.
pub fn addresses(warp: &Warp, place: Place) -> Row<u64> {
    match place.base {
        None => [place.offset as u64; WARP],
        Some(Register { class: Class::Wide, slot }) => {
            u64::row(&warp.file, slot).map(|base| base.wrapping_add_signed(place.offset))
        }
        Some(Register { slot, .. }) => {
            u32::row(&warp.file, slot).map(|base| u64::from(base).wrapping_add_signed(place.offset))
        }
    }
}

/// Lanes of a mask.
pub fn lanes(mask: Mask) -> impl Iterator<Item = usize> {
    (0..WARP).filter(move |lane| mask >> lane & 1 == 1)
}

impl Cluster<'_> {
    /// Loads in the lanes of `active`.
    pub fn load(&mut self, warp: &mut Warp, access: &Access, active: Mask, at: u32) -> Result<(), Stop> {
        let addresses = addresses(warp, access.place);
        let bytes = access.bytes() as usize;
        let mut data: Row<Data> = [[0; 32]; WARP];
        if access.space == Space::Param && access.place.base.is_none() && active != 0 {
            // The same for all lanes.
            self.param(addresses[0], &mut data[0][..bytes])
                .map_err(|kind| Stop::new(active.trailing_zeros(), kind))?;
            data = [data[0]; WARP];
        } else {
            for lane in lanes(active) {
                let who = Who { lane: lane as u32, at, strong: access.strong };
                let moved = &mut data[lane][..bytes];
                self.load_lane(warp, who, access.space, addresses[lane], moved)
                    .map_err(|kind| Stop::new(lane as u32, kind))?;
            }
            self.count(access, &addresses, active, false, warp.block);
        }
        for (element, register) in access.registers.iter().enumerate() {
            let Some(register) = register else { continue };
            let from = element * access.size as usize;
            scatter(warp, *register, active, &data, from, access);
        }
        Ok(())
    }

    /// Stores in the lanes of `active`.
    pub fn store(&mut self, warp: &mut Warp, access: &Access, active: Mask, at: u32) -> Result<(), Stop> {
        let addresses = addresses(warp, access.place);
        let bytes = access.bytes() as usize;
        let mut data: Row<Data> = [[0; 32]; WARP];
        let size = access.size as usize;
        for (element, register) in access.registers.iter().enumerate() {
            let Some(register) = register else { continue };
            let range = element * size..(element + 1) * size;
            match register.class {
                Class::Wide => {
                    for (data, value) in data.iter_mut().zip(u64::row(&warp.file, register.slot)) {
                        data[range.clone()].copy_from_slice(&value.to_le_bytes()[..size]);
                    }
                }
                _ => {
                    for (data, value) in data.iter_mut().zip(u32::row(&warp.file, register.slot)) {
                        data[range.clone()].copy_from_slice(&value.to_le_bytes()[..size]);
                    }
                }
            }
        }
        for lane in lanes(active) {
            let who = Who { lane: lane as u32, at, strong: access.strong };
            self.store_lane(warp, who, access.space, addresses[lane], &data[lane][..bytes])
                .map_err(|kind| Stop::new(lane as u32, kind))?;
        }
        self.count(access, &addresses, active, true, warp.block);
        Ok(())
    }

    pub fn load_lane(
        &mut self,
        warp: &mut Warp,
        who: Who,
        space: Space,
        address: u64,
        data: &mut [u8],
    ) -> Result<(), FaultKind> {
        let (space, address) = resolve(space, address);
        match space {
            Space::Shared | Space::Cluster => {
                aligned("shared", address, data.len())?;
                let (rank, offset) = self.locate(warp, address)?;
                let me = self.entry(warp, who);
                let before = |entry: Entry| warp.is_after(who.lane as usize, entry.thread(), entry.clock());
                let result = self.shared[rank].load(offset, data, me, before);
                result.map_err(|wrong| self.wrong(wrong, "shared", false))
            }
            Space::Local => {
                let range = local(warp, who.lane, address, data.len())?;
                match warp.local_written[range.clone()].iter().position(|&written| !written) {
                    Some(missing) => {
                        let address = address + missing as u64;
                        Err(FaultKind::UninitializedMemory { space: "local", address })
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
            Space::Global | Space::Constant | Space::Generic => self.load_global(warp, who, address, data),
        }
    }

    pub fn store_lane(
        &mut self,
        warp: &mut Warp,
        who: Who,
        space: Space,
        address: u64,
        data: &[u8],
    ) -> Result<(), FaultKind> {
        let (space, address) = resolve(space, address);
        match space {
            Space::Shared | Space::Cluster => {
                aligned("shared", address, data.len())?;
                let (rank, offset) = self.locate(warp, address)?;
                let me = self.entry(warp, who);
                let before = |entry: Entry| warp.is_after(who.lane as usize, entry.thread(), entry.clock());
                let result = self.shared[rank].store(offset, data, me, before);
                result.map_err(|wrong| self.wrong(wrong, "shared", true))
            }
            Space::Local => {
                let range = local(warp, who.lane, address, data.len())?;
                warp.local[range.clone()].copy_from_slice(data);
                warp.local_written[range].fill(true);
                Ok(())
            }
            Space::Param => Err(FaultKind::ReadOnly { address, buffer: "the parameters".to_owned() }),
            Space::Global | Space::Constant | Space::Generic => self.store_global(warp, who, address, data),
        }
    }

    fn load_global(&mut self, warp: &Warp, who: Who, address: u64, data: &mut [u8]) -> Result<(), FaultKind> {
        aligned("global", address, data.len())?;
        let bytes = data.len() as u32;
        let region = self.memory.check(address, bytes, false, self.guess)?;
        self.guess = region;
        let region = &self.memory.regions()[region];
        let me = self.entry(warp, who);
        let page = self.pages.of(address);
        let within = address % PAGE;
        // Written before the launch, or by this cluster; by another one, it is a race.
        let written = region.written.get(address - region.start, bytes) | page.written.get(within, bytes);
        if written != low_bits(bytes) {
            let address = address + u64::from(written.trailing_ones());
            return Err(FaultKind::UninitializedMemory { space: "global", address });
        }
        if let Some(me) = me {
            page.read.set(within, bytes);
            let before = |entry: Entry| warp.is_after(who.lane as usize, entry.thread(), entry.clock());
            let race = touch(&mut page.records, within as usize, data.len(), me, false, before);
            if let Some((other, wrote, at)) = race {
                return Err(self.race("global", address - within + at as u64, false, other, wrote));
            }
        }
        region.load(address, data);
        Ok(())
    }

    fn store_global(&mut self, warp: &Warp, who: Who, address: u64, data: &[u8]) -> Result<(), FaultKind> {
        aligned("global", address, data.len())?;
        let bytes = data.len() as u32;
        let region = self.memory.check(address, bytes, true, self.guess)?;
        self.guess = region;
        let region = &self.memory.regions()[region];
        let me = self.entry(warp, who);
        let page = self.pages.of(address);
        let within = address % PAGE;
        page.written.set(within, bytes);
        if let Some(me) = me {
            let before = |entry: Entry| warp.is_after(who.lane as usize, entry.thread(), entry.clock());
            let race = touch(&mut page.records, within as usize, data.len(), me, true, before);
            if let Some((other, wrote, at)) = race {
                return Err(self.race("global", address - within + at as u64, true, other, wrote));
            }
        }
        region.store(address, data);
        Ok(())
    }

    /// Whose shared memory an address is in, and where there.
    fn locate(&mut self, warp: &Warp, at: u64) -> Result<(usize, u64), FaultKind> {
        let Some(rank) = address::rank(at) else { return Ok((warp.block, at)) };
        if rank >= self.shared.len() as u64 {
            let near = Some(format!("the cluster has {} blocks", self.shared.len()));
            return Err(FaultKind::OutOfBounds { space: "shared::cluster", address: at, bytes: 0, near });
        }
        let rank = rank as usize;
        if rank != warp.block {
            self.reach(warp, rank)?;
        }
        Ok((rank, address::offset(at)))
    }

    fn param(&self, address: u64, data: &mut [u8]) -> Result<(), FaultKind> {
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

    fn wrong(&self, wrong: Wrong, space: &'static str, writes: bool) -> FaultKind {
        match wrong {
            Wrong::Fault(kind) => kind,
            Wrong::Race(race) => self.race(space, race.address, writes, race.other, race.wrote),
        }
    }

    /// What the request of a warp was to memory.
    fn count(&mut self, access: &Access, at: &Row<u64>, active: Mask, writes: bool, block: usize) {
        let (mut global, mut shared, mut remote): (Mask, Mask, u64) = (0, 0, 0);
        let mut offsets = [0; WARP];
        for lane in lanes(active) {
            let (space, at) = resolve(access.space, at[lane]);
            match space {
                Space::Global | Space::Constant | Space::Generic => global |= 1 << lane,
                Space::Shared | Space::Cluster => {
                    offsets[lane] = address::offset(at);
                    match address::rank(at) {
                        Some(rank) if rank as usize != block => remote += 1,
                        _ => shared |= 1 << lane,
                    }
                }
                Space::Local | Space::Param => {}
            }
        }
        let bytes = access.bytes();
        let moved = |lanes: Mask| u64::from(lanes.count_ones()) * u64::from(bytes);
        if global != 0 {
            let traffic = &mut self.tally.global[self.guess];
            let requests = if writes { &mut traffic.stores } else { &mut traffic.loads };
            requests.requests += 1;
            requests.accesses += u64::from(global.count_ones());
            requests.bytes += moved(global);
            requests.sectors += requests::sectors(at, global);
        }
        if shared != 0 || remote != 0 {
            let traffic = &mut self.tally.shared;
            traffic.requests += 1;
            traffic.bytes += moved(shared) + remote * u64::from(bytes);
            traffic.conflicts += requests::conflicts(&offsets, shared, bytes);
            traffic.remote += remote;
        }
    }
}

/// The space of a generic address, and the address there.
fn resolve(space: Space, address: u64) -> (Space, u64) {
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

/// Puts one element of each lane's data into a register, extended to its width.
fn scatter(
    warp: &mut Warp,
    register: Register,
    active: Mask,
    data: &Row<Data>,
    from: usize,
    access: &Access,
) {
    let size = access.size as usize;
    let unused = 64 - 8 * access.size;
    let element = |lane: usize| {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&data[lane][from..from + size]);
        let raw = u64::from_le_bytes(bytes);
        if access.signed { (((raw << unused) as i64) >> unused) as u64 } else { raw }
    };
    match register.class {
        Class::Wide => {
            let row: Row<u64> = std::array::from_fn(element);
            warp.file.write(register.slot, &row, active);
        }
        Class::Half => {
            let row: Row<u32> = std::array::from_fn(|lane| element(lane) as u32 & 0xffff);
            warp.file.write(register.slot, &row, active);
        }
        _ => {
            let row: Row<u32> = std::array::from_fn(|lane| element(lane) as u32);
            warp.file.write(register.slot, &row, active);
        }
    }
}

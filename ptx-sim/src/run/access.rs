//! Loads and stores.

use super::cluster::{Abort, Cluster};
use super::lane::{ThreadId, resolve};
use super::warp::Warp;
use crate::counts::requests;
use crate::kernel::file::{Mask, Raw, Row, WARP};
use crate::kernel::op::{Access, Place, Space};
use crate::memory::address;
use crate::text::registers::{Class, Register};

/// The bytes that one thread's access moves, at most 32.
pub type Data = [u8; 32];

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
    pub fn load(&mut self, warp: &mut Warp, access: &Access, active: Mask, at: u32) -> Result<(), Abort> {
        let addresses = addresses(warp, access.place);
        let bytes = access.bytes() as usize;
        let mut data: Row<Data> = [[0; 32]; WARP];
        if access.space == Space::Param && access.place.base.is_none() && active != 0 {
            // The same for all lanes.
            self.param(addresses[0], &mut data[0][..bytes])
                .map_err(|kind| Abort::new(active.trailing_zeros(), kind))?;
            data = [data[0]; WARP];
        } else {
            for lane in lanes(active) {
                let id =
                    ThreadId { lane: lane as u32, at, semantics: access.semantics, element: access.size };
                let moved = &mut data[lane][..bytes];
                self.load_lane(warp, id, access.space, addresses[lane], moved)
                    .map_err(|kind| Abort::new(lane as u32, kind))?;
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
    pub fn store(&mut self, warp: &mut Warp, access: &Access, active: Mask, at: u32) -> Result<(), Abort> {
        let addresses = addresses(warp, access.place);
        let bytes = access.bytes() as usize;
        let data = gathered(warp, access);
        for lane in lanes(active) {
            let id = ThreadId { lane: lane as u32, at, semantics: access.semantics, element: access.size };
            self.store_lane(warp, id, access.space, addresses[lane], &data[lane][..bytes])
                .map_err(|kind| Abort::new(lane as u32, kind))?;
        }
        self.count(access, &addresses, active, true, warp.block);
        Ok(())
    }

    /// Counts a warp's request: its accesses, bytes, sectors and bank conflicts.
    pub fn count(&mut self, access: &Access, at: &Row<u64>, active: Mask, writes: bool, block: usize) {
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

/// What each lane stores: its elements side by side.
pub fn gathered(warp: &Warp, access: &Access) -> Row<Data> {
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
    data
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

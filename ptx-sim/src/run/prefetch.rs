//! Prefetches (PTX ISA, "prefetch", "cp.async.bulk.prefetch", "applypriority"). They change nothing, but their addresses are
//! checked against what the PTX ISA requires. It says nothing of addresses outside all memory, so those are counted.

use super::access::{addresses, lanes};
use super::cluster::{Abort, Cluster};
use super::lane::{aligned, resolve};
use super::warp::Warp;
use crate::counts::{SECTOR, requests};
use crate::fault::FaultKind;
use crate::kernel::file::Mask;
use crate::kernel::op::{Prefetch, PrefetchKind, Space};
use crate::memory::address;

/// What a bulk prefetch's address and bytes are multiples of.
const BULK: u64 = 16;
/// What `applypriority` applies to, and what its address is a multiple of.
const LINE: u64 = 128;

impl Cluster<'_> {
    /// Checks and counts a prefetch in the lanes of `active`.
    pub fn prefetch(&mut self, warp: &Warp, prefetch: &Prefetch, active: Mask, at: u32) -> Result<(), Abort> {
        let addresses = addresses(warp, prefetch.place);
        let (mut found, mut region): (Mask, usize) = (0, 0);
        let mut wide = [0, 0];
        for lane in lanes(active) {
            let abort = |kind| Abort::new(lane as u32, kind);
            let (space, address) = resolve(prefetch.space, addresses[lane]);
            let bytes = match prefetch.kind {
                PrefetchKind::Line => 1,
                PrefetchKind::Bulk { bytes } => {
                    let bytes = u64::from(warp.file.words[bytes as usize][lane]);
                    aligned("global", address, BULK as usize).map_err(abort)?;
                    if !bytes.is_multiple_of(BULK) {
                        return Err(abort(FaultKind::PrefetchSize { address, bytes, multiple: BULK }));
                    }
                    wide[0] += bytes;
                    wide[1] += bytes.div_ceil(SECTOR);
                    bytes
                }
                PrefetchKind::Priority => {
                    if space != Space::Global || address::window(address).is_some() {
                        let near = Some("applypriority takes addresses of global memory alone".to_owned());
                        let (address, bytes) = (addresses[lane], LINE as u32);
                        return Err(abort(FaultKind::OutOfBounds { space: "generic", address, bytes, near }));
                    }
                    aligned("global", address, LINE as usize).map_err(abort)?;
                    1
                }
            };
            match space {
                Space::Global | Space::Generic | Space::Constant if bytes > 0 => {
                    match self.memory.holds(address, bytes) {
                        Some(at) => (found, region) = (found | 1 << lane, at),
                        None => self.tally.stray(at),
                    }
                }
                Space::Local if address >= warp.local.len() as u64 / 32 => self.tally.stray(at),
                // Of shared memory it does nothing.
                _ => {}
            }
        }
        if found != 0 {
            let requests = &mut self.tally.global[region].prefetches;
            requests.requests += 1;
            requests.accesses += u64::from(found.count_ones());
            if let PrefetchKind::Bulk { .. } = prefetch.kind {
                requests.bytes += wide[0];
                requests.sectors += wide[1];
            } else {
                requests.sectors += requests::sectors(&addresses, found);
            }
        }
        Ok(())
    }
}

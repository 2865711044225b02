//! What the processes of a group tell each other.

use std::{ops::Range, process};

use cuda_driver::sys::CUipcMemHandle;
use norm_kernels::abi::MAX_RANKS;

use super::{
    Member, PeerGroup, PeerOptions, blocks,
    workspace::{Opened, Workspace, buffer_bytes},
};
use crate::{
    device::Device,
    error::{Error, Result},
    tp::TpContext,
};

/// What an offer begins with: a name and a version.
const MAGIC: [u8; 8] = *b"normpg03";

/// Where an offer has its [`mark`].
const MARK: Range<usize> = 20..32;

/// What tells a process its own offers from others': where the workspace is, and which process it is. A handle does not, as the
/// driver does not say that it makes the same one each time.
fn mark(workspace: &Workspace) -> [u8; 12] {
    let mut mark = [0; 12];
    mark[..8].copy_from_slice(&workspace.address().to_le_bytes());
    mark[8..].copy_from_slice(&process::id().to_le_bytes());
    mark
}

/// The ranks of one process before all processes of a group have found each other. Each sends the bytes of its offer to the
/// others, by whatever means they have, and joins with those of all.
///
/// ```no_run
/// use norm_host::{PeerGroup, PeerOffer, PeerOptions, TpContext};
///
/// /// When a process starts that has one of the devices of a host. `exchange` gives the bytes of all ranks, in their order.
/// fn start(
///     device: u32, rank: usize, exchange: impl Fn(&[u8]) -> Vec<[u8; PeerOffer::BYTES]>,
/// ) -> norm_host::Result<(TpContext, PeerGroup)> {
///     let tp = TpContext::on_devices(&[device])?;
///     let offer = PeerOffer::new(&tp, PeerOptions::default())?;
///     let all = exchange(&offer.to_bytes()?[0]);
///     Ok((tp, offer.join(&all, rank)?))
/// }
/// ```
pub struct PeerOffer {
    workspaces: Vec<Workspace>,
    blocks: u32,
    options: PeerOptions,
}

impl PeerOffer {
    /// Bytes of a rank's offer.
    pub const BYTES: usize = 96;

    /// Allocates the workspaces of a process's ranks, one for each stream.
    ///
    /// # Errors
    ///
    /// [`NoPeerAccess`](Error::NoPeerAccess) between two devices of this process; [`Ranks`](Error::Ranks) for more than eight
    /// streams; [`OutOfMemory`](Error::OutOfMemory), and what the driver refuses.
    pub fn new(tp: &TpContext, options: PeerOptions) -> Result<PeerOffer> {
        let streams = tp.streams();
        if streams.len() > MAX_RANKS {
            let given = streams.len();
            return Err(Error::Ranks { first: given, first_rank: 0, max: MAX_RANKS, given });
        }
        for from in streams {
            for to in streams {
                connect(from.device(), to.device())?;
            }
        }
        let workspaces = streams.iter().map(|stream| Workspace::new(*stream.device(), &options));
        let workspaces = workspaces.collect::<Result<_>>()?;
        Ok(PeerOffer { workspaces, blocks: blocks(tp, &options)?, options })
    }

    /// The bytes to send to the other processes, for each rank of this one. They are of use while this, or the group that it
    /// joins, lives.
    ///
    /// # Errors
    ///
    /// What the driver refuses.
    pub fn to_bytes(&self) -> Result<Vec<[u8; PeerOffer::BYTES]>> {
        self.workspaces.iter().map(|workspace| Ok(self.header(workspace, workspace.handle()?))).collect()
    }

    /// The group, given the offers of all ranks in their order, and the number of this process's first.
    ///
    /// # Errors
    ///
    /// [`Ranks`](Error::Ranks) for more than eight, or where this process's would be outside of them;
    /// [`PeerOffer`](Error::PeerOffer) for bytes that are no offer, one with other options, or another's where this process's own
    /// must stand; what the driver refuses, such as a device that this process's cannot reach.
    pub fn join(self, all: &[[u8; PeerOffer::BYTES]], first: usize) -> Result<PeerGroup> {
        let (here, ranks) = (self.workspaces.len(), all.len());
        let fits = first.checked_add(here).is_some_and(|end| end <= ranks) && ranks <= MAX_RANKS;
        if !fits {
            return Err(Error::Ranks { first: here, first_rank: first, max: MAX_RANKS, given: ranks });
        }
        let mut handles = Vec::with_capacity(ranks);
        let mut least = self.blocks;
        for (rank, bytes) in all.iter().enumerate() {
            let (handle, blocks) =
                self.read(bytes).map_err(|expected| Error::PeerOffer { rank, expected })?;
            let own = rank.checked_sub(first).and_then(|index| self.workspaces.get(index));
            if own.is_some_and(|own| bytes[MARK] != mark(own)) {
                return Err(Error::PeerOffer { rank, expected: "this process's own offer, of this rank" });
            }
            handles.push(handle);
            least = least.min(blocks);
        }
        self.assemble(&handles, first, least)
    }

    /// The group of these ranks alone, for which no process has to open anything.
    pub(super) fn join_alone(self) -> Result<PeerGroup> {
        let nobody = vec![CUipcMemHandle { reserved: [0; 64] }; self.workspaces.len()];
        let blocks = self.blocks;
        self.assemble(&nobody, 0, blocks)
    }

    /// The group, given the handles of all ranks, of which this process's own are not used.
    fn assemble(self, handles: &[CUipcMemHandle], first: usize, blocks: u32) -> Result<PeerGroup> {
        let own: Vec<u64> = self.workspaces.iter().map(Workspace::address).collect();
        let places: Vec<_> = self.workspaces.iter().map(|workspace| workspace.device().place()).collect();
        let shares = places.iter().enumerate().any(|(index, place)| places[..index].contains(place));
        let mut local = Vec::with_capacity(own.len());
        for workspace in self.workspaces {
            let mut opened = Vec::new();
            let mut workspaces = [0; MAX_RANKS];
            for (rank, &handle) in handles.iter().enumerate() {
                workspaces[rank] = match rank.checked_sub(first).and_then(|index| own.get(index)) {
                    Some(&address) => address,
                    None => {
                        // SAFETY: the bytes are an offer's, whose process keeps the workspace as `PeerOffer` documents.
                        let peer = unsafe { Opened::new(*workspace.device(), handle) }?;
                        let address = peer.address();
                        opened.push(peer);
                        address
                    }
                };
            }
            local.push(Member { workspaces, _opened: opened, own: workspace });
        }
        Ok(PeerGroup { local, ranks: handles.len(), first, blocks, shares, options: self.options })
    }

    /// An offer: [`MAGIC`], the bytes of a buffer, the blocks of a launch, the [`mark`] of its workspace, and the handle.
    fn header(&self, workspace: &Workspace, handle: CUipcMemHandle) -> [u8; PeerOffer::BYTES] {
        let mut bytes = [0; PeerOffer::BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&buffer_bytes(&self.options).to_le_bytes());
        bytes[16..20].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[MARK].copy_from_slice(&mark(workspace));
        bytes[32..].copy_from_slice(&handle.reserved);
        bytes
    }

    /// A rank's handle and blocks; what its offer should have been.
    fn read(
        &self,
        bytes: &[u8; PeerOffer::BYTES],
    ) -> std::result::Result<(CUipcMemHandle, u32), &'static str> {
        let (head, reserved) = bytes.split_at(32);
        if head[..8] != MAGIC {
            return Err("bytes of an offer of this version");
        }
        if head[8..16] != buffer_bytes(&self.options).to_le_bytes() {
            return Err("buffers as large as this process's");
        }
        let blocks = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
        let mut handle = CUipcMemHandle { reserved: [0; 64] };
        handle.reserved.copy_from_slice(reserved);
        Ok((handle, blocks.max(1)))
    }
}

/// Lets a device reach another one's memory, unless the two are one.
fn connect(from: &Device, to: &Device) -> Result<()> {
    if from.place() == to.place() {
        return Ok(());
    }
    let driver = from.driver();
    let [device, peer] = [driver.device(from.ordinal())?, driver.device(to.ordinal())?];
    if !from.check(driver.can_access_peer(device, peer))? {
        return Err(Error::NoPeerAccess { from: from.place(), to: to.place() });
    }
    to.ensure_live()?;
    let _current = from.enter()?;
    // SAFETY: primary contexts are retained and never released.
    from.check(unsafe { driver.enable_peer_access(to.context()) })
}

impl std::fmt::Debug for PeerOffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an offer of {} ranks", self.workspaces.len())
    }
}

//! Groups whose devices reach each other's memory: the workspaces by which their kernels meet.

mod offer;
mod workspace;

use std::{fmt, time::Duration};

use norm_kernels::abi::{
    Exchange, Failure, GroupArgs, MAX_GROUP_BLOCKS, MAX_RANKS, workspace::packets_of_row,
};

pub use self::offer::PeerOffer;
use self::workspace::{Opened, Workspace};
use super::TpContext;
use crate::{
    device::Device,
    error::{Arg, Error, GroupFailure, Result},
    plan::{one_shot_up_to, packets_up_to},
};

/// How the devices of a group work together. All processes of a group give the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerOptions {
    /// Bytes of rows that a launch takes: a call with more is as many launches as it needs. Each device has two buffers of
    /// this size, and room for packets as large, up to 4 MiB each.
    pub buffer_bytes: usize,
    /// How long a device waits for another one before the group fails.
    pub patience: Duration,
    /// Blocks of every launch, at most 256, all of which have to be resident on their device at a time; `None` for one on each
    /// of 128 multiprocessors, or fewer where a device has fewer or the group has several streams on it.
    pub blocks: Option<u32>,
    /// Bytes of a device's rows up to which every rank adds up all of them by itself, without a second exchange; `None` for
    /// what is best for the number of ranks. No bit of the result depends on it.
    pub one_shot_bytes: Option<u64>,
    /// Bytes of a device's rows up to which ranks send each other all of them as packets, which takes the least time for few rows;
    /// `None` for what is best for the number of ranks. Rows for which there is no room go the other ways. No bit of the result
    /// depends on it.
    pub packet_bytes: Option<u64>,
}

impl Default for PeerOptions {
    /// Buffers of 16 MiB, and ten seconds.
    fn default() -> PeerOptions {
        PeerOptions {
            buffer_bytes: 16 << 20,
            patience: Duration::from_secs(10),
            blocks: None,
            one_shot_bytes: None,
            packet_bytes: None,
        }
    }
}

/// Blocks of a launch unless something else is given.
const BLOCKS: u32 = 128;

/// A group whose devices reach each other's memory over NVLink or PCIe, so that kernels add up rows of all devices:
/// [`all_reduce_add_rms_norm`](crate::all_reduce_add_rms_norm).
///
/// Each device has a workspace, which is allocated once: a buffer in which it offers rows to the others, and flags. Calls neither
/// allocate nor wait on the host, and CUDA graphs capture them. docs/PARALLEL.md has the protocol.
///
/// All ranks make the same calls in the same order. A call of which a rank does not come fails on every device after
/// [`patience`](PeerOptions::patience): the kernels end, what they were to write is undefined, and
/// [`status`](PeerGroup::status) and every later call return [`GroupFailed`](Error::GroupFailed).
///
/// Dropping the group frees the workspaces; the caller has waited for the calls of every rank before, those of other processes
/// too.
pub struct PeerGroup {
    local: Vec<Member>,
    ranks: usize,
    first: usize,
    blocks: u32,
    /// Whether several of this process's ranks share a device.
    shares: bool,
    options: PeerOptions,
}

/// A rank of this process.
struct Member {
    /// The workspaces of all ranks, as its device reaches them.
    workspaces: [u64; MAX_RANKS],
    /// Those of them that are other processes', to be closed before its own is freed.
    _opened: Vec<Opened>,
    own: Workspace,
}

impl PeerGroup {
    /// A group that has all its ranks in this process.
    ///
    /// # Errors
    ///
    /// As for [`PeerOffer::new`].
    pub fn new(tp: &TpContext, options: PeerOptions) -> Result<PeerGroup> {
        PeerOffer::new(tp, options)?.join_alone()
    }

    /// Whether the group still works: that no device has given up a call. It does not wait for calls under way.
    ///
    /// # Errors
    ///
    /// [`GroupFailed`](Error::GroupFailed), from then on.
    pub fn status(&self) -> Result<()> {
        let failed = self.local.iter().find_map(|member| Failure::of(member.own.failure()));
        failed.map_or(Ok(()), |failure| Err(Error::GroupFailed { failure: told(failure) }))
    }

    /// The number of ranks.
    pub fn ranks(&self) -> usize {
        self.ranks
    }

    /// The number of the first of this process.
    pub fn first(&self) -> usize {
        self.first
    }

    /// Rows with that many bytes from one to the next that a launch takes.
    pub(super) fn rows_a_launch(&self, pitch: u32) -> Result<u32> {
        let (buffer, given) = (self.buffer(), u64::from(pitch));
        match u32::try_from(buffer / given) {
            Ok(0) => Err(Error::GroupBuffer { buffer, given }),
            Ok(rows) => Ok(rows),
            Err(_) => Ok(u32::MAX),
        }
    }

    /// Checks that the group is one of these streams, and still works.
    pub(super) fn check(&self, tp: &TpContext) -> Result<()> {
        let (expected, given) = (tp.streams().len(), self.local.len());
        if given != expected {
            return Err(Error::ListLength { arg: Arg::Reduce, expected, given });
        }
        for (index, (stream, member)) in tp.streams().iter().zip(&self.local).enumerate() {
            let (expected, given) = (stream.device().place(), member.own.device().place());
            if given != expected {
                return Err(Error::Communicator { index, expected, given });
            }
        }
        self.status()
    }

    /// The second argument of a launch of these rows on a stream of this process.
    pub(super) fn args(&self, index: usize, pitch: u32, rows: [u32; 2], signature: u32) -> GroupArgs {
        let member = &self.local[index];
        let exchange = self.exchange(pitch, rows[1] - rows[0]);
        GroupArgs {
            workspaces: member.workspaces,
            failure: member.own.failure_address(),
            patience: u64::try_from(self.options.patience.as_nanos()).unwrap_or(u64::MAX),
            buffer: self.buffer(),
            pitch,
            blocks: self.blocks,
            ranks: self.ranks as u32,
            rank: (self.first + index) as u32,
            rows,
            // Ranks with other options must not meet.
            signature: signature ^ exchange as u32,
            exchange: exchange as u32,
            packets: self.packets(),
            early: u32::from(!self.shares),
        }
    }

    /// How so many rows of so many bytes get to other ranks.
    fn exchange(&self, pitch: u32, rows: u32) -> Exchange {
        let [bytes, packets] = [u64::from(pitch), packets_of_row(pitch)].map(|row| u64::from(rows) * row);
        let PeerOptions { packet_bytes, one_shot_bytes, .. } = self.options;
        if bytes <= packet_bytes.unwrap_or_else(|| packets_up_to(self.ranks))
            && packets <= u64::from(self.packets())
        {
            Exchange::Packets
        } else if bytes <= one_shot_bytes.unwrap_or_else(|| one_shot_up_to(self.ranks)) {
            Exchange::OneShot
        } else {
            Exchange::TwoShot
        }
    }

    /// Bytes of the packets that one rank has for another in a call.
    fn packets(&self) -> u32 {
        (workspace::packet_bytes(&self.options) / self.ranks as u64) as u32 / 128 * 128
    }

    fn buffer(&self) -> u64 {
        workspace::buffer_bytes(&self.options)
    }
}

/// Blocks that are resident on every device of a group at a time, of one launch on each of its streams.
fn blocks(tp: &TpContext, options: &PeerOptions) -> Result<u32> {
    if let Some(blocks) = options.blocks {
        return Ok(blocks.clamp(1, MAX_GROUP_BLOCKS));
    }
    let mut blocks = BLOCKS;
    for stream in tp.streams() {
        let device: &Device = stream.device();
        let sharing = tp.streams().iter().filter(|other| other.device().place() == device.place()).count();
        blocks = blocks.min(device.multiprocessors()? / sharing as u32);
    }
    Ok(blocks.max(1))
}

/// A failure as errors have it.
pub(crate) fn told(failure: Failure) -> GroupFailure {
    match failure {
        Failure::Absent { rank } => GroupFailure::Absent { rank: rank as usize },
        Failure::OtherEpoch { rank } => GroupFailure::OtherEpoch { rank: rank as usize },
        Failure::OtherCall { rank } => GroupFailure::OtherCall { rank: rank as usize },
    }
}

impl fmt::Debug for PeerGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PeerGroup { local, ranks, first, blocks, .. } = self;
        write!(f, "ranks {first} to {} of {ranks}, {blocks} blocks each", first + local.len() - 1)
    }
}

//! The communicators of a tensor-parallel group.

use std::{
    ffi::{c_int, c_void},
    fmt, ptr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::library::{Comm, Nccl, UniqueId, nccl};
use crate::{
    device::RestoreContext,
    error::{Arg, Error, Result},
    tensor::Place,
    tp::{AllReduce, RowSums, TpContext},
};

/// What makes the communicators of several processes one: one process makes it and sends it to the
/// others, by whatever means they have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NcclId([u8; NcclId::BYTES]);

impl NcclId {
    /// Its size.
    pub const BYTES: usize = 128;

    /// A new one ([ncclGetUniqueId](
    /// https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/api/comms.html#ncclgetuniqueid)). The
    /// process that asks for it has to stay until all others have joined.
    ///
    /// # Errors
    ///
    /// [`NoNccl`](Error::NoNccl) and [`Nccl`](Error::Nccl).
    pub fn new() -> Result<NcclId> {
        let nccl = nccl()?;
        let mut id = UniqueId([0; NcclId::BYTES]);
        // SAFETY: writes one id.
        nccl.check("ncclGetUniqueId", unsafe { (nccl.ncclGetUniqueId)(&mut id) })?;
        Ok(NcclId(id.0))
    }

    /// One that another process has sent.
    pub fn from_bytes(bytes: [u8; NcclId::BYTES]) -> NcclId {
        NcclId(bytes)
    }

    /// What is sent.
    pub fn to_bytes(self) -> [u8; NcclId::BYTES] {
        self.0
    }
}

/// What it says is an address: not for logs.
impl fmt::Debug for NcclId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NcclId")
    }
}

/// A NCCL communicator for each stream of a [`TpContext`], by which
/// [`rms_norm_sharded`](crate::rms_norm_sharded) adds up sums. NCCL 2 is opened at run time, as
/// `libnccl.so.2` or what `NORM_LIBNCCL` names.
///
/// NCCL has every process, and every communicator in it, make the same calls in the same order. Calls
/// with one group from several threads are kept apart here; in which order they come is for the
/// callers to see to.
pub struct NcclGroup {
    nccl: &'static Nccl,
    comms: Vec<Comm>,
    owned: bool,
    /// Whether a call has failed. What was begun then may never end, and is not waited for.
    broken: AtomicBool,
    /// NCCL's communicators take one call at a time.
    calling: Mutex<()>,
}

// SAFETY: NCCL lets any thread use a communicator.
unsafe impl Send for NcclGroup {}
// SAFETY: and one at a time, which the lock makes sure of.
unsafe impl Sync for NcclGroup {}

impl NcclGroup {
    /// Communicators for a group that has all shards in this process. Waits until they are connected.
    ///
    /// # Errors
    ///
    /// [`NoNccl`](Error::NoNccl); [`Nccl`](Error::Nccl), also where two streams are of one device,
    /// which NCCL does not serve; what [`Device::enter`](crate::Device::enter) says of a device, before
    /// anything is begun.
    pub fn new(tp: &TpContext) -> Result<NcclGroup> {
        NcclGroup::join(tp, NcclId::new()?, tp.streams().len(), 0)
    }

    /// Communicators for a group that has some of all `ranks` shards, the others being in processes
    /// that call this too, with the same id: this group's streams are the ranks from `first` on.
    /// Waits until all have joined.
    ///
    /// # Errors
    ///
    /// As for [`new`](NcclGroup::new).
    pub fn join(tp: &TpContext, id: NcclId, ranks: usize, first: usize) -> Result<NcclGroup> {
        let nccl = nccl()?;
        let _restore = RestoreContext::save()?;
        // NCCL's group waits for every rank when it ends, so a context that is lost is to be known of before.
        for stream in tp.streams() {
            drop(stream.device().enter()?);
        }
        let comms = vec![ptr::null_mut(); tp.streams().len()];
        let mut group =
            NcclGroup { nccl, comms, owned: true, broken: AtomicBool::new(true), calling: Mutex::default() };
        nccl.grouped(|| {
            for (index, (stream, comm)) in tp.streams().iter().zip(&mut group.comms).enumerate() {
                let _current = stream.device().enter()?;
                let (ranks, rank) = (number(ranks), number(first.saturating_add(index)));
                // SAFETY: writes one handle, by the end of NCCL's group, which `comms` outlives.
                let code = unsafe { (nccl.ncclCommInitRank)(comm, ranks, UniqueId(id.0), rank) };
                nccl.check("ncclCommInitRank", code)?;
            }
            Ok(())
        })?;
        group.broken = AtomicBool::new(false);
        Ok(group)
    }

    /// Communicators that the engine has: `ncclComm_t`, one a stream of the group they are used with,
    /// each of that stream's device. They are not destroyed here.
    ///
    /// # Errors
    ///
    /// [`NoNccl`](Error::NoNccl).
    ///
    /// # Safety
    ///
    /// They are alive, of the very library that is opened here, and stay so until this is dropped;
    /// nobody else calls NCCL with them at the same time.
    pub unsafe fn from_raw(comms: Vec<*mut c_void>) -> Result<NcclGroup> {
        let (broken, calling) = (AtomicBool::new(false), Mutex::default());
        Ok(NcclGroup { nccl: nccl()?, comms, owned: false, broken, calling })
    }

    /// Whether the communicators still work. A peer that is gone shows here, or by work that is never
    /// done. After an error here, or of a call that sums, own communicators are aborted when this is
    /// dropped, which ends such work; else they are destroyed, which waits for it.
    ///
    /// # Errors
    ///
    /// [`Nccl`](Error::Nccl) with what went wrong since.
    pub fn status(&self) -> Result<()> {
        let _one_at_a_time = self.calling.lock().unwrap_or_else(PoisonError::into_inner);
        self.noted(self.asked())
    }

    /// Remembers an error.
    fn noted(&self, result: Result<()>) -> Result<()> {
        self.broken.fetch_or(result.is_err(), Relaxed);
        result
    }

    /// What went wrong meanwhile, by NCCL's own account.
    fn asked(&self) -> Result<()> {
        for &comm in &self.comms {
            let mut state = 0;
            // SAFETY: alive; writes one `int`.
            let code = unsafe { (self.nccl.ncclCommGetAsyncError)(comm, &mut state) };
            self.nccl.check("ncclCommGetAsyncError", code)?;
            self.nccl.check("ncclCommGetAsyncError", state)?;
        }
        Ok(())
    }
}

/// NCCL counts in `int`, and refuses what is no rank.
fn number(count: usize) -> c_int {
    c_int::try_from(count).unwrap_or(c_int::MAX)
}

impl AllReduce for NcclGroup {
    fn all_reduce(&self, sums: &RowSums<'_>) -> Result<()> {
        let _restore = RestoreContext::save()?;
        let _one_at_a_time = self.calling.lock().unwrap_or_else(PoisonError::into_inner);
        // As when they are made: the end of a group waits for each.
        sums.iter().try_for_each(|sum| sum.stream.device().ensure_live())?;
        let done = self.nccl.grouped(|| {
            for (sum, &comm) in sums.iter().zip(&self.comms) {
                let stream = sum.stream.as_raw();
                // SAFETY: both are alive, and of one device (`check`); the shard's `sums`, a `ViewMut`,
                // vouches for the numbers.
                unsafe { self.nccl.sum(comm, sum.address, sum.rows, stream) }?;
            }
            Ok(())
        });
        self.noted(done)
    }

    fn check(&self, tp: &TpContext) -> Result<()> {
        let (expected, given) = (tp.streams().len(), self.comms.len());
        if given != expected {
            return Err(Error::ListLength { arg: Arg::Reduce, expected, given });
        }
        for (index, (stream, &comm)) in tp.streams().iter().zip(&self.comms).enumerate() {
            let mut device = 0;
            // SAFETY: alive; writes one `int`.
            let code = unsafe { (self.nccl.ncclCommCuDevice)(comm, &mut device) };
            self.nccl.check("ncclCommCuDevice", code)?;
            let (expected, given) = (stream.device().place(), Place::Cuda(device.unsigned_abs()));
            if given != expected {
                return Err(Error::Communicator { index, expected, given });
            }
        }
        Ok(())
    }
}

impl Drop for NcclGroup {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        let _restore = RestoreContext::save();
        self.comms.retain(|comm| !comm.is_null());
        // To be destroyed, a communicator waits for its peers, and one that is gone never answers.
        let broken = self.broken.load(Relaxed) || self.asked().is_err();
        let end = if broken { self.nccl.ncclCommAbort } else { self.nccl.ncclCommDestroy };
        for &comm in &self.comms {
            // SAFETY: owned, and this was its last use. Errors would be those of work done before.
            let _ = unsafe { end(comm) };
        }
    }
}

impl fmt::Debug for NcclGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.owned { "owned" } else { "borrowed" };
        write!(f, "{} {kind} NCCL communicators", self.comms.len())
    }
}

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

/// An identifier by which the communicators of several processes find each other: one process creates it and sends
/// it to the others, by whatever means they have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NcclId([u8; NcclId::BYTES]);

impl NcclId {
    /// Size in bytes.
    pub const BYTES: usize = 128;

    /// Creates an identifier ([ncclGetUniqueId](
    /// https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/api/comms.html#ncclgetuniqueid)). The
    /// process that creates it must run until all others have joined.
    ///
    /// # Errors
    ///
    /// [`NoNccl`](Error::NoNccl) and [`Nccl`](Error::Nccl).
    pub fn new() -> Result<NcclId> {
        let nccl = nccl()?;
        let mut id = UniqueId([0; NcclId::BYTES]);
        // SAFETY: the function writes one id, for which `id` has room.
        nccl.check("ncclGetUniqueId", unsafe { (nccl.ncclGetUniqueId)(&mut id) })?;
        Ok(NcclId(id.0))
    }

    /// The identifier that another process has sent.
    pub fn from_bytes(bytes: [u8; NcclId::BYTES]) -> NcclId {
        NcclId(bytes)
    }

    /// The bytes to send to the other processes.
    pub fn to_bytes(self) -> [u8; NcclId::BYTES] {
        self.0
    }
}

/// Without the bytes, which hold a network address: they do not belong in logs.
impl fmt::Debug for NcclId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NcclId")
    }
}

/// A NCCL communicator for each stream of a [`TpContext`], with which
/// [`rms_norm_sharded`](crate::rms_norm_sharded) adds up the sums of all devices. NCCL 2 is opened at run time,
/// as `libnccl.so.2` or the library that `NORM_LIBNCCL` names.
///
/// NCCL requires that every process, and every communicator in it, makes the same calls in the same order. A lock keeps
/// calls with one group from several threads apart; their order is the callers' responsibility.
pub struct NcclGroup {
    pub(super) nccl: &'static Nccl,
    pub(super) comms: Vec<Comm>,
    owned: bool,
    /// Whether a call has failed. Work begun before may then never end, and is not waited for.
    broken: AtomicBool,
    /// Held during a call: a communicator serves one at a time.
    pub(super) calling: Mutex<()>,
}

// SAFETY: any thread may use a communicator (NCCL user guide, "Thread safety").
unsafe impl Send for NcclGroup {}
// SAFETY: one thread at a time may use a communicator, which the lock `calling` ensures.
unsafe impl Sync for NcclGroup {}

impl NcclGroup {
    /// Creates communicators for a group that has all shards in this process. Waits until they are connected.
    ///
    /// # Errors
    ///
    /// [`NoNccl`](Error::NoNccl); [`Nccl`](Error::Nccl), also where two streams are of one device,
    /// which NCCL does not support; the errors of [`Device::enter`](crate::Device::enter) for each device, before
    /// anything is begun.
    pub fn new(tp: &TpContext) -> Result<NcclGroup> {
        NcclGroup::join(tp, NcclId::new()?, tp.streams().len(), 0)
    }

    /// Creates communicators for a group that has some of all `ranks` shards. The processes that have the others
    /// call this too, with the same id. The streams of this group are the ranks from `first` on.
    /// Waits until all have joined.
    ///
    /// # Errors
    ///
    /// As for [`new`](NcclGroup::new).
    pub fn join(tp: &TpContext, id: NcclId, ranks: usize, first: usize) -> Result<NcclGroup> {
        let nccl = nccl()?;
        let _restore = RestoreContext::save()?;
        // The end of NCCL's group waits for every rank, so that a lost context must be found before.
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
                // SAFETY: the function writes one handle to `comm`, at the latest when NCCL's group ends; `comms` outlives
                // that.
                let code = unsafe { (nccl.ncclCommInitRank)(comm, ranks, UniqueId(id.0), rank) };
                nccl.check("ncclCommInitRank", code)?;
            }
            Ok(())
        })?;
        group.broken = AtomicBool::new(false);
        Ok(group)
    }

    /// Borrows the engine's communicators: `ncclComm_t`, one for each stream of the group they are used with,
    /// each of that stream's device. They are not destroyed here.
    ///
    /// # Errors
    ///
    /// [`NoNccl`](Error::NoNccl).
    ///
    /// # Safety
    ///
    /// The communicators belong to the library that is opened here, and stay alive until this is dropped; nothing else
    /// calls NCCL with them at the same time.
    pub unsafe fn from_raw(comms: Vec<*mut c_void>) -> Result<NcclGroup> {
        let (broken, calling) = (AtomicBool::new(false), Mutex::default());
        Ok(NcclGroup { nccl: nccl()?, comms, owned: false, broken, calling })
    }

    /// Whether the communicators still work. A lost peer shows here, or as work that never completes. After an
    /// error here, or of a reduction, owned communicators are aborted when this is dropped, which ends such
    /// work; otherwise they are destroyed, which waits for it.
    ///
    /// # Errors
    ///
    /// [`Nccl`](Error::Nccl) with an error that has occurred since the communicators were created.
    pub fn status(&self) -> Result<()> {
        let _one_at_a_time = self.calling.lock().unwrap_or_else(PoisonError::into_inner);
        self.remember(self.async_errors())
    }

    /// Remembers whether the result is an error.
    pub(super) fn remember(&self, result: Result<()>) -> Result<()> {
        self.broken.fetch_or(result.is_err(), Relaxed);
        result
    }

    /// The first asynchronous error that NCCL reports.
    fn async_errors(&self) -> Result<()> {
        for &comm in &self.comms {
            let mut state = 0;
            // SAFETY: the communicator is alive as long as `self`; the function writes one `int`.
            let code = unsafe { (self.nccl.ncclCommGetAsyncError)(comm, &mut state) };
            self.nccl.check("ncclCommGetAsyncError", code)?;
            self.nccl.check("ncclCommGetAsyncError", state)?;
        }
        Ok(())
    }
}

/// A rank or a number of ranks as NCCL's `int`. One that does not fit becomes a number that NCCL refuses.
fn number(count: usize) -> c_int {
    c_int::try_from(count).unwrap_or(c_int::MAX)
}

impl AllReduce for NcclGroup {
    fn all_reduce(&self, sums: &RowSums<'_>) -> Result<()> {
        let _restore = RestoreContext::save()?;
        let _one_at_a_time = self.calling.lock().unwrap_or_else(PoisonError::into_inner);
        // The end of NCCL's group waits for every rank, so that a lost context must be found before.
        sums.iter().try_for_each(|sum| sum.stream.device().ensure_live())?;
        let done = self.nccl.grouped(|| {
            for (sum, &comm) in sums.iter().zip(&self.comms) {
                let stream = sum.stream.as_raw();
                // SAFETY: communicator and stream are alive, and `check` has established that they are of one device. The
                // sums are the shard's `ViewMut`, which may be written until the stream has done this.
                unsafe { self.nccl.sum(comm, sum.address, sum.rows, stream) }?;
            }
            Ok(())
        });
        self.remember(done)
    }

    fn check(&self, tp: &TpContext) -> Result<()> {
        let (expected, given) = (tp.streams().len(), self.comms.len());
        if given != expected {
            return Err(Error::ListLength { arg: Arg::Reduce, expected, given });
        }
        for (index, (stream, &comm)) in tp.streams().iter().zip(&self.comms).enumerate() {
            let mut device = 0;
            // SAFETY: the communicator is alive as long as `self`; the function writes one `int`.
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
        // Destroying a communicator waits for its peers, of which a lost one never answers; aborting does not.
        let broken = self.broken.load(Relaxed) || self.async_errors().is_err();
        let end = if broken { self.nccl.ncclCommAbort } else { self.nccl.ncclCommDestroy };
        for &comm in &self.comms {
            // An error here would be one of earlier work.
            // SAFETY: this group owns the communicator, and does not use it again.
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

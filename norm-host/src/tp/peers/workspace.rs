//! Memory of a rank that all ranks reach.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use cuda_driver::sys::{CUdeviceptr, CUipcMemHandle};
use norm_kernels::abi::workspace::BUFFERS;

use super::PeerOptions;
use crate::{device::Device, error::Result};

/// Bytes of a cache line.
const LINE: u64 = 128;

/// Bytes of a buffer: whole lines. More than a device has where they cannot be counted.
pub(super) fn buffer_bytes(options: &PeerOptions) -> u64 {
    (options.buffer_bytes as u64).checked_next_multiple_of(LINE).unwrap_or(u64::MAX / LINE * LINE)
}

/// The most bytes of the packets of a call that come to a rank.
const MOST_PACKETS: u64 = 4 << 20;

/// Bytes of the packets of a call that come to a rank, from all others: as many as a buffer has, but for large buffers.
pub(super) fn packet_bytes(options: &PeerOptions) -> u64 {
    buffer_bytes(options).min(MOST_PACKETS)
}

/// A rank's workspace, and a word of the host's in which its device says what has failed.
pub(super) struct Workspace {
    device: Device,
    address: CUdeviceptr,
    failure: Failure,
}

/// A word of pinned memory, which devices and the host access at one address.
struct Failure {
    device: Device,
    word: *mut AtomicU32,
}

// SAFETY: the word is accessed as an atomic alone, for which any thread will do, and freed once, by the owner.
unsafe impl Send for Failure {}
// SAFETY: the word is accessed as an atomic alone, which several threads may do at a time.
unsafe impl Sync for Failure {}

impl Failure {
    fn new(device: Device) -> Result<Failure> {
        let _current = device.enter()?;
        let word = device.check(device.driver().host_memory_allocate(size_of::<AtomicU32>()))?;
        let word = word.cast::<AtomicU32>();
        // SAFETY: the memory has just been allocated, for a word, and is aligned to more than that.
        unsafe { word.write(AtomicU32::new(0)) };
        Ok(Failure { device, word })
    }

    fn get(&self) -> u32 {
        // SAFETY: the word lives as long as `self`. Devices write it by system-wide relaxed stores.
        unsafe { &*self.word }.load(Relaxed)
    }
}

impl Drop for Failure {
    fn drop(&mut self) {
        let Ok(_current) = self.device.enter() else { return };
        // SAFETY: the workspace, whose drop has waited for all calls, was dropped before.
        let _ = unsafe { self.device.driver().host_memory_free(self.word.cast()) };
    }
}

impl Workspace {
    /// Allocates a workspace whose flags and packets are cleared.
    pub(super) fn new(device: Device, options: &PeerOptions) -> Result<Workspace> {
        let failure = Failure::new(device)?;
        let _current = device.enter()?;
        let flags = BUFFERS as usize;
        // No sum wraps: the driver has no memory for what 64 bits do not count.
        let [buffers, packets] =
            [buffer_bytes(options), packet_bytes(options)].map(|one| one.saturating_mul(2));
        let bytes = BUFFERS.saturating_add(buffers).saturating_add(packets);
        let driver = device.driver();
        let address = device.check(driver.memory_allocate(usize::try_from(bytes).unwrap_or(usize::MAX)))?;
        let workspace = Workspace { device, address, failure };
        // What memory held before might be taken for packets.
        // SAFETY: these are the first and the last bytes of what has just been allocated.
        unsafe {
            device.check(driver.memory_clear(address, flags))?;
            device.check(driver.memory_clear(address + BUFFERS + buffers, packets as usize))?;
        }
        Ok(workspace)
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn address(&self) -> u64 {
        self.address
    }

    /// What has failed, as a word of [`norm_kernels::abi::Failure`].
    pub(super) fn failure(&self) -> u32 {
        self.failure.get()
    }

    pub(super) fn failure_address(&self) -> u64 {
        self.failure.word.expose_provenance() as u64
    }

    /// What other processes open.
    pub(super) fn handle(&self) -> Result<CUipcMemHandle> {
        let _current = self.device.enter()?;
        self.device.check(self.device.driver().ipc_handle(self.address))
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let Ok(_current) = self.device.enter() else { return };
        // An error here would be one of earlier work.
        // SAFETY: whoever drops a group has waited for the calls of every rank.
        let _ = unsafe { self.device.driver().memory_free(self.address) };
    }
}

/// Another process's workspace, opened for a device of this one.
pub(super) struct Opened {
    device: Device,
    address: CUdeviceptr,
}

impl Opened {
    /// # Safety
    ///
    /// The handle is that of a [`Workspace`] of another process, which lives until this is dropped.
    pub(super) unsafe fn new(device: Device, handle: CUipcMemHandle) -> Result<Opened> {
        let _current = device.enter()?;
        // SAFETY: the caller guarantees the handle.
        let address = device.check(unsafe { device.driver().ipc_open(handle) })?;
        Ok(Opened { device, address })
    }

    pub(super) fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let Ok(_current) = self.device.enter() else { return };
        // SAFETY: whoever drops a group has waited for the calls of every rank.
        let _ = unsafe { self.device.driver().ipc_close(self.address) };
    }
}

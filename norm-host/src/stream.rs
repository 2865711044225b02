//! CUDA streams, in which operations are enqueued.

mod event;

use std::{ffi::c_void, fmt};

use cuda_driver::sys::CUstream;
pub(crate) use event::Event;

use crate::{
    device::Device,
    error::{Error, Result},
};

/// A CUDA stream, owned or borrowed. Operations given to it are enqueued: they run in order,
/// after the call has returned; [`synchronize`](Stream::synchronize) waits for them.
pub struct Stream {
    device: Device,
    raw: CUstream,
    owner: Owner,
}

/// Who keeps a stream alive.
pub(crate) enum Owner {
    /// This handle, which destroys it when dropped.
    Handle,
    /// The caller of [`Stream::from_raw`].
    Caller,
    /// cudarc's handle, kept until this one is dropped.
    #[cfg(feature = "cudarc")]
    Cudarc(#[expect(dead_code, reason = "kept, not used")] std::sync::Arc<cudarc::driver::CudaStream>),
}

// SAFETY: any thread may use a stream (CUDA driver API).
unsafe impl Send for Stream {}
// SAFETY: several threads may use a stream at the same time (CUDA driver API).
unsafe impl Sync for Stream {}

impl Stream {
    /// A new stream that does not wait for the default one. Dropped, it is destroyed as soon as
    /// its work is done; dropping does not wait.
    ///
    /// # Errors
    ///
    /// What the driver refuses.
    pub fn new(device: &Device) -> Result<Stream> {
        let _current = device.enter()?;
        let raw = device.check(device.driver().stream_create())?;
        Ok(Stream { device: *device, raw, owner: Owner::Handle })
    }

    /// A handle for a stream that the caller owns: a `CUstream`, or the `cudaStream_t` of the CUDA runtime,
    /// which is the same. Null is the default stream of the device's primary context.
    ///
    /// # Errors
    ///
    /// [`ForeignStream`](Error::ForeignStream) if it belongs to another context than the device's
    /// primary one, and what the driver refuses.
    ///
    /// # Safety
    ///
    /// The stream is alive, and stays so until this handle is dropped.
    pub unsafe fn from_raw(device: &Device, raw: *mut c_void) -> Result<Stream> {
        // SAFETY: the caller keeps the stream alive until the handle is dropped.
        unsafe { Stream::borrow(device, raw.cast(), Owner::Caller) }
    }

    /// A handle for a stream that `owner` keeps alive.
    ///
    /// # Safety
    ///
    /// `owner` keeps the stream alive until this handle is dropped.
    pub(crate) unsafe fn borrow(device: &Device, raw: CUstream, owner: Owner) -> Result<Stream> {
        device.ensure_live()?;
        // Null is the default stream of the current context, which for every call is the device's.
        if !raw.is_null() {
            let _current = device.enter()?;
            // SAFETY: the caller guarantees that the stream is alive.
            let context = device.check(unsafe { device.driver().stream_context(raw) })?;
            if context != device.context() {
                return Err(Error::ForeignStream { device: device.place() });
            }
        }
        Ok(Stream { device: *device, raw, owner })
    }

    /// The device it belongs to.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The stream's `CUstream`, alive for as long as this handle.
    pub fn as_raw(&self) -> *mut c_void {
        self.raw.cast()
    }

    /// Waits until everything enqueued so far is done.
    ///
    /// # Errors
    ///
    /// What the driver refuses. The failure of a kernel is reported here, or by any other call that follows it.
    #[doc(alias = "cuStreamSynchronize")]
    pub fn synchronize(&self) -> Result<()> {
        let _current = self.device.enter()?;
        // SAFETY: the stream is alive as long as this handle; a null stream is that of the context entered here.
        self.device.check(unsafe { self.device.driver().stream_synchronize(self.raw) })
    }

    /// Whether everything enqueued so far is done. Does not wait.
    ///
    /// # Errors
    ///
    /// As for [`synchronize`](Stream::synchronize).
    pub fn is_done(&self) -> Result<bool> {
        let _current = self.device.enter()?;
        // SAFETY: the stream is alive as long as this handle; a null stream is that of the context entered here.
        self.device.check(unsafe { self.device.driver().stream_is_done(self.raw) })
    }

    /// Makes everything that is enqueued here from now on wait until all work enqueued on `other` so far is done. `other`
    /// may be another device's. The calling thread does not wait.
    ///
    /// # Errors
    ///
    /// What the driver refuses.
    pub fn wait(&self, other: &Stream) -> Result<()> {
        self.wait_for(&Event::after(other)?)
    }

    /// Makes everything that is enqueued here from now on wait for the event.
    pub(crate) fn wait_for(&self, event: &Event) -> Result<()> {
        let _current = self.device.enter()?;
        // SAFETY: stream and event are alive as long as their handles; a null stream is that of the context entered here.
        self.device.check(unsafe { self.device.driver().stream_wait(self.raw, event.raw()) })
    }

    pub(crate) fn raw(&self) -> CUstream {
        self.raw
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !matches!(self.owner, Owner::Handle) {
            return;
        }
        // An error here would be one of earlier work, which other calls report.
        if let Ok(_current) = self.device.enter() {
            // SAFETY: this handle owns the stream, and does not use it again.
            let _ = unsafe { self.device.driver().stream_destroy(self.raw) };
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.owner {
            Owner::Handle => "owned",
            Owner::Caller => "borrowed",
            #[cfg(feature = "cudarc")]
            Owner::Cudarc(_) => "cudarc's",
        };
        write!(f, "{kind} stream {:p} of {:?}", self.raw, self.device)
    }
}

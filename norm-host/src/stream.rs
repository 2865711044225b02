//! Streams: the queues that operations go to.

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

/// Who sees to it that a stream stays alive.
pub(crate) enum Owner {
    /// This handle, which destroys it.
    Handle,
    /// Whoever called [`Stream::from_raw`].
    Caller,
    /// cudarc's handle, kept until this one is dropped.
    #[cfg(feature = "cudarc")]
    Cudarc(#[expect(dead_code, reason = "kept, not used")] std::sync::Arc<cudarc::driver::CudaStream>),
}

// SAFETY: the driver lets any thread use a stream, several at a time too.
unsafe impl Send for Stream {}
// SAFETY: as above.
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

    /// A stream that somebody else owns: a `CUstream`, or the `cudaStream_t` of the CUDA runtime,
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
        // SAFETY: the caller keeps it alive.
        unsafe { Stream::borrow(device, raw.cast(), Owner::Caller) }
    }

    /// A handle for a stream of somebody else's.
    ///
    /// # Safety
    ///
    /// `owner` sees to it that the stream stays alive until this handle is dropped.
    pub(crate) unsafe fn borrow(device: &Device, raw: CUstream, owner: Owner) -> Result<Stream> {
        device.ensure_live()?;
        // Null is the current context's default stream, and every call enters the device's.
        if !raw.is_null() {
            let _current = device.enter()?;
            // SAFETY: the stream is alive.
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
    /// What the driver refuses. What goes wrong in a kernel comes out here, or in any other call
    /// that follows.
    pub fn synchronize(&self) -> Result<()> {
        let _current = self.device.enter()?;
        // SAFETY: alive as long as this handle; for null a context is current.
        self.device.check(unsafe { self.device.driver().stream_synchronize(self.raw) })
    }

    /// Whether everything enqueued so far is done. Does not wait.
    ///
    /// # Errors
    ///
    /// As [`synchronize`](Stream::synchronize).
    pub fn is_done(&self) -> Result<bool> {
        let _current = self.device.enter()?;
        // SAFETY: as in `synchronize`.
        self.device.check(unsafe { self.device.driver().stream_is_done(self.raw) })
    }

    /// Lets what is enqueued here from now on start only when everything that `other` has so far
    /// is done. `other` may be another device's. Does not wait itself.
    ///
    /// # Errors
    ///
    /// What the driver refuses.
    pub fn wait(&self, other: &Stream) -> Result<()> {
        self.wait_for(&Event::after(other)?)
    }

    /// Lets what is enqueued here from now on start only after the event.
    pub(crate) fn wait_for(&self, event: &Event) -> Result<()> {
        let _current = self.device.enter()?;
        // SAFETY: both are alive; for null a context is current.
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
        // Errors here would be those of work done before, which others have been told.
        if let Ok(_current) = self.device.enter() {
            // SAFETY: it is owned, and this was its last use.
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

//! Events: what one stream waits for in another.

use cuda_driver::sys::CUevent;

use super::Stream;
use crate::{device::Device, error::Result};

/// A mark on a stream.
pub(crate) struct Event {
    device: Device,
    raw: CUevent,
}

impl Event {
    /// Everything that `stream` has so far.
    pub(crate) fn after(stream: &Stream) -> Result<Event> {
        let device = stream.device;
        let _current = device.enter()?;
        let event = Event { device, raw: device.check(device.driver().event_create(false))? };
        // SAFETY: both are alive and of one context, which is current.
        device.check(unsafe { device.driver().event_record(event.raw, stream.raw) })?;
        Ok(event)
    }

    /// Alive for as long as this handle.
    pub(super) fn raw(&self) -> CUevent {
        self.raw
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // It went with its context, if that is lost.
        if let Ok(_current) = self.device.enter() {
            // SAFETY: not used afterwards. Streams told to wait for it do so all the same.
            let _ = unsafe { self.device.driver().event_destroy(self.raw) };
        }
    }
}

//! CUDA events, by which one stream waits for another.

use cuda_driver::sys::CUevent;

use super::Stream;
use crate::{device::Device, error::Result};

/// A point in the work of a stream.
pub(crate) struct Event {
    device: Device,
    raw: CUevent,
}

impl Event {
    /// Records the point after all work enqueued on `stream` so far.
    pub(crate) fn after(stream: &Stream) -> Result<Event> {
        let device = stream.device;
        let _current = device.enter()?;
        let event = Event { device, raw: device.check(device.driver().event_create(false))? };
        // SAFETY: event and stream are alive and belong to the context that is current here.
        device.check(unsafe { device.driver().event_record(event.raw, stream.raw) })?;
        Ok(event)
    }

    /// The driver's event, alive for as long as this handle.
    pub(super) fn raw(&self) -> CUevent {
        self.raw
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // If the context is lost, the event is gone with it.
        if let Ok(_current) = self.device.enter() {
            // SAFETY: this handle owns the event, and does not use it again. Streams that wait for it still do so: the
            // driver destroys it when it has been reached.
            let _ = unsafe { self.device.driver().event_destroy(self.raw) };
        }
    }
}

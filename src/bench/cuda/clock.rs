//! Timing of graph replays by CUDA events.

use cuda_driver::Driver;
use cuda_driver::sys::CUevent;
use norm_host::{Device, Error, Graph, Stream};

/// The events between replays.
pub struct Clock {
    device: Device,
    driver: &'static Driver,
    marks: Vec<CUevent>,
}

impl Clock {
    /// Creates the events for that many timed replays.
    pub fn new(device: &Device, replays: u32) -> Result<Clock, Error> {
        let _current = device.enter()?;
        let mut clock = Clock { device: *device, driver: cuda_driver::driver()?, marks: Vec::new() };
        for _ in 0..=replays {
            clock.marks.push(clock.driver.event_create(true)?);
        }
        Ok(clock)
    }

    /// Microseconds of each replay, after one that is not timed. All are enqueued at once,
    /// so that the device never waits for the host and the events are close to the work.
    ///
    /// # Safety
    /// As for [`Graph::launch`]; all work is done when this returns.
    pub unsafe fn time(&self, graph: &Graph, stream: &Stream) -> Result<Vec<f64>, Error> {
        // SAFETY: the caller guarantees what `Graph::launch` requires.
        let enqueued = unsafe { self.enqueue(graph, stream) };
        // Wait also after an error: memory must not be freed while work on it is in progress.
        enqueued.and(stream.synchronize())?;
        let _current = self.device.enter()?;
        let pairs = self.marks.windows(2);
        let times = pairs.map(|pair| {
            // SAFETY: both events are alive as long as this clock, and have been recorded.
            let milliseconds = unsafe { self.driver.event_elapsed(pair[0], pair[1]) }?;
            Ok(f64::from(milliseconds) * 1e3)
        });
        times.collect()
    }

    /// # Safety
    /// As for [`Graph::launch`].
    unsafe fn enqueue(&self, graph: &Graph, stream: &Stream) -> Result<(), Error> {
        let _current = self.device.enter()?;
        for &mark in &self.marks {
            // SAFETY: the caller guarantees what `Graph::launch` requires.
            unsafe { graph.launch(stream) }?;
            // SAFETY: the event and the stream are alive and of the context just made current.
            unsafe { self.driver.event_record(mark, stream.as_raw().cast()) }?;
        }
        Ok(())
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        if let Ok(_current) = self.device.enter() {
            for &mark in &self.marks {
                // SAFETY: this clock owns the event, and does not use it again.
                let _ = unsafe { self.driver.event_destroy(mark) };
            }
        }
    }
}

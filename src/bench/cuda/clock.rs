//! Timing replays of a graph on the device's own clock.

use cuda_driver::Driver;
use cuda_driver::sys::CUevent;
use norm_host::{Device, Error, Graph, Stream};

/// Events between replays.
pub struct Clock {
    device: Device,
    driver: &'static Driver,
    marks: Vec<CUevent>,
}

impl Clock {
    /// For so many timed replays.
    pub fn new(device: &Device, replays: u32) -> Result<Clock, Error> {
        let _current = device.enter()?;
        let mut clock = Clock { device: *device, driver: cuda_driver::driver()?, marks: Vec::new() };
        for _ in 0..=replays {
            clock.marks.push(clock.driver.event_create(true)?);
        }
        Ok(clock)
    }

    /// Microseconds of each of the replays, after one that is not timed. All are enqueued at once,
    /// so that the device never waits for the host and the marks stand close to the work.
    ///
    /// # Safety
    /// As for [`Graph::launch`]; it is all done when this returns.
    pub unsafe fn time(&self, graph: &Graph, stream: &Stream) -> Result<Vec<f64>, Error> {
        // SAFETY: the caller's promise.
        let enqueued = unsafe { self.enqueue(graph, stream) };
        // Memory must not be given back while work on it is under way, whatever went wrong.
        enqueued.and(stream.synchronize())?;
        let _current = self.device.enter()?;
        let pairs = self.marks.windows(2);
        let times = pairs.map(|pair| {
            // SAFETY: both are alive.
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
            // SAFETY: the caller's promise.
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
                // SAFETY: not used afterwards.
                let _ = unsafe { self.driver.event_destroy(mark) };
            }
        }
    }
}

//! CUDA graphs: operations enqueued once and launched many times.

use cuda_driver::{
    CaptureMode,
    sys::{CUgraph, CUgraphExec},
};

use crate::{
    backend::Backend,
    device::Device,
    error::{Arg, Error, Result},
    stream::Stream,
};

/// Captured work, ready to be launched. Made by [`Stream::capture`].
#[derive(Debug)]
pub struct Graph {
    device: Device,
    exec: CUgraphExec,
}

// SAFETY: the driver lets any thread use a graph, though only one at a time; it is not `Sync`.
unsafe impl Send for Graph {}

impl Stream {
    /// Captures into a graph what `work` enqueues on this stream, instead of running it.
    ///
    /// Every operation can be captured, the first of its kind as well. Work on other streams is
    /// captured if it has been tied to this one by [`Stream::wait`], and must be tied back.
    /// The default stream cannot be captured.
    ///
    /// # Errors
    ///
    /// What `work` returns, and what the driver refuses. The stream then captures no longer.
    pub fn capture(&self, work: impl FnOnce(&Stream) -> Result<()>) -> Result<Graph> {
        let capture = Capture::begin(self)?;
        work(self)?;
        let graph = capture.end()?;
        let _current = self.device().enter()?;
        // SAFETY: it has just been captured.
        let exec = self.device().check(unsafe { self.device().driver().graph_instantiate(graph.raw) })?;
        Ok(Graph { device: *self.device(), exec })
    }
}

impl Graph {
    /// Enqueues the captured work on a stream of the same device, with the addresses and the kernels
    /// that it was captured with, whichever the stream's handle has.
    ///
    /// # Errors
    ///
    /// [`Place`](Error::Place) for another device's stream, [`ContextLost`](Error::ContextLost) if the
    /// graph or the stream is of a context that was lost, and what the driver refuses.
    ///
    /// # Safety
    ///
    /// What the captured operations' views promised is true once more, until the work is done:
    /// their memory is still allocated, and nobody else writes it, or reads what they write.
    pub unsafe fn launch(&self, on: &Stream) -> Result<()> {
        let _current = self.device.enter()?;
        on.device().ensure_live()?;
        if *on.device() != self.device {
            let expected = self.device.place();
            return Err(Error::Place { arg: Arg::Stream, expected, given: on.place() });
        }
        // SAFETY: both are alive; the caller vouches for the memory.
        self.device.check(unsafe { self.device.driver().graph_launch(self.exec, on.raw()) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // It went with its context, if that is lost.
        if let Ok(_current) = self.device.enter() {
            // SAFETY: not used afterwards; the driver keeps it until launches are done.
            let _ = unsafe { self.device.driver().graph_exec_destroy(self.exec) };
        }
    }
}

/// A capture under way. It ends when this is dropped, also if the captured code panics.
struct Capture<'a> {
    stream: &'a Stream,
    running: bool,
}

impl<'a> Capture<'a> {
    fn begin(stream: &'a Stream) -> Result<Capture<'a>> {
        let _current = stream.device().enter()?;
        // The other threads of an engine may go on allocating meanwhile.
        let mode = CaptureMode::ThreadLocal;
        let device = stream.device();
        // SAFETY: the stream is alive as long as its handle.
        device.check(unsafe { device.driver().stream_begin_capture(stream.raw(), mode) })?;
        Ok(Capture { stream, running: true })
    }

    fn end(mut self) -> Result<Captured<'a>> {
        self.stop()
    }

    fn stop(&mut self) -> Result<Captured<'a>> {
        self.running = false;
        let device = self.stream.device();
        let _current = device.enter()?;
        // SAFETY: the stream is alive as long as its handle.
        let raw = device.check(unsafe { device.driver().stream_end_capture(self.stream.raw()) })?;
        Ok(Captured { device, raw })
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        if self.running {
            // What is captured is thrown away; the error to tell is the one that led here.
            let _ = self.stop();
        }
    }
}

/// A captured graph, not yet ready to be launched.
struct Captured<'a> {
    device: &'a Device,
    raw: CUgraph,
}

impl Drop for Captured<'_> {
    fn drop(&mut self) {
        // Null after a capture that failed.
        if !self.raw.is_null() {
            // SAFETY: not used afterwards.
            let _ = unsafe { self.device.driver().graph_destroy(self.raw) };
        }
    }
}

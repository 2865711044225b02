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

/// Captured work, ready to be launched, from [`Stream::capture`].
#[derive(Debug)]
pub struct Graph {
    device: Device,
    exec: CUgraphExec,
}

// SAFETY: any thread may use an executable graph, though only one at a time (CUDA driver API): it is `Send`, not `Sync`.
unsafe impl Send for Graph {}

impl Stream {
    /// Captures what `work` enqueues on this stream into a graph, instead of running it.
    ///
    /// Every operation can be captured, also the first that uses a kernel. Work on another stream is captured if
    /// that stream [waits](Stream::wait) for this one first; this one must then wait for it before `work` returns.
    /// The default stream cannot be captured.
    ///
    /// # Errors
    ///
    /// The error of `work`, and what the driver refuses. The capture is ended in either case.
    #[doc(alias = "cudagraph")]
    #[doc(alias = "CUDA graph")]
    pub fn capture(&self, work: impl FnOnce(&Stream) -> Result<()>) -> Result<Graph> {
        let capture = Capture::begin(self)?;
        work(self)?;
        let graph = capture.end()?;
        let _current = self.device().enter()?;
        // SAFETY: the graph is alive until `graph` is dropped at the end of this function.
        let exec = self.device().check(unsafe { self.device().driver().graph_instantiate(graph.raw) })?;
        Ok(Graph { device: *self.device(), exec })
    }
}

impl Graph {
    /// Enqueues the captured work on a stream of the same device, with the addresses and the kernels
    /// that it was captured with, even if the stream's handle has other kernels.
    ///
    /// # Errors
    ///
    /// [`Place`](Error::Place) for another device's stream, [`ContextLost`](Error::ContextLost) if the
    /// context of the graph or of the stream was lost, and what the driver refuses.
    ///
    /// # Safety
    ///
    /// The contract of the captured operations' views holds again until the work is done: their memory is allocated,
    /// nothing else writes it, and nothing else reads what they write.
    pub unsafe fn launch(&self, on: &Stream) -> Result<()> {
        let _current = self.device.enter()?;
        on.device().ensure_live()?;
        if *on.device() != self.device {
            let expected = self.device.place();
            return Err(Error::Place { arg: Arg::Stream, expected, given: on.place() });
        }
        // SAFETY: graph and stream are alive and belong to the context entered here; the caller guarantees that the
        // memory of the captured operations may be accessed.
        self.device.check(unsafe { self.device.driver().graph_launch(self.exec, on.raw()) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // If the context is lost, the graph is gone with it.
        if let Ok(_current) = self.device.enter() {
            // SAFETY: this handle owns the graph, and does not use it again; the driver keeps it until its launches are done.
            let _ = unsafe { self.device.driver().graph_exec_destroy(self.exec) };
        }
    }
}

/// A capture in progress. It ends when this is dropped, also if the captured code panics.
struct Capture<'a> {
    stream: &'a Stream,
    running: bool,
}

impl<'a> Capture<'a> {
    fn begin(stream: &'a Stream) -> Result<Capture<'a>> {
        let _current = stream.device().enter()?;
        // `ThreadLocal`, so that other threads of the engine may allocate memory in the meantime.
        let mode = CaptureMode::ThreadLocal;
        let device = stream.device();
        // SAFETY: the stream is alive as long as its handle, which is borrowed here.
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
        // SAFETY: the stream is alive as long as its handle, which is borrowed here.
        let raw = device.check(unsafe { device.driver().stream_end_capture(self.stream.raw()) })?;
        Ok(Captured { device, raw })
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        if self.running {
            // The captured graph is discarded. The error to report is the one that ended `work`.
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
        // The driver returns null for a capture that failed.
        if !self.raw.is_null() {
            // SAFETY: this handle owns the graph, and does not use it again.
            let _ = unsafe { self.device.driver().graph_destroy(self.raw) };
        }
    }
}

//! Streams, events and stream capture.

use crate::call::call;
use crate::driver::Driver;
use crate::error::DriverError;
use crate::sys::{CUDA_ERROR_NOT_READY, CUcontext, CUevent, CUgraph, CUstream};

/// What other threads may do while a stream is captured (`CUstreamCaptureMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CaptureMode {
    /// Calls that cannot be captured fail on every thread.
    Global = 0,
    /// They fail on the capturing thread alone.
    ThreadLocal = 1,
    /// They do not fail.
    Relaxed = 2,
}

impl Driver {
    /// A stream of the current context that does not wait for the default stream.
    pub fn stream_create(&self) -> Result<CUstream, DriverError> {
        const NON_BLOCKING: u32 = 1;
        let mut stream = std::ptr::null_mut();
        // SAFETY: writes one handle. Priority 0 is the default one.
        unsafe { call!(self.common.cuStreamCreateWithPriority(&mut stream, NON_BLOCKING, 0)) }?;
        Ok(stream)
    }

    /// Destroys a stream once its work is done; does not wait.
    ///
    /// # Safety
    /// The stream is alive and not used afterwards.
    pub unsafe fn stream_destroy(&self, stream: CUstream) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that the stream is alive and not used afterwards.
        unsafe { call!(self.common.cuStreamDestroy_v2(stream)) }
    }

    /// Waits until the stream's work is done. Errors of that work are returned here.
    ///
    /// # Safety
    /// The stream is alive, or null with a context current.
    pub unsafe fn stream_synchronize(&self, stream: CUstream) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that the stream is alive, or null with a context current.
        unsafe { call!(self.common.cuStreamSynchronize(stream)) }
    }

    /// Whether the stream's work is done.
    ///
    /// # Safety
    /// As [`Driver::stream_synchronize`].
    pub unsafe fn stream_is_done(&self, stream: CUstream) -> Result<bool, DriverError> {
        // SAFETY: the caller guarantees that the stream is alive, or null with a context current.
        match unsafe { call!(self.extra.cuStreamQuery(stream)) } {
            Ok(()) => Ok(true),
            Err(error) if error.code == CUDA_ERROR_NOT_READY => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The context that the stream belongs to.
    ///
    /// # Safety
    /// As [`Driver::stream_synchronize`].
    pub unsafe fn stream_context(&self, stream: CUstream) -> Result<CUcontext, DriverError> {
        let mut context = std::ptr::null_mut();
        // SAFETY: the caller guarantees that the stream is alive, or null with a context current; writes one handle.
        unsafe { call!(self.extra.cuStreamGetCtx(stream, &mut context)) }?;
        Ok(context)
    }

    /// Makes work that is enqueued on the stream from now on wait for the work that the event has recorded.
    ///
    /// # Safety
    /// Both are alive; the stream may be null with a context current.
    pub unsafe fn stream_wait(&self, stream: CUstream, event: CUevent) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that stream and event are alive, or the stream null with a context current.
        unsafe { call!(self.common.cuStreamWaitEvent(stream, event, 0)) }
    }

    /// Whether work enqueued on the stream is captured into a graph instead of being run.
    ///
    /// # Safety
    /// As [`Driver::stream_synchronize`].
    pub unsafe fn stream_is_capturing(&self, stream: CUstream) -> Result<bool, DriverError> {
        let mut status = 0;
        // SAFETY: the caller guarantees that the stream is alive, or null with a context current; writes one `CUstreamCaptureStatus`, an `int`.
        unsafe { call!(self.extra.cuStreamIsCapturing(stream, &mut status)) }?;
        Ok(status != 0)
    }

    /// Begins to capture the work that is enqueued on the stream. The default stream cannot be captured.
    ///
    /// # Safety
    /// The stream is alive.
    pub unsafe fn stream_begin_capture(
        &self,
        stream: CUstream,
        mode: CaptureMode,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that the stream is alive.
        unsafe { call!(self.extra.cuStreamBeginCapture_v2(stream, mode as u32)) }
    }

    /// Ends a capture. The caller has to destroy the graph.
    ///
    /// # Safety
    /// The stream is alive.
    pub unsafe fn stream_end_capture(&self, stream: CUstream) -> Result<CUgraph, DriverError> {
        let mut graph = std::ptr::null_mut();
        // SAFETY: the caller guarantees that the stream is alive; writes one handle.
        unsafe { call!(self.extra.cuStreamEndCapture(stream, &mut graph)) }?;
        Ok(graph)
    }

    /// Sets what the calling thread may do while it, or for [`CaptureMode::Global`] any thread, captures a stream; returns
    /// the previous mode.
    pub fn exchange_capture_mode(&self, mode: CaptureMode) -> Result<CaptureMode, DriverError> {
        let mut exchanged = mode as u32;
        // SAFETY: reads and writes one `CUstreamCaptureMode`, an `int`.
        unsafe { call!(self.extra.cuThreadExchangeStreamCaptureMode(&mut exchanged)) }?;
        Ok(match exchanged {
            0 => CaptureMode::Global,
            1 => CaptureMode::ThreadLocal,
            _ => CaptureMode::Relaxed,
        })
    }

    /// An event of the current context, which also records the time if it is `timed`.
    pub fn event_create(&self, timed: bool) -> Result<CUevent, DriverError> {
        const DISABLE_TIMING: u32 = 2;
        let mut event = std::ptr::null_mut();
        let flags = if timed { 0 } else { DISABLE_TIMING };
        // SAFETY: writes one handle.
        unsafe { call!(self.common.cuEventCreate(&mut event, flags)) }?;
        Ok(event)
    }

    /// Destroys an event. Streams that wait for it still do.
    ///
    /// # Safety
    /// The event is alive and not used afterwards.
    pub unsafe fn event_destroy(&self, event: CUevent) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that the event is alive and not used afterwards.
        unsafe { call!(self.common.cuEventDestroy_v2(event)) }
    }

    /// Records in the event all work that has been enqueued on the stream so far.
    ///
    /// # Safety
    /// Both are alive and of one context; the stream may be null with a context current.
    pub unsafe fn event_record(&self, event: CUevent, stream: CUstream) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that event and stream are alive and of one context.
        unsafe { call!(self.common.cuEventRecord(event, stream)) }
    }

    /// Waits until the work that the event has recorded is done.
    ///
    /// # Safety
    /// The event is alive.
    pub unsafe fn event_synchronize(&self, event: CUevent) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that the event is alive.
        unsafe { call!(self.common.cuEventSynchronize(event)) }
    }

    /// The time between two recorded events, both created `timed`, in milliseconds, with a resolution of about half a
    /// microsecond.
    ///
    /// # Safety
    /// Both are alive.
    pub unsafe fn event_elapsed(&self, start: CUevent, end: CUevent) -> Result<f32, DriverError> {
        let mut milliseconds = 0.0;
        // SAFETY: the caller guarantees that both events are alive; writes one `float`.
        unsafe { call!(self.common.cuEventElapsedTime(&mut milliseconds, start, end)) }?;
        Ok(milliseconds)
    }
}

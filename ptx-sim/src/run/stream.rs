//! Launches in the order of a stream.

use std::ops::Range;

use super::launch::Launch;
use crate::check::in_flight::{Accesses, InFlight};
use crate::counts::Counts;
use crate::error::LaunchError;
use crate::memory::Memory;

/// The most launches that are kept as in flight. Each may begin before the one before it has ended, so any number may run at
/// a time; launches older than this many are taken to have ended.
const MOST: usize = 8;

/// A stream of a device: launches that run one after the other, but for [programmatic](Launch::programmatic) ones, which
/// may begin before those in front of them have ended.
///
/// The simulator runs one launch at a time, and holds what the next one does to what those in front of it may still be
/// doing. A launch may begin as soon as each block of the one in front has executed `griddepcontrol.launch_dependents` or
/// ended. PTX does not say that either makes anything visible, so until it executes `griddepcontrol.wait`
///
/// - it may read nothing that a launch in front writes, at any time;
/// - it may write nothing that such a launch writes, nor what a block of it reads that executes
///   `griddepcontrol.launch_dependents`, before or after that.
///
/// After the wait of a thread, and for threads that a barrier tells of it, the launch in front has ended. So have those
/// further in front if that one has waited too. If it has not, they may still run: PTX has a wait wait for the launch in
/// front alone. A launch that is not programmatic waits for all.
///
/// ```
/// # use ptx_sim::{FaultKind, Launch, LaunchError, Memory, Module, Stream};
/// let kernel = |wait: &str| {
///     format!(
///         ".version 8.0 .target sm_90 .address_size 64
///         .visible .entry k(.param .u64 p) {{
///             .reg .b32 %r<2>; .reg .b64 %d<2>;
///             griddepcontrol.launch_dependents; {wait}
///             ld.param.u64 %d1, [p]; ld.global.u32 %r1, [%d1]; st.global.u32 [%d1], %r1; ret;
///         }}"
///     )
/// };
/// let mut memory = Memory::new();
/// let data = memory.upload("data", &[0; 4]);
/// let run = |text: String, stream: &mut Stream, memory: &mut Memory| {
///     let kernel = Module::parse(text).unwrap().kernel("k").unwrap();
///     stream.run(&Launch::new(&kernel).arg(data).programmatic(true), memory)
/// };
/// let mut stream = Stream::new();
/// run(kernel("griddepcontrol.wait;"), &mut stream, &mut memory).unwrap();
/// run(kernel("griddepcontrol.wait;"), &mut stream, &mut memory).unwrap();
/// let Err(LaunchError::Fault(fault)) = run(kernel(""), &mut stream, &mut memory) else { panic!() };
/// assert!(matches!(fault.kind, FaultKind::DependentLaunch { .. }));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stream {
    in_flight: Vec<InFlight>,
}

impl Stream {
    /// A stream on which nothing runs.
    pub fn new() -> Stream {
        Stream::default()
    }

    /// A stream on which a launch runs that is not simulated. It may write all of these addresses until it is waited for;
    /// `kernel` is what messages call it.
    pub fn behind(kernel: &str, written: &[Range<u64>]) -> Stream {
        let accesses = Accesses::stores(written);
        Stream { in_flight: vec![InFlight { kernel: kernel.to_owned(), accesses, awaited: true }] }
    }

    /// Runs a kernel to its end, behind those that have been run on this stream.
    ///
    /// # Errors
    /// Those of [`Launch::run`], and [`FaultKind::DependentLaunch`](crate::FaultKind::DependentLaunch). After an error nothing
    /// runs on the stream.
    pub fn run(&mut self, launch: &Launch, memory: &mut Memory) -> Result<Counts, LaunchError> {
        let mut in_front = std::mem::take(&mut self.in_flight);
        if !launch.is_programmatic() {
            in_front.clear();
        }
        let (counts, done) = launch.run_behind(&in_front, true, memory)?;
        // Earlier launches have ended either when the next one begins, or when that one has waited.
        in_front.retain_mut(|earlier| {
            earlier.awaited &= done.waited;
            !earlier.awaited || !done.begins_next_late
        });
        in_front.push(InFlight {
            kernel: launch.kernel().name().to_owned(),
            accesses: done.accesses,
            awaited: true,
        });
        let surplus = in_front.len().saturating_sub(MOST);
        self.in_flight = in_front.split_off(surplus);
        Ok(counts)
    }

    /// Runs a kernel behind those of this stream, which is not used any more: what it does is not remembered, which
    /// takes less time.
    ///
    /// # Errors
    /// Those of [`Stream::run`].
    pub fn run_last(self, launch: &Launch, memory: &mut Memory) -> Result<Counts, LaunchError> {
        let in_front = if launch.is_programmatic() { &self.in_flight[..] } else { &[] };
        launch.run_behind(in_front, false, memory).map(|(counts, _)| counts)
    }
}

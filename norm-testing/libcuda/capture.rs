//! Work of streams on its way into a graph.

use super::queue::Task;
use std::collections::HashMap;
use std::thread::{self, ThreadId};

/// What a stream captures, of its own work and of that of streams that wait for it.
pub struct Capture {
    origin: usize,
    /// Which calls it forbids, and in which threads: a `CUstreamCaptureMode`.
    pub mode: u32,
    /// The thread that began it.
    thread: ThreadId,
    /// In the order it was given in, which is one that its dependences allow.
    tasks: Vec<Task>,
    /// The other streams that take part, until somebody waits for the last they have; with how many tasks there
    /// were behind that.
    loose: HashMap<usize, usize>,
}

/// How many tasks a capture had when an event was recorded in it.
pub type Place = usize;

impl Capture {
    pub fn new(origin: usize, mode: u32) -> Capture {
        let thread = thread::current().id();
        Capture { origin, mode, thread, tasks: Vec::new(), loose: HashMap::new() }
    }

    pub fn is_of_this_thread(&self) -> bool {
        self.thread == thread::current().id()
    }

    pub fn place(&self) -> Place {
        self.tasks.len()
    }

    /// Takes a stream's work in.
    pub fn push(&mut self, stream: usize, task: Task) {
        self.tasks.push(task);
        self.join(stream);
    }

    /// A stream takes part from here on.
    pub fn join(&mut self, stream: usize) {
        if stream != self.origin {
            self.loose.insert(stream, self.tasks.len());
        }
    }

    /// Somebody waits for what a stream had at that place.
    pub fn tie(&mut self, stream: usize, at: Place) {
        if self.loose.get(&stream).is_some_and(|&last| last <= at) {
            self.loose.remove(&stream);
        }
    }

    /// The graph, if everybody has been waited for.
    pub fn end(self) -> Result<Vec<Task>, u32> {
        if self.loose.is_empty() { Ok(self.tasks) } else { Err(super::CAPTURE_UNJOINED) }
    }
}

//! What streams have to do, done as late as the program lets it be: a stream starts when somebody waits for it, and
//! does as much as was asked for by then. A device may do that; one that starts at once, as most do, would hide that
//! a stream should have waited for another. The default streams alone are never behind.
//!
//! Kernels are run by the test's [`Executor`](super::interface::Executor), where it has set one.

use super::*;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A stream's work.
#[derive(Default)]
pub struct Queue {
    pending: VecDeque<Task>,
    /// How many tasks there have been that are no longer pending.
    done: u64,
}

#[derive(Clone)]
pub enum Task {
    Kernel(Arc<Kernel>),
    Copy {
        to: u64,
        from: u64,
        bytes: usize,
    },
    /// Goes on when another stream has come to where it was.
    Wait(Mark),
    /// Goes on when several streams are here, and their numbers are added up.
    Meet(Arc<Meeting>),
    Sum(Arc<Sum>),
}

pub struct Kernel {
    pub launch: Launch,
    pub function: Arc<Function>,
    pub parameters: Vec<u8>,
}

/// A place in a stream's work: behind so many tasks.
#[derive(Clone, Copy)]
pub struct Mark {
    pub stream: usize,
    pub behind: u64,
}

/// An all-reduce, of which each stream that takes part has a task.
pub struct Meeting {
    /// Where each stream is in front of its own.
    pub marks: Vec<Mark>,
    pub sum: Sum,
    pub is_over: AtomicBool,
}

/// As many `f32` at each address, which are to be replaced by their sums.
pub struct Sum {
    pub addresses: Vec<u64>,
    pub count: usize,
}

impl Queue {
    pub fn push(&mut self, task: Task) {
        self.pending.push_back(task);
    }

    /// Behind all that it has so far.
    pub fn end(&self) -> u64 {
        self.done + self.pending.len() as u64
    }

    fn next(&mut self, up_to: u64) -> Option<Task> {
        let task = if self.done < up_to { self.pending.pop_front() } else { None };
        self.done += u64::from(task.is_some());
        task
    }
}

impl State {
    /// Behind all that a stream has so far. One that is always done, or gone, is behind nothing.
    pub fn mark(&self, stream: usize) -> Mark {
        Mark { stream, behind: self.streams.get(&stream).map_or(0, |stream| stream.queue.end()) }
    }

    /// Gives work to a stream, or to the graph that it is captured into.
    pub fn enqueue(&mut self, stream: usize, task: Task) {
        match self.capture_of(stream) {
            Some(capture) => capture.push(stream, task),
            None => match self.streams.get_mut(&stream) {
                Some(stream) => stream.queue.push(task),
                None => self.perform(task),
            },
        }
    }

    /// Lets a stream do what it has up to there.
    pub fn reach(&mut self, mark: Mark) {
        while let Some(task) =
            self.streams.get_mut(&mark.stream).and_then(|stream| stream.queue.next(mark.behind))
        {
            self.perform(task);
        }
    }

    /// Lets a stream do all it has.
    pub fn finish(&mut self, stream: usize) {
        self.reach(self.mark(stream));
    }

    /// Lets all streams of a device do all they have.
    pub fn finish_device(&mut self, device: usize) {
        let of_device = self.streams.iter().filter(|(_, stream)| stream.device == device);
        let streams: Vec<usize> = of_device.map(|(&handle, _)| handle).collect();
        streams.into_iter().for_each(|stream| self.finish(stream));
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Kernel(kernel) => self.execute(&kernel),
            Task::Copy { to, from, bytes } => {
                // SAFETY: both ranges were allocated when the copy was enqueued, and memory is not freed before the
                // work on it is done.
                unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
            }
            Task::Wait(mark) => self.reach(mark),
            Task::Meet(meeting) if !meeting.is_over.swap(true, SeqCst) => {
                meeting.marks.iter().for_each(|&mark| self.reach(mark));
                meeting.sum.add_up();
            }
            Task::Meet(_) => {}
            Task::Sum(sum) => sum.add_up(),
        }
    }

    /// Has the test run a kernel. What goes wrong is what the device fails with from then on.
    fn execute(&mut self, kernel: &Kernel) {
        let Some(executor) = self.executor else { return };
        let device = kernel.launch.device as usize;
        let of_device = self
            .allocations
            .iter()
            .filter(|(address, (_, home))| *home == device && !self.pinned.contains(address));
        let memory: Vec<Allocation> =
            of_device.map(|(&address, &(bytes, _))| Allocation { address, bytes }).collect();
        let execution = Execution {
            launch: kernel.launch,
            text: kernel.function.text.as_ptr(),
            text_bytes: kernel.function.text.len(),
            parameters: kernel.parameters.as_ptr(),
            parameter_bytes: kernel.parameters.len(),
            memory: memory.as_ptr(),
            allocations: memory.len(),
        };
        // SAFETY: `execution` points to locals and to this device's allocations. The caller holds the lock under which
        // all work is done, so nothing else uses them.
        match unsafe { executor(&execution) } {
            0 => {}
            code => self.broken[device] = code,
        }
    }
}

impl Sum {
    fn add_up(&self) {
        for index in 0..self.count {
            let place = |address: &u64| (*address as *mut f32).wrapping_add(index);
            // SAFETY: each address has `count` numbers, as was checked when the sum was enqueued.
            let total: f32 = self.addresses.iter().map(|address| unsafe { place(address).read() }).sum();
            // SAFETY: each address has `count` numbers, as was checked when the sum was enqueued.
            self.addresses.iter().for_each(|address| unsafe { place(address).write(total) });
        }
    }
}

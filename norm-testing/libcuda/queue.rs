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

impl Kernel {
    /// For a kernel of a group, what the group is known by, the number of its ranks, and which one this is.
    pub fn group(&self) -> Option<(u64, u32, u32)> {
        if !self.launch.kernel.starts_with(interface::GROUP.as_bytes()) {
            return None;
        }
        let group = &self.parameters[*self.function.parameters.first()?..];
        let word = |at: usize| Some(u32::from_le_bytes(group.get(at..at + 4)?.try_into().ok()?));
        let id = u64::from_le_bytes(group.get(..8)?.try_into().ok()?);
        Some((id, word(interface::GROUP_RANKS)?, word(interface::GROUP_RANK)?))
    }
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

/// As many numbers at each first address, whose sums go to each second one.
pub struct Sum {
    pub addresses: Vec<[u64; 2]>,
    pub count: usize,
    pub number: Number,
}

/// What NCCL adds up.
#[derive(Clone, Copy, PartialEq)]
pub enum Number {
    F16,
    F32,
    Bf16,
}

impl Number {
    /// By `ncclDataType_t`.
    pub fn of(dtype: c_int) -> Option<Number> {
        match dtype {
            6 => Some(Number::F16),
            7 => Some(Number::F32),
            9 => Some(Number::Bf16),
            _ => None,
        }
    }

    pub fn bytes(self) -> usize {
        if self == Number::F32 { 4 } else { 2 }
    }

    /// # Safety
    /// The address is that of a readable number.
    unsafe fn read(self, address: u64) -> f32 {
        // SAFETY: the caller guarantees a number of as many bytes.
        let half = || unsafe { (address as *const u16).read() };
        match self {
            // SAFETY: the caller guarantees an f32.
            Number::F32 => unsafe { (address as *const f32).read() },
            Number::Bf16 => f32::from_bits(u32::from(half()) << 16),
            Number::F16 => {
                let bits = u32::from(half());
                // The exponent's bias is larger by 112 in an f32; the product makes subnormal numbers of their exponent 0 right.
                let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
                if bits & 0x8000 == 0 { magnitude } else { -magnitude }
            }
        }
    }

    /// # Safety
    /// The address is that of a writable number.
    unsafe fn write(self, address: u64, value: f32) {
        let half = match self {
            // SAFETY: the caller guarantees an f32.
            Number::F32 => return unsafe { (address as *mut f32).write(value) },
            Number::Bf16 => {
                let bits = value.to_bits();
                (bits + 0x7fff + (bits >> 16 & 1)) >> 16
            }
            Number::F16 => {
                // Rounded by adding what leaves ten bits, or for subnormal numbers a multiple of 2^-24.
                let (sign, magnitude) = (value.to_bits() >> 16 & 0x8000, value.abs());
                let scaled = (magnitude * f32::from_bits((127 - 112) << 23)).to_bits();
                let bits = if magnitude < f32::from_bits((127 - 14) << 23) {
                    (magnitude * f32::from_bits((127 + 24) << 23)).round_ties_even() as u32
                } else {
                    (scaled + 0xfff + (scaled >> 13 & 1)) >> 13
                };
                sign | bits.min(0x7c00)
            }
        };
        // SAFETY: the caller guarantees a number of as many bytes.
        unsafe { (address as *mut u16).write(half as u16) };
    }
}

impl Queue {
    pub fn push(&mut self, task: Task) {
        self.pending.push_back(task);
    }

    /// Behind all that it has so far.
    pub fn end(&self) -> u64 {
        self.done + self.pending.len() as u64
    }

    /// Where the first of its tasks is for which that holds: behind so many.
    fn position(&self, holds: impl Fn(&Task) -> bool) -> Option<u64> {
        self.pending.iter().position(holds).map(|at| self.done + at as u64)
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
            Task::Kernel(kernel) if kernel.group().is_some() => self.meet(kernel),
            Task::Kernel(kernel) => self.execute(&[kernel]),
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

    /// Lets the other ranks of a group come to their kernels, and has the test run them beside each other. A rank that has none
    /// does not come.
    fn meet(&mut self, first: Arc<Kernel>) {
        let Some((group, ranks, _)) = first.group() else { return };
        let mut kernels = vec![first];
        while kernels.len() < ranks as usize {
            let missing = |kernel: &Kernel| {
                let here = |rank| kernels.iter().any(|other| other.group().is_some_and(|of| of.2 == rank));
                kernel.group().is_some_and(|(id, _, rank)| id == group && !here(rank))
            };
            let mut streams = self.streams.iter();
            let found = streams.find_map(|(&handle, stream)| {
                stream.queue.position(|task| matches!(task, Task::Kernel(kernel) if missing(kernel)))
                    .map(|behind| Mark { stream: handle, behind })
            });
            let Some(mark) = found else { break };
            self.reach(mark);
            let next = self.streams.get_mut(&mark.stream).and_then(|stream| stream.queue.next(u64::MAX));
            match next {
                Some(Task::Kernel(kernel)) => kernels.push(kernel),
                _ => break,
            }
        }
        self.execute(&kernels);
    }

    /// Has the test run kernels, one or those of a group. What goes wrong is what their devices fail with from then on.
    fn execute(&mut self, kernels: &[Arc<Kernel>]) {
        let Some(executor) = self.executor else { return };
        let devices: Vec<usize> = kernels.iter().map(|kernel| kernel.launch.device as usize).collect();
        let in_group = kernels[0].group().is_some();
        // A device reaches its own memory; kernels of groups also that of devices to which access was enabled, and the host's.
        let reached = |home: usize| {
            let reaches = |&device: &usize| device == home || in_group && self.peers.contains(&(device, home));
            devices.iter().all(reaches)
        };
        let of_devices = self.allocations.iter().filter(|(address, (_, home))| {
            if self.pinned.contains(address) { in_group } else { reached(*home) }
        });
        let memory: Vec<Allocation> =
            of_devices.map(|(&address, &(bytes, _))| Allocation { address, bytes }).collect();
        let executions: Vec<Execution> = kernels
            .iter()
            .map(|kernel| Execution {
                launch: kernel.launch,
                text: kernel.function.text.as_ptr(),
                text_bytes: kernel.function.text.len(),
                parameters: kernel.parameters.as_ptr(),
                parameter_bytes: kernel.parameters.len(),
                memory: memory.as_ptr(),
                allocations: memory.len(),
            })
            .collect();
        // SAFETY: `executions` points to locals and to the devices' allocations. The caller holds the lock under which
        // all work is done, so nothing else uses them.
        match unsafe { executor(executions.as_ptr(), executions.len()) } {
            0 => {}
            code => devices.into_iter().for_each(|device| self.broken[device] = code),
        }
    }
}

impl Sum {
    fn add_up(&self) {
        for index in 0..self.count {
            let at = (index * self.number.bytes()) as u64;
            // SAFETY: each address has `count` numbers, as was checked when the sum was enqueued.
            let total: f32 = self.addresses.iter().map(|[from, _]| unsafe { self.number.read(from + at) }).sum();
            // SAFETY: each address has `count` numbers, as was checked when the sum was enqueued.
            self.addresses.iter().for_each(|[_, to]| unsafe { self.number.write(to + at, total) });
        }
    }
}

//! Asynchronous copies that have not been waited for.

/// A thread's copy: its bytes have been read and will be written when the thread waits for them.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    pub lane: u32,
    /// The instruction that began it.
    pub at: u32,
    pub target: u64,
    pub bytes: [u8; 16],
    pub size: u32,
    /// The group it is in, counted by its thread.
    group: u32,
}

/// The copies of a warp.
#[derive(Debug, Default)]
pub struct Copies {
    open: Vec<Copy>,
    /// Groups that each lane has closed.
    groups: [u32; 32],
}

impl Copies {
    pub fn begin(&mut self, lane: u32, at: u32, target: u64, bytes: [u8; 16], size: u32) {
        let group = self.groups[lane as usize];
        self.open.push(Copy { lane, at, target, bytes, size, group });
    }

    /// Closes the group of each lane.
    pub fn commit(&mut self, lanes: u32) {
        for (lane, groups) in self.groups.iter_mut().enumerate() {
            *groups += lanes >> lane & 1;
        }
    }

    /// Takes out what these lanes wait for: all but the last `pending` groups that they closed,
    /// or everything.
    pub fn finish(&mut self, lanes: u32, pending: Option<u32>) -> Vec<Copy> {
        let groups = self.groups;
        let done = |copy: &Copy| {
            let closed = groups[copy.lane as usize];
            let waited = pending.is_none_or(|pending| copy.group.saturating_add(pending) < closed);
            lanes >> copy.lane & 1 == 1 && waited
        };
        self.open.extract_if(.., |copy| done(copy)).collect()
    }
}

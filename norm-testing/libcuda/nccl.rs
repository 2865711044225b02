//! The part of NCCL: sums over communicators whose ranks are all in this process. Like NCCL it changes
//! which context is current, and unlike NCCL it leaves it so.

use super::queue::{Meeting, Number, Sum};
use super::*;
use std::sync::atomic::AtomicBool;

const INVALID_ARGUMENT: u32 = 4;
const INVALID_USAGE: u32 = 5;

/// `ncclUniqueId`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq)]
pub struct Id([u8; 128]);

#[derive(Clone, Copy)]
pub struct Comm {
    id: Id,
    ranks: c_int,
    device: usize,
}

/// What one rank gives to an all-reduce.
struct Part {
    comm: usize,
    /// From where to where.
    addresses: [u64; 2],
    count: usize,
    number: Number,
    stream: usize,
}

#[derive(Default)]
pub struct Comms {
    ids: u64,
    pub alive: HashMap<usize, Comm>,
    /// `ncclGroupStart`s that have not ended, and the sums since the first.
    depth: usize,
    pending: Vec<Part>,
}

cuda! {
    ncclGetUniqueId(out: *mut Id) {
        let mut id = Id([0; 128]);
        with(|state| {
            state.comms.ids += 1;
            id.0[..8].copy_from_slice(&state.comms.ids.to_ne_bytes());
        });
        out.write(id);
        Ok(())
    }
    ncclCommInitRank(out: *mut usize, ranks: c_int, id: Id, rank: c_int) {
        let device = current().ok_or(INVALID_USAGE)?;
        if !(0..ranks).contains(&rank) { return Err(INVALID_ARGUMENT); }
        out.write(with(|state| {
            if state.comms.alive.values().any(|comm| comm.id == id && comm.device == device) {
                return Err(INVALID_USAGE);
            }
            let handle = state.handle();
            state.comms.alive.insert(handle, Comm { id, ranks, device });
            Ok(handle)
        })?);
        Ok(())
    }
    ncclCommDestroy(comm: usize) {
        with(|state| state.comms.alive.remove(&comm)).map(drop).ok_or(INVALID_ARGUMENT)
    }
    ncclCommAbort(comm: usize) {
        with(|state| state.comms.alive.remove(&comm)).map(drop).ok_or(INVALID_ARGUMENT)
    }
    ncclCommCuDevice(comm: usize, out: *mut c_int) {
        let device = with(|state| state.comms.alive.get(&comm).map(|comm| comm.device));
        out.write(device.ok_or(INVALID_ARGUMENT)? as c_int);
        Ok(())
    }
    ncclCommGetAsyncError(comm: usize, out: *mut c_int) {
        out.write(0);
        with(|state| state.comms.alive.get(&comm).map(drop)).ok_or(INVALID_ARGUMENT)
    }
    ncclGroupStart() { with(|state| state.comms.depth += 1); Ok(()) }
    ncclGroupEnd() {
        with(|state| {
            state.comms.depth = state.comms.depth.checked_sub(1).ok_or(INVALID_USAGE)?;
            match state.comms.depth {
                0 => { let pending = std::mem::take(&mut state.comms.pending); state.sum(&pending) }
                _ => Ok(()),
            }
        })
    }
    ncclAllReduce(
        from: u64, to: u64, count: usize, dtype: c_int, op: c_int, comm: usize, stream: usize
    ) {
        const SUM: c_int = 0;
        let number = Number::of(dtype).ok_or(INVALID_ARGUMENT)?;
        if op != SUM { return Err(INVALID_ARGUMENT); }
        let device = with(|state| {
            // By itself it would wait for the other ranks, which this thread serves too.
            if state.comms.depth == 0 { return Err(INVALID_USAGE); }
            let device = state.comms.alive.get(&comm).ok_or(INVALID_ARGUMENT)?.device;
            let room = |address| state.holding(address).filter(|&(home, _)| home == device).map(|(_, room)| room);
            let room = u64::min(room(from).ok_or(INVALID_ARGUMENT)?, room(to).ok_or(INVALID_ARGUMENT)?);
            let bytes = number.bytes() * count;
            if state.streams.get(&stream).map(|stream| stream.device) != Some(device) || room < bytes as u64 {
                return Err(INVALID_ARGUMENT);
            }
            state.comms.pending.push(Part { comm, addresses: [from, to], count, number, stream });
            Ok(device)
        })?;
        CURRENT.with_borrow_mut(|stack| { stack.pop(); stack.push(context(device)); });
        Ok(())
    }
}

impl State {
    /// Has the ranks of each communicator add up what they have, if all are here, and notes it as a launch.
    fn sum(&mut self, pending: &[Part]) -> Result<(), u32> {
        // The first call of a communicator goes with the first of the others, and so on.
        let turn = |at: usize| pending[..at].iter().filter(|other| other.comm == pending[at].comm).count();
        for (at, part) in pending.iter().enumerate() {
            let &Comm { id, device, ranks } = self.comms.alive.get(&part.comm).ok_or(INVALID_ARGUMENT)?;
            let of_id = |other: &Part| self.comms.alive.get(&other.comm).is_some_and(|comm| comm.id == id);
            let goes_with = |&(other, of): &(usize, &Part)| of_id(of) && turn(other) == turn(at);
            let peers: Vec<_> = pending.iter().enumerate().filter(goes_with).map(|(_, part)| part).collect();
            if peers.iter().any(|peer| (peer.count, peer.number) != (part.count, part.number)) {
                return Err(INVALID_ARGUMENT);
            }
            if peers[0].comm == part.comm && peers.len() == ranks as usize {
                let addresses = peers.iter().map(|peer| peer.addresses).collect();
                let sum = Sum { addresses, count: part.count, number: part.number };
                if self.capture_of(part.stream).is_some() {
                    // In a graph's order all ranks are here.
                    self.enqueue(part.stream, Task::Sum(Arc::new(sum)));
                } else {
                    let marks = peers.iter().map(|peer| self.mark(peer.stream)).collect();
                    let meeting = Arc::new(Meeting { marks, sum, is_over: AtomicBool::new(false) });
                    peers.iter().for_each(|peer| self.enqueue(peer.stream, Task::Meet(Arc::clone(&meeting))));
                }
            }
            self.launches.push(Launch {
                device: device as c_int,
                stream: part.stream,
                first: part.addresses[1],
                second: part.count as u64,
                ..Launch::new("ncclAllReduce")
            });
        }
        Ok(())
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclGetErrorString(code: c_int) -> *const c_char {
    match code {
        2 => c"unhandled system error",
        5 => c"invalid usage",
        _ => c"some other error",
    }
    .as_ptr()
}

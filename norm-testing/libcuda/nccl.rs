//! The part of NCCL: sums over communicators whose ranks are all in this process. Like NCCL it changes
//! which context is current, and unlike NCCL it leaves it so.

use super::queue::{Meeting, Sum};
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
    address: u64,
    count: usize,
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
        const FLOAT32: c_int = 7;
        const SUM: c_int = 0;
        if (from, dtype, op) != (to, FLOAT32, SUM) { return Err(INVALID_ARGUMENT); }
        let device = with(|state| {
            // By itself it would wait for the other ranks, which this thread serves too.
            if state.comms.depth == 0 { return Err(INVALID_USAGE); }
            let device = state.comms.alive.get(&comm).ok_or(INVALID_ARGUMENT)?.device;
            let room = state.holding(to).filter(|&(home, _)| home == device).ok_or(INVALID_ARGUMENT)?.1;
            if state.streams.get(&stream).map(|stream| stream.device) != Some(device) || room < 4 * count as u64 {
                return Err(INVALID_ARGUMENT);
            }
            state.comms.pending.push(Part { comm, address: to, count, stream });
            Ok(device)
        })?;
        CURRENT.with_borrow_mut(|stack| { stack.pop(); stack.push(context(device)); });
        Ok(())
    }
}

impl State {
    /// Has the ranks of each communicator add up what they have, if all are here, and notes it as a launch.
    fn sum(&mut self, pending: &[Part]) -> Result<(), u32> {
        for part in pending {
            let &Comm { id, device, ranks } = self.comms.alive.get(&part.comm).ok_or(INVALID_ARGUMENT)?;
            let of_id = |other: &&Part| self.comms.alive.get(&other.comm).is_some_and(|comm| comm.id == id);
            let peers: Vec<_> = pending.iter().filter(of_id).collect();
            if peers.iter().any(|peer| peer.count != part.count) {
                return Err(INVALID_ARGUMENT);
            }
            if peers[0].comm == part.comm && peers.len() == ranks as usize {
                let addresses = peers.iter().map(|peer| peer.address).collect();
                let sum = Sum { addresses, count: part.count };
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
                first: part.address,
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

//! Rows that get to other ranks as packets: every 4 bytes with the number of their call in 8 bytes that are stored at once. Who
//! reads the number has the bytes, so that nothing else is ordered and nobody meets. docs/PARALLEL.md says why it is enough.

use crate::abi::workspace::{PACKET_SPAN as SPAN, RENEWAL};
use crate::abi::{Exchange, GroupArgs};
use crate::each::each;
use crate::element::Words;
use crate::gpu;
use crate::ranks::{Call, workspace};

/// Loads of packets that have not come, after which it is looked for what else may have happened.
const PATIENT_LOADS: u32 = 64;

/// Bytes of a row's packets, as [`packets_of_row`](crate::abi::workspace::packets_of_row).
#[inline(always)]
fn row_bytes(group: &GroupArgs) -> u32 {
    2 * gpu::round_up(group.pitch, SPAN)
}

/// Where a row's packets are.
#[derive(Clone, Copy)]
pub struct RowPackets {
    /// Bytes from the first of the call.
    at: u32,
}

impl RowPackets {
    /// Those of a row, by its index among those of the launch.
    #[inline(always)]
    pub fn of(group: &GroupArgs, row: u32) -> RowPackets {
        RowPackets { at: row * row_bytes(group) }
    }

    /// Bytes from the first of the call to the packets of the first half of a vector, which is that many bytes from the row's
    /// start. Those of the second half are `SPAN` bytes further on.
    #[inline(always)]
    fn of_vector(self, at: u32) -> u64 {
        (self.at + at + at / SPAN * SPAN) as u64
    }

    /// Stores `V` vectors of 16 bytes in the workspaces of all other ranks: each `step` bytes from the one in front of it, the first
    /// at `at` bytes from the row's start, those of them that are `wanted`.
    ///
    /// # Safety
    /// As [`Call::begin`]; the vectors are in the row, and their packets this thread's.
    #[inline(always)]
    pub unsafe fn send<const V: usize>(
        self,
        call: Call,
        group: &GroupArgs,
        words: [Words; V],
        [at, step]: [u32; 2],
        wanted: impl Fn(usize) -> bool,
    ) {
        let mut peer = 0;
        while peer < group.ranks {
            gpu::keep_rolled();
            peer = gpu::opaque(peer);
            if peer != group.rank {
                let to = workspace(group, peer) + call.packets(group, group.rank);
                each::<V>(|v| {
                    let [a, b, c, d, ..] = words[v];
                    if wanted(v) {
                        // SAFETY: the caller guarantees the workspaces, and that these packets are this thread's.
                        unsafe {
                            let to = to + self.of_vector(at + v as u32 * step);
                            gpu::st_packets(to, [a, b], call.number());
                            gpu::st_packets(to + SPAN as u64, [c, d], call.number());
                        }
                    }
                });
            }
            peer += 1;
        }
    }

    /// Loads vectors of a peer's row, as they are [sent](RowPackets::send), as soon as all of them have come. Words of those that are
    /// not wanted are `absent`. If they do not come they are anything, and all ranks are told.
    ///
    /// # Safety
    /// As [`send`](RowPackets::send). The step is a multiple of [`PACKET_SPAN`](SPAN), unless the first vector alone is wanted: then
    /// one address leads to all of them, which saves registers.
    #[inline(always)]
    pub unsafe fn receive<const V: usize>(
        self,
        call: Call,
        group: &GroupArgs,
        peer: u32,
        absent: u32,
        [at, step]: [u32; 2],
        wanted: impl Fn(usize) -> bool,
    ) -> [Words; V] {
        let from = workspace(group, group.rank) + call.packets(group, peer) + self.of_vector(at);
        let mut words: [Words; V] = [[0; 8]; V];
        let (mut loads, mut began) = (0, 0);
        loop {
            gpu::keep_rolled();
            // SAFETY: the caller guarantees the workspace, and bytes in the row.
            let told = unsafe { call.told_by(group, peer) };
            let mut numbers = [[0; 4]; V];
            each::<V>(|v| {
                // SAFETY: the caller guarantees the workspace, and that a packet's words are in the row where they are wanted.
                unsafe {
                    let address = from + (2 * v as u32 * step) as u64;
                    let ([a, b], [first, second]) =
                        gpu::ld_packets(address, wanted(v), absent, call.number());
                    let ([c, d], [third, fourth]) =
                        gpu::ld_packets(address + SPAN as u64, wanted(v), absent, call.number());
                    words[v] = [a, b, c, d, 0, 0, 0, 0];
                    numbers[v] = [first, second, third, fourth];
                }
            });
            // What is not all zeros has not come.
            let mut others = 0;
            each::<V>(|v| {
                each::<4>(|i| others |= numbers[v][i] ^ call.number());
            });
            if others == 0 && call.has_come(group, told, 0) {
                return words;
            }
            // What follows takes longer than a packet that is on its way.
            loads += 1;
            if loads % PATIENT_LOADS == 0 {
                began = if began == 0 { gpu::global_timer() } else { began };
                // SAFETY: the caller guarantees the workspaces.
                if unsafe { call.gives_up(group, (peer, 0), told, began) } {
                    return words;
                }
            }
        }
    }
}

/// Marks this rank's packets and flags as old that this call does not write, in all other workspaces, if it is one of the calls that
/// do: their numbers would be those of calls to come once numbers have wrapped. Every thread of every block calls.
///
/// # Safety
/// As [`Call::begin`]. Workspaces of peers may be written.
#[inline(always)]
pub unsafe fn renew(call: Call, group: &GroupArgs, has_rows: bool) {
    if call.number() % RENEWAL >= 2 {
        return;
    }
    let old = call.number().wrapping_sub(2);
    let sends = group.exchange == Exchange::Packets as u32;
    let rows = if sends { group.rows[1] - group.rows[0] } else { 0 };
    let threads = gpu::block_x() * gpu::block_y();
    let thread = gpu::thread_y() * gpu::block_x() + gpu::thread_x();
    let mut peer = 0;
    while peer < group.ranks {
        gpu::keep_rolled();
        peer = gpu::opaque(peer);
        if peer != group.rank {
            if thread == 0 {
                let has_steps = if group.exchange == Exchange::TwoShot as u32 { 2 } else { 1 };
                // SAFETY: the caller guarantees the workspaces; no thread writes these flags in this call.
                unsafe { call.retire(group, peer, if has_rows { has_steps } else { 0 }, old) };
            }
            let to = workspace(group, peer) + call.packets(group, group.rank);
            let row_bytes = row_bytes(group);
            let mut at = 16 * (gpu::grid_x() * threads + thread);
            let (mut row, mut of_row) = (0, at);
            while at < group.packets {
                gpu::keep_rolled();
                at = gpu::opaque(at);
                while of_row >= row_bytes {
                    gpu::keep_rolled();
                    of_row -= row_bytes;
                    row += 1;
                }
                // The vector's distance from the row's start.
                let vector = of_row / (2 * SPAN) * SPAN + of_row % SPAN;
                if row >= rows || vector >= group.pitch {
                    // SAFETY: a pair of packets of this rank that no thread sends in this call.
                    unsafe { gpu::st_packets(to + at as u64, [0; 2], old) };
                }
                at += 16 * group.blocks * threads;
                of_row += 16 * group.blocks * threads;
            }
        }
        peer += 1;
    }
}

//! The simulator's counts for one kernel and shape.

use std::collections::BTreeMap;

use ptx_sim::{Counts, Requests, SECTOR};
use serde::Serialize;

use super::group::GroupTraffic;
use super::shape::Shape;

/// The counts of one kernel's run. Tensors that the kernel does not have are null.
#[derive(Default, Serialize)]
pub struct KernelRun {
    pub kernel: String,
    pub rows: u64,
    pub dim: u32,
    pub threads_a_row: u32,
    pub blocks_a_row: u32,
    pub x: Option<Traffic>,
    pub w: Option<Traffic>,
    pub b: Option<Traffic>,
    /// The weights of a sandwich's second norm.
    pub next_w: Option<Traffic>,
    pub y: Option<Traffic>,
    /// Loads of the residual, or of the gate, which has its place.
    pub r: Option<Traffic>,
    /// Stores of the sum with the residual, which overwrite it.
    pub r_stored: Option<Traffic>,
    pub bank_conflicts: u64,
    pub divergent_branches: u64,
    /// The divergent branches of each line of the PTX.
    pub divergent_lines: BTreeMap<u32, u64>,
    pub barriers: u64,
    /// The instructions of all warps.
    pub instructions: u64,
    /// The instructions of the warp with the most.
    pub longest_warp: u64,
    pub thread_instructions_an_element: f64,
    /// What a rank of a group moves besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupTraffic>,
    #[serde(skip)]
    pub work: Work,
}

/// What a run does to the units of a multiprocessor.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// For each line of the PTX, the instructions of warps.
    pub lines: Vec<(u32, u64)>,
    /// Bytes of the tensors of rows, all but weights and biases, each once.
    pub moved_bytes: f64,
    /// The part of these that is read.
    pub read_part: f64,
    /// Bytes of all sectors of global memory that warps ask for.
    pub requested_bytes: f64,
    /// Bytes of shared memory that threads access, and 128 for each conflict.
    pub shared_bytes: f64,
    pub threads_a_block: u32,
    /// Dynamic shared memory a block, bytes.
    pub held_bytes: u32,
    /// Bytes that a block reads at a time.
    pub in_flight_bytes: f64,
    /// Bytes that come over the link from other ranks of a group.
    pub link_bytes: f64,
}

impl Work {
    fn new(kernel: &str, shape: &Shape, counts: &Counts) -> Work {
        let Shape { dtypes: [x, ..], rows, dim, residual, threads_a_row, blocks_a_row, .. } = *shape;
        // Two blocks have the rows, or the blocks of a cluster the one row.
        let threads_a_block = match blocks_a_row {
            1 => u64::from(threads_a_row) * rows.div_ceil(2),
            blocks => u64::from(threads_a_row / blocks),
        };
        let (mut read, mut written, mut requested_bytes) = (0.0, 0.0, 0.0);
        for (name, traffic) in &counts.global {
            let [loads, stores] = [traffic.loads, traffic.stores];
            requested_bytes += ((loads.sectors + stores.sectors) * SECTOR) as f64;
            if !matches!(
                name.as_str(),
                "w" | "b" | "next_w" | "q_weight" | "cos" | "sin" | "positions" | "flags" | "peer_flags"
            ) {
                read += (loads.distinct_sectors * SECTOR) as f64;
                written += (stores.distinct_sectors * SECTOR) as f64;
            }
        }
        let blocks = if blocks_a_row == 1 { 2.0 } else { f64::from(blocks_a_row) };
        let row_bytes = u64::from(dim) * x.size().max(residual.map_or(0, |r| r.size())) as u64;
        let share = (row_bytes / u64::from(blocks_a_row)) as u32;
        // One that streams has four vectors a thread on their way at a time.
        let streams = kernel.contains("_stream");
        let at_a_time = if streams { threads_a_block as f64 * 64.0 } else { f64::INFINITY };
        Work {
            lines: counts.lines.iter().map(|(&line, run)| (line, run.instructions)).collect(),
            moved_bytes: read + written,
            read_part: read / (read + written).max(1.0),
            requested_bytes,
            shared_bytes: (counts.shared.bytes + 128 * counts.shared.conflicts) as f64,
            threads_a_block: threads_a_block as u32,
            held_bytes: match kernel {
                _ if kernel.contains("_staged") => share,
                // Two of sixteen vectors are in registers.
                _ if kernel.contains("_mixed") => share - share / 8,
                _ => 0,
            },
            in_flight_bytes: (read / blocks).min(at_a_time),
            link_bytes: 0.0,
        }
    }
}

/// The memory traffic of a tensor's loads or stores. `requested` and `distinct` are numbers of 32-byte sectors, divided
/// by the number of sectors that hold the tensor.
#[derive(Serialize)]
pub struct Traffic {
    /// Sectors of all requests. For weights and biases the divisor is that of one row times the number of rows, since each
    /// row loads them.
    pub requested: f64,
    /// Distinct sectors.
    pub distinct: f64,
    pub bytes_an_access: f64,
    pub sectors_a_request: f64,
}

impl KernelRun {
    pub fn new(kernel: String, shape: Shape, counts: &Counts) -> KernelRun {
        KernelRun::named(kernel, shape, counts, ["x", "w", "y"])
    }

    /// The counts of a run that writes codes of 8 bits in place of a `y`.
    pub fn of_codes(kernel: String, shape: Shape, counts: &Counts) -> KernelRun {
        let stores = counts.global.get("y").copied().unwrap_or_default().stores;
        let y = Traffic::new(stores, shape.rows * u64::from(shape.dim), 1);
        KernelRun { y, ..KernelRun::new(kernel, shape, counts) }
    }

    /// The counts of a run whose tensors are called so: what is read, the weights, and what is written.
    pub fn named(
        kernel: String,
        shape: Shape,
        counts: &Counts,
        [x_name, w_name, y_name]: [&str; 3],
    ) -> KernelRun {
        let Shape { dtypes: [x, w, y], rows, dim, residual, threads_a_row, blocks_a_row, .. } = shape;
        let r = residual.unwrap_or(x);
        let row_bytes = |size: usize| u64::from(dim) * size as u64;
        let elements = rows * u64::from(dim);
        let of = |name: &str| counts.global.get(name).copied().unwrap_or_default();
        let tensor = |requests: Requests, size| Traffic::new(requests, rows * row_bytes(size), 1);
        let parameter = |name| Traffic::new(of(name).loads, row_bytes(w.size()), rows);
        let divergent_lines = counts.lines.iter().map(|(&line, run)| (line, run.divergent_branches));
        let divergent_lines = divergent_lines.filter(|&(_, branches)| branches > 0);
        KernelRun {
            work: Work::new(&kernel, &shape, counts),
            kernel,
            rows,
            dim,
            threads_a_row,
            blocks_a_row,
            x: tensor(of(x_name).loads, x.size()),
            w: parameter(w_name),
            b: parameter("b"),
            next_w: parameter("next_w"),
            y: tensor(of(y_name).stores, y.size()),
            r: tensor(of("r").loads, r.size()).or_else(|| tensor(of("g").loads, r.size())),
            r_stored: tensor(of("r").stores, r.size()),
            bank_conflicts: counts.shared.conflicts,
            divergent_branches: counts.divergent_branches,
            divergent_lines: divergent_lines.collect(),
            barriers: counts.barriers,
            instructions: counts.total(),
            longest_warp: counts.longest_warp,
            thread_instructions_an_element: counts.thread_instructions as f64 / elements as f64,
            group: None,
        }
    }
}

impl Traffic {
    /// The traffic of requests to a tensor of `bytes` bytes, which the operation needs `times` times; `None` if there are no
    /// requests.
    pub fn new(requests: Requests, bytes: u64, times: u64) -> Option<Traffic> {
        let held = bytes.next_multiple_of(SECTOR);
        (requests.requests > 0).then(|| Traffic {
            requested: requests.factor(times * held),
            distinct: requests.distinct_factor(held),
            bytes_an_access: requests.bytes_an_access(),
            sectors_a_request: requests.sectors_a_request(),
        })
    }
}

//! The simulator's counts for one kernel and shape.

use std::collections::BTreeMap;

use ptx_sim::{Counts, Requests, SECTOR};
use serde::Serialize;

use super::shape::Shape;

/// The counts of one kernel's run. Tensors that the kernel does not have are null.
#[derive(Serialize)]
pub struct KernelRun {
    pub kernel: String,
    pub rows: u64,
    pub dim: u32,
    pub threads_a_row: u32,
    pub blocks_a_row: u32,
    pub x: Option<Moved>,
    pub w: Option<Moved>,
    pub b: Option<Moved>,
    /// The weights of the second of two norms.
    pub next_w: Option<Moved>,
    pub y: Option<Moved>,
    /// Loads of the residual, and stores of the sum with it.
    pub r: Option<Moved>,
    pub r_stored: Option<Moved>,
    pub bank_conflicts: u64,
    pub divergent_branches: u64,
    /// Divergent branches by their line in the PTX.
    pub divergent_lines: BTreeMap<u32, u64>,
    pub barriers: u64,
    pub instructions: u64,
    pub longest_warp: u64,
    pub thread_instructions_an_element: f64,
}

/// Loads or stores of a tensor. Factors are numbers of 32-byte sectors, divided by the number that hold the tensor.
#[derive(Serialize)]
pub struct Moved {
    /// Sectors of all requests. For weights and biases the divisor counts them once for each row, since each row loads
    /// them.
    pub requested: f64,
    /// Distinct sectors.
    pub distinct: f64,
    pub bytes_an_access: f64,
    pub sectors_a_request: f64,
}

impl KernelRun {
    pub fn new(kernel: String, shape: Shape, counts: &Counts) -> KernelRun {
        let Shape { dtypes: [x, w, y], rows, dim, residual, threads_a_row, blocks_a_row, .. } = shape;
        let r = residual.unwrap_or(x);
        let row = |size: usize| u64::from(dim) * size as u64;
        let elements = rows * u64::from(dim);
        let of = |name: &str| counts.global.get(name).copied().unwrap_or_default();
        let tensor = |requests: Requests, size| Moved::new(requests, rows * row(size), 1);
        let parameter = |name| Moved::new(of(name).loads, row(w.size()), rows);
        let diverging = counts.lines.iter().map(|(&line, run)| (line, run.divergent_branches));
        let diverging = diverging.filter(|&(_, branches)| branches > 0);
        KernelRun {
            kernel,
            rows,
            dim,
            threads_a_row,
            blocks_a_row,
            x: tensor(of("x").loads, x.size()),
            w: parameter("w"),
            b: parameter("b"),
            next_w: parameter("next_w"),
            y: tensor(of("y").stores, y.size()),
            r: tensor(of("r").loads, r.size()),
            r_stored: tensor(of("r").stores, r.size()),
            bank_conflicts: counts.shared.conflicts,
            divergent_branches: counts.divergent_branches,
            divergent_lines: diverging.collect(),
            barriers: counts.barriers,
            instructions: counts.total(),
            longest_warp: counts.longest_warp,
            thread_instructions_an_element: counts.thread_instructions as f64 / elements as f64,
        }
    }
}

impl Moved {
    /// The factors for requests to a tensor of that many bytes, each of which is needed `times` times.
    fn new(requests: Requests, bytes: u64, times: u64) -> Option<Moved> {
        let held = bytes.next_multiple_of(SECTOR);
        (requests.requests > 0).then(|| Moved {
            requested: requests.factor(times * held),
            distinct: requests.distinct_factor(held),
            bytes_an_access: requests.bytes_an_access(),
            sectors_a_request: requests.sectors_a_request(),
        })
    }
}

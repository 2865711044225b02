//! `norm ptx report`: what each kernel does when it runs, counted by the simulator.

use std::fmt::Write;

use clap::Args;
use norm_host::ptx::Ptx;
use norm_host::{
    Backend, DType, Error, Limits, NormKind, Operand, Param, Plan, Problem, ShardProblem, ShardStep,
    Simulator,
};
use norm_kernels::abi::{Access, Axis, Demand, EntryPoint, Kernel, ShardKernel, Tile};
use ptx_sim::{Counts, Requests};
use rayon::prelude::*;
use serde::Serialize;

use super::{PtxError, text_for};
use crate::bytes::AlignedBytes;
use crate::failure::Failure;
use crate::{element, output};

/// What `norm ptx report` takes.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Only kernels with this in their name
    filter: Option<String>,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

/// One kernel's run. Factors are sectors of 32 bytes moved, over the bytes that the operation
/// needs: x and w once a row, y once, a residual once each way.
#[derive(Serialize)]
struct Line {
    kernel: String,
    rows: u64,
    dim: u32,
    x: Moved,
    w: Moved,
    y: Moved,
    /// Where there is a residual: loads, and stores as many.
    r: Option<[Moved; 2]>,
    bank_conflicts: u64,
    divergent_branches: u64,
    barriers: u64,
    instructions: u64,
    longest_warp: u64,
    thread_instructions_an_element: f64,
}

#[derive(Serialize)]
struct Moved {
    factor: f64,
    bytes_an_access: f64,
    sectors_a_request: f64,
}

/// Lengths of rows in models: a kernel is counted at the longest of these that it serves.
const DIMS: [u32; 12] = [32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131_072];
/// What a device has of a row that is split.
const SHARD: u32 = 4096;
/// For kernels that go element by element: no vector divides it.
const ODD: u32 = 4095;
/// Tensors start at multiples of this, as the CUDA driver's allocations do.
const ALIGN: usize = 256;

pub fn run(args: &ReportArgs, set: &[Ptx], simulator: &Simulator) -> Result<(), Failure> {
    let filter = args.filter.as_deref().unwrap_or_default();
    let ptx = text_for(set, None)?;
    let shipped = ptx.entries().map(|entry| entry.name().to_owned());
    let shipped: Vec<String> = shipped.filter(|name| name.contains(filter)).collect();
    if shipped.is_empty() {
        return Err(PtxError::Filter { given: filter.to_owned() }.into());
    }
    let kernels: Vec<EntryPoint> =
        EntryPoint::all().filter(|kernel| shipped.contains(&kernel.to_string())).collect();
    let count = |kernel| match kernel {
        EntryPoint::Norm(kernel) => count(kernel, simulator),
        EntryPoint::Shard(kernel) => count_shard(kernel, simulator).map(Some),
    };
    let lines: Result<Vec<Option<Line>>, Error> = kernels.into_par_iter().map(count).collect();
    let lines: Vec<Line> = lines?.into_iter().flatten().collect();
    if args.json { output::json(&lines) } else { output::text(&table(&lines)) }
}

/// Runs a kernel on two blocks' rows; `None` for one that serves none of the lengths.
fn count(kernel: Kernel, simulator: &Simulator) -> Result<Option<Line>, Error> {
    let Kernel { kind, x, w, y, access } = kernel;
    let limits = match access {
        // A row that no shared memory holds is shorter where there are no clusters.
        Access::Stream => Limits::LEAST,
        // Two blocks are to count as many.
        _ if access.is_for_long_grids(kind) => Limits { short_grid: 1, ..simulator.limits() },
        _ => simulator.limits(),
    };
    let tile = |dim: u32| Tile::new(kind, x, y, dim, limits);
    let blocks = if access.is_for_long_grids(kind) { u64::MAX } else { 1 };
    let demand = Demand { residual: access.adds(), extras: false, blocks };
    let serves = |dim: &u32| Access::vectored(tile(*dim), kind, [x, w, y], demand, limits) == access;
    let dim = if access == Access::Scalar { Some(ODD) } else { DIMS.into_iter().rev().find(serves) };
    let Some(dim) = dim else { return Ok(None) };
    let tensors = Tensors::new([x, w, y], 2 * u64::from(tile(dim).taken_by(access).rows), dim);
    let mut problem = tensors.problem(kind);
    if access.adds() {
        problem.r = Some(tensors.residual());
    }
    if Plan::new(&problem, limits)?.kernel != kernel {
        return Ok(None);
    }
    let simulator = simulator.on(limits);
    // SAFETY: the tensors have room for the rows from their starts on, live until this is done,
    // and nothing else uses them.
    unsafe { simulator.run(&problem) }?;
    let Some(counts) = simulator.counts() else { return Ok(None) };
    Ok(Some(tensors.line(kernel.to_string(), &counts)))
}

/// Runs a step of a norm whose rows are split over devices on two blocks' rows.
fn count_shard(kernel: ShardKernel, simulator: &Simulator) -> Result<Line, Error> {
    let (step, [x, w, y], vectors) = match kernel {
        ShardKernel::Partial { x, vectors } => (ShardStep::Partial, [x; 3], vectors),
        ShardKernel::Apply { x, w, y, vectors } => (ShardStep::Apply, [x, w, y], vectors),
    };
    let tensors = Tensors::new([x, w, y], 2, if vectors { SHARD } else { ODD });
    let mut part = tensors.problem(NormKind::Rms);
    if step == ShardStep::Partial {
        (part.y, part.w) = (part.x, None);
    }
    let problem = ShardProblem { step, dim: 2 * part.dim, sums: tensors.sums, part };
    let simulator = simulator.on(simulator.limits());
    // SAFETY: as in `count`; there are as many sums as rows.
    unsafe { simulator.run_shard(&problem) }?;
    Ok(tensors.line(kernel.to_string(), &simulator.counts().unwrap_or_default()))
}

/// Tensors of rows with numbers in them.
struct Tensors {
    dtypes: [DType; 3],
    rows: u64,
    dim: u32,
    /// Addresses of x, w, y, and of a residual.
    addresses: [u64; 4],
    /// Address of one `f32` a row.
    sums: u64,
    /// What lies there.
    _memory: [AlignedBytes; 5],
}

impl Tensors {
    fn new([x, w, y]: [DType; 3], rows: u64, dim: u32) -> Tensors {
        let elements = rows as usize * dim as usize;
        let mut memory = [
            tensor(x, elements),
            tensor(w, dim as usize),
            tensor(y, elements),
            tensor(x, elements),
            tensor(DType::F32, rows as usize),
        ];
        let [x_at, w_at, y_at, r_at, sums] = memory.each_mut().map(start);
        Tensors { dtypes: [x, w, y], rows, dim, addresses: [x_at, w_at, y_at, r_at], sums, _memory: memory }
    }

    fn problem(&self, kind: NormKind) -> Problem {
        let Tensors { dtypes: [x, w, y], rows, dim, addresses: [x_at, w_at, y_at, _], .. } = *self;
        Problem {
            kind,
            x: Operand { address: x_at, dtype: x },
            y: Operand { address: y_at, dtype: y },
            w: Some(Param { address: w_at, dtype: w, stride: 0 }),
            b: None,
            axes: [
                Axis::ONE,
                Axis::ONE,
                Axis {
                    extent: rows,
                    x_stride: u64::from(dim),
                    y_stride: u64::from(dim),
                    r_stride: u64::from(dim),
                },
            ],
            rows,
            dim,
            eps: 1e-5,
            weight_offset: 0.0,
            r: None,
            accumulate: false,
            overlap: true,
        }
    }

    /// As long as x, and of its type.
    fn residual(&self) -> Operand {
        Operand { address: self.addresses[3], dtype: self.dtypes[0] }
    }

    fn line(&self, kernel: String, counts: &Counts) -> Line {
        let Tensors { dtypes: [x, w, y], rows, dim, .. } = *self;
        let elements = rows * u64::from(dim);
        let minimum = |dtype: DType| elements * dtype.size() as u64;
        let moved = |requests: Requests, minimum: u64| Moved {
            factor: requests.factor(minimum),
            bytes_an_access: requests.bytes_an_access(),
            sectors_a_request: requests.sectors_a_request(),
        };
        let traffic = |name: &str| counts.global.get(name).copied().unwrap_or_default();
        Line {
            kernel,
            rows,
            dim,
            x: moved(traffic("x").loads, minimum(x)),
            w: moved(traffic("w").loads, minimum(w)),
            y: moved(traffic("y").stores, minimum(y)),
            r: counts.global.get("r").map(|r| [r.loads, r.stores].map(|moves| moved(moves, minimum(x)))),
            bank_conflicts: counts.shared.conflicts,
            divergent_branches: counts.divergent_branches,
            barriers: counts.barriers,
            instructions: counts.total(),
            longest_warp: counts.longest_warp,
            thread_instructions_an_element: counts.thread_instructions as f64 / elements as f64,
        }
    }
}

/// Memory for that many elements behind an aligned place, with numbers in it.
fn tensor(dtype: DType, elements: usize) -> AlignedBytes {
    let mut bytes = AlignedBytes::zeroed(elements * dtype.size() + ALIGN);
    let first = skip(&bytes);
    element::write(dtype, &mut bytes[first..], (0..elements).map(|i| (i % 17) as f64 - 8.0));
    bytes
}

/// Bytes in front of the first aligned place.
fn skip(bytes: &AlignedBytes) -> usize {
    bytes.as_ptr().align_offset(ALIGN)
}

fn start(bytes: &mut AlignedBytes) -> u64 {
    let skip = skip(bytes);
    (bytes.as_mut_ptr().expose_provenance() + skip) as u64
}

fn table(lines: &[Line]) -> String {
    let mut text = String::from(
        "Each kernel on two blocks' rows, counted by the simulator. Moved: sectors of 32 bytes over the bytes\n\
         needed (x and w once a row, y once); access: bytes a thread loads of x, and stores of y, at a time.\n\n",
    );
    let _ = writeln!(
        text,
        "{:<28} {:>10}  {:>5} {:>5} {:>5}  {:>6} {:>6}  {:>9} {:>9} {:>8}  {:>7} {:>9}",
        "kernel",
        "shape",
        "x",
        "w",
        "y",
        "access",
        "",
        "conflicts",
        "divergent",
        "barriers",
        "longest",
        "a element"
    );
    for line in lines {
        let Line { kernel, rows, dim, x, w, y, bank_conflicts, divergent_branches, barriers, .. } = line;
        let shape = format!("{rows}x{dim}");
        let _ = writeln!(
            text,
            "{kernel:<28} {shape:>10}  {:>5.2} {:>5.2} {:>5.2}  {:>6.1} {:>6.1}  {bank_conflicts:>9} \
             {divergent_branches:>9} {barriers:>8}  {:>7} {:>9.1}",
            x.factor,
            w.factor,
            y.factor,
            x.bytes_an_access,
            y.bytes_an_access,
            line.longest_warp,
            line.thread_instructions_an_element
        );
    }
    text
}

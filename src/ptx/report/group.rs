//! The counts of a kernel that adds up rows over the devices of a group: those of one rank, as if the others had come already.

use norm_host::{
    DType, GroupCall, Norm, NormKind, Place, SimulatedGroup, Simulator, View, ViewMut, plan::Tile,
};
use norm_kernels::abi::{Exchange, GroupKernel, GroupVariant};
use ptx_sim::{Counts, SECTOR};
use serde::Serialize;

use super::kernel_run::{KernelRun, Traffic};
use super::shape::{ODD, Shape};
use super::tensors::Tensors;

/// Ranks of the group, and rows of a call, which one block has: of two-shot calls each rank adds up one.
const RANKS: usize = 4;

/// What a rank moves beside its own tensors.
#[derive(Serialize)]
pub struct GroupTraffic {
    pub ranks: usize,
    /// Whether each rank adds up a share of the rows and gathers the others.
    pub two_shot: bool,
    /// Stores to its own buffer, over the sectors that hold `x`.
    pub staged: Option<Traffic>,
    /// Loads of other ranks' buffers, over the sectors that hold `x`.
    pub peers: Option<Traffic>,
    /// Bytes of these loads, each once: what comes over the link.
    pub link_bytes: u64,
}

impl GroupTraffic {
    fn new(two_shot: bool, tensor_bytes: u64, counts: &Counts) -> GroupTraffic {
        let of = |name: &str| counts.global.get(name).copied().unwrap_or_default();
        let peers = of("peers").loads;
        GroupTraffic {
            ranks: RANKS,
            two_shot,
            staged: Traffic::new(of("staged").stores, tensor_bytes, 1),
            peers: Traffic::new(peers, tensor_bytes, 1),
            link_bytes: peers.distinct_sectors * SECTOR,
        }
    }
}

/// Runs a kernel at each of its typical lengths, one-shot and two-shot, with a residual where there is a norm.
pub fn count(kernel: GroupKernel, simulator: &Simulator) -> norm_host::Result<Vec<KernelRun>> {
    let dims: &[u32] = match (kernel.norm, kernel.variant) {
        (_, GroupVariant::Scalar) => &[ODD],
        (None, GroupVariant::Stream) => &[4096],
        (_, GroupVariant::Block) => &[4096, 8192],
        (Some(_), GroupVariant::Stream) => &[128, 16384],
    };
    let mut runs = Vec::new();
    for (&dim, two_shot) in dims.iter().flat_map(|dim| [(dim, false), (dim, true)]) {
        runs.extend(run(kernel, dim, two_shot, simulator)?);
    }
    Ok(runs)
}

/// Runs a kernel, if planning selects it.
fn run(
    kernel: GroupKernel,
    dim: u32,
    two_shot: bool,
    simulator: &Simulator,
) -> norm_host::Result<Option<KernelRun>> {
    let GroupKernel { norm, x, w, .. } = kernel;
    let kind = norm.unwrap_or(NormKind::Rms);
    let simulator = simulator.on(simulator.profile());
    let tile = Tile::new(kind, x, x, dim, simulator.profile());
    let rows = RANKS * tile.rows as usize;
    let shape = Shape {
        kind,
        dtypes: [x, w, x],
        rows: rows as u64,
        dim,
        residual: norm.map(|_| x),
        threads_a_row: tile.threads,
        blocks_a_row: 1,
    };
    let tensors = Tensors::new(shape);
    let at = tensors.addresses();
    let extents = [rows, dim as usize];
    let read = |address: u64, dtype: DType, shape: &[usize]| {
        // SAFETY: `tensors` owns memory for each tensor of the shape, and outlives the run. Nothing else uses it.
        unsafe { View::from_raw_parts(Place::Host, address, dtype, shape) }
    };
    let written = |address: u64| {
        // SAFETY: as for those that are read.
        unsafe { ViewMut::from_raw_parts(Place::Host, address, x, &extents) }
    };
    // Only the first rank's launch is run: the others' tensors may be the same.
    let of_ranks = |view: View<'static>| vec![view; RANKS];
    let outputs = |address: u64| (0..RANKS).map(|_| written(address)).collect::<norm_host::Result<Vec<_>>>();
    let x_views = of_ranks(read(at.x, x, &extents)?);
    let mut r = norm.map(|_| outputs(at.r)).transpose()?;
    let weights = norm.map(|_| read(at.w, w, &extents[1..]).map(of_ranks)).transpose()?;
    let is_layer = norm == Some(NormKind::Layer);
    let biases = is_layer.then(|| read(at.b, w, &extents[1..]).map(of_ranks)).transpose()?;
    let mut y = outputs(at.y)?;
    let tensor_bytes = rows as u64 * u64::from(dim) * x.size() as u64;
    let group = SimulatedGroup {
        ranks: RANKS,
        blocks: 1,
        buffer_bytes: 2 * tensor_bytes,
        exchange: if two_shot { Exchange::TwoShot } else { Exchange::OneShot },
        completed: 0,
        seed: 0,
    };
    let call = GroupCall {
        norm: norm.map(|kind| Norm::new(kind, 1e-5)),
        x: &x_views,
        r: r.as_deref_mut(),
        w: weights.as_deref(),
        b: biases.as_deref(),
        y: &mut y,
    };
    simulator.all_reduce_rank(&group, &call)?;
    if !simulator.has_run(kernel) {
        return Ok(None);
    }
    let counts = simulator.counts().unwrap_or_default();
    let mut run = KernelRun::new(kernel.to_string(), shape, &counts);
    let traffic = GroupTraffic::new(two_shot, tensor_bytes, &counts);
    // A block has one row of each thread's at a time, and of it the parts of all ranks. What a rank loads from the others, each of
    // them loads from it: its memory moves as much.
    run.work.threads_a_block = (tile.threads * tile.rows).min(kernel.max_threads());
    run.work.in_flight_bytes =
        run.work.in_flight_bytes.min((tensor_bytes / RANKS as u64) as f64 * RANKS as f64);
    run.work.link_bytes = traffic.link_bytes as f64;
    run.group = Some(traffic);
    Ok(Some(run))
}

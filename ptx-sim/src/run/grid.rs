//! All clusters of a launch.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rayon::prelude::*;

use super::cluster::Cluster;
use super::shape::Shape;
use super::tally::Tally;
use crate::check::in_flight::{Accesses, InFlight};
use crate::check::pages::Footprint;
use crate::counts::{Counts, distinct};
use crate::error::LaunchError;
use crate::fault::Fault;
use crate::kernel::{Kernel, ModuleVariable};
use crate::memory::Memory;

/// What all clusters of a launch share.
#[derive(Clone, Copy)]
pub struct Grid<'a> {
    pub kernel: &'a Kernel,
    pub memory: &'a Memory,
    pub shape: Shape,
    pub arguments: &'a [u8],
    pub variables: &'a [u64],
    pub dynamic_shared: u32,
    pub shared_bytes: u64,
    /// Instructions that a warp may run.
    pub limit: u64,
    /// Earlier launches of the stream that may still run, and whether this launch is to be recorded as one for the next.
    pub in_flight: &'a [InFlight],
    pub remembers: bool,
}

/// The results of a launch's clusters.
#[derive(Default)]
pub struct Done {
    tally: Tally,
    pub footprints: Vec<(u64, Footprint)>,
    pub of_stream: OfStream,
}

/// What later launches of the stream are checked against.
#[derive(Default)]
pub struct OfStream {
    pub accesses: Accesses,
    /// Whether any thread has executed `griddepcontrol.wait`.
    pub waited: bool,
    /// Whether the next launch can begin only when the launches that this one waits for have ended: some block executes
    /// `griddepcontrol.launch_dependents`, or ends, only after it has waited.
    pub begins_next_late: bool,
}

impl OfStream {
    pub fn add(&mut self, other: OfStream) {
        self.accesses.add(other.accesses);
        self.waited |= other.waited;
        self.begins_next_late |= other.begins_next_late;
    }
}

impl Done {
    pub fn counts(&self, grid: &Grid<'_>) -> Counts {
        let regions = grid.memory.regions();
        let mut counts = self.tally.named(grid.kernel, regions);
        distinct::add(&mut counts, &self.footprints, regions);
        counts
    }
}

/// Runs all clusters. If several have a fault, that of the lowest-numbered cluster is given.
pub fn run_clusters(grid: &Grid<'_>) -> Result<Done, LaunchError> {
    let failed = AtomicU64::new(u64::MAX);
    let first: Mutex<Option<(u64, Box<Fault>)>> = Mutex::new(None);
    let count = grid.shape.cluster_count();
    // A worker keeps its registers and shadows from one cluster to the next.
    let workers = rayon::current_num_threads().max(1) as u64 * 4;
    let share = count.div_ceil(workers).max(1);
    let done = (0..count.div_ceil(share)).into_par_iter().map(|worker| {
        let mut cluster = Cluster::new(grid);
        let mut footprints = Vec::new();
        let mut of_stream = OfStream::default();
        for number in worker * share..count.min((worker + 1) * share) {
            if failed.load(Relaxed) < number {
                break;
            }
            match cluster.run_all(number) {
                Ok(()) => {
                    footprints.push((number, cluster.pages.footprint()));
                    if grid.remembers {
                        of_stream.add(cluster.of_stream());
                    }
                }
                Err(fault) => {
                    failed.fetch_min(number, Relaxed);
                    if let Ok(mut first) = first.lock()
                        && first.as_ref().is_none_or(|(earlier, _)| number < *earlier)
                    {
                        *first = Some((number, fault));
                    }
                }
            }
        }
        Done { tally: cluster.tally, footprints, of_stream }
    });
    let done = done.reduce(Done::default, |mut sum, one| {
        sum.footprints.extend(one.footprints);
        sum.of_stream.add(one.of_stream);
        Done { tally: sum.tally.add(one.tally), ..sum }
    });
    match first.into_inner() {
        Ok(None) => Ok(done),
        Ok(Some((_, fault))) => Err(LaunchError::Fault(fault)),
        Err(poisoned) => poisoned.into_inner().map_or(Ok(done), |(_, fault)| Err(LaunchError::Fault(fault))),
    }
}

/// Notes which bytes have been written, for this launch's outputs and for later launches.
pub fn note(memory: &mut Memory, footprints: &[(u64, Footprint)]) {
    for &(start, length) in footprints.iter().flat_map(|(_, footprint)| footprint.written()) {
        let mut at = start;
        while at < start + length {
            let Some(region) = memory.find(at) else { break };
            let region = &mut memory.regions_mut()[region];
            let end = region.end().min(start + length);
            region.written.set_all(at - region.start, end - at);
            at = end;
        }
    }
}

/// Gives the module's variables memory for this launch.
pub fn place(variables: &[ModuleVariable], memory: &mut Memory) -> Vec<u64> {
    let add = |variable: &ModuleVariable, memory: &mut Memory| {
        if variable.constant {
            memory.upload_read_only(&variable.name, &variable.bytes)
        } else {
            memory.upload(&variable.name, &variable.bytes)
        }
    };
    variables.iter().map(|variable| add(variable, memory)).collect()
}

//! `norm ptx report`: runs each kernel on the simulator, and prints its memory traffic and instruction counts, or what would
//! bound it on a GPU. Of kernels of groups it is one rank's launch.

mod bound;
mod group;
mod heads;
mod kernel_run;
mod shape;
mod table;
mod tensors;

use std::collections::HashMap;

use clap::Args;
use norm_host::{
    Backend, Simulator,
    plan::DeviceProfile,
    problem::{ShardProblem, ShardStep},
};
use norm_kernels::abi::{EntryPoint, GatedKernel, Kernel, QuantKernel, ShardKernel, Template};
use rayon::prelude::*;

use super::gpu::{Gpu, Rates};
use super::{PtxError, is_meant, text_for};
use crate::failure::Failure;
use crate::kernel_set::KernelSet;
use crate::output;
use bound::Bound;
use kernel_run::KernelRun;
use norm_build::ptxas;
use norm_host::ptx::{self, Entry, Ptx};
use shape::Shape;
use tensors::Tensors;

/// The arguments of `norm ptx report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Only kernels with this in their name, or made of the template of this name
    #[arg(allow_negative_numbers = true)]
    filter: Option<String>,
    /// What bounds each kernel on this GPU, by counts and published rates, and at what share of its memory's
    #[arg(long = "for", value_name = "GPU")]
    gpu: Option<Gpu>,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ReportArgs, set: &KernelSet) -> Result<(), Failure> {
    let rates = args.gpu.map(Gpu::rates);
    let (ptx, simulator) = match &rates {
        None => (text_for(set.open()?, None)?, set.simulator()?),
        Some(rates) => {
            let ptx = ptx::for_capability(set.open()?, rates.capability)?;
            (ptx, Simulator::with_ptx(ptx).on(rates.profile()))
        }
    };
    // The set's kernels, each with the template that it is made from.
    let in_set: HashMap<String, Option<Template>> =
        ptx.entries()?.map(|entry| (entry.name().to_owned(), entry.template())).collect();
    let known = EntryPoint::all().map(|kernel| (kernel, kernel.to_string()));
    let mut kernels: Vec<(EntryPoint, String)> =
        known.filter(|(_, name)| in_set.contains_key(name)).collect();
    if kernels.is_empty() {
        return Err(PtxError::NoKernels { given: set.to_string() }.into());
    }
    let filter = args.filter.as_deref().unwrap_or_default();
    kernels.retain(|(_, name)| is_meant(name, in_set.get(name).copied().flatten(), filter));
    if kernels.is_empty() {
        return Err(PtxError::Filter { given: filter.to_owned() }.into());
    }
    let names: Vec<String> = kernels.iter().map(|(_, name)| name.clone()).collect();
    let runs = kernels.into_par_iter().map(|(kernel, _)| match kernel {
        EntryPoint::Norm(kernel) if kernel.variant.is_sandwich() => count_sandwich(kernel, &simulator),
        EntryPoint::Norm(kernel) => count(kernel, &simulator),
        EntryPoint::Quant(kernel) => count_quantized(kernel, &simulator),
        EntryPoint::Shard(kernel) => count_shard(kernel, &simulator).map(|run| vec![run]),
        EntryPoint::Gated(kernel) => count_gated(kernel, &simulator),
        EntryPoint::Rope(kernel) => heads::count(kernel, &simulator).map(|run| vec![run]),
        EntryPoint::Group(kernel) => group::count(kernel, &simulator),
    });
    let runs: Vec<KernelRun> = runs.collect::<norm_host::Result<Vec<_>>>()?.into_iter().flatten().collect();
    match &rates {
        Some(rates) => bounds(&runs, &names, ptx, rates, args.json),
        None if args.json => output::json(&runs),
        None => output::text(&table::table(&runs)),
    }
}

/// Prints what bounds each run.
fn bounds(runs: &[KernelRun], names: &[String], ptx: Ptx, rates: &Rates, json: bool) -> Result<(), Failure> {
    let entries: Vec<Entry> =
        ptx.entries()?.filter(|entry| names.iter().any(|name| name == entry.name())).collect();
    let registers: HashMap<String, u32> = match ptxas::find() {
        Ok(ptxas) => {
            let text = ptx.module_of(entries.iter().cloned())?;
            let assembled = ptxas::assemble(&ptxas, &text, &rates.architecture()).map_err(PtxError::Ptxas)?;
            assembled.into_iter().map(|kernel| (kernel.name, kernel.registers)).collect()
        }
        Err(_) => HashMap::new(),
    };
    let texts: HashMap<String, String> = entries
        .into_iter()
        .map(|entry| Ok((entry.name().to_owned(), ptx.module_of([entry])?)))
        .collect::<norm_host::Result<_>>()?;
    let bounds: Vec<Bound> = runs
        .iter()
        .map(|run| {
            let text = texts.get(&run.kernel).map(String::as_str).unwrap_or_default();
            Bound::new(run, text, registers.get(&run.kernel).copied(), rates)
        })
        .collect();
    if json { output::json(&bounds) } else { output::text(&bound::table(&bounds, rates)) }
}

/// Runs a kernel at each of its typical shapes.
fn count(kernel: Kernel, simulator: &Simulator) -> norm_host::Result<Vec<KernelRun>> {
    let count = |(shape, profile): (Shape, DeviceProfile)| {
        let tensors = Tensors::new(shape);
        let simulator = simulator.on(profile);
        // SAFETY: `tensors` owns memory for every tensor of the problem, of its dtype and shape, and outlives the run. Nothing
        // else uses that memory.
        unsafe { simulator.run(&tensors.problem()) }?;
        Ok(KernelRun::new(kernel.to_string(), shape, &simulator.counts().unwrap_or_default()))
    };
    shape::typical(kernel, simulator.profile())?.into_iter().map(count).collect()
}

/// Runs a sandwich's kernel at each of its typical shapes.
fn count_sandwich(kernel: Kernel, simulator: &Simulator) -> norm_host::Result<Vec<KernelRun>> {
    let count = |(shape, profile): (Shape, DeviceProfile)| {
        let tensors = Tensors::new(shape);
        let simulator = simulator.on(profile);
        // SAFETY: `tensors` owns memory for every tensor of the sandwich, of its dtype and shape, and outlives the run.
        // Nothing else uses that memory.
        unsafe { simulator.run_sandwich(&tensors.sandwich()) }?;
        Ok(KernelRun::new(kernel.to_string(), shape, &simulator.counts().unwrap_or_default()))
    };
    shape::typical_sandwiches(kernel, simulator.profile())?.into_iter().map(count).collect()
}

/// Runs a gated kernel at each of its typical shapes.
fn count_gated(kernel: GatedKernel, simulator: &Simulator) -> norm_host::Result<Vec<KernelRun>> {
    let count = |shape: Shape| {
        let tensors = Tensors::new(shape);
        let simulator = simulator.on(simulator.profile());
        // SAFETY: `tensors` owns memory for every tensor of the norm and its gate, of its dtype and shape, and outlives the
        // run. Nothing else uses that memory.
        unsafe { simulator.run_gated(&tensors.gated(kernel.gating)) }?;
        Ok(KernelRun::new(kernel.to_string(), shape, &simulator.counts().unwrap_or_default()))
    };
    shape::typical_gated(kernel, simulator.profile())?.into_iter().map(count).collect()
}

/// Runs the kernel of a norm whose output is quantized, with a scale for each row, at each of its typical shapes.
fn count_quantized(kernel: QuantKernel, simulator: &Simulator) -> norm_host::Result<Vec<KernelRun>> {
    let count = |(shape, profile): (Shape, DeviceProfile)| {
        let tensors = Tensors::new(shape);
        let problem = tensors.quantized(kernel);
        let simulator = simulator.on(profile);
        // SAFETY: `tensors` owns memory for every tensor of the problem, for its codes that of a `y` with larger elements, and
        // outlives the run. Nothing else uses that memory.
        unsafe { simulator.run_quantized(&problem) }?;
        Ok(KernelRun::of_codes(kernel.to_string(), shape, &simulator.counts().unwrap_or_default()))
    };
    shape::typical_quantized(kernel, simulator.profile())?.into_iter().map(count).collect()
}

/// Runs the kernel of one step of a norm whose rows are split over devices.
fn count_shard(kernel: ShardKernel, simulator: &Simulator) -> norm_host::Result<KernelRun> {
    let (step, shape) = match kernel {
        ShardKernel::Partial { x, vectors } => (ShardStep::Partial, Shape::shard([x; 3], vectors)),
        ShardKernel::Apply { x, w, y, vectors, .. } => (ShardStep::Apply, Shape::shard([x, w, y], vectors)),
    };
    let tensors = Tensors::new(shape);
    let mut part = tensors.problem();
    if step == ShardStep::Partial {
        (part.y, part.w) = (part.x, None);
    }
    let problem = ShardProblem { step, dim: 2 * part.dim, sums: tensors.sums(), part };
    let simulator = simulator.on(simulator.profile());
    // SAFETY: `tensors` owns memory for every tensor of the shard, of its dtype and shape, and for one sum for each row. It
    // outlives the run, and nothing else uses that memory.
    unsafe { simulator.run_shard(&problem) }?;
    Ok(KernelRun::new(kernel.to_string(), shape, &simulator.counts().unwrap_or_default()))
}

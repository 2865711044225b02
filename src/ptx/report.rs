//! `norm ptx report`: what each kernel does when it runs, counted by the simulator.

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
use norm_kernels::abi::{EntryPoint, Kernel, ShardKernel, Template};
use rayon::prelude::*;

use super::{PtxError, is_meant, text_for};
use crate::failure::Failure;
use crate::kernel_set::KernelSet;
use crate::output;
use kernel_run::KernelRun;
use shape::Shape;
use tensors::Tensors;

/// What `norm ptx report` takes.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Only kernels with this in their name, or made of the template of this name
    #[arg(allow_negative_numbers = true)]
    filter: Option<String>,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ReportArgs, set: &KernelSet) -> Result<(), Failure> {
    let ptx = text_for(set.open()?, None)?;
    let simulator = set.simulator()?;
    // What each is made of.
    let there: HashMap<String, Option<Template>> =
        ptx.entries()?.map(|entry| (entry.name().to_owned(), entry.template())).collect();
    let known = EntryPoint::all().map(|kernel| (kernel, kernel.to_string()));
    let mut kernels: Vec<(EntryPoint, String)> = known.filter(|(_, name)| there.contains_key(name)).collect();
    if kernels.is_empty() {
        return Err(PtxError::NoKernels { given: set.to_string() }.into());
    }
    let filter = args.filter.as_deref().unwrap_or_default();
    kernels.retain(|(_, name)| is_meant(name, there.get(name).copied().flatten(), filter));
    if kernels.is_empty() {
        return Err(PtxError::Filter { given: filter.to_owned() }.into());
    }
    let lines = kernels.into_par_iter().map(|(kernel, _)| match kernel {
        EntryPoint::Norm(kernel) if kernel.variant.is_sandwich() => count_sandwich(kernel, &simulator),
        EntryPoint::Norm(kernel) => count(kernel, &simulator),
        EntryPoint::Shard(kernel) => count_shard(kernel, &simulator).map(|line| vec![line]),
    });
    let lines: Vec<KernelRun> = lines.collect::<norm_host::Result<Vec<_>>>()?.into_iter().flatten().collect();
    if args.json { output::json(&lines) } else { output::text(&table::table(&lines)) }
}

/// Runs a kernel at each of its typical shapes.
fn count(kernel: Kernel, simulator: &Simulator) -> norm_host::Result<Vec<KernelRun>> {
    let count = |(shape, profile): (Shape, DeviceProfile)| {
        let tensors = Tensors::new(shape);
        let simulator = simulator.on(profile);
        // SAFETY: the tensors have room for the rows from their starts on, live until this is done,
        // and nothing else uses them.
        unsafe { simulator.run(&tensors.problem()) }?;
        Ok(KernelRun::new(kernel.to_string(), shape, &simulator.counts().unwrap_or_default()))
    };
    shape::typical(kernel, simulator.profile())?.into_iter().map(count).collect()
}

/// Runs a kernel of two norms at each of its typical shapes.
fn count_sandwich(kernel: Kernel, simulator: &Simulator) -> norm_host::Result<Vec<KernelRun>> {
    let count = |(shape, profile): (Shape, DeviceProfile)| {
        let tensors = Tensors::new(shape);
        let simulator = simulator.on(profile);
        // SAFETY: as in `count`.
        unsafe { simulator.run_sandwich(&tensors.sandwich()) }?;
        Ok(KernelRun::new(kernel.to_string(), shape, &simulator.counts().unwrap_or_default()))
    };
    shape::typical_sandwiches(kernel, simulator.profile())?.into_iter().map(count).collect()
}

/// Runs a step of a norm whose rows are split over devices.
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
    // SAFETY: as in `count`; there are as many sums as rows.
    unsafe { simulator.run_shard(&problem) }?;
    Ok(KernelRun::new(kernel.to_string(), shape, &simulator.counts().unwrap_or_default()))
}

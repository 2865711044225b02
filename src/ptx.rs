//! `norm ptx`: the shipped PTX, for a reader.

mod gpu;
mod list;
mod report;
mod show;
mod stats;

use clap::{Args, Subcommand};
use norm_host::ptx::Ptx;
use norm_kernels::abi::Template;

use crate::failure::{Failure, Outcome};
use crate::kernel_set::KernelSet;
use crate::nearest::nearest;

/// The arguments of `norm ptx`.
#[derive(Args, Debug)]
pub struct PtxArgs {
    /// Whose kernels: stock or rust-cuda, the compiler that made them, or the PTX in a file. rust-cuda's are refused
    /// until they are compiled anew if they are of another source
    #[arg(
        long,
        default_value = "stock",
        value_name = "stock|rust-cuda|FILE",
        global = true,
        allow_hyphen_values = true
    )]
    ptx: KernelSet,
    #[command(subcommand)]
    command: Option<PtxCommand>,
}

#[derive(Debug, Subcommand)]
enum PtxCommand {
    /// The targets, and the kernels there are for each (without a subcommand too)
    List(list::ListArgs),
    /// One kernel's text, as the module that the driver is given; or a template's, with its pseudo-instructions
    Show(show::ShowArgs),
    /// What each kernel does when it runs, counted by the simulator: traffic, accesses, bank
    /// conflicts, divergence
    Report(report::ReportArgs),
    /// What is in each kernel: instructions by kind, width of global accesses; registers and
    /// shared memory where ptxas is there
    Stats(stats::StatsArgs),
}

/// Invalid arguments of `norm ptx`.
#[derive(Debug, thiserror::Error)]
pub enum PtxError {
    #[error("--target: expected {expected}, given '{given}'")]
    Target { expected: String, given: String },
    #[error("KERNEL: expected a name that `norm ptx list` prints, given '{given}'{near}")]
    Kernel { given: String, near: String },
    #[error(
        "FILTER: expected a part of a kernel's name, or a template's name, given '{given}', which is in none"
    )]
    Filter { given: String },
    #[error("--ptx: expected PTX with kernels of this library, given '{given}', which has none")]
    NoKernels { given: String },
    #[error("ptxas: {0}")]
    Ptxas(#[source] std::io::Error),
}

/// A suggestion for an error: the one of `names` that is nearest to `given`, or nothing.
fn near<'a>(names: impl Iterator<Item = &'a str>, given: &str) -> String {
    let nearest = nearest(given, names, 1);
    nearest.first().map(|name| format!("; near it is '{name}'")).unwrap_or_default()
}

/// Whether a filter selects a kernel: it is a part of the kernel's name, or the whole name of its template.
fn is_meant(name: &str, template: Option<Template>, filter: &str) -> bool {
    name.contains(filter) || template.is_some_and(|template| template.to_string() == filter)
}

/// The text for `target`, or that for the newest target if none is named.
fn text_for(set: &[Ptx], target: Option<&str>) -> Result<Ptx, PtxError> {
    let found = set.iter().rev().find(|ptx| target.is_none_or(|target| ptx.target == target));
    found.copied().ok_or_else(|| PtxError::Target {
        expected: set.iter().map(|ptx| ptx.target).collect::<Vec<_>>().join(" or "),
        given: target.unwrap_or_default().to_owned(),
    })
}

pub fn run(args: &PtxArgs) -> Result<Outcome, Failure> {
    let set = args.ptx.open()?;
    match &args.command {
        None => list::run(&list::ListArgs::default(), set),
        Some(PtxCommand::List(args)) => list::run(args, set),
        Some(PtxCommand::Report(report)) => report::run(report, &args.ptx),
        Some(PtxCommand::Show(args)) => show::run(args, set),
        Some(PtxCommand::Stats(args)) => stats::run(args, set),
    }?;
    Ok(Outcome::Good)
}

//! `norm ptx`: the embedded PTX, for a reader.

mod list;
mod report;
mod show;
mod stats;

use clap::{Args, Subcommand};
use norm_host::ptx::{EMBEDDED, Ptx};

use crate::failure::{Failure, Outcome};

/// What `norm ptx` takes.
#[derive(Args, Debug)]
pub struct PtxArgs {
    #[command(subcommand)]
    command: Option<PtxCommand>,
}

#[derive(Debug, Subcommand)]
enum PtxCommand {
    /// The targets, and the kernels there are for each (without a subcommand too)
    List(list::ListArgs),
    /// One kernel's text, as the module that the driver is given
    Show(show::ShowArgs),
    /// What each kernel does when it runs, counted by the simulator: traffic, accesses, bank
    /// conflicts, divergence
    Report(report::ReportArgs),
    /// What is in each kernel: instructions by kind, width of global accesses; registers and
    /// shared memory where ptxas is there
    Stats(stats::StatsArgs),
}

/// What about the embedded PTX was asked wrongly.
#[derive(Debug, thiserror::Error)]
pub enum PtxError {
    #[error("TARGET: expected {}, given '{given}'", names())]
    Target { given: String },
    #[error("KERNEL: expected a name that `norm ptx list` prints, given '{given}'{}", near(.given))]
    Kernel { given: String },
    #[error("FILTER: expected a part of a kernel's name, given '{given}', which is in none")]
    Filter { given: String },
    #[error("ptxas: {0}")]
    Ptxas(#[source] std::io::Error),
}

/// The targets' names.
fn names() -> String {
    EMBEDDED.each_ref().map(|ptx| ptx.target).join(" or ")
}

/// The kernel whose name begins most like `given`, if any does.
fn near(given: &str) -> String {
    let shared = |name: &str| name.bytes().zip(given.bytes()).take_while(|(a, b)| a == b).count();
    let nearest = EMBEDDED[0].entries().map(|entry| entry.name()).max_by_key(|name| shared(name));
    nearest.filter(|name| shared(name) > 0).map(|name| format!("; near it is '{name}'")).unwrap_or_default()
}

/// The embedded PTX for `target`; the newest where none is named.
fn embedded(target: Option<&str>) -> Result<Ptx, PtxError> {
    let Some(target) = target else { return Ok(EMBEDDED[EMBEDDED.len() - 1]) };
    let found = EMBEDDED.iter().find(|ptx| ptx.target == target);
    found.copied().ok_or_else(|| PtxError::Target { given: target.to_owned() })
}

pub fn run(args: &PtxArgs) -> Result<Outcome, Failure> {
    match &args.command {
        None => list::run(&list::ListArgs::default()),
        Some(PtxCommand::List(args)) => list::run(args),
        Some(PtxCommand::Report(args)) => report::run(args),
        Some(PtxCommand::Show(args)) => show::run(args),
        Some(PtxCommand::Stats(args)) => stats::run(args),
    }?;
    Ok(Outcome::Good)
}

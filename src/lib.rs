//! The command line of `norm`: RMSNorm, LayerNorm and head norm on NVIDIA GPUs and on CPUs.
//!
//! Results go to stdout, everything else to stderr. Exit status: 0, 1 where a check failed, 2 for
//! bad usage, bad input or a machine that cannot do what was asked.
//!
//! As a library it is the command's body and has no interface of its own: `norm-host` is what programs call.
#![allow(missing_docs, reason = "what is public is for the project's own tests")]

mod apply;
mod bench;
mod bytes;
mod check;
mod cli;
mod doctor;
mod element;
mod failure;
mod kernel_set;
mod memory;
mod nearest;
mod order;
mod output;
mod printable;
mod ptx;
mod regular;
mod target;
mod tensors;
mod tour;
mod whole;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::failure::{Failure, Outcome};

/// For the project's own tests, fuzz targets and mutation run: the command's reader of files, and its check of one kernel.
#[doc(hidden)]
pub mod testing {
    pub use crate::{
        apply::input::{Checkpoint, Tensor, TensorRef},
        bytes::AlignedBytes,
        check::trial::RandomCases,
    };
}

/// The command, from the process's arguments to its exit status.
pub fn main() -> ExitCode {
    match run(cli::parse()) {
        Ok(outcome) => outcome.exit_code(),
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<Outcome, Failure> {
    match cli.command {
        None => tour::run(&cli.tour),
        Some(Command::Rms(args)) => apply::rms(&args),
        Some(Command::Layer(args)) => apply::layer(&args),
        Some(Command::Head(args)) => apply::head(&args),
        Some(Command::Tensors(args)) => tensors::run(&args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Bench(args)) => bench::run(&args),
        Some(Command::Ptx(args)) => ptx::run(&args),
        Some(Command::Doctor(args)) => doctor::run(&args),
    }
}

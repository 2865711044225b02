//! The command line: its subcommands. The options of each are in its own module.

use std::env;
use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use crate::nearest::nearest;
use crate::{apply, bench, check, doctor, ptx, tensors, tour};

/// RMSNorm, LayerNorm and head norm on NVIDIA GPUs and on CPUs.
///
/// Without a subcommand: a tour of the seven functions on this machine, each checked against an
/// f64 reference and timed.
#[derive(Debug, Parser)]
#[command(name = "norm", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(flatten)]
    pub tour: tour::TourArgs,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// RMSNorm of a tensor in a safetensors file: x / sqrt(mean(x²) + eps) · w + b, row by row
    Rms(apply::RowsArgs),
    /// LayerNorm of a tensor in a safetensors file: (x - mean) / sqrt(var + eps) · w + b, row by row
    Layer(apply::RowsArgs),
    /// Either norm over the last axis of a (…, heads, head_dim) tensor, with weights for each head or for all
    Head(apply::HeadArgs),
    /// The tensors of a safetensors file or of a sharded model: names, dtypes, shapes
    Tensors(tensors::TensorsArgs),
    /// Random cases against an f64 reference; a failure comes with the smallest case and the
    /// command that repeats it
    Check(check::CheckArgs),
    /// Time per call beside the ceilings of the device, measured so that anyone can repeat it
    Bench(bench::BenchArgs),
    /// The embedded PTX: kernels, text, what is in it
    Ptx(ptx::PtxArgs),
    /// What this machine has, what it lacks, and how to get it
    Doctor(doctor::DoctorArgs),
}

/// Parses the command line. If it is invalid, prints the error with suggestions and ends the process.
pub fn parse() -> Cli {
    let typed: Vec<OsString> = env::args_os().collect();
    Cli::try_parse_from(&typed).unwrap_or_else(|error| suggesting(error, &typed).exit())
}

/// Replaces clap's suggestions in the error by those of `nearest`: clap's measure of similarity suggests `bench` for
/// `nosuch`, and nothing for `rsm`.
fn suggesting(mut error: clap::Error, typed: &[OsString]) -> clap::Error {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    error.remove(ContextKind::SuggestedSubcommand);
    error.remove(ContextKind::Suggested);
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let command = command_of(typed, given);
    let names =
        command.get_subcommands().filter(|command| !command.is_hide_set()).map(clap::Command::get_name);
    let near: Vec<String> = nearest(given, names, 1).into_iter().map(str::to_owned).collect();
    if !near.is_empty() {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(near));
    }
    error
}

/// The command that `given` was meant as a subcommand of.
fn command_of(typed: &[OsString], given: &str) -> clap::Command {
    let mut command = Cli::command();
    for word in typed.iter().skip(1).take_while(|word| *word != OsStr::new(given)) {
        if let Some(inner) = word.to_str().and_then(|word| command.find_subcommand(word)) {
            command = inner.clone();
        }
    }
    command
}

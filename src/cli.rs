//! What can be typed. Each subcommand's own options stand in its own module.

use clap::{Parser, Subcommand};

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

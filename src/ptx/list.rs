//! `norm ptx list`: which kernels there are.

use std::fmt::Write;

use clap::Args;
use norm_host::ptx::Ptx;
use serde::Serialize;

use crate::failure::Failure;
use crate::output;

/// What `norm ptx list` takes.
#[derive(Args, Debug, Default)]
pub struct ListArgs {
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Target {
    target: &'static str,
    bytes: usize,
    kernels: Vec<&'static str>,
}

pub fn run(args: &ListArgs, set: &[Ptx]) -> Result<(), Failure> {
    let targets = set.iter().map(|ptx| Target {
        target: ptx.target,
        bytes: ptx.text.len(),
        kernels: ptx.entries().map(|entry| entry.name()).collect(),
    });
    let targets: Vec<Target> = targets.collect();
    if args.json {
        return output::json(&targets);
    }
    let mut text = String::new();
    for Target { target, bytes, kernels } in &targets {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{target}: {} kernels, {bytes} bytes of PTX", kernels.len());
    }
    text += "\nA kernel's name: norm, types of x, w and y, access. rms_partial and rms_apply are the steps of RMSNorm over\nrows that are split over devices: x, or x, w and y, and access.\n";
    for kernel in targets.first().into_iter().flat_map(|target| &target.kernels) {
        let _ = writeln!(text, "{kernel}");
    }
    output::text(&text)
}

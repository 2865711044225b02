//! `norm ptx list`: the targets, and the kernels that there are for each.

use std::fmt::Write;

use clap::Args;
use norm_host::ptx::{Entry, Ptx};
use serde::Serialize;

use crate::failure::Failure;
use crate::output;

/// The arguments of `norm ptx list`.
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
    /// Whether those are bytes of compressed text.
    compressed: bool,
    kernels: Vec<String>,
    templates: Vec<String>,
    /// How many of the kernels are made of templates.
    #[serde(skip)]
    made: usize,
}

pub fn run(args: &ListArgs, set: &[Ptx]) -> Result<(), Failure> {
    let name = |entry: Entry| entry.name().to_owned();
    let target = |ptx: &Ptx| -> norm_host::Result<Target> {
        Ok(Target {
            made: ptx.entries()?.filter(|entry| entry.template().is_some()).count(),
            target: ptx.target,
            bytes: ptx.bytes(),
            compressed: ptx.is_compressed(),
            kernels: ptx.entries()?.map(name).collect(),
            templates: ptx.templates()?.map(name).collect(),
        })
    };
    let targets: Vec<Target> = set.iter().map(target).collect::<Result<_, _>>()?;
    if args.json {
        return output::json(&targets);
    }
    let mut text = String::new();
    for Target { target, bytes, compressed, kernels, templates, made } in &targets {
        let count =
            |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let templates = count(templates.len(), "template");
        let from = match *made {
            0 => String::new(),
            made if made == kernels.len() => format!(" from {templates}"),
            made => format!(", {made} of them from {templates}"),
        };
        let kernels = count(kernels.len(), "kernel");
        let kept = if *compressed { ", compressed" } else { " of PTX" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{target}: {kernels}{from}, {bytes} bytes{kept}");
    }
    text += "
A kernel's name: norm, types of x, w and y, variant. rms_partial and rms_apply are the steps of RMSNorm over
rows that are split over devices: x, or x, w and y, and variant. Behind it stands the template that it is made
of, if it is: norm, bits of the elements of x, w and y (b16, b32), variant. These kernels round once. `norm ptx show`
and stats also take the names of others, which end in _before_weight, _before_bias or _t5, or in _round_offset, or both.

";
    if let Some(ptx) = set.first() {
        for entry in ptx.entries()? {
            match entry.template() {
                Some(template) => {
                    let _ = writeln!(text, "{:<28} {template}", entry.name());
                }
                None => text.extend([entry.name(), "\n"]),
            }
        }
    }
    output::text(&text)
}

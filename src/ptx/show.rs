//! `norm ptx show`: one kernel's text, or a template's.

use clap::Args;
use norm_host::ptx::{self, Entry, Ptx};

use super::gpu::Gpu;
use super::{PtxError, near, text_for};
use crate::failure::Failure;
use crate::output;

/// The arguments of `norm ptx show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The kernel's name, or a template's, as `norm ptx list` prints them; behind a kernel's may stand where it rounds
    #[arg(allow_negative_numbers = true)]
    kernel: String,
    /// The target whose PTX to show; the newest if none is given
    #[arg(long, allow_hyphen_values = true)]
    target: Option<String>,
    /// Show what this GPU is given: of the target that it runs, and with few lanes of f64 without additions in f64
    #[arg(long = "for", value_name = "GPU", conflicts_with = "target")]
    gpu: Option<Gpu>,
}

pub fn run(args: &ShowArgs, set: &[Ptx]) -> Result<(), Failure> {
    let ptx = match args.gpu {
        Some(gpu) => ptx::for_capability(set, gpu.rates().capability)?,
        None => text_for(set, args.target.as_deref())?,
    };
    let template = || Ok(ptx.templates()?.find(|entry| entry.name() == args.kernel));
    let Some(entry) = ptx.entry(&args.kernel).transpose().or_else(|| template().transpose()).transpose()?
    else {
        let entries: Vec<Entry> = ptx.entries()?.chain(ptx.templates()?).collect();
        let near = near(entries.iter().map(Entry::name), &args.kernel);
        return Err(PtxError::Kernel { given: args.kernel.clone(), near }.into());
    };
    output::text(&ptx.module_of([entry])?)
}

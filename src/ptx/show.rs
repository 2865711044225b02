//! `norm ptx show`: one kernel's text, or a template's.

use clap::Args;
use norm_host::ptx::{Entry, Ptx};

use super::{PtxError, near, text_for};
use crate::failure::Failure;
use crate::output;

/// What `norm ptx show` takes.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The kernel's name, or a template's, as `norm ptx list` prints them
    #[arg(allow_negative_numbers = true)]
    kernel: String,
    /// The target whose PTX to show; the newest if none is given
    #[arg(long, allow_hyphen_values = true)]
    target: Option<String>,
}

pub fn run(args: &ShowArgs, set: &[Ptx]) -> Result<(), Failure> {
    let ptx = text_for(set, args.target.as_deref())?;
    let entries: Vec<Entry> = ptx.entries()?.chain(ptx.templates()?).collect();
    let entry = entries.iter().find(|entry| entry.name() == args.kernel).ok_or_else(|| PtxError::Kernel {
        given: args.kernel.clone(),
        near: near(entries.iter().map(Entry::name), &args.kernel),
    })?;
    output::text(&ptx.module_of([entry.clone()])?)
}

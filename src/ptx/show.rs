//! `norm ptx show`: one kernel's text.

use clap::Args;

use super::{PtxError, embedded};
use crate::failure::Failure;
use crate::output;

/// What `norm ptx show` takes.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The kernel's name, as `norm ptx list` prints it
    kernel: String,
    /// The target whose PTX to show; the newest if none is given
    #[arg(long)]
    target: Option<String>,
}

pub fn run(args: &ShowArgs) -> Result<(), Failure> {
    let ptx = embedded(args.target.as_deref())?;
    let entry = ptx.entry(&args.kernel).ok_or_else(|| PtxError::Kernel { given: args.kernel.clone() })?;
    output::text(ptx.header())?;
    output::text(entry.text())
}

//! `norm ptx show`: one kernel's text.

use clap::Args;
use norm_host::ptx::Ptx;

use super::{PtxError, near, text_for};
use crate::failure::Failure;
use crate::output;

/// What `norm ptx show` takes.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The kernel's name, as `norm ptx list` prints it
    #[arg(allow_negative_numbers = true)]
    kernel: String,
    /// The target whose PTX to show; the newest if none is given
    #[arg(long, allow_hyphen_values = true)]
    target: Option<String>,
}

pub fn run(args: &ShowArgs, set: &[Ptx]) -> Result<(), Failure> {
    let ptx = text_for(set, args.target.as_deref())?;
    let unknown = || PtxError::Kernel { given: args.kernel.clone(), near: near(&ptx, &args.kernel) };
    let entry = ptx.entry(&args.kernel).ok_or_else(unknown)?;
    output::text(ptx.header())?;
    output::text(entry.text())
}

//! `norm` without a subcommand: the seven functions on this machine, checked and timed.

mod function;
mod inputs;
mod measure;
mod report;
mod tensors;

use clap::Args;
use norm_host::{Cpu, Error, Stream, TpContext};

use function::Function;
use inputs::{Inputs, Size};
use measure::Measured;
use report::Report;
use tensors::Tensors;

use crate::failure::{Failure, Outcome};
use crate::output;
use crate::target::{Target, TargetArgs};
use crate::whole::whole;

/// The arguments of `norm` without a subcommand.
#[derive(Args, Debug)]
pub struct TourArgs {
    /// What the tensors are made from; one seed always makes the same
    #[arg(long, default_value_t = 1, value_name = "S", value_parser = whole(0, u64::MAX), allow_hyphen_values = true)]
    seed: u64,
    #[command(flatten)]
    target: TargetArgs,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &TourArgs) -> Result<Outcome, Failure> {
    let target = args.target.open()?;
    let size = match target {
        Target::Cpu { .. } => Size::SMALL,
        Target::Sim { .. } => Size::TINY,
        Target::Cuda { .. } => Size::LARGE,
    };
    let mut report = Report::new(&target, args.seed, size);
    if !args.json {
        output::text(&report.opening())?;
    }
    let inputs = Inputs::new(args.seed, size);
    for function in Function::ALL {
        let measured = measure(function, &inputs, &target)?;
        let line = report.add(function, measured);
        if !args.json {
            output::text(&line)?;
        }
    }
    if args.json {
        output::json(&report)?;
    } else {
        output::text(&report.closing())?;
    }
    Ok(Outcome::of(report.is_good()))
}

/// Checks and times one function; `None` if the target cannot run it.
fn measure(function: Function, inputs: &Inputs, target: &Target) -> Result<Option<Measured>, Error> {
    match target {
        Target::Cpu { .. } | Target::Sim { .. } if function == Function::RmsNormTp => Ok(None),
        Target::Cpu { .. } => {
            let mut tensors = Tensors::on_host(inputs, function.heads());
            let call = |tensors: &mut Tensors| tensors.call(function, &Cpu);
            measure::measure(function, inputs, &mut tensors, Some(1), call, || Ok(())).map(Some)
        }
        Target::Sim { simulator } => {
            let mut tensors = Tensors::on_host(inputs, function.heads());
            let call = |tensors: &mut Tensors| tensors.call(function, simulator);
            // No batch, and so no time: a simulation's says nothing of the kernel's.
            measure::measure(function, inputs, &mut tensors, None, call, || Ok(())).map(Some)
        }
        Target::Cuda { stream } => {
            let mut tensors = Tensors::on_device(inputs, function.heads(), stream)?;
            // Launches between waits: enough for the wait to add little to the time of each.
            let batch = Some(20);
            let measured = if function == Function::RmsNormTp {
                // The group must use the device handle of `stream`, which has the requested kernel set.
                let tp = TpContext::new(vec![Stream::new(stream.device())?])?;
                let call = |tensors: &mut Tensors| tensors.call_tp(&tp);
                measure::measure(function, inputs, &mut tensors, batch, call, || tp.synchronize())
            } else {
                let call = |tensors: &mut Tensors| tensors.call(function, stream);
                measure::measure(function, inputs, &mut tensors, batch, call, || stream.synchronize())
            };
            measured.map(Some)
        }
    }
}

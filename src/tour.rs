//! `norm` without a subcommand: the seven functions on this machine, checked and timed.

mod data;
mod function;
mod measure;
mod report;
mod stage;

use clap::Args;
use norm_host::{Cpu, Error, Stream, TpContext};

use data::{Data, Size};
use function::Function;
use measure::Measured;
use report::Report;
use stage::Stage;

use crate::failure::{Failure, Outcome};
use crate::output;
use crate::target::{Target, TargetArgs};
use crate::whole::whole;

/// What `norm` takes without a subcommand.
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
    let data = Data::new(args.seed, size);
    for function in Function::ALL {
        let measured = measure(function, &data, &target)?;
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
    Ok(Outcome::of(report.good()))
}

/// Checks and times one function; `None` where it cannot run.
fn measure(function: Function, data: &Data, target: &Target) -> Result<Option<Measured>, Error> {
    match target {
        Target::Cpu { .. } | Target::Sim { .. } if function == Function::RmsNormTp => Ok(None),
        Target::Cpu { .. } => {
            let mut stage = Stage::on_host(data, function.heads());
            let call = |stage: &mut Stage| stage.call(function, &Cpu);
            measure::measure(function, data, &mut stage, Some(1), call, || Ok(())).map(Some)
        }
        Target::Sim { simulator } => {
            let mut stage = Stage::on_host(data, function.heads());
            let call = |stage: &mut Stage| stage.call(function, simulator);
            // The time of a simulation is unrelated to the kernel's.
            measure::measure(function, data, &mut stage, None, call, || Ok(())).map(Some)
        }
        Target::Cuda { stream } => {
            let mut stage = Stage::on_device(data, function.heads(), stream)?;
            // So many launches at a time that waiting for the last of them adds little.
            let batch = Some(20);
            let measured = if function == Function::RmsNormTp {
                // From the same handle, which has the requested kernels.
                let tp = TpContext::new(vec![Stream::new(stream.device())?])?;
                let call = |stage: &mut Stage| stage.call_tp(&tp);
                measure::measure(function, data, &mut stage, batch, call, || tp.synchronize())
            } else {
                let call = |stage: &mut Stage| stage.call(function, stream);
                measure::measure(function, data, &mut stage, batch, call, || stream.synchronize())
            };
            measured.map(Some)
        }
    }
}

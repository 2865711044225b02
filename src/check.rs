//! `norm check`: random cases against the f64 reference.

mod any;
mod beside;
mod call;
mod case;
pub mod every;
mod examine;
mod gate;
mod generate;
mod group;
mod heads;
mod layout;
mod outputs;
mod quantized;
mod scan;
mod shrink;
mod spots;
pub mod trial;

use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use norm_host::{Error, Stream};
use serde::Serialize;

use any::AnyCase;
use call::{Executor, OnCpu, OnCuda, OnSimulator};
#[cfg(test)]
use case::CheckCase;
use examine::CaseStats;
use scan::{Cases, Failing};

use crate::failure::{Failure, Outcome};
use crate::output;
use crate::target::{Target, TargetArgs};
use crate::whole::whole;

/// The help text below the options: how a case is written.
const CASE_HELP: &str = "\
A case is spelled in words, of which those in brackets may be left out:
  op=rms|layer over=rows|heads shape=2x3x128 x=DTYPE y=DTYPE [w=DTYPE] [b=DTYPE] eps=1e-6 [offset=1 [roundoffset]]
  [rounding=before-weight|before-bias|t5] [residual=before|behind|between] [r=DTYPE next=rms|layer[,DTYPE] nexteps=1e-6]
  [gate=silu|sigmoid,norm-first|gate-first,DTYPE [ggap=8,0,3] [gat=2]]
  [apart] [wide] [branch=0.5] [scale=2|scale=@2] [xgap=8,0,3] [ygap=8,0,3] [rgap=8,0,3] [sgap=8,0,3] [wgap=4] [bgap=4] [shared=w,b]
  [quantize=fp8-token [preset=vllm] [given=0.01] [bound=3|bound=@3] [columns] [copy]]
  [at=x,y,w,b[,r[,s]]] data=normal seed=7 [shards=2] [inplace] [alone=2]
A residual before the norm is r += x; y = norm(r), one behind it y += norm(x), one between two r += norm(x);
y = next(r), whose weights' type stands behind a comma; all are over rows. With apart the sum has a tensor of its own,
behind a norm the residual has; with wide a residual before the norm is f32. branch multiplies what is added and scale
the sum, behind an @ from memory. A gate goes through its activation and multiplies the norm, or x in front of it;
`gat` is how many elements past an aligned address it starts. Gaps are elements left unused behind each position of a leading axis
(w, b: behind each head), outermost first; shared weights or biases are one (head_dim,) for all heads; `at` is how many elements past an
aligned address each tensor starts; roundoffset rounds w + offset to the type of w, and rounding is the order of
roundings; quantize is a form of norm rms --quantize, given its scale, bound the largest magnitude that counts, columns
makes scales of blocks column-major, and copy has the values written too; shards does RMSNorm in so many parts of each row, as over devices; inplace and alone do the norm in place and one row alone too, to give the same bits. All tensors of a
case take 512 MiB at most.
Norm and rotation of the heads of packed queries, keys and values:
  op=qkrope heads=4,2,1 tokens=3 dim=128 x=DTYPE [norms=rms,layer,-] [w=DTYPE [own] [offset=1]] [eps=1e-6]
  [pairs=64] [table=DTYPE] [neighbours] [behind] [beforeweight] [rotation=between|products] [wide] [gap=8] [at=1]
  data=normal seed=7 [inplace]
norms are those of queries, keys and values, a - for none; own weights differ from head to head; pairs are rotated, by
halves unless neighbours; behind rotates first; wide positions have 8 bytes; gap is behind each token.
Rows that are added up over the ranks of a group, and their norm: a case of a norm over rows, and behind it
  ranks=2 [calls=3] [blocks=2] [piece=5] [completed=7] [strays=absent|call|epoch] [twoshot|packets] [sum]
x is each rank's part; a residual before the norm is each rank's, too; sum is without the norm. piece is how many rows a
launch has, and completed the launches before the first, on the simulator; there, too, the last rank strays in a run of
its own, which all have to be told. Ranks are simulated beside each other, or are streams of one GPU.";

/// The arguments of `norm check`.
#[derive(Args, Debug)]
#[command(after_help = CASE_HELP)]
pub struct CheckArgs {
    /// Number of random cases, 1 at least
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = whole(1, u64::MAX), allow_hyphen_values = true)]
    cases: u64,
    /// What the cases are made from; one seed always makes the same
    #[arg(long, default_value_t = 1, value_name = "S", value_parser = whole(0, u64::MAX), allow_hyphen_values = true)]
    seed: u64,
    #[command(flatten)]
    target: TargetArgs,
    /// Examine this case instead of random ones; a failure prints such a text. May be repeated
    #[arg(long, value_name = "CASE", conflicts_with_all = ["cases", "seed"], allow_hyphen_values = true)]
    case: Vec<AnyCase>,
    /// Run each kernel of the set once at least instead, with --device sim
    #[arg(long, conflicts_with_all = ["cases", "seed", "case"])]
    every_kernel: bool,
    /// Run this kernel of the set as --every-kernel does. May be repeated
    #[arg(long, value_name = "NAME", conflicts_with_all = ["cases", "seed", "case", "every_kernel"])]
    kernel: Vec<String>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &CheckArgs) -> Result<Outcome, Failure> {
    let target = args.target.open()?;
    if args.every_kernel || !args.kernel.is_empty() {
        return every_kernel(args, &target);
    }
    let cases = if args.case.is_empty() {
        Cases::Random { seed: args.seed, count: args.cases }
    } else {
        Cases::Given(args.case.clone())
    };
    let options = args.target.options(&target.name());
    let report = examine_all(&cases, &target.name(), &options, || executor(&target))?;
    if args.json {
        output::json(&report)?;
    } else {
        output::text(&report.text(&target.description()))?;
    }
    Ok(Outcome::of(report.failure.is_none()))
}

/// Runs each kernel of the target's set, or those that `--kernel` names.
fn every_kernel(args: &CheckArgs, target: &Target) -> Result<Outcome, Failure> {
    let Target::Sim { simulator } = target else {
        return Err(every::EveryError::Device { given: target.name() }.into());
    };
    let entries = every::entries(simulator, &args.kernel)?;
    let report = every::run(simulator, &entries, &target.name(), &args.target.options(&target.name()));
    if args.json {
        output::json(&report)?;
    } else {
        output::text(&report.text(&target.description()))?;
    }
    Ok(Outcome::of(report.is_good()))
}

/// A new executor for `target`, which on a device has its own stream and memory.
fn executor(target: &Target) -> Result<Box<dyn Executor + '_>, Error> {
    match target {
        Target::Cpu { .. } => Ok(Box::new(OnCpu)),
        Target::Sim { simulator } => Ok(Box::new(OnSimulator { simulator })),
        Target::Cuda { stream } => Ok(Box::new(OnCuda::new(Stream::new(stream.device())?)?)),
    }
}

/// The results of a check.
#[derive(Serialize)]
struct CheckReport {
    device: String,
    seed: Option<u64>,
    cases: u64,
    /// The number of outputs that were compared with the reference.
    outputs: u64,
    /// The largest error of an f32 output, as a fraction of the error that the accuracy promise allows.
    f32_part_of_allowed_error: f64,
    seconds: f64,
    failure: Option<CaseFailure>,
}

/// A case that failed.
#[derive(Serialize)]
struct CaseFailure {
    /// Its index among the cases, from 0.
    index: u64,
    case: String,
    fault: String,
    smallest_case: String,
    smallest_fault: String,
    command: String,
}

/// Examines all cases on all of the machine's threads, and shrinks the first that fails.
///
/// # Errors
/// If kernels are missing or cannot be loaded, which is no fault of a case.
fn examine_all<E: Executor>(
    cases: &Cases,
    device: &str,
    options: &str,
    executor: impl Fn() -> Result<E, Error> + Sync,
) -> Result<CheckReport, Error> {
    let start = Instant::now();
    let bar = progress(cases.len());
    let scanned = scan::scan(cases, &executor, &|| bar.inc(1))?;
    bar.finish_and_clear();
    if let Some(error) = scanned.failing.as_ref().and_then(|failing| failing.fault.of_kernels()) {
        return Err(error.clone());
    }
    let failure = match scanned.failing {
        Some(failing) => Some(explain(failing, options, executor()?)),
        None => None,
    };
    let CaseStats { outputs, f32_ratio } = scanned.stats;
    Ok(CheckReport {
        device: device.to_owned(),
        seed: cases.seed(),
        cases: scanned.examined,
        outputs,
        f32_part_of_allowed_error: f32_ratio,
        seconds: start.elapsed().as_secs_f64(),
        failure,
    })
}

/// A progress bar on stderr, if that is a terminal.
fn progress(cases: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} cases, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(cases).with_style(style)
}

/// Shrinks a failing case, and describes it and the smallest one.
fn explain(failing: Failing, options: &str, mut executor: impl Executor) -> CaseFailure {
    let Failing { index, case, fault } = failing;
    let mut memory = examine::ImageBuffers::default();
    let mut smallest_fault = fault.to_string();
    let smallest = case.shrink(|case| match case.examine(&mut executor, &mut memory) {
        Ok(_) => false,
        // The kernel set may lack the kernels that a simpler case needs.
        Err(simpler) if simpler.of_kernels().is_some() => false,
        // A simpler case that fails for another reason is another bug.
        Err(simpler) if !simpler.is_like(&fault) => false,
        Err(simpler) => {
            smallest_fault = simpler.to_string();
            true
        }
    });
    CaseFailure {
        index,
        case: case.to_string(),
        fault: fault.to_string(),
        command: format!("norm check {options} --case '{smallest}'"),
        smallest_case: smallest.to_string(),
        smallest_fault,
    }
}

impl CheckReport {
    fn text(&self, device: &str) -> String {
        let CheckReport { cases, outputs, seconds, .. } = self;
        let of_seed = self.seed.map_or(String::new(), |seed| format!(" of seed {seed}"));
        let Some(failure) = &self.failure else {
            let in_f32 = match 100.0 * self.f32_part_of_allowed_error {
                0.0 => String::new(),
                percent => format!("; those in f32 use up to {percent:.0} % of the error that it allows"),
            };
            return format!(
                "ok: {cases} case{}{of_seed} in {seconds:.1} s on {device}. All {outputs} outputs keep the accuracy \
                 promise{in_f32}.\n",
                if *cases == 1 { "" } else { "s" },
            );
        };
        let CaseFailure { index, case, fault, smallest_case, smallest_fault, command } = failure;
        format!(
            "FAILED: case {index}{of_seed} on {device}\n\
             \x20 case:          {case}\n\
             \x20 fault:         {fault}\n\
             \x20 smallest case: {smallest_case}\n\
             \x20 its fault:     {smallest_fault}\n\
             Repeat it with:\n\
             \x20 {command}\n"
        )
    }
}

#[cfg(test)]
mod tests;

//! `norm bench`: time per call, beside what the machine can do at all.

mod call;
mod case;
mod cpu;
mod cuda;
mod error;
mod heads;
mod host;
mod join;
mod op;
mod plot;
mod record;
mod sets;
mod sweep;
mod table;
mod unit;
mod values;
mod verify;

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use norm_host::{
    Device, Place, Rounding,
    plan::{DeviceProfile, Plan},
};

use call::TensorAddresses;
use case::BenchCase;
use cuda::Workload;
pub use error::BenchError;
use op::{Extents, Op, TypesChoice};
use record::{Ceiling, DeviceRecord, Figures, Measurement, Method, Record, Times, Verdict};
use sets::Standing;
use sweep::Tiling;

use crate::failure::{Failure, Outcome};
use crate::kernel_set::KernelSet;
use crate::order::order;
use crate::output;
use crate::target::{DeviceChoice, Target};
use crate::whole::whole;

/// The help text below the options: how it is measured.
const METHOD_HELP: &str = "\
Each round runs every line once on fresh buffers with random inputs: a CUDA graph of 200 calls (20 where a
tensor is over 16 MiB) on a stream of its own, inputs and outputs rotating through 1 GiB, so that what is read
has left the L2 (but for shapes of which 200 calls fit it); 5 replays of the graph, timed by events after one
that is not, and their median. A line's time is the median of its rounds. Beside it stand, in the same rounds, a
device-to-device copy and an empty kernel. Throughput counts x read once and y written once, a residual read once
and the sum with it written once, a gate read once. A few rows of each line's output are held against the f64 reference first: where
one is wrong the line is a FAIL, the exit status 1.";

/// The arguments of `norm bench`.
#[derive(Args, Debug)]
#[command(after_help = METHOD_HELP)]
pub struct BenchArgs {
    /// Operations to measure [default: all]
    #[arg(value_name = "OP", allow_negative_numbers = true)]
    ops: Vec<Op>,
    /// Element types: one for x, w (and b) and y, or three as X:W:Y, or all. May be repeated
    /// [default: f16; f32 on the CPU]
    #[arg(long, value_name = "TYPES", allow_hyphen_values = true)]
    dtype: Vec<TypesChoice>,
    /// ROWSxDIM, for head ROWSxHEADSxHEAD_DIM. May be repeated [default: a standing set, from 1 row
    /// to 1048576 columns]
    #[arg(long, value_name = "SHAPE", allow_hyphen_values = true)]
    shape: Vec<Extents>,
    /// Where to round before the last time: single, before-weight, before-bias or t5
    #[arg(long, default_value_t = Rounding::Single, value_name = "ORDER", value_parser = order, allow_hyphen_values = true)]
    rounding: Rounding,
    /// The standing set cut down to a look in a few seconds
    #[arg(long, conflicts_with = "shape")]
    quick: bool,
    /// Rounds, at least 5 for figures to be quoted [default: 7; 3 with --quick]
    #[arg(long, value_name = "N", value_parser = whole(1, u32::MAX), allow_hyphen_values = true)]
    repeats: Option<u32>,
    /// MiB of the copy that is the ceiling [default: 256; 64 on the CPU]
    #[arg(long, value_name = "MIB", value_parser = whole(1, 65_536_u32), allow_hyphen_values = true)]
    copy: Option<u32>,
    /// Where to run: auto (the first CUDA device that can be used), cpu or cuda:N
    #[arg(long, default_value = "auto", allow_hyphen_values = true)]
    device: DeviceChoice,
    /// Whose kernels to measure: stock, rust-cuda, or the PTX in a file. Several, with commas between
    /// them, are measured in the same rounds. rust-cuda's are refused until they are compiled anew if they
    /// are of another source
    #[arg(
        long,
        default_value = "stock",
        value_delimiter = ',',
        value_name = "stock|rust-cuda|FILE",
        allow_hyphen_values = true
    )]
    ptx: Vec<KernelSet>,
    /// Measure, for each case, every block that its kernels can hold a row in, beside the one that
    /// operations take. Other blocks add in another order, so their last bits may differ
    #[arg(long, requires = "shape")]
    sweep: bool,
    /// Measure beside sandwich_rms its two norms, beside qk_rope the norms of queries and of keys and the rotation, one after the other,
    /// as "norm, unfused"
    #[arg(long, conflicts_with = "sweep")]
    unfused: bool,
    /// Measure what a launch costs the host, and the first call of an operation in a new process
    #[arg(long, conflicts_with_all = ["ops", "dtype", "shape", "rounding", "quick", "copy", "sweep", "unfused", "plot"])]
    host: bool,
    /// Kept with the results: the commit, or what else they should be known by
    #[arg(long, value_name = "TEXT", allow_negative_numbers = true)]
    label: Option<String>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Draw throughput over dim, as an SVG; a plot that is there is replaced, another file is not
    #[arg(long, value_name = "FILE.svg", value_parser = PathBufValueParser::new().try_map(plot::svg_path),
        allow_hyphen_values = true)]
    plot: Option<PathBuf>,
    /// Show results that --json printed before, instead of measuring
    #[arg(long, value_name = "RESULTS.json", allow_negative_numbers = true, conflicts_with_all = ["ops", "dtype", "shape", "rounding", "quick", "copy", "sweep", "unfused", "host", "label"])]
    from: Option<PathBuf>,
    /// Print a Markdown table of what both have, with ratios, instead of measuring; the peers'
    /// results have the form of --json. Without them, ours with other kernels than stock are
    #[arg(long, num_args = 1..=2, value_names = ["OURS.json", "PEERS.json"], allow_negative_numbers = true,
        conflicts_with_all = ["ops", "dtype", "shape", "rounding", "quick", "copy", "sweep", "unfused", "host", "label", "from", "json", "plot"])]
    join: Option<Vec<PathBuf>>,
    /// What --host runs in a process of its own
    #[arg(long, hide = true)]
    first_call: bool,
}

impl BenchArgs {
    /// Rounds.
    fn repeats(&self) -> u32 {
        self.repeats.unwrap_or(if self.quick { 3 } else { 7 })
    }
}

pub fn run(args: &BenchArgs) -> Result<Outcome, Failure> {
    if let Some([ours, peers @ ..]) = args.join.as_deref() {
        let ours = Record::read(ours)?;
        let (stock, others) = ours.clone().split(NAME);
        let table = match peers {
            [] => join::markdown(&stock, &others)?,
            // The parts of our own operations stand among the peers.
            [peers, ..] => {
                let (unfused, ours) = ours.split(&format!("{NAME}{UNFUSED}"));
                let mut peers = Record::read(peers)?;
                peers.lines.splice(..0, unfused.lines);
                join::markdown(&ours, &peers)?
            }
        };
        output::text(&table)?;
        return Ok(Outcome::Good);
    }
    if args.host || args.first_call {
        return run_host(args);
    }
    args.plot.as_deref().map_or(Ok(()), plot::claim)?;
    let record = match &args.from {
        Some(path) => Record::read(path)?,
        None => measure(args)?,
    };
    // The results come first: they took longer to make than the picture.
    if args.json {
        output::json(&record)?;
    } else {
        output::text(&table::text(&record))?;
    }
    if let Some(path) = &args.plot {
        plot::write(&record, path)?;
    }
    Ok(Outcome::of(record.is_good()))
}

fn run_host(args: &BenchArgs) -> Result<Outcome, Failure> {
    let set = one_set(args, "--host")?;
    let device = device(args.device, set, "--host")?;
    if args.first_call {
        output::json(&host::first_call::first_call(device.ordinal(), set)?)?;
        return Ok(Outcome::Good);
    }
    let record =
        host::measure(&device, set, HOST_BATCHES.saturating_mul(args.repeats()), args.label.clone())?;
    if args.json {
        output::json(&record)?;
    } else {
        output::text(&record.text())?;
    }
    Ok(Outcome::Good)
}

/// Batches of launches a round of `--host`.
const HOST_BATCHES: u32 = 20;

/// The implementation's name in measurements of stock kernels.
const NAME: &str = "norm";
/// The suffix of that name where an operation's two norms are measured one after the other.
const UNFUSED: &str = ", unfused";

/// The one set of kernels that `option` takes.
fn one_set<'a>(args: &'a BenchArgs, option: &'static str) -> Result<&'a KernelSet, BenchError> {
    match &args.ptx[..] {
        [set] => Ok(set),
        sets => Err(BenchError::OneSet { option, given: sets.len() }),
    }
}

/// The CUDA device that was asked for, with kernels of that set.
fn device(choice: DeviceChoice, set: &KernelSet, option: &'static str) -> Result<Device, Failure> {
    let found = choice.find(set)?;
    if let Target::Cuda { .. } = found.target {
        found.say_what_was_passed_over();
    }
    match found.target {
        Target::Cuda { stream } => Ok(*stream.device()),
        Target::Cpu { .. } if choice == DeviceChoice::Cpu => Err(BenchError::NotOnCpu { option }.into()),
        Target::Cpu { why } => Err(BenchError::NeedsDevice { why }.into()),
        Target::Sim { .. } => {
            let why = "a simulator's time says nothing of a GPU's; `norm ptx report` counts what it does"
                .to_owned();
            Err(BenchError::NeedsDevice { why }.into())
        }
    }
}

/// A handle for each set of kernels, all of the device that the first set is found to run on.
fn devices(args: &BenchArgs) -> Result<Vec<Device>, Failure> {
    let mut devices: Vec<Device> = Vec::with_capacity(args.ptx.len());
    for set in &args.ptx {
        let choice = devices.first().map_or(args.device, |first| DeviceChoice::Cuda(first.ordinal()));
        devices.push(device(choice, set, "--device")?);
    }
    Ok(devices)
}

fn measure(args: &BenchArgs) -> Result<Record, Failure> {
    if args.device == DeviceChoice::Cpu {
        for (given, option) in [(args.sweep, "--sweep"), (args.unfused, "--unfused")] {
            if given {
                return Err(BenchError::NotOnCpu { option }.into());
            }
        }
        // The CPU runs no kernels, so naming any is an error.
        args.ptx.iter().try_for_each(|set| args.device.find(set).map(drop))?;
        let standing = if args.quick { Standing::QuickCpu } else { Standing::Cpu };
        let cases = sets::cases(&args.ops, &args.dtype, &args.shape, standing, args.rounding)?;
        return measure_cpu(args, &cases);
    }
    let standing = if args.quick { Standing::Quick } else { Standing::Full };
    let cases = sets::cases(&args.ops, &args.dtype, &args.shape, standing, args.rounding)?;
    measure_cuda(args, &cases)
}

fn measure_cpu(args: &BenchArgs, cases: &[BenchCase]) -> Result<Record, Failure> {
    let copy = bytes(args.copy, 64);
    cpu::fits(cases, copy)?;
    let began = date();
    let bar = progress((cases.len() as u64 + 1) * u64::from(args.repeats()));
    let (copies, outcomes) = cpu::measure(cases, copy, args.repeats(), || bar.inc(1));
    bar.finish_and_clear();
    let memcpy = Ceiling::of(copy, Times::of(copies));
    let lines = cases
        .iter()
        .zip(outcomes)
        .map(|(case, outcome)| line(NAME, case, None, 1, outcome, &memcpy))
        .collect();
    let target = Target::Cpu { why: String::new() };
    Ok(Record {
        schema: record::SCHEMA,
        program: program(),
        label: args.label.clone(),
        commit: commit(),
        date: began,
        device: DeviceRecord {
            place: target.name(),
            name: target.description(),
            compute_capability: None,
            cuda: None,
            driver: None,
        },
        method: Method {
            description: cpu::DESCRIPTION.to_owned(),
            repeats: args.repeats(),
            replays: cpu::REPLAYS,
            rotation_bytes: 0,
            eps: case::EPS,
            rounding: rounding_record(args),
        },
        memcpy,
        empty_kernel: None,
        lines,
    })
}

fn measure_cuda(args: &BenchArgs, cases: &[BenchCase]) -> Result<Record, Failure> {
    if args.sweep {
        one_set(args, "--sweep")?;
        // Their kernels take only the tiles that planning selects.
        let is_without = |op: Op| {
            matches!(op, Op::AddRmsF32 | Op::SandwichRms | Op::QkRope)
                || op.gating().is_some()
                || op.quantizes().is_some()
        };
        let without = cases.iter().find(|case| is_without(case.op));
        without.map_or(Ok(()), |case| Err(BenchError::Sweep { op: case.op.word() }))?;
    }
    if args.unfused && !cases.iter().any(|case| case.op.has_parts()) {
        return Err(BenchError::Unfused.into());
    }
    let devices = devices(args)?;
    let device = devices[0];
    let names: Vec<String> = args.ptx.iter().map(implementation).collect();
    let copy = bytes(args.copy, 256);
    let began = date();
    let swept: Vec<(&BenchCase, Option<Tiling>)> = if args.sweep {
        cases
            .iter()
            .map(|case| {
                Ok(tilings(case, device.profile())?.into_iter().map(move |tiling| (case, Some(tiling))))
            })
            .collect::<Result<Vec<_>, norm_host::Error>>()?
            .into_iter()
            .flatten()
            .collect()
    } else {
        cases.iter().map(|case| (case, None)).collect()
    };
    // Every set's kernels for a case one after the other, fused and then not.
    let parts = |case: &BenchCase| args.unfused && case.op.has_parts();
    let lines: Vec<(usize, &BenchCase, Option<Tiling>, bool)> = swept
        .into_iter()
        .flat_map(|(case, tiling)| (0..devices.len()).map(move |set| (set, case, tiling)))
        .flat_map(|(set, case, tiling)| {
            let fused = (set, case, tiling, false);
            [Some(fused), parts(case).then_some((set, case, tiling, true))].into_iter().flatten()
        })
        .collect();
    let mut workloads = vec![(0, Workload::Copy(copy)), (0, Workload::Empty)];
    workloads.extend(lines.iter().map(|&(set, case, tiling, unfused)| match tiling {
        Some(tiling) => (set, Workload::Tiled(case.clone(), tiling)),
        None if unfused => (set, Workload::Unfused(case.clone())),
        None => (set, Workload::Call(case.clone())),
    }));
    let bar = progress(workloads.len() as u64 * u64::from(args.repeats()));
    let measured = cuda::measure(&devices, &workloads, args.repeats(), || bar.inc(1));
    bar.finish_and_clear();
    let mut outcomes = measured?.into_iter();
    let mut ceiling = |what| match outcomes.next() {
        Some(Ok(samples)) => Ok(Times::of(samples)),
        other => Err(BenchError::Ceiling { what, why: other.and_then(Result::err).unwrap_or_default() }),
    };
    let memcpy = Ceiling::of(copy, ceiling("copy")?);
    let empty_kernel = Some(ceiling("empty kernel")?);
    let lines = lines
        .iter()
        .zip(outcomes)
        .map(|(&(set, case, tiling, unfused), outcome)| {
            let name = format!("{}{}", names[set], if unfused { UNFUSED } else { "" });
            line(&name, case, tiling, case.calls(), outcome, &memcpy)
        })
        .collect();
    Ok(Record {
        schema: record::SCHEMA,
        program: program(),
        label: args.label.clone(),
        commit: commit(),
        date: began,
        device: device_record(&device),
        method: Method {
            description: cuda::DESCRIPTION.to_owned(),
            repeats: args.repeats(),
            replays: cuda::REPLAYS,
            rotation_bytes: case::ROTATION,
            eps: case::EPS,
            rounding: rounding_record(args),
        },
        memcpy,
        empty_kernel,
        lines,
    })
}

/// The order, as results name it.
fn rounding_record(args: &BenchArgs) -> Option<String> {
    (args.rounding != Rounding::Single).then(|| args.rounding.name().to_owned())
}

/// The implementation's name in measurements of that set's kernels.
fn implementation(set: &KernelSet) -> String {
    match set {
        KernelSet::Stock => NAME.to_owned(),
        set => format!("{NAME} by {set}"),
    }
}

/// The tilings of a case: they depend on alignment, but not on where its tensors will be.
fn tilings(case: &BenchCase, profile: DeviceProfile) -> Result<Vec<Tiling>, norm_host::Error> {
    let tensors = TensorAddresses {
        place: Place::Cuda(0),
        x: 1 << 12,
        y: 1 << 12,
        w: 1 << 12,
        b: 1 << 12,
        r: 1 << 12,
        sum: 1 << 12,
    };
    Ok(sweep::tilings(case, &Plan::new(&call::problem(case, tensors), profile)?, profile))
}

fn bytes(mib: Option<u32>, default: u32) -> u64 {
    u64::from(mib.unwrap_or(default)) << 20
}

fn line(
    implementation: &str,
    case: &BenchCase,
    tiling: Option<Tiling>,
    calls: u32,
    outcome: Result<Vec<f64>, String>,
    memcpy: &Ceiling,
) -> Measurement {
    let (verdict, note, figures) = match outcome {
        Ok(samples) => (Verdict::Ok, None, Some(Figures::of(case.bytes(), Times::of(samples), memcpy))),
        Err(wrong) => (Verdict::Fail, Some(wrong), None),
    };
    Measurement {
        implementation: implementation.to_owned(),
        op: case.op.name().to_owned(),
        x: case.types.x.to_string(),
        w: case.types.w.to_string(),
        y: case.op.quantizes().map_or(case.types.y.to_string(), |quantizes| quantizes.format.to_string()),
        shape: case.extents.as_slice().to_vec(),
        bytes: case.bytes(),
        calls,
        tile: tiling.map(Tiling::record),
        verdict,
        note,
        figures,
    }
}

/// A bar on stderr, where that is a terminal.
fn progress(measurements: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} measurements, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(measurements).with_style(style)
}

fn program() -> String {
    concat!("norm ", env!("CARGO_PKG_VERSION")).to_owned()
}

/// The commit, where whoever builds says it.
fn commit() -> Option<String> {
    option_env!("NORM_COMMIT").map(str::to_owned)
}

/// Now, in UTC, to the second.
fn date() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn device_record(device: &Device) -> DeviceRecord {
    let (major, minor) = device.capability();
    let cuda = cuda_driver::driver().ok().and_then(|driver| driver.version().ok());
    DeviceRecord {
        place: device.place().to_string(),
        name: device.name().to_owned(),
        compute_capability: Some(format!("{major}.{minor}")),
        cuda: cuda.map(|(major, minor)| format!("{major}.{minor}")),
        driver: kernel_module_version(),
    }
}

/// The driver's own version, as its kernel module states it.
fn kernel_module_version() -> Option<String> {
    let version = std::fs::read_to_string("/sys/module/nvidia/version").ok()?;
    Some(version.trim().to_owned())
}

//! `norm check --every-kernel`: each entry of a set of kernels, run once at least and held to the reference.
//!
//! Random cases come by most kernels rarely, and by some never. Here each entry has a case of its own: the shortest rows
//! that it takes, on a device whose profile leaves them to it. What an entry is given is tried until it has run.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use norm_host::plan::{DeviceProfile, Tile};
use norm_host::{DType, NormKind, Rounding, Simulator};
use norm_kernels::abi::{EntryPoint, Kernel, ShardKernel, Variant, width};
use serde::Serialize;

use super::call::OnSimulator;
use super::case::{Addition, Case, Data, MAX_LEADING, Next, Param, Placement, Residual};
use super::examine::{Memory, examine};
use crate::failure::Failure;
use crate::output;

/// Why entries were not tried.
#[derive(Debug, thiserror::Error)]
pub enum EveryError {
    #[error("--every-kernel and --kernel: expected --device sim, where all kernels run, given {given}")]
    Device { given: String },
    #[error("--kernel: expected an entry point of the set, as `norm ptx` lists them, given {given}")]
    Unknown { given: String },
}

/// How all entries came out.
#[derive(Debug, Serialize)]
pub struct Report {
    device: String,
    entries: usize,
    /// Outputs that were held against the reference.
    outputs: u64,
    seconds: f64,
    /// Entries that no case here takes.
    not_reached: Vec<String>,
    failures: Vec<FailureReport>,
}

/// An entry that failed.
#[derive(Debug, Serialize)]
struct FailureReport {
    kernel: String,
    case: String,
    fault: String,
    command: String,
}

/// The entries of a simulator's set that are to be tried: all, or those of these names.
pub fn entries(simulator: &Simulator, names: &[String]) -> Result<Vec<EntryPoint>, Failure> {
    let mut held = Vec::new();
    for entry in simulator.ptx().entries()? {
        held.extend(EntryPoint::named(entry.name()));
    }
    if names.is_empty() {
        return Ok(held);
    }
    let find = |name: &String| {
        let entry = EntryPoint::named(name).filter(|entry| held.contains(entry));
        entry.ok_or_else(|| EveryError::Unknown { given: name.clone() }.into())
    };
    names.iter().map(find).collect()
}

/// Tries entries, on as many threads as there are; each is named on stderr before it is tried.
pub fn run(simulator: &Simulator, entries: &[EntryPoint], device: &str, options: &str) -> Report {
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, Tried)>> = Mutex::default();
    let work = || {
        let mut memory = Memory::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(&entry) = entries.get(index) else { break };
            output::note(&format!("tries {entry}"));
            let tried = attempt(simulator, entry, &mut memory);
            found.lock().unwrap_or_else(|poison| poison.into_inner()).push((index, tried));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(work);
        }
    });
    let mut found = found.into_inner().unwrap_or_else(|poison| poison.into_inner());
    found.sort_by_key(|(index, _)| *index);
    let mut report = Report {
        device: device.to_owned(),
        entries: entries.len(),
        outputs: 0,
        seconds: 0.0,
        not_reached: Vec::new(),
        failures: Vec::new(),
    };
    for (index, tried) in found {
        let kernel = entries[index].to_string();
        match tried {
            Tried::Passed { outputs } => report.outputs += outputs,
            Tried::NotReached => report.not_reached.push(kernel),
            Tried::Failed { case, fault } => {
                let command = format!("norm check {options} --kernel {kernel}");
                report.failures.push(FailureReport { kernel, case, fault, command });
            }
        }
    }
    report.seconds = start.elapsed().as_secs_f64();
    report
}

/// What came of an entry.
enum Tried {
    Passed { outputs: u64 },
    NotReached,
    Failed { case: String, fault: String },
}

fn attempt(simulator: &Simulator, entry: EntryPoint, memory: &mut Memory) -> Tried {
    // A kernel that fails in front of it, such as a first step, keeps it from being reached.
    let mut instead = Tried::NotReached;
    for (case, profile) in cases(entry, simulator.profile()) {
        let simulator = simulator.on(profile);
        let examined = examine(&case, &mut OnSimulator { simulator: &simulator }, memory);
        let tried = match examined {
            Ok(findings) => Tried::Passed { outputs: findings.outputs },
            Err(fault) => Tried::Failed { case: case.to_string(), fault: fault.to_string() },
        };
        match tried {
            _ if simulator.has_run(entry) => return tried,
            Tried::Failed { .. } => instead = tried,
            Tried::Passed { .. } | Tried::NotReached => {}
        }
    }
    instead
}

/// Cases that may take an entry, the likeliest first, each with the profile of the device.
fn cases(entry: EntryPoint, device: DeviceProfile) -> Vec<(Case, DeviceProfile)> {
    match entry {
        EntryPoint::Norm(kernel) => of_norm(kernel, device),
        EntryPoint::Shard(shard) => of_shard(shard).into_iter().map(|case| (case, device)).collect(),
    }
}

fn of_norm(kernel: Kernel, device: DeviceProfile) -> Vec<(Case, DeviceProfile)> {
    let Kernel { kind, x, w, y, variant, addition, epilogue } = kernel;
    let mut cases = Vec::new();
    // What memory gives decides between kernels, and so does what a device lacks.
    for memory_bytes_per_clock in [12, 18] {
        let profile = DeviceProfile { memory_bytes_per_clock, ..device };
        let profile = match variant {
            Variant::Stream => DeviceProfile { max_shared_bytes: 0, ..profile },
            Variant::Mixed => DeviceProfile { max_cluster: profile.max_cluster.min(2), ..profile },
            _ => profile,
        };
        for (rows, dim) in shapes(kernel, profile) {
            let plain = plain(kind, [x, w, y], rows, dim);
            let mut case = Case { rounding: epilogue.order, ..plain };
            case.addition = Addition {
                wide: addition.wide,
                scale: if addition.scaled { 0.5 } else { 1.0 },
                ..Addition::PLAIN
            };
            if variant.is_sandwich() {
                let next = Next { kind: NormKind::Rms, w: Some(w), eps: 1e-3 };
                case.residual = Residual::Between { r: placement(x), next };
            } else if variant.adds() || addition.wide || addition.scaled {
                case.residual = Residual::Before { gaps: [0; MAX_LEADING], at: 0 };
            }
            cases.push((case, profile));
        }
    }
    cases
}

/// Rows and their elements, as a variant takes them: with idle threads in rows, and idle rows in the last block.
fn shapes(kernel: Kernel, profile: DeviceProfile) -> Vec<(usize, usize)> {
    let Kernel { kind, variant, y, .. } = kernel;
    let width = Tile::new(kind, kernel.normalized(), y, 1, profile).width as usize;
    let vectors: &[(usize, usize)] = match variant {
        Variant::Warp2 => &[(19, 7), (19, 40)],
        Variant::Warp4 => &[(11, 50)],
        Variant::Block2 | Variant::Add2 | Variant::Sandwich2 => &[(3, 100)],
        Variant::Block4 if kind == NormKind::Rms => &[(2, 600)],
        Variant::Block4 => &[(profile.short_grid as usize + 2, 200)],
        Variant::Short4 | Variant::Add4 | Variant::Sandwich4 => &[(2, 600), (2, 100)],
        Variant::Staged => &[(2, 9005)],
        Variant::Mixed => &[(1, 9005 * profile.max_cluster.max(2) as usize)],
        Variant::Stream => &[(2, 9005)],
        Variant::Scalar => return vec![(3, 100 * width + 1), (3, 9005 * width + 1)],
    };
    vectors.iter().map(|&(rows, vectors)| (rows, vectors * width)).collect()
}

/// Rows that two devices share: of whole vectors in each part, or not.
fn of_shard(shard: ShardKernel) -> Option<Case> {
    let (types, vectors, rounding) = match shard {
        ShardKernel::Partial { x, vectors } => ([x; 3], vectors, Rounding::Single),
        ShardKernel::Apply { x, w, y, vectors, epilogue } => ([x, w, y], vectors, epilogue.order),
    };
    let dim = 2 * 33 * width(types[0], types[2]) as usize + if vectors { 0 } else { 1 };
    let case = plain(NormKind::Rms, types, 3, dim);
    Some(Case { shards: 2, rounding, ..case })
}

/// Dense rows of plain values with weights, of which the last row is done alone too.
fn plain(kind: NormKind, [x, w, y]: [DType; 3], rows: usize, dim: usize) -> Case {
    Case {
        kind,
        heads: false,
        shape: vec![rows, dim],
        x: placement(x),
        y: placement(y),
        w: Some(Param { dtype: w, gap: 0, at: 0, shared: false }),
        b: None,
        eps: 1e-5,
        weight_offset: 0.0,
        round_offset: false,
        rounding: Rounding::Single,
        data: Data::Normal,
        seed: dim as u64,
        in_place: false,
        alone: None,
        residual: Residual::None,
        addition: Addition::PLAIN,
        shards: 1,
    }
}

fn placement(dtype: DType) -> Placement {
    Placement { dtype, gaps: [0; MAX_LEADING], at: 0 }
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.failures.is_empty() && self.not_reached.is_empty()
    }

    pub fn text(&self, device: &str) -> String {
        let Report { entries, outputs, seconds, not_reached, failures, .. } = self;
        let passed = entries - not_reached.len() - failures.len();
        let kernels = if *entries == 1 { "kernel" } else { "kernels" };
        let verdict = if self.is_good() { "ok" } else { "FAILED" };
        let mut text = format!(
            "{verdict}: {passed} of {entries} {kernels} in {seconds:.1} s on {device}. All {outputs} outputs of theirs keep \
             the accuracy promise.\n"
        );
        for FailureReport { kernel, case, fault, command } in failures {
            text += &format!(
                "{kernel}\n\x20 case:  {case}\n\x20 fault: {fault}\n\x20 repeat it with: {command}\n"
            );
        }
        if !not_reached.is_empty() {
            text += &format!("Not reached, by any case tried: {}\n", not_reached.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind of entry.
    fn some() -> Vec<EntryPoint> {
        let mut kinds = std::collections::HashSet::new();
        let is_new = |entry: &EntryPoint| match *entry {
            EntryPoint::Norm(Kernel { kind, variant, addition, .. }) => {
                kinds.insert(format!("{kind:?} {variant:?} {addition:?}"))
            }
            EntryPoint::Shard(ShardKernel::Partial { vectors, .. }) => {
                kinds.insert(format!("partial {vectors}"))
            }
            EntryPoint::Shard(ShardKernel::Apply { vectors, .. }) => kinds.insert(format!("apply {vectors}")),
        };
        EntryPoint::all().filter(is_new).collect()
    }

    #[test]
    fn one_entry_of_each_kind_is_reached_and_passes() {
        let report = run(&Simulator::new(), &some(), "sim", "--device sim");
        assert!(report.is_good(), "{report:?}");
        assert!(report.entries > 20 && report.outputs > 0, "{report:?}");
    }

    #[test]
    fn a_broken_entry_is_found_and_its_command_repeats_it() {
        let simulator = Simulator::new();
        let name = "rms_f16_f16_f16_block4";
        let entry = EntryPoint::named(name).unwrap();
        let text = simulator.ptx().module(entry).unwrap();
        let (head, tail) = text.split_once("bar.sync").unwrap();
        let (_, tail) = tail.split_once(';').unwrap();
        let ptx = norm_host::ptx::Ptx::from_text(format!("{head}//{tail}").leak()).unwrap();
        let broken = Simulator::with_ptx(ptx);
        let held = entries(&broken, &[]).unwrap();
        assert_eq!(held, [entry]);
        let report = run(&broken, &held, "sim", "--device sim --ptx k.ptx");
        let [FailureReport { fault, command, .. }] = &report.failures[..] else { panic!("{report:?}") };
        assert!(fault.contains("with no barrier between"), "{fault}");
        assert_eq!(*command, format!("norm check --device sim --ptx k.ptx --kernel {name}"));
        assert_eq!(entries(&broken, &[name.to_owned()]).unwrap(), [entry]);
        assert!(entries(&broken, &["rms_f16_f16_f16_block2".to_owned()]).is_err());
    }
}

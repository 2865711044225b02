//! `norm ptx stats`: counts of each kernel's instructions.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::Args;
use norm_host::ptx::{Entry, InstructionKind, Ptx, Stats};
use serde::Serialize;

use super::{PtxError, is_meant, text_for};
use crate::failure::Failure;
use norm_build::ptxas;

use crate::output;

/// The arguments of `norm ptx stats`.
#[derive(Args, Debug)]
pub struct StatsArgs {
    /// Only kernels with this in their name, or made of the template of this name; or the whole name of one that rounds
    /// elsewhere, which the others do not list
    #[arg(allow_negative_numbers = true)]
    filter: Option<String>,
    /// The target whose PTX to count; the newest if none is given
    #[arg(long, allow_hyphen_values = true)]
    target: Option<String>,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

/// The counts of one kernel.
#[derive(Serialize)]
struct KernelStats {
    kernel: String,
    max_threads: Option<u32>,
    instructions: BTreeMap<String, usize>,
    global_access_bytes: BTreeMap<usize, usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assembled: Option<Assembled>,
}

/// The resources of the kernel as ptxas compiles it for the target.
#[derive(Serialize)]
struct Assembled {
    registers: u32,
    shared_bytes: u32,
    stack_bytes: u32,
    spill_bytes: u32,
}

pub fn run(args: &StatsArgs, set: &[Ptx]) -> Result<(), Failure> {
    let ptx = text_for(set, args.target.as_deref())?;
    let filter = args.filter.as_deref().unwrap_or_default();
    let is_meant = |entry: &Entry| is_meant(entry.name(), entry.template(), filter);
    let mut entries: Vec<_> = ptx.entries()?.filter(is_meant).collect();
    if entries.is_empty() {
        entries.extend(ptx.entry(filter)?);
    }
    if entries.is_empty() {
        return Err(PtxError::Filter { given: filter.to_owned() }.into());
    }

    let ptxas = ptxas::find();
    let mut assembled: BTreeMap<String, Assembled> = match &ptxas {
        Ok(ptxas) => ptxas::assemble(ptxas, &ptx.module_of(entries.iter().cloned())?, ptx.target)
            .map_err(PtxError::Ptxas)?
            .into_iter()
            .map(|ptxas::Assembled { name, registers, shared_bytes, stack_bytes, spill_bytes }| {
                (name, Assembled { registers, shared_bytes, stack_bytes, spill_bytes })
            })
            .collect(),
        Err(_) => BTreeMap::new(),
    };
    let line = |entry: &Entry| -> norm_host::Result<KernelStats> {
        let Stats { instructions, global_access_bytes, max_threads, .. } = entry.stats()?;
        Ok(KernelStats {
            kernel: entry.name().to_owned(),
            max_threads,
            instructions: instructions.iter().map(|(kind, count)| (kind.to_string(), *count)).collect(),
            global_access_bytes,
            assembled: assembled.remove(entry.name()),
        })
    };
    let lines: Vec<KernelStats> = entries.iter().map(line).collect::<Result<_, _>>()?;
    if args.json {
        return output::json(&lines);
    }
    let mut text = table(&lines);
    if let Err(missing) = ptxas {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\nregs, shared and spills are unknown: {missing}");
    }
    output::text(&text)
}

/// The columns of instruction kinds, in the order of reading a kernel.
const COLUMNS: [(InstructionKind, &str); 12] = [
    (InstructionKind::GlobalLoad, "load"),
    (InstructionKind::GlobalStore, "store"),
    (InstructionKind::Float, "float"),
    (InstructionKind::Double, "f64"),
    (InstructionKind::Special, "sfu"),
    (InstructionKind::Integer, "int"),
    (InstructionKind::Convert, "cvt"),
    (InstructionKind::DoubleConvert, "cvt64"),
    (InstructionKind::Compare, "cmp"),
    (InstructionKind::Shuffle, "shfl"),
    (InstructionKind::Barrier, "bar"),
    (InstructionKind::Branch, "bra"),
];

fn table(lines: &[KernelStats]) -> String {
    // Writing to a string cannot fail.
    let mut text = format!(
        "{:<28} {:>7} {:>5} {:>6} {:>6} {:>5}",
        "kernel", "threads", "regs", "shared", "spills", "total"
    );
    for (_, name) in COLUMNS {
        let _ = write!(text, " {name:>5}");
    }
    text += "  bytes an access\n";
    for line in lines {
        let known = |value: Option<u32>| value.map_or("?".to_owned(), |value| value.to_string());
        let of = |field: fn(&Assembled) -> u32| known(line.assembled.as_ref().map(field));
        let total: usize = line.instructions.values().sum();
        let _ = write!(
            text,
            "{:<28} {:>7} {:>5} {:>6} {:>6} {:>5}",
            line.kernel,
            known(line.max_threads),
            of(|a| a.registers),
            of(|a| a.shared_bytes),
            of(|a| a.stack_bytes + a.spill_bytes),
            total,
        );
        for (kind, _) in COLUMNS {
            let count = line.instructions.get(&kind.to_string()).copied().unwrap_or(0);
            let _ = write!(text, " {count:>5}");
        }
        let widths: Vec<_> = line.global_access_bytes.keys().map(usize::to_string).collect();
        let _ = writeln!(text, "  {}", widths.join(", "));
    }
    text += "\nthreads: the largest block; instructions are counted once each, however often they run.\n";
    text
}

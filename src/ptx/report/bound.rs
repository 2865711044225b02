//! What bounds a kernel on a GPU of which nothing but published rates is at hand: each unit's clocks for what the simulator
//! counted, beside those that memory takes for the bytes.

use std::fmt::Write;

use norm_host::ptx::{InstructionKind, opcodes};
use serde::Serialize;

use super::kernel_run::{KernelRun, Work};
use crate::ptx::gpu::{
    CONVERT, COPY, INTEGER, ISSUE, L1, LATENCY, MACHINE, REGISTERS, Rates, SHUFFLE, SPECIAL,
};

const WARP: f64 = 32.0;

/// A unit of a multiprocessor, or its share of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Unit {
    #[serde(rename = "memory")]
    Memory,
    /// Bytes that resident blocks have on their way from memory.
    #[serde(rename = "occupancy")]
    Occupancy,
    #[serde(rename = "issue slots")]
    Issue,
    #[serde(rename = "f32")]
    Single,
    #[serde(rename = "f64")]
    Double,
    #[serde(rename = "f64 conversions")]
    DoubleConvert,
    #[serde(rename = "conversions")]
    Convert,
    #[serde(rename = "special functions")]
    Special,
    #[serde(rename = "integer")]
    Integer,
    #[serde(rename = "load/store")]
    LoadStore,
    /// What comes from other ranks of a group.
    #[serde(rename = "link")]
    Link,
}

const UNITS: [(Unit, &str); 11] = [
    (Unit::Memory, "memory"),
    (Unit::Occupancy, "occupancy"),
    (Unit::Issue, "issue"),
    (Unit::Single, "f32"),
    (Unit::Double, "f64"),
    (Unit::DoubleConvert, "cvt64"),
    (Unit::Convert, "cvt"),
    (Unit::Special, "sfu"),
    (Unit::Integer, "int"),
    (Unit::LoadStore, "ld/st"),
    (Unit::Link, "link"),
];

/// What bounds one kernel at one shape.
#[derive(Serialize)]
pub struct Bound {
    pub kernel: String,
    pub rows: u64,
    pub dim: u32,
    /// Of a kernel of a group, whether each rank adds up a share of the rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub two_shot: Option<bool>,
    /// Registers a thread on that GPU, where ptxas is there.
    pub registers: Option<u32>,
    /// Blocks that fit a multiprocessor.
    pub blocks: Option<u32>,
    pub bound_by: Unit,
    /// Bytes of x, residuals and y a second, 10¹².
    pub terabytes_a_second: f64,
    /// The same beside the memory's rate as published.
    pub of_memory: f64,
    /// How busy each unit is then, 1 for the one that bounds.
    pub busy: Vec<(Unit, f64)>,
}

/// The unit that an instruction occupies, the clocks for a warp, by the rates of arithmetic; nothing for what ptxas does not
/// assemble to an instruction, or what load and store units do.
fn clocks(opcode: &str, rates: &Rates) -> Option<(Unit, f64)> {
    use InstructionKind::*;
    let (unit, results) = match InstructionKind::of(opcode) {
        Float => (Unit::Single, rates.single),
        Double => (Unit::Double, rates.double),
        DoubleConvert => (Unit::DoubleConvert, rates.double_convert),
        // Those between integers are moves of registers or nothing.
        Convert if opcode.contains(".f") || opcode.contains(".bf") => (Unit::Convert, CONVERT),
        Special => (Unit::Special, SPECIAL),
        Integer | Compare => (Unit::Integer, INTEGER),
        Shuffle => (Unit::LoadStore, SHUFFLE),
        _ => return None,
    };
    Some((unit, WARP / results))
}

/// Whether ptxas assembles it to an instruction that is issued: all but moves, parameters, which others take as operands, and
/// conversions between integers.
fn is_issued(opcode: &str) -> bool {
    match InstructionKind::of(opcode) {
        InstructionKind::Move => opcode.starts_with("prmt"),
        InstructionKind::Convert => opcode.contains(".f") || opcode.contains(".bf"),
        InstructionKind::Parameter => false,
        _ => true,
    }
}

impl Bound {
    /// What bounds a run, whose kernel's module is `text`, and takes that many registers.
    pub fn new(run: &KernelRun, text: &str, registers: Option<u32>, rates: &Rates) -> Bound {
        let Work { lines, moved_bytes, requested_bytes, shared_bytes, .. } = &run.work;
        let mut busy = UNITS.map(|(unit, _)| (unit, 0.0));
        let mut add = |unit: Unit, clocks: f64| {
            if let Some((_, sum)) = busy.iter_mut().find(|(other, _)| *other == unit) {
                *sum += clocks;
            }
        };
        let text: Vec<&str> = text.lines().collect();
        for &(line, warps) in lines {
            let line = text.get((line as usize).wrapping_sub(1)).copied().unwrap_or_default();
            // The simulator counts a line as a whole, whose statements run equally often.
            let opcodes: Vec<&str> = opcodes(line).collect();
            let warps = warps as f64 / opcodes.len().max(1) as f64;
            for opcode in opcodes {
                if let Some((unit, clocks)) = clocks(opcode, rates) {
                    add(unit, warps * clocks);
                }
                if is_issued(opcode) {
                    add(Unit::Issue, MACHINE * warps / ISSUE);
                }
            }
        }
        add(Unit::LoadStore, (requested_bytes + shared_bytes) / L1);
        let memory = moved_bytes / rates.copy_bytes_per_clock();
        add(Unit::Memory, memory);
        add(Unit::Link, run.work.link_bytes / rates.link_bytes_per_clock());
        let resident = registers.map(|registers| resident_blocks(run, registers, rates));
        if let Some(resident) = resident {
            // What resident blocks read at most at a time, beside what has to be on its way.
            let at_a_time = f64::from(resident) * run.work.in_flight_bytes;
            let needed = rates.copy_bytes_per_clock() * rates.clock * LATENCY;
            // Reads are a part of what is moved; writes wait for nobody.
            add(Unit::Occupancy, memory * needed * run.work.read_part / at_a_time.max(1.0));
        }
        let (bound_by, most) =
            busy.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((Unit::Memory, 1.0));
        let of_copy = memory / most.max(f64::MIN_POSITIVE);
        let rate = of_copy * COPY;
        Bound {
            kernel: run.kernel.clone(),
            rows: run.rows,
            dim: run.dim,
            two_shot: run.group.as_ref().map(|group| group.two_shot),
            registers,
            blocks: resident,
            bound_by,
            terabytes_a_second: rate * rates.memory / 1e12,
            of_memory: rate,
            busy: busy.map(|(unit, clocks)| (unit, clocks / most.max(f64::MIN_POSITIVE))).to_vec(),
        }
    }
}

/// What stands behind the shape of a group's kernel: 1 or 2 shots.
pub fn of_shots(two_shot: Option<bool>) -> &'static str {
    match two_shot {
        None => "",
        Some(false) => "/1",
        Some(true) => "/2",
    }
}

/// Blocks of a run that fit a multiprocessor: by registers, which warps get 256 at a time, by threads, shared memory, and number.
fn resident_blocks(run: &KernelRun, registers: u32, rates: &Rates) -> u32 {
    let Work { threads_a_block, held_bytes, .. } = run.work;
    let warps = threads_a_block.div_ceil(32).max(1);
    let of_registers = REGISTERS / (warps * (registers * 32).next_multiple_of(256)).max(1);
    let of_threads = rates.threads / (32 * warps);
    // A block takes a kilobyte besides.
    let of_shared = rates.shared / (held_bytes + (2 << 10));
    of_registers.min(of_threads).min(of_shared).min(rates.blocks).max(1)
}

/// The bounds as a text table, with its legend.
pub fn table(bounds: &[Bound], rates: &Rates) -> String {
    let mut text = format!(
        "What bounds each kernel on an NVIDIA {} (compute capability {}.{}): from what the simulator counts of its rows, and published\n\
         rates (src/ptx/gpu.rs names the sources). Full grids are taken for granted, one row after the other; what it\n\
         takes to begin and to end, and the limit of power, are left out. Memory counts as full at {} of its published rate of\n\
         {:.2} TB/s, as for a copy. PTX is counted, not machine code; docs/TUNING.md says how far off that is.\n\n\
         blocks:    blocks that fit a multiprocessor; occupancy: what they read at a time, beside what is to be on its way.\n\
         TB/s:      bytes of x, residual and y, of a rank of a group those of its buffer too. of memory: beside the published rate.\n\
         link:      what a rank of four loads from the others, over NVLink, or PCIe where there is none; behind its shape stands /1\n\
         {:11}where it adds up all rows, one-shot, and /2 where it adds up a share and gathers the others.\n\
         the others: how busy each unit is at that rate, in percent.\n\n",
        rates.name,
        rates.capability.0,
        rates.capability.1,
        COPY,
        rates.memory / 1e12,
        "",
    );
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "{:<31} {:>10} {:>4} {:>6} {:>9} {:>6} {:>9} |",
        "kernel", "shape", "regs", "blocks", "bound by", "TB/s", "of memory"
    );
    for (_, name) in UNITS {
        let _ = write!(text, " {name:>9}");
    }
    text.push('\n');
    let known = |value: Option<u32>| value.map_or("?".to_owned(), |value| value.to_string());
    for bound in bounds {
        let name = UNITS.iter().find(|(unit, _)| *unit == bound.bound_by).map_or("", |(_, name)| name);
        let _ = write!(
            text,
            "{:<31} {:>10} {:>4} {:>6} {name:>9} {:>6.2} {:>9.2} |",
            bound.kernel,
            format!("{}x{}{}", bound.rows, bound.dim, of_shots(bound.two_shot)),
            known(bound.registers),
            known(bound.blocks),
            bound.terabytes_a_second,
            bound.of_memory
        );
        for (unit, share) in &bound.busy {
            let unknown = *unit == Unit::Occupancy && bound.registers.is_none();
            let share = if unknown { "?".to_owned() } else { format!("{:.0}", 100.0 * share) };
            let _ = write!(text, " {share:>9}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ptx::gpu::Gpu;

    /// A run of one line of PTX a kind, of one warp instruction each but the second, of 1000.
    fn run(moved_bytes: f64) -> (KernelRun, &'static str) {
        let text = "ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%rd1];\nadd.rn.f64 %rd2, %rd2, %rd3;\nmov.b32 %r5, %r1;\n\
                    { setp.ne.b32 %p1, %r1, 0; cvt.f64.f32 %rd4, %r1; }\n";
        let work = Work {
            lines: vec![(1, 1), (2, 1000), (3, 1), (4, 2)],
            moved_bytes,
            read_part: 0.5,
            requested_bytes: moved_bytes,
            threads_a_block: 32,
            in_flight_bytes: 1e9,
            ..Work::default()
        };
        (KernelRun { kernel: "k".to_owned(), rows: 1, dim: 1, work, ..KernelRun::default() }, text)
    }

    fn busy(bound: &Bound, unit: Unit) -> f64 {
        bound.busy.iter().find(|(other, _)| *other == unit).unwrap().1
    }

    #[test]
    fn f64_bounds_where_there_are_two_lanes_of_it_and_memory_where_there_are_64() {
        // 1000 additions of a warp: 16000 clocks with two lanes, 500 with 64.
        let (run, text) = run(40_000.0);
        let rates = Gpu::B300.rates();
        let bound = Bound::new(&run, text, Some(32), &rates);
        assert_eq!(bound.bound_by, Unit::Double);
        let expected = 40_000.0 / 16_000.0 * rates.clock * rates.multiprocessors / 1e12;
        assert!((bound.terabytes_a_second / expected - 1.0).abs() < 1e-9, "{}", bound.terabytes_a_second);
        // One conversion of the two statements of its line.
        assert!((busy(&bound, Unit::DoubleConvert) - 16.0 / 16_000.0).abs() < 1e-9);
        // All but the move, at four a clock.
        assert!((busy(&bound, Unit::Issue) - MACHINE * 1003.0 / 4.0 / 16_000.0).abs() < 1e-9);

        let bound = Bound::new(&run, text, Some(32), &Gpu::H200.rates());
        assert_eq!((bound.bound_by, bound.of_memory), (Unit::Memory, COPY));
    }

    #[test]
    fn blocks_are_as_many_as_the_scarcest_resource_allows() {
        let (mut run, text) = run(1.0);
        for (threads, held, registers, gpu, blocks) in [
            (256, 0, 64, Gpu::H200, 4),
            (256, 0, 32, Gpu::Rtx3090, 6),
            (32, 0, 32, Gpu::Rtx3090, 16),
            (512, 65536, 40, Gpu::H200, 3),
            (512, 65536, 40, Gpu::Rtx3090, 1),
        ] {
            (run.work.threads_a_block, run.work.held_bytes) = (threads, held);
            let bound = Bound::new(&run, text, Some(registers), &gpu.rates());
            assert_eq!(bound.blocks, Some(blocks), "{threads} threads, {held} bytes, {registers} registers");
        }
        assert_eq!(Bound::new(&run, text, None, &Gpu::H200.rates()).blocks, None);
    }

    #[test]
    fn too_few_blocks_wait_for_memory() {
        let (mut run, text) = run(1e6);
        run.work.in_flight_bytes = 64.0;
        let bound = Bound::new(&run, text, Some(255), &Gpu::H200.rates());
        assert_eq!(bound.bound_by, Unit::Occupancy);
        assert!(bound.of_memory < 0.5, "{}", bound.of_memory);
    }
}

//! Counts of the instructions in an entry point's text. Each counts once, however often
//! it is executed.

use std::collections::BTreeMap;
use std::fmt;

/// The kind of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum InstructionKind {
    /// Arithmetic on floats of at most 32 bits: `add.rn.f32`, `fma.rn.f32`, `sqrt.rn.f32` and the like.
    Float,
    /// Arithmetic on `f64`, for which many GPUs have two lanes a multiprocessor.
    Double,
    /// Approximate functions: `rsqrt.approx.f32` and the like.
    Special,
    /// Arithmetic and logic on integers.
    Integer,
    /// Conversions between types of at most 32 bits, and between integers.
    Convert,
    /// Conversions from and to `f64`.
    DoubleConvert,
    /// Comparisons and selections.
    Compare,
    /// Moves between registers.
    Move,
    /// Loads from global memory.
    GlobalLoad,
    /// Stores to global memory.
    GlobalStore,
    /// Asynchronous copies from global to shared memory.
    AsyncCopy,
    /// Prefetches into a cache.
    Prefetch,
    /// Loads and stores in shared memory.
    Shared,
    /// Loads and stores in local memory, where spilled registers go.
    Local,
    /// Loads of parameters.
    Parameter,
    /// Exchanges between lanes of a warp.
    Shuffle,
    /// Barriers of a block.
    Barrier,
    /// Arrivals and waits at a cluster's barrier.
    ClusterBarrier,
    /// Jumps and returns.
    Branch,
    /// Calls of functions.
    Call,
    /// All others.
    Other,
}

impl InstructionKind {
    /// The kind of an instruction, from its opcode with all its suffixes, such as `add.rn.f64`.
    pub fn of(opcode: &str) -> InstructionKind {
        use InstructionKind::*;
        let mut parts = opcode.split('.');
        let name = parts.next().unwrap_or_default();
        let space = parts.next().unwrap_or_default();
        let is_float = opcode.rsplit('.').next().is_some_and(|last| {
            last.starts_with("f16") || last.starts_with("bf16") || last == "f32" || last == "f64"
        });
        match (name, space) {
            ("ld", "global") => GlobalLoad,
            ("st", "global") => GlobalStore,
            ("ld" | "st", "shared") => Shared,
            ("ld" | "st", "local") => Local,
            ("ld", "param") => Parameter,
            ("shfl", _) => Shuffle,
            ("barrier", "cluster") => ClusterBarrier,
            ("bar" | "barrier", _) => Barrier,
            ("cp", "async") if opcode.contains(".prefetch.") => Prefetch,
            ("cp", "async") if opcode.contains(".shared") => AsyncCopy,
            ("prefetch", _) => Prefetch,
            ("bra" | "ret" | "exit" | "trap", _) => Branch,
            ("call", _) => Call,
            ("cvt", _) if opcode.contains(".f64") => DoubleConvert,
            ("cvt" | "cvta", _) => Convert,
            ("setp" | "set" | "selp" | "slct", _) => Compare,
            ("mov" | "prmt", _) => Move,
            ("ex2" | "lg2" | "rcp" | "rsqrt" | "sqrt" | "sin" | "cos" | "tanh", "approx") => Special,
            ("add" | "sub" | "mul" | "fma" | "min" | "max" | "neg" | "abs", _)
                if opcode.ends_with(".f64") =>
            {
                Double
            }
            (
                "add" | "sub" | "mul" | "fma" | "mad" | "div" | "rcp" | "sqrt" | "rsqrt" | "min" | "max"
                | "neg" | "abs",
                _,
            ) if is_float => Float,
            (
                "add" | "sub" | "mul" | "mad" | "div" | "rem" | "min" | "max" | "neg" | "abs" | "and" | "or"
                | "xor" | "not" | "shl" | "shr" | "shf" | "bfe" | "bfi" | "clz" | "brev" | "popc" | "cnot",
                _,
            ) => Integer,
            _ => Other,
        }
    }
}

impl fmt::Display for InstructionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use InstructionKind::*;
        f.pad(match self {
            Float => "float",
            Double => "f64",
            Special => "special",
            Integer => "integer",
            Convert => "convert",
            DoubleConvert => "convert f64",
            Compare => "compare",
            Move => "move",
            GlobalLoad => "global load",
            GlobalStore => "global store",
            AsyncCopy => "async copy",
            Prefetch => "prefetch",
            Shared => "shared",
            Local => "local",
            Parameter => "parameter",
            Shuffle => "shuffle",
            Barrier => "barrier",
            ClusterBarrier => "cluster barrier",
            Branch => "branch",
            Call => "call",
            Other => "other",
        })
    }
}

/// Counts for one entry point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Instructions of each kind that occurs.
    pub instructions: BTreeMap<InstructionKind, usize>,
    /// Accesses to global memory, by their size in bytes.
    pub global_access_bytes: BTreeMap<usize, usize>,
    /// The most threads of a block, the argument of `.maxntid`.
    pub max_threads: Option<u32>,
    /// Declarations of local memory, and functions declared or defined: zero in a sound kernel.
    pub foreign: usize,
}

impl Stats {
    /// Instructions of one kind.
    pub fn count(&self, kind: InstructionKind) -> usize {
        self.instructions.get(&kind).copied().unwrap_or(0)
    }

    /// All instructions.
    pub fn total(&self) -> usize {
        self.instructions.values().sum()
    }

    pub(super) fn of(text: &str) -> Stats {
        let mut stats = Stats::default();
        for (word, statement) in statements(text) {
            if let Some(directive) = word.strip_prefix('.') {
                match directive {
                    "maxntid" => {
                        stats.max_threads = statement.split_whitespace().last().and_then(|n| n.parse().ok())
                    }
                    "local" | "func" | "extern" => stats.foreign += 1,
                    _ => {}
                }
            } else if is_opcode(word) {
                let kind = InstructionKind::of(word);
                *stats.instructions.entry(kind).or_default() += 1;
                if matches!(kind, InstructionKind::GlobalLoad | InstructionKind::GlobalStore) {
                    *stats.global_access_bytes.entry(access_bytes(word)).or_default() += 1;
                }
            }
        }
        stats
    }
}

/// The opcode of each instruction in a text, with all its suffixes, such as `ld.global.nc.v4.b32`.
///
/// ```
/// use norm_host::ptx::opcodes;
///
/// let text = "ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%rd1];\n@%p1 bra $END;\n";
/// assert_eq!(opcodes(text).collect::<Vec<_>>(), ["ld.global.v4.b32", "bra"]);
/// ```
pub fn opcodes(text: &str) -> impl Iterator<Item = &str> {
    statements(text).map(|(word, _)| word).filter(|word| is_opcode(word))
}

/// Each statement with its first word, which is an opcode or a directive; labels, guards and braces are skipped.
fn statements(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(['\n', ';', '{', '}']).map(str::trim).filter_map(|statement| {
        let mut words = statement.split_whitespace();
        Some((words.find(|word| !word.starts_with('@') && !word.ends_with(':'))?, statement))
    })
}

fn is_opcode(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_lowercase())
}

/// Bytes that a load or store moves, from its opcode: `ld.global.nc.v4.b32` moves 16.
fn access_bytes(opcode: &str) -> usize {
    let mut lanes = 1;
    let mut bits = 0;
    for part in opcode.split('.') {
        match part {
            "v2" => lanes = 2,
            "v4" => lanes = 4,
            _ => {
                let digits = part.trim_start_matches(|c: char| c.is_ascii_alphabetic());
                if part.len() > digits.len()
                    && let Ok(width) = digits.parse::<usize>()
                {
                    bits = width;
                }
            }
        }
    }
    lanes * bits / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_there() {
        let stats = Stats::of(
            ".visible .entry k(\n\t.param .b64 k_param_0\n)\n.maxntid 256\n{\n\t.reg .pred \t%p<2>;\n\
             \tld.param.b64 \t%rd1, [k_param_0];\n\
             \t{ .reg .pred %wanted; setp.ne.b32 %wanted, %r1, 0;\n\
             @%wanted ld.global.L1::no_allocate.v4.b32 {%r1, %r2, %r3, %r4}, [%rd1]; }\n\
             \tfma.rn.f32 \t%r5, %r1, %r2, %r3;\n\tbar.sync \t0;\n$L__BB0_1:\n\tst.global.b16 [%rd1], %rs1;\n\
             \tbra.uni \t$L__BB0_1;\n\tret;\n}\n",
        );
        use InstructionKind::*;
        assert_eq!(stats.count(Parameter), 1);
        assert_eq!(stats.count(Compare), 1);
        assert_eq!(stats.count(Float), 1);
        assert_eq!(stats.count(Barrier), 1);
        assert_eq!(stats.count(Branch), 2);
        assert_eq!(stats.total(), 8);
        assert_eq!(stats.global_access_bytes, BTreeMap::from([(2, 1), (16, 1)]));
        assert_eq!((stats.max_threads, stats.foreign), (Some(256), 0));

        let stats = Stats::of(
            "cp.async.cg.shared.global.L2::cache_hint [%r1], [%rd1], 16, %r2, %rd2;\ncp.async.wait_all;\n\
             cp.async.bulk.prefetch.L2.global [%rd1], %r1;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\n",
        );
        assert_eq!((stats.count(AsyncCopy), stats.count(Prefetch), stats.count(ClusterBarrier)), (1, 1, 2));
    }

    #[test]
    fn what_a_gpu_has_few_lanes_for_is_told_apart() {
        use InstructionKind::*;
        for (opcode, kind) in [
            ("add.rn.f32", Float),
            ("fma.rn.bf16x2", Float),
            ("add.rn.f64", Double),
            ("fma.rn.f64", Double),
            ("mul.f64", Double),
            ("cvt.f64.f32", DoubleConvert),
            ("cvt.rn.f32.f64", DoubleConvert),
            ("cvt.rn.f16x2.f32", Convert),
            ("cvt.u64.u32", Convert),
            ("rsqrt.approx.f32", Special),
            ("ex2.approx.ftz.f32", Special),
            ("rcp.rn.f32", Float),
            ("setp.lt.f64", Compare),
            ("mov.f64", Move),
            ("mul.lo.u64", Integer),
        ] {
            assert_eq!(InstructionKind::of(opcode), kind, "{opcode}");
        }
    }

    #[test]
    fn sees_local_memory_and_functions() {
        let stats = Stats::of(
            ".visible .entry k()\n{\n\t.local .align 4 .b8 \t__local_depot0[32];\n\tcall.uni f;\n\tst.local.b32 [%rd1], %r1;\n}\n.func f()\n",
        );
        assert_eq!(stats.foreign, 2);
        assert_eq!((stats.count(InstructionKind::Call), stats.count(InstructionKind::Local)), (1, 1));
    }
}

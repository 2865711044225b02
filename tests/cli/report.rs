//! `norm ptx report`, and what it holds every kernel to: memory traffic, accesses, bank conflicts,
//! divergence.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use serde_json::Value;

use crate::run::{here, norm};

const WARP: u64 = 32;
/// The widest access of a thread, in bytes.
const WIDEST: u64 = 16;

/// One kernel's counts at one shape.
pub struct Run {
    /// Kernel and shape, for messages.
    name: String,
    counts: Value,
    kind: Kind,
    /// What it does with a row of vectors, by the last part of its name but that of a wide residual or an activation.
    variant: String,
    /// Whether the residual is f32 beside x and y of 16 bits.
    wide: bool,
    /// Bytes of an element of x, w and y.
    sizes: [u64; 3],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rms,
    Layer,
    /// The steps of RMSNorm over rows that are split.
    Partial,
    Apply,
    /// RMSNorm, multiplied by a gate.
    Gated,
    /// A norm whose output is quantized.
    Quantized,
    /// Heads, normed and rotated.
    Heads,
    /// One rank's part of rows that are added up.
    Group,
}

/// Of all kernels of stock rustc; counted once for all tests.
static RUNS: LazyLock<Vec<Run>> = LazyLock::new(|| runs("stock"));

/// Of all kernels of a set.
pub fn runs(set: &str) -> Vec<Run> {
    let report = norm(here(), &["ptx", "report", "--ptx", set, "--json"]).json();
    report.as_array().unwrap().iter().map(Run::new).collect()
}

impl Run {
    fn new(counts: &Value) -> Run {
        let kernel = counts["kernel"].as_str().unwrap();
        let parts: Vec<&str> = kernel.split('_').collect();
        let kind = match parts[..2] {
            ["rms", "partial"] => Kind::Partial,
            ["rms", "apply"] => Kind::Apply,
            _ if parts.contains(&"quant") || parts.iter().any(|part| part.starts_with("quant")) => {
                Kind::Quantized
            }
            ["rope", _] => Kind::Heads,
            ["all", _] => Kind::Group,
            ["rms", _] => Kind::Rms,
            ["gated", _] => Kind::Gated,
            _ => Kind::Layer,
        };
        let size = |part: &&str| match *part {
            "f16" | "bf16" => Some(2),
            "f32" => Some(4),
            _ => None,
        };
        let sizes: Vec<u64> = parts.iter().filter_map(size).collect();
        let sizes = match sizes[..] {
            // A gated norm has a y of the type of x.
            [x, w] => [x, w, x],
            // A partial sum has but an x.
            _ => sizes.clone().try_into().unwrap_or([sizes[0]; 3]),
        };
        let residual = if counts["r"].is_null() { "" } else { ", residual" };
        Run {
            name: format!("{kernel}, {} x {}{residual}", counts["rows"], counts["dim"]),
            counts: counts.clone(),
            kind,
            variant: parts.iter().rfind(|part| !matches!(**part, "r32" | "silu")).unwrap().to_string(),
            wide: parts.contains(&"r32"),
            sizes,
        }
    }

    fn number(&self, key: &str) -> u64 {
        self.counts[key].as_u64().unwrap()
    }

    /// What is said of each tensor that is moved, with the bytes of its elements.
    fn moved(&self) -> impl Iterator<Item = (&'static str, &Value, u64)> {
        let [x, w, y] = self.sizes;
        // A gate beside x of f32 has the weights' type.
        let r = match self.kind {
            Kind::Gated if x == 4 => w,
            _ if self.wide => 4,
            _ => x,
        };
        let tensors = [("x", x), ("w", w), ("b", w), ("y", y), ("r", r), ("r_stored", r), ("next_w", w)];
        let moved = tensors.into_iter().map(|(tensor, size)| (tensor, &self.counts[tensor], size));
        moved.filter(|(_, moved, _)| !moved.is_null())
    }

    fn adds(&self) -> bool {
        !self.counts["r"].is_null() && self.kind != Kind::Gated
    }

    /// Whether it is two norms.
    fn is_sandwich(&self) -> bool {
        self.variant.starts_with("sandwich")
    }

    /// Elements of a vector: 16 bytes of the wider of what is normalized and y.
    fn vector(&self) -> u64 {
        let [x, _, y] = self.sizes;
        let normalized = if self.wide { 4 } else { x };
        WIDEST / normalized.max(y)
    }

    /// How often the row is read that is normalized.
    fn passes(&self) -> u64 {
        match self.kind {
            // One that streams holds nothing of it: for the sums, and for the output. Rows that share a block do not vote on
            // whether LayerNorm's squares need a pass of their own: all take it.
            Kind::Layer if self.variant == "stream" && self.number("threads_a_row") <= WARP => 3,
            Kind::Rms | Kind::Layer | Kind::Gated if self.variant == "stream" => 2,
            _ => 1,
        }
    }

    /// Sums over a row's threads.
    fn reductions(&self) -> usize {
        match self.kind {
            Kind::Rms if self.is_sandwich() => 2,
            Kind::Rms | Kind::Layer | Kind::Partial | Kind::Gated => 1,
            Kind::Apply => 0,
            // Of these it is not said how they go about it.
            Kind::Quantized | Kind::Heads | Kind::Group => 0,
        }
    }

    /// What the kernel is to ask for of a tensor, over what holds it, if it goes by vectors.
    fn requested(&self, tensor: &str, size: u64) -> f64 {
        let streams = self.variant == "stream";
        // Of 32-bit elements beside 16-bit ones a thread's vector takes two requests, 16 bytes apart, and both touch all of
        // its sectors.
        let halves = (self.vector() * size).div_ceil(WIDEST);
        let times = match tensor {
            // What is normalized is the residual then; x is added to it once.
            "x" if self.adds() => 1,
            "x" => self.passes(),
            // A gate behind the norm is read for the output alone.
            "r" if self.kind == Kind::Gated => halves,
            // Added to, and where nothing holds the sum, read again by each pass.
            "r" if streams => halves * (1 + self.passes()),
            "r" | "r_stored" => halves,
            "y" => 1,
            _ => {
                // Rows of one warp share their requests.
                let lanes = self.number("threads_a_row").min(WARP);
                return halves as f64 * lanes as f64 / WARP as f64;
            }
        };
        times as f64
    }
}

#[test]
fn every_kernel_is_in_it() {
    holds_every_kernel("stock", &RUNS);
}

pub fn holds_every_kernel(set: &str, runs: &[Run]) {
    let list = norm(here(), &["ptx", "list", "--ptx", set, "--json"]).json();
    let shipped = list.as_array().unwrap().last().unwrap()["kernels"].as_array().unwrap().clone();
    let counted: HashSet<&str> = runs.iter().map(|run| run.counts["kernel"].as_str().unwrap()).collect();
    for kernel in shipped {
        let kernel = kernel.as_str().unwrap();
        assert!(counted.contains(kernel), "{kernel}");
    }
}

#[test]
fn every_kernel_moves_what_it_must_and_no_more() {
    moves_what_it_must(&RUNS);
}

pub fn moves_what_it_must(runs: &[Run]) {
    for run in runs {
        let name = &run.name;
        // What is there, is moved, and nothing else.
        let expected: &[&str] = match (run.kind, run.adds()) {
            (Kind::Rms, false) | (Kind::Apply, _) => &["x", "w", "y"],
            (Kind::Rms, true) if run.is_sandwich() => &["x", "w", "y", "r", "r_stored", "next_w"],
            (Kind::Rms, true) => &["x", "w", "y", "r", "r_stored"],
            (Kind::Layer, false) => &["x", "w", "b", "y"],
            (Kind::Layer, true) => &["x", "w", "b", "y", "r", "r_stored"],
            (Kind::Partial, _) => &["x"],
            (Kind::Gated, _) => &["x", "w", "y", "r"],
            (Kind::Quantized, adds) => match (name.starts_with("layer"), adds) {
                (false, false) => &["x", "w", "y"],
                (false, true) => &["x", "w", "y", "r", "r_stored"],
                (true, false) => &["x", "w", "b", "y"],
                (true, true) => &["x", "w", "b", "y", "r", "r_stored"],
            },
            (Kind::Heads, _) => &["x", "w", "y"],
            (Kind::Group, false) => &["x", "y"],
            (Kind::Group, true) if name.contains("rms") => &["x", "w", "y", "r", "r_stored"],
            (Kind::Group, true) => &["x", "w", "b", "y", "r", "r_stored"],
        };
        assert_eq!(run.moved().map(|(tensor, ..)| tensor).collect::<Vec<_>>(), expected, "{name}");
        assert_eq!(run.number("bank_conflicts"), 0, "{name}");
        for (tensor, moved, size) in run.moved() {
            let number = |key: &str| moved[key].as_f64().unwrap();
            assert_eq!(number("distinct"), 1.0, "{name}: {tensor}");
            if matches!(run.kind, Kind::Quantized | Kind::Heads | Kind::Group) {
                continue;
            }
            if run.variant == "scalar" {
                // Element by element, which no vector could do: each of a vector's elements asks for
                // its sectors again.
                assert_eq!(number("bytes_an_access"), size as f64, "{name}: {tensor}");
            } else {
                let widest = (run.vector() * size).min(WIDEST);
                assert_eq!(number("bytes_an_access"), widest as f64, "{name}: {tensor}");
                assert_eq!(number("requested"), run.requested(tensor, size), "{name}: {tensor}");
            }
        }
    }
}

/// Of four ranks each stages its rows once, and loads those of the three others; or of those that another one adds up, and in
/// place of the sums that it adds up itself, one share of four each way.
#[test]
fn ranks_move_what_they_must_and_no_more() {
    let of_groups: Vec<&Run> = RUNS.iter().filter(|run| run.kind == Kind::Group).collect();
    assert!(!of_groups.is_empty());
    for run in of_groups {
        let group = &run.counts["group"];
        let peers = if group["two_shot"] == true { 1.5 } else { 3.0 };
        for (traffic, expected) in [("staged", 1.0), ("peers", peers)] {
            let traffic = &group[traffic];
            // Rows that are no whole sectors are staged apart from each other.
            let (widest, apart) = if run.variant == "scalar" { (run.sizes[0], 1e-2) } else { (WIDEST, 0.0) };
            let distinct = traffic["distinct"].as_f64().unwrap();
            assert!((0.0..=apart).contains(&(distinct - expected)), "{}: {group}", run.name);
            assert_eq!(traffic["bytes_an_access"].as_f64(), Some(widest as f64), "{}", run.name);
        }
    }
}

#[test]
fn warps_part_where_one_lane_acts_for_all_and_where_rows_end() {
    parts_where_it_must(&RUNS);
}

/// Lanes part where one of them does something for all: stores a warp's sum, or asks the L2 cache for
/// the row; and, element by element, where the row ends.
pub fn parts_where_it_must(runs: &[Run]) {
    for run in runs {
        let name = &run.name;
        let branches: BTreeMap<u32, u64> =
            serde_json::from_value(run.counts["divergent_lines"].clone()).unwrap();
        assert_eq!(branches.values().sum::<u64>(), run.number("divergent_branches"), "{name}");
        let (rows, blocks_a_row) = (run.number("rows"), run.number("blocks_a_row"));
        let threads_a_row = run.number("threads_a_row");
        let warps = rows * threads_a_row / WARP;
        // No branch parts a warp twice: none does in a loop.
        assert!(branches.values().all(|&times| times <= warps), "{name}: {branches:?}");
        // In every warp its first lane stores a sum. All else is in one warp of a row's blocks.
        if matches!(run.kind, Kind::Quantized | Kind::Heads | Kind::Group) {
            continue;
        }
        let everywhere = branches.values().filter(|&&times| times > rows * blocks_a_row).count();
        assert!(everywhere <= run.reductions(), "{name}: {branches:?}");
        if run.variant == "scalar" {
            continue;
        }
        // The row's first thread asks for it, and the first row's for the weights; some fill up the sums of fewer
        // than four warps; a cluster's blocks initialize an mbarrier, say what it waits for and send.
        let request = 2;
        let fill = if threads_a_row / WARP < 4 { run.reductions() } else { 0 };
        let cluster = if blocks_a_row > 1 { 3 } else { 0 };
        let most = run.reductions() + request + fill + cluster;
        assert!(branches.len() <= most, "{name}: {branches:?}");
    }
}

#[test]
fn the_table_names_what_it_shows() {
    let text = norm(here(), &["ptx", "report", "layer_f16_f32_f16_add4"]).good();
    for head in ["requested", "distinct", "an element"] {
        assert!(text.contains(head), "{head}: {text}");
    }
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("layer_")).collect();
    let lengths = ["2x2048", "2x4096", "2x8192", "2x16384"];
    // Four vectors a thread hold half as many elements of a residual in f32.
    for (kernel, lengths) in
        [("layer_f16_f32_f16_add4 ", &lengths[..]), ("layer_f16_f32_f16_add4_r32 ", &lengths[..3])]
    {
        let lines = lines.iter().filter(|line| line.starts_with(kernel));
        let shapes: Vec<&str> = lines.filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(shapes, lengths, "{text}");
    }
    assert_eq!(lines.len(), 7, "{text}");
}

#[test]
fn ptx_without_a_kernel_of_ours_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = include_str!("../../ptx-sim/examples/ptx/vector_add.ptx");
    std::fs::write(folder.path().join("foreign.ptx"), foreign).unwrap();
    std::fs::write(folder.path().join("empty.ptx"), ".version 8.0\n.target sm_90\n").unwrap();
    for (file, kernels) in [("foreign.ptx", "kernels of this library"), ("empty.ptx", "kernels")] {
        let message = norm(folder.path(), &["ptx", "report", "--ptx", file]).bad_input();
        let expected = format!("--ptx: expected PTX with {kernels}, given '{file}', which has none");
        assert!(message.contains(&expected), "{message}");
    }
    let message = norm(here(), &["ptx", "report", "rms_f16_f16_f16_blck"]).bad_input();
    assert!(message.contains("FILTER: expected a part of a kernel's name"), "{message}");
}

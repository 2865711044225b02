//! Results as data: what `--json` prints, and `--from`, `--join` and `--plot` read.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::BenchError;
use crate::regular::{self, Unread, name_of};

/// The version of this format; an incompatible change gets another number.
pub const SCHEMA: u32 = 1;
/// The largest file of results that is read. Those of all shapes have some hundred KiB.
const MOST_BYTES: u64 = 256 << 20;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub schema: u32,
    /// The program that measured, with its version.
    pub program: String,
    /// The user's label.
    pub label: Option<String>,
    /// The commit that the program was built from, if the build knew it (`NORM_COMMIT`).
    pub commit: Option<String>,
    /// When it began, in UTC.
    pub date: String,
    pub device: DeviceRecord,
    pub method: Method,
    /// A copy, with which throughputs are compared.
    pub memcpy: Ceiling,
    /// A kernel that does nothing, on a device.
    pub empty_kernel: Option<Times>,
    pub lines: Vec<Measurement>,
}

/// The device that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// `cuda:0` or `cpu`.
    pub place: String,
    pub name: String,
    pub compute_capability: Option<String>,
    /// The CUDA version that the driver supports.
    pub cuda: Option<String>,
    /// The driver's own version.
    pub driver: Option<String>,
}

/// How it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Method {
    pub description: String,
    /// Rounds over all lines, each on fresh buffers.
    pub repeats: u32,
    /// Timed replays, or calls, in a round; their median is the round's sample.
    pub replays: u32,
    /// Bytes of inputs and outputs that calls rotate through.
    pub rotation_bytes: u64,
    pub eps: f32,
    /// The order of roundings, where it is another than `single`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounding: Option<String>,
}

/// The throughput of a copy, the ceiling of what is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ceiling {
    /// Bytes copied: as many are read as written.
    pub bytes: u64,
    pub tb_s: f64,
    #[serde(flatten)]
    pub times: Times,
}

/// Time of one call over the rounds, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// The median.
    pub us: f64,
    pub us_min: f64,
    pub us_max: f64,
    /// One a round.
    pub us_rounds: Vec<f64>,
}

/// One case of one implementation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// `norm`, or a peer's name. `norm, unfused` is an operation's parts, one after the other.
    pub implementation: String,
    /// The operation's name; behind a colon the type of a residual with another type than `x`.
    pub op: String,
    pub x: String,
    pub w: String,
    pub y: String,
    /// Extents of `x`.
    pub shape: Vec<usize>,
    /// `x` read once and `y` written once; a residual read once and the sum with it written once.
    pub bytes: u64,
    /// Calls in a graph.
    pub calls: u32,
    /// The tile, where `--sweep` chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tile: Option<TileRecord>,
    /// `ok`, or `fail` if an output was wrong or the call was refused; then there are no times.
    pub verdict: Verdict,
    /// A remark: what was wrong, or how a peer's call differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(flatten)]
    pub figures: Option<Figures>,
}

/// Whether outputs were right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    Fail,
}

/// The times of a measurement, and what follows from them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub tb_s: f64,
    /// The throughput, as a fraction of the copy's.
    pub share_of_memcpy: f64,
    #[serde(flatten)]
    pub times: Times,
}

/// The tile of a measurement: how a row was divided among threads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TileRecord {
    /// The kernel's way to reach memory, as in its name.
    pub access: String,
    /// Blocks that share a row.
    #[serde(default = "one")]
    pub blocks: u32,
    /// Threads of each that do.
    pub threads: u32,
    /// Vectors each of them has.
    pub vectors: u32,
    /// Rows of a block.
    pub rows: u32,
    /// Whether it is the one that operations take.
    pub chosen: bool,
}

fn one() -> u32 {
    1
}

impl Times {
    /// The times of samples in microseconds, one for each round.
    pub fn of(us_rounds: Vec<f64>) -> Times {
        let mut sorted = us_rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let us = median(&sorted);
        let [us_min, us_max] = [sorted.first(), sorted.last()].map(|end| end.copied().unwrap_or(f64::NAN));
        Times { us, us_min, us_max, us_rounds }
    }

    /// TB/s (10¹² bytes a second) of calls that move so many bytes.
    pub fn tb_s(&self, bytes: u64) -> f64 {
        bytes as f64 / self.us / 1e6
    }
}

/// The middle of sorted samples, or the mean of the two in the middle.
fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
    }
}

/// The median of samples in any order.
pub fn median_of(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    median(&samples)
}

impl Ceiling {
    /// A copy of `bytes` bytes.
    pub fn of(bytes: u64, times: Times) -> Ceiling {
        Ceiling { bytes, tb_s: times.tb_s(2 * bytes), times }
    }
}

impl Figures {
    pub fn of(bytes: u64, times: Times, memcpy: &Ceiling) -> Figures {
        let tb_s = times.tb_s(bytes);
        Figures { tb_s, share_of_memcpy: tb_s / memcpy.tb_s, times }
    }
}

impl Measurement {
    /// `f16`, or `f16:f32:bf16` where they differ.
    pub fn types(&self) -> String {
        let Measurement { x, w, y, .. } = self;
        if x == w && w == y { x.clone() } else { format!("{x}:{w}:{y}") }
    }

    /// Elements of a normalized row.
    pub fn dim(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Whether both are of one operation, types and shape.
    pub fn is_of_the_case_of(&self, other: &Measurement) -> bool {
        let case = |line: &Measurement| (line.op.clone(), line.types(), line.shape.clone());
        case(self) == case(other)
    }
}

/// `32768 × 4096`.
pub fn shape_text(shape: &[usize]) -> String {
    let extents: Vec<String> = shape.iter().map(usize::to_string).collect();
    extents.join(" × ")
}

impl Record {
    /// The lines of one implementation, and those of all others.
    pub fn split(self, implementation: &str) -> (Record, Record) {
        let (of, others) = self.lines.iter().cloned().partition(|line| line.implementation == implementation);
        (Record { lines: of, ..self.clone() }, Record { lines: others, ..self })
    }

    pub fn is_good(&self) -> bool {
        self.lines.iter().all(|line| line.verdict == Verdict::Ok)
    }

    /// Reads what `--json` printed.
    pub fn read(path: &Path) -> Result<Record, BenchError> {
        #[derive(Deserialize)]
        struct Numbered {
            schema: u32,
        }
        let given = || path.to_owned();
        let read = regular::read(path, MOST_BYTES).map_err(|unread| match unread {
            Unread::Io(source) => BenchError::Read { path: given(), source },
            Unread::Kind(kind) => BenchError::NotRegular { path: given(), kind: name_of(kind) },
        })?;
        let text = read.ok_or_else(|| BenchError::TooLarge { path: given(), most: MOST_BYTES })?;
        let parse = |source| BenchError::Parse { path: path.to_owned(), source };
        let Numbered { schema } = serde_json::from_slice(&text).map_err(parse)?;
        if schema != SCHEMA {
            return Err(BenchError::Schema { path: path.to_owned(), expected: SCHEMA, given: schema });
        }
        serde_json::from_slice(&text).map_err(parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_the_median_and_the_ends() {
        let times = Times::of(vec![3.0, 1.0, 2.0]);
        assert_eq!((times.us, times.us_min, times.us_max), (2.0, 1.0, 3.0));
        assert_eq!(times.us_rounds, [3.0, 1.0, 2.0]);
        assert_eq!(Times::of(vec![4.0, 1.0]).us, 2.5);
        assert!(Times::of(Vec::new()).us.is_nan());
    }

    #[test]
    fn a_copy_reads_and_writes_each_byte() {
        // 4 MB in 1 µs are 4 TB/s.
        let ceiling = Ceiling::of(2_000_000, Times::of(vec![1.0]));
        assert!((ceiling.tb_s - 4.0).abs() < 1e-12);
        let figures = Figures::of(4_000_000, Times::of(vec![2.0]), &ceiling);
        assert!((figures.tb_s - 2.0).abs() < 1e-12 && (figures.share_of_memcpy - 0.5).abs() < 1e-12);
    }
}

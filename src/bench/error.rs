//! Errors of making, reading and writing measurements.

use std::io;
use std::path::PathBuf;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("norm bench needs a CUDA device ({why}); with --device cpu it measures the CPU")]
    NeedsDevice { why: String },
    #[error("{option}: needs a CUDA device, given --device cpu")]
    NotOnCpu { option: &'static str },
    #[error("{option}: takes kernels of one set, given {given} of them in --ptx")]
    OneSet { option: &'static str, given: usize },
    #[error("--shape: {op} takes {expected}, and none of that form is given")]
    Shape { op: &'static str, expected: &'static str },
    #[error("--dtype: {op} {expected}, and no such types are given")]
    Types { op: &'static str, expected: &'static str },
    #[error("--sweep: {op} has no other blocks to try than the one that operations take")]
    Sweep { op: &'static str },
    #[error(
        "--unfused: takes sandwich_rms and qk_rope, whose parts are operations of their own, and none is measured"
    )]
    Unfused,
    #[error("{what}: takes {needed} MiB of memory on the CPU, and {free} are free")]
    Memory { what: &'static str, needed: u64, free: u64 },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: expected a regular file of results, given {kind}", path.display())]
    NotRegular { path: PathBuf, kind: &'static str },
    #[error("{}: expected results of at most {} MiB, given more", path.display(), most >> 20)]
    TooLarge { path: PathBuf, most: u64 },
    #[error("{}: expected results as `norm bench --json` prints them, given something else: {source}", path.display())]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error("{}: expected results of schema {expected}, given schema {given}", path.display())]
    Schema { path: PathBuf, expected: u32, given: u32 },
    #[error("the two results have no case in common")]
    NothingInCommon,
    #[error("--plot: no case has a time to draw")]
    NothingToPlot,
    #[error("the plot cannot be drawn: {0}")]
    Draw(String),
    #[error("--plot: cannot write {}: {source}", path.display())]
    Plot { path: PathBuf, source: io::Error },
    #[error("--plot: {} is there and is no plot of `norm bench`; remove it, or give another name", path.display())]
    NotAPlot { path: PathBuf },
    #[error("the {what} cannot be measured: {why}")]
    Ceiling { what: &'static str, why: String },
    #[error("cannot measure the first call in a process of its own: {0}")]
    Child(String),
}

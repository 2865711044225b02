//! What a GPU made of programs and kernels: `tests/vectors.json`, to which the simulator and
//! other GPUs are held.

use std::path::PathBuf;

use norm_host::DType;
use serde::{Deserialize, Serialize};

/// Threads of a recorded program.
pub const THREADS: usize = 4;

/// Everything recorded, in one run on one device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Vectors {
    /// The device's name.
    pub device: String,
    /// Its compute capability, which decides how kernels cut rows.
    pub capability: (u32, u32),
    pub programs: Vec<Program>,
    pub kernels: Vec<Outputs>,
}

/// A straight-line program and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Program {
    pub instructions: Vec<String>,
    /// Words of each thread, one thread after the other.
    pub inputs: Vec<u32>,
    pub outputs: Vec<u32>,
}

/// Some of what a kernel wrote in the case that tests make for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outputs {
    pub kernel: String,
    pub dim: usize,
    /// The bits of the elements at [`positions`].
    pub bits: Vec<u32>,
}

/// Which of `len` elements are recorded: first and last, and evenly between them.
pub fn positions(len: usize) -> impl ExactSizeIterator<Item = usize> {
    let count = len.min(48);
    (0..count).map(move |i| i * (len - 1) / (count - 1).max(1))
}

/// Where the recorded vectors lie.
pub fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors.json"))
}

/// The recorded vectors, or why there are none.
pub fn load() -> Result<Vectors, String> {
    let text = std::fs::read_to_string(path()).map_err(|error| format!("tests/vectors.json: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("tests/vectors.json: {error}"))
}

/// The number with those bits.
pub fn number(dtype: DType, bits: u32) -> f64 {
    match dtype {
        DType::F16 => half::f16::from_bits(bits as u16).into(),
        DType::BF16 => half::bf16::from_bits(bits as u16).into(),
        DType::F32 => f32::from_bits(bits).into(),
    }
}

//! What a GPU made of programs and kernels: `tests/vectors.json`, to which the simulator and
//! other GPUs are held.

use libtest_mimic::Failed;
use norm_host::{DType, accuracy::ulp};
use norm_kernels::abi::{EntryPoint, Kernel};
use serde::{Deserialize, Serialize};

use crate::{
    buffer::Buffer,
    case::{Case, Tensors},
};

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
    /// What kernels of whole rows wrote.
    pub kernels: Vec<Outputs>,
    /// What kernels of rows that are split over devices wrote.
    pub shards: Vec<Outputs>,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outputs {
    pub kernel: String,
    pub dim: usize,
    /// `y`, `r` or `sums`.
    pub tensor: String,
    /// The bits of the elements at `positions`.
    pub bits: Vec<u32>,
}

impl Outputs {
    /// Those of a tensor.
    pub fn new(kernel: EntryPoint, dim: usize, tensor: &str, all: &Buffer) -> Outputs {
        let all = all.bits();
        let bits = positions(all.len()).map(|position| all[position]).collect();
        Outputs { kernel: kernel.to_string(), dim, tensor: tensor.to_owned(), bits }
    }

    /// Those of what a kernel of whole rows writes.
    pub fn of_kernel(kernel: Kernel, dim: usize, after: &Tensors) -> Vec<Outputs> {
        let outputs = |tensor, all| Outputs::new(EntryPoint::Norm(kernel), dim, tensor, all);
        let r = after.r.as_ref().map(|r| outputs("r", r));
        [outputs("y", &after.y)].into_iter().chain(r).collect()
    }

    /// The kernel, its row's length, the tensor, and how many of its elements are here.
    fn whose(&self) -> (&str, usize, &str, usize) {
        (&self.kernel, self.dim, &self.tensor, self.bits.len())
    }
}

/// `rsqrt.approx.f32` is off by 2^-22.9 at most (PTX ISA, "rsqrt"), on either side of the truth; the
/// two roundings behind it in f32 are the rest.
const APPROXIMATE: f64 = 1.0 / (1 << 21) as f64;

/// Holds what a simulated kernel made of a case to what was recorded: `y` as near as `rsqrt.approx` allows,
/// and nearly all of what 16 bits round to the bit; what comes before it, `r` and `sums`, to the bit.
pub fn hold(case: &Case, biases: Option<&Buffer>, given: &Outputs, recorded: &Outputs) -> Result<(), Failed> {
    if given.whose() != recorded.whose() {
        return Err(format!("{:?} simulated, {:?} recorded", given.whose(), recorded.whose()).into());
    }
    let name = format!("{} of {}, {}", recorded.kernel, recorded.dim, recorded.tensor);
    if recorded.tensor != "y" {
        return if given == recorded { Ok(()) } else { Err(format!("{name}: other bits").into()) };
    }
    let count = recorded.bits.len();
    let mut other_bits = 0;
    for ((position, &given), &expected) in
        positions(case.rows() * case.dim).zip(&given.bits).zip(&recorded.bits)
    {
        other_bits += usize::from(given != expected);
        let (given, expected) = (number(case.y, given), number(case.y, expected));
        let bias = biases.map_or(0.0, |b| b.get(position % case.dim));
        let rounding = if case.y == DType::F32 { 0.0 } else { ulp(case.y, expected) };
        let allowed = (expected.abs() + bias.abs()) * APPROXIMATE + rounding;
        if (given - expected).abs() > allowed {
            return Err(format!("{name}: {given:e} simulated, {expected:e} recorded").into());
        }
    }
    if case.y != DType::F32 && other_bits * 10 > count {
        return Err(format!("{name}: {other_bits} of {count} outputs have other bits").into());
    }
    Ok(())
}

/// Which of `len` elements are recorded: first and last, and evenly between them.
fn positions(len: usize) -> impl ExactSizeIterator<Item = usize> {
    let count = len.min(48);
    (0..count).map(move |i| i * (len - 1) / (count - 1).max(1))
}

/// The recorded vectors, or why there are none.
pub fn load() -> Result<Vectors, String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors.json");
    let text = std::fs::read_to_string(path).map_err(|error| format!("tests/vectors.json: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("tests/vectors.json: {error}"))
}

/// The number with those bits.
fn number(dtype: DType, bits: u32) -> f64 {
    match dtype {
        DType::F16 => half::f16::from_bits(bits as u16).into(),
        DType::BF16 => half::bf16::from_bits(bits as u16).into(),
        DType::F32 => f32::from_bits(bits).into(),
    }
}

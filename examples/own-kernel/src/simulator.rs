//! The kernel on a CPU: the PTX that a GPU is given, every access checked.

use std::error::Error;

use ptx_sim::{Counts, Launch, Memory, Module};

use crate::PTX;
use crate::args::{VECTOR, threads};

/// Normalizes rows of `dim` elements; gives `y`, and what the kernel did.
///
/// # Errors
/// What the simulator finds: an access out of bounds, a race, an element of `y` that was not written.
pub fn l2_normalize(
    kernel: &str,
    x: &[f32],
    dim: u32,
    eps: f32,
) -> Result<(Vec<f32>, Counts), Box<dyn Error>> {
    let bytes: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut memory = Memory::new();
    let x_at = memory.upload_read_only("x", &bytes);
    let y_at = memory.output("y", bytes.len() as u64);

    let rows = x.len() as u32 / dim;
    // The bytes of `Args`, in its order: the simulator takes parameters by value.
    let mut args = Vec::new();
    args.extend(x_at.to_le_bytes());
    args.extend(y_at.to_le_bytes());
    args.extend(dim.to_le_bytes());
    args.extend(eps.to_le_bytes());

    let kernel = Module::parse(PTX)?.kernel(kernel)?;
    let launch = Launch::new(&kernel).grid([rows, 1, 1]).block([threads(dim), 1, 1]);
    let counts = launch.arg(ptx_sim::Argument::bytes(&args, 8)).run(&mut memory)?;

    let y = memory.read(y_at, bytes.len() as u64)?;
    let y = y.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok((y, counts))
}

/// The faster kernel that takes rows of `dim` elements, whose memory begins at a multiple of 16 bytes.
pub fn kernel_for(dim: u32) -> &'static str {
    if dim.is_multiple_of(VECTOR) { "l2_normalize_vector" } else { "l2_normalize_scalar" }
}

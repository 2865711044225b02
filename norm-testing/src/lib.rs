//! What the tests of several crates share. Unpublished; of a crate's dependencies it is one for tests alone.
//!
//! - [`case`] is an operation on tensors with everything that its result depends on, [`sandwich`] two of them with a
//!   residual between, [`qk_rope`] norm and rotation of heads, [`quantized`] one whose output is quantized, [`values`] what rows are made
//!   of, [`buffer`] memory of any element type.
//! - `cases` has those that every kernel is run with, `recorded` what a GPU made of them, and `device` the tests that run
//!   on a GPU or on the stand-in for one.
//! - `mock` is the stand-in for libcuda and NCCL.
//! - `kernel` and `program` are PTX for the simulator, [`template`] one with every pseudo-instruction.
//! - `fuzz` is what fuzz targets run, `mutants` plants small changes in kernels.
//! - `trials` runs tests that need what not every machine has.
//!
//! A crate that this one depends on uses it in `tests/` alone: in a test inside `src` it would be there twice, with
//! types that are not the same. [`template`] has none of its types.
#![allow(missing_docs, reason = "who calls it has the source")]

pub mod buffer;
pub mod case;
#[cfg(feature = "kernels")]
pub mod cases;
#[cfg(feature = "device")]
pub mod device;
#[cfg(feature = "fuzz")]
pub mod fuzz;
#[cfg(feature = "programs")]
pub mod kernel;
#[cfg(feature = "mock")]
pub mod mock;
#[cfg(feature = "mutants")]
pub mod mutants;
#[cfg(feature = "programs")]
pub mod program;
pub mod qk_rope;
pub mod quantized;
#[cfg(feature = "kernels")]
pub mod recorded;
pub mod sandwich;
#[cfg(feature = "kernels")]
pub mod shipped;
pub mod template;
#[cfg(feature = "trials")]
pub mod trials;
pub mod values;

use proptest::test_runner::Config;

/// `cases` cases, or as many as the variable `PROPTEST_CASES` says. A failure prints its smallest case, which is its seed: no file
/// is kept.
pub fn config(cases: u32) -> Config {
    let default = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    Config { cases, failure_persistence: None, ..default }
}

//! Tensors whose element type is chosen at run time, and cases made of them.
#![allow(dead_code)] // Each test file uses its own part.

pub mod buffer;
pub mod case;
pub mod sandwich;
pub mod values;

use proptest::test_runner::Config;

/// `cases` cases. A failure prints its smallest case, which is its seed: no file is kept.
pub fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

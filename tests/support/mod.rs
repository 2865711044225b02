//! Tests that need what not every machine has.
#![allow(dead_code)] // Each test file uses its own part.

mod trial;

pub use trial::{run, trial};

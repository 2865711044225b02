//! The part of `cargo xtask` that tests use, too: which files of the kernels are in the source tree, and how they are made.

pub mod bundle;
#[path = "../../build/compiled.rs"]
pub mod compiled;
pub mod lock;
#[path = "../../src/ptxas.rs"]
pub mod ptxas;
pub mod set;
#[path = "../../build/text.rs"]
pub mod text;

/// Why a task failed, as a message.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

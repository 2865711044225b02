//! The project's own tasks, as far as tests ask for them too: what is checked in of the kernels, and how it is made.

pub mod bundle;
#[path = "../../build/compiled.rs"]
pub mod compiled;
pub mod lock;
#[path = "../../src/ptxas.rs"]
pub mod ptxas;
pub mod set;
#[path = "../../build/text.rs"]
pub mod text;

/// Whatever keeps a task from being done, for a reader.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

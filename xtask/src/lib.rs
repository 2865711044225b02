//! The part of `cargo xtask` that tests use, too: which files of the kernels are in the source tree, and how they are made.

pub mod bundle;
pub mod lock;
pub mod set;

/// Why a task failed, as a message.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

//! The place of memory: the host, or a device.

use std::fmt;

/// Where a tensor is, or where an operation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// The process's own memory.
    Host,
    /// The memory of the CUDA device with this ordinal.
    Cuda(u32),
}

/// `the host`, `cuda:0`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Host => f.pad("the host"),
            Place::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

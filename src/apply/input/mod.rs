//! Tensors in safetensors files, read a piece at a time.
//!
//! Files are read by position (pread), not mapped: of a file that another program cuts short meanwhile, a map ends
//! the process by SIGBUS, and a read is an error. Memory holds no more of a tensor than what is asked for.

mod checkpoint;
mod error;
pub mod file;
mod foreign;
pub mod header;
mod index;
mod reference;
mod tensor;
mod unique;

pub use checkpoint::{Checkpoint, Listed};
pub use error::{HeaderError, InputError};
pub use file::{FileId, SourceFile};
pub use header::{Entry, Header};
pub use reference::TensorRef;
pub use tensor::Tensor;

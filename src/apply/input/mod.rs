//! Tensors in safetensors files, read a piece at a time.
//!
//! Files are read by position (pread), not mapped. If another program truncates the file in the meantime, a read is an
//! error, whereas a mapping would end the process by SIGBUS. Memory holds only the requested part of a tensor.

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

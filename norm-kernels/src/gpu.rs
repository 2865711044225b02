//! What a kernel asks of the GPU, one file a compiler.
//!
//! Every function of a compiler's file has the same name, signature and meaning.

#[cfg(target_arch = "nvptx64")]
mod stock;
#[cfg(target_arch = "nvptx64")]
pub use stock::*;

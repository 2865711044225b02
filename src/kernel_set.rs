//! `--ptx`: the set of kernels to run.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use norm_host::Simulator;
use norm_host::ptx::{EMBEDDED, Ptx, RUST_CUDA};

use crate::failure::Failure;
use crate::regular::{self, Unread, name_of};

/// A set of kernels that `--ptx` selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KernelSet {
    /// The kernels as compiled by stock rustc, which `norm-host` embeds.
    #[default]
    Stock,
    /// The kernels as compiled by rust-cuda.
    RustCuda,
    /// The PTX in a file.
    File(PathBuf),
}

/// Why a set of kernels cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KernelSetError {
    #[error("--ptx: expected stock, rust-cuda or a file of PTX, given '{path}': {source}")]
    Read { path: String, source: io::Error },
    #[error("--ptx: expected a regular file of PTX, given '{path}', which is {kind}")]
    NotRegular { path: String, kind: &'static str },
    #[error("--ptx: expected a file of at most {} MiB of PTX, given '{path}' with more", MOST_BYTES >> 20)]
    TooLarge { path: String },
    #[error("--ptx: expected a file of PTX, which is text, given '{path}', which is none from byte {at} on")]
    NotText { path: String, at: usize },
    #[error(
        "--ptx: expected PTX with a directive such as `.target sm_90`, given '{path}', which has no such"
    )]
    Target { path: String },
    #[error(
        "--ptx: expected kernels that this program can launch, given rust-cuda ({source}); docs/RUST-CUDA.md says how \
             to compile them anew"
    )]
    RustCuda { source: norm_host::Error },
    #[error("--ptx: expected PTX with kernels, given '{path}', which has none")]
    NoKernels { path: String },
    #[error("--ptx: expected a GPU or the simulator to run them, given '{set}' and the CPU ({why})")]
    NothingRuns { set: String, why: String },
}

impl FromStr for KernelSet {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<KernelSet, Infallible> {
        Ok(match text {
            "stock" => KernelSet::Stock,
            "rust-cuda" => KernelSet::RustCuda,
            file => KernelSet::File(file.into()),
        })
    }
}

/// The set as it is written on the command line.
impl fmt::Display for KernelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelSet::Stock => f.write_str("stock"),
            KernelSet::RustCuda => f.write_str("rust-cuda"),
            KernelSet::File(path) => path.display().fmt(f),
        }
    }
}

impl KernelSet {
    /// The set's texts, that of the lowest compute capability first. They live until the process ends.
    pub fn open(&self) -> Result<&'static [Ptx], Failure> {
        match self {
            KernelSet::Stock => Ok(&EMBEDDED),
            KernelSet::RustCuda => {
                // Reported at once, rather than when a kernel is used.
                let readable = RUST_CUDA.iter().try_for_each(|ptx| ptx.header().map(drop));
                readable.map_err(|source| KernelSetError::RustCuda { source })?;
                Ok(&RUST_CUDA)
            }
            KernelSet::File(path) => {
                let given = || path.display().to_string();
                let text = read(path)?.leak();
                let ptx = Ptx::from_text(text).ok_or_else(|| KernelSetError::Target { path: given() })?;
                if ptx.entries()?.next().is_none() {
                    return Err(KernelSetError::NoKernels { path: given() }.into());
                }
                Ok(Box::leak(Box::new([ptx])))
            }
        }
    }

    /// A simulator of the newest device that the set has a text for.
    pub fn simulator(&self) -> Result<Simulator, Failure> {
        match (self, self.open()?.last()) {
            (KernelSet::Stock, _) | (_, None) => Ok(Simulator::new()),
            (_, Some(newest)) => Ok(Simulator::with_ptx(*newest)),
        }
    }
}

/// The largest file that is read. All 892 kernels take 18 MB of plain PTX; a file beyond this is meant for something else.
const MOST_BYTES: u64 = 256 << 20;

/// A file of PTX.
fn read(path: &Path) -> Result<String, KernelSetError> {
    let given = || path.display().to_string();
    let read = regular::read(path, MOST_BYTES).map_err(|unread| match unread {
        Unread::Io(source) => KernelSetError::Read { path: given(), source },
        Unread::Kind(kind) => KernelSetError::NotRegular { path: given(), kind: name_of(kind) },
    })?;
    let mut bytes = read.ok_or_else(|| KernelSetError::TooLarge { path: given() })?;
    // For the driver a text ends at the first zero byte, and some tools pad their output with zero bytes.
    bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
    let zero = bytes.iter().position(|&byte| byte == 0);
    match (zero, String::from_utf8(bytes)) {
        (None, Ok(text)) => Ok(text),
        (None, Err(error)) => {
            Err(KernelSetError::NotText { path: given(), at: error.utf8_error().valid_up_to() })
        }
        (Some(at), _) => Err(KernelSetError::NotText { path: given(), at }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_stock_rust_cuda_or_a_file() {
        for text in ["stock", "rust-cuda", "kernels.ptx"] {
            let set: KernelSet = text.parse().unwrap();
            assert_eq!(set.to_string(), text);
            assert_eq!(matches!(set, KernelSet::File(_)), text == "kernels.ptx");
        }
    }
}

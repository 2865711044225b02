//! `--ptx`: whose kernels run.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use norm_host::Simulator;
use norm_host::ptx::{EMBEDDED, Ptx, RUST_CUDA};

use crate::failure::Failure;

/// What `--ptx` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KernelSet {
    /// What stock rustc made of them, which `norm-host` embeds.
    #[default]
    Stock,
    /// What rust-cuda made of them.
    RustCuda,
    /// The text in a file.
    File(PathBuf),
}

/// Why there are no such kernels.
#[derive(Debug, thiserror::Error)]
pub enum KernelSetError {
    #[error("--ptx: expected stock, rust-cuda or a file of PTX, given '{path}': {source}")]
    Read { path: String, source: io::Error },
    #[error("--ptx: expected PTX with a line such as `.target sm_90`, given '{path}', which has none")]
    Target { path: String },
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

/// As on the command line.
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
    /// Its texts, lowest capability first, which stay until the process ends.
    pub fn open(&self) -> Result<&'static [Ptx], Failure> {
        match self {
            KernelSet::Stock => Ok(&EMBEDDED),
            KernelSet::RustCuda => Ok(&RUST_CUDA),
            KernelSet::File(path) => {
                let given = path.display().to_string();
                let text = std::fs::read_to_string(path)
                    .map_err(|source| KernelSetError::Read { path: given.clone(), source })?;
                let ptx = Ptx::from_text(text.leak()).ok_or(KernelSetError::Target { path: given })?;
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

//! What the build does with kernels, by the environment variables `NORM_PTX` and `NORM_CODEGEN`.

use std::ffi::OsStr;

/// The compiler of the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codegen {
    /// The stock rustc of a pinned nightly.
    Stock,
    /// rust-cuda, a compiler backend on libNVVM.
    RustCuda,
}

impl Codegen {
    /// The command that writes its kernels into the source tree.
    pub fn write_command(self) -> &'static str {
        match self {
            Codegen::Stock => "cargo xtask ptx write",
            Codegen::RustCuda => "NORM_CODEGEN=rust-cuda cargo xtask ptx write",
        }
    }
}

/// What is done with the compiled PTX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is written into the build's own folder.
    Write,
    /// It is compared with the lock files, and differences are an error.
    Check,
}

/// The compiler and the mode, given the variables' values; `None` if no kernels are compiled.
///
/// # Errors
/// A value that neither variable has.
pub fn asked(codegen: Option<&OsStr>, ptx: Option<&OsStr>) -> Result<Option<(Codegen, Mode)>, String> {
    let codegen = match codegen.map(|value| (value, value.to_str())) {
        None => None,
        Some((_, Some("stock"))) => Some(Codegen::Stock),
        Some((_, Some("rust-cuda"))) => Some(Codegen::RustCuda),
        Some((given, _)) => return Err(unexpected("NORM_CODEGEN", "'stock' or 'rust-cuda'", given)),
    };
    let mode = match ptx.map(|value| (value, value.to_str())) {
        // Naming the other compiler alone means writing.
        None if codegen == Some(Codegen::RustCuda) => Mode::Write,
        None => return Ok(None),
        Some((_, Some("write"))) => Mode::Write,
        Some((_, Some("check"))) => Mode::Check,
        Some((given, _)) => return Err(unexpected("NORM_PTX", "'write' or 'check'", given)),
    };
    Ok(Some((codegen.unwrap_or(Codegen::Stock), mode)))
}

fn unexpected(variable: &str, expected: &str, given: &OsStr) -> String {
    format!("{variable}: expected {expected}, given '{}'", given.display())
}

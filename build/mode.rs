//! What `NORM_PTX` and `NORM_CODEGEN` ask of the build.

use std::ffi::OsStr;

/// Who compiles the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codegen {
    Stock,
    RustCuda,
}

impl Codegen {
    /// The command that checks its kernels in.
    pub fn write_command(self) -> &'static str {
        match self {
            Codegen::Stock => "cargo xtask ptx write",
            Codegen::RustCuda => "NORM_CODEGEN=rust-cuda cargo xtask ptx write",
        }
    }
}

/// What is done with fresh PTX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Write,
    Check,
}

/// What is to be done, from the variables' values; `None` where nothing is.
///
/// # Errors
/// A value that is none of those there are.
pub fn asked(codegen: Option<&OsStr>, ptx: Option<&OsStr>) -> Result<Option<(Codegen, Mode)>, String> {
    let codegen = match codegen.map(|value| (value, value.to_str())) {
        None => None,
        Some((_, Some("stock"))) => Some(Codegen::Stock),
        Some((_, Some("rust-cuda"))) => Some(Codegen::RustCuda),
        Some((given, _)) => return Err(unexpected("NORM_CODEGEN", "'stock' or 'rust-cuda'", given)),
    };
    let mode = match ptx.map(|value| (value, value.to_str())) {
        // Who names the other compiler wants something of it.
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

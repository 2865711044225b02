//! Finds the toolchain of rust-cuda, which no package registry has.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The nightly of rust-cuda's commit 946c91f; `rust-cuda/rust-toolchain.toml` names it too.
pub const NIGHTLY: &str = "nightly-2026-04-02";

/// How to install all of it.
pub const INSTALL: &str = "see rust-cuda/README.md";

/// The parts of the toolchain.
pub struct Toolchain {
    /// The root of the CUDA toolkit whose libNVVM writes the PTX.
    pub cuda: PathBuf,
    /// The `llvm-config` of LLVM 7.
    pub llvm_config: PathBuf,
}

/// Finds every part of the toolchain.
///
/// # Errors
/// Every part that is missing, and where it was looked for.
pub fn find() -> Result<Toolchain, String> {
    match (nightly(), llvm_config(), cuda()) {
        (Ok(()), Ok(llvm_config), Ok(cuda)) => Ok(Toolchain { cuda, llvm_config }),
        (nightly, llvm, cuda) => {
            let missing = [nightly.err(), llvm.err(), cuda.err()].into_iter().flatten();
            Err(missing.collect::<Vec<_>>().join("; "))
        }
    }
}

/// Checks that the nightly is installed, with the compiler's own crates and the sources of `core`.
fn nightly() -> Result<(), String> {
    let sysroot = output("rustup", &["run", NIGHTLY, "rustc", "--print", "sysroot"])
        .ok_or_else(|| format!("{NIGHTLY} is not installed"))?;
    let rustlib = Path::new(&sysroot).join("lib/rustlib");
    let host = rustlib.join(format!("{}-unknown-linux-gnu/lib", env::consts::ARCH));
    let has_driver = host.read_dir().into_iter().flatten().flatten().any(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        name.starts_with("librustc_middle-")
    });
    let has_sources = rustlib.join("src/rust/library/core/src/lib.rs").is_file();
    let lacks: Vec<&str> = [(has_driver, "rustc-dev"), (has_sources, "rust-src")]
        .into_iter()
        .filter_map(|(is_there, component)| (!is_there).then_some(component))
        .collect();
    if lacks.is_empty() { Ok(()) } else { Err(format!("{NIGHTLY} lacks {}", lacks.join(" and "))) }
}

/// The `llvm-config` of LLVM 7 that `LLVM_CONFIG` names, or that is in `PATH`.
fn llvm_config() -> Result<PathBuf, String> {
    let named = env::var("LLVM_CONFIG").unwrap_or_else(|_| "llvm-config".to_owned());
    match output(&named, &["--version"]) {
        Some(version) if version.starts_with("7.") => Ok(PathBuf::from(named)),
        Some(version) => Err(format!("LLVM 7: `{named}` is of LLVM {version} (LLVM_CONFIG names another)")),
        None => Err(format!("LLVM 7: there is no `{named}` (LLVM_CONFIG names one)")),
    }
}

/// The CUDA toolkit, with libNVVM.
fn cuda() -> Result<PathBuf, String> {
    const NAMED: [&str; 3] = ["CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR"];
    const USUAL: [&str; 3] = ["/usr/lib/cuda", "/usr/local/cuda", "/opt/cuda"];
    let named = NAMED.into_iter().filter_map(env::var_os).map(PathBuf::from);
    let toolkit = named
        .chain(USUAL.map(PathBuf::from))
        .find(|root| root.join("include/cuda.h").is_file())
        .ok_or_else(|| {
            format!(
                "CUDA toolkit: no include/cuda.h under {} or {}",
                NAMED.map(|name| format!("${name}")).join(", "),
                USUAL.join(", ")
            )
        })?;
    let nvvm = toolkit.join("nvvm/lib64/libnvvm.so");
    if nvvm.is_file() { Ok(toolkit) } else { Err(format!("libNVVM: no {}", nvvm.display())) }
}

/// What a program prints, if it exists and succeeds.
fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

//! The nightly that compiles kernels.
//!
//! PTX is compared byte for byte, so exactly one compiler will do: the nightly of 2026-05-20. It is recognized by its
//! version line, under either name that it may be installed by.

use std::path::PathBuf;
use std::process::Command;

/// What `rustc --version` of the pinned nightly begins with.
pub const VERSION: &str = "rustc 1.97.0-nightly (e50aa6fba ";

/// How to get it.
pub const INSTALL: &str =
    "rustup toolchain install nightly-2026-05-20 --profile minimal --component rust-src";

/// The names of toolchains that may be it.
const NAMES: [&str; 2] = ["nightly-2026-05-20", "nightly"];

/// An installed toolchain that can compile kernels.
pub struct Nightly {
    /// Its name for `rustup run`.
    pub name: &'static str,
}

/// Finds the pinned nightly and its `rust-src`.
///
/// # Errors
/// What is missing, and how to install it.
pub fn find() -> Result<Nightly, String> {
    let nightly = toolchain()?;
    sources(&nightly)?;
    Ok(nightly)
}

/// Finds the pinned nightly, with `rust-src` or without.
///
/// # Errors
/// How to install it.
pub fn toolchain() -> Result<Nightly, String> {
    let is_pinned =
        |name: &&str| rustc(name, &["--version"]).is_some_and(|version| version.starts_with(VERSION));
    let found = NAMES.into_iter().find(is_pinned).map(|name| Nightly { name });
    found.ok_or_else(|| format!("the nightly that compiles kernels ({VERSION}…) is not installed: {INSTALL}"))
}

/// Finds the sources of `core` that come with `rust-src`.
///
/// # Errors
/// How to install `rust-src`.
pub fn sources(nightly: &Nightly) -> Result<PathBuf, String> {
    let name = nightly.name;
    let sysroot = rustc(name, &["--print", "sysroot"]).unwrap_or_default();
    let core = PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    if core.is_file() {
        Ok(core)
    } else {
        Err(format!(
            "rust-src is missing from toolchain '{name}': rustup component add rust-src --toolchain {name}"
        ))
    }
}

/// What the `rustc` of toolchain `name` prints, if there is such a toolchain.
fn rustc(name: &str, args: &[&str]) -> Option<String> {
    let output = Command::new("rustup").args(["run", name, "rustc"]).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

//! Compiles this crate's kernel to PTX: by stock rustc, for the target `nvptx64-nvidia-cuda`. Neither a CUDA toolkit nor a
//! linker takes part.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// What `rustc --version` of the nightly that norm compiles its kernels with begins with.
const VERSION: &str = "rustc 1.97.0-nightly (e50aa6fba ";

/// How to get it.
const INSTALL: &str = "rustup toolchain install nightly-2026-05-20 --profile minimal --component rust-src";

/// The names it may be installed under.
const NAMES: [&str; 2] = ["nightly-2026-05-20", "nightly"];

/// Every device from compute capability 8.0 on runs PTX for 8.0, and every driver from CUDA 12.0 on reads PTX 8.0. They
/// are the oldest that norm's building blocks are for.
const FLAGS: [&str; 5] = [
    "-Ctarget-cpu=sm_80",
    "-Ctarget-feature=+ptx80",
    // An array that lives across a loop stays in registers only if the loop is unrolled.
    "-Cllvm-args=-unroll-threshold=10000",
    // Jump threading would copy barriers and shuffles into the branches of a condition.
    "-Zmir-enable-passes=-JumpThreading",
    "-Cdebuginfo=0",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=build.rs");
    // The build that this one starts comes here too, and has nothing to start.
    if env::var("CARGO_CFG_TARGET_ARCH")? == "nvptx64" {
        return Ok(());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let is_pinned = |name: &&str| {
        let rustc = Command::new("rustup").args(["run", name, "rustc", "--version"]).output();
        rustc.is_ok_and(|output| output.stdout.starts_with(VERSION.as_bytes()))
    };
    let nightly = NAMES.into_iter().find(is_pinned);
    let nightly = nightly.ok_or_else(|| format!("the nightly ({VERSION}…) is not installed: {INSTALL}"))?;
    fs::write(out.join("kernels.ptx"), compile(nightly, &out)?)?;
    Ok(())
}

/// The PTX: with fat LTO what rustc emits as assembly is one file, of this crate's kernels and of all that they call.
fn compile(nightly: &str, out: &Path) -> Result<String, Box<dyn Error>> {
    let deps = out.join("nvptx64-nvidia-cuda/release/deps");
    let this_crate = env::var("CARGO_PKG_NAME")?.replace('-', "_");
    // What an earlier build made of this crate goes, so that the assembly is made anew, and is the only one; `core` stays.
    for file in fs::read_dir(&deps).into_iter().flatten() {
        let file = file?.path();
        if file.file_name().is_some_and(|name| name.to_string_lossy().contains(&this_crate)) {
            fs::remove_file(file)?;
        }
    }
    let mut cargo = Command::new("rustup");
    cargo.args(["run", nightly, "cargo", "rustc", "--release", "--lib", "--crate-type", "staticlib"]);
    cargo.args(["--target", "nvptx64-nvidia-cuda", "-Zbuild-std=core", "--target-dir"]);
    cargo.arg(out).args(["--", "--emit=asm"]);
    // What cargo set for this build script is not meant for the cargo started here.
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("CARGO") && name != "CARGO_HOME") {
        cargo.env_remove(name);
    }
    for name in ["RUSTC", "RUSTDOC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTUP_TOOLCHAIN"] {
        cargo.env_remove(name);
    }
    cargo.env("RUSTFLAGS", FLAGS.join(" "));
    cargo.env("CARGO_PROFILE_RELEASE_LTO", "fat");
    cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    cargo.env("CARGO_PROFILE_RELEASE_PANIC", "abort");
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    for file in fs::read_dir(&deps)? {
        let file = file?.path();
        if file.extension() == Some("s".as_ref()) {
            return Ok(fs::read_to_string(file)?);
        }
    }
    Err(format!("expected a file of assembly in {}", deps.display()).into())
}

//! Compiles `norm-kernels` to PTX: the body of the build script of `norm`, and what its command line and `cargo xtask` share
//! with it. It has no interface for other programs.
//!
//! A default build takes the PTX that is checked in and needs stable Rust alone.
//! `NORM_PTX=check cargo build` compiles it anew and fails where it differs from what is checked in.
//! `NORM_PTX=write cargo build` leaves it in the build's own folder, which a warning names, and from where
//! `cargo xtask ptx write` takes it into the source tree. `NORM_CODEGEN=rust-cuda` compiles with rust-cuda
//! in place of stock rustc; without `NORM_PTX`, it writes.

pub mod command;
pub mod compiled;
pub mod mode;
pub mod nightly;
pub mod ptx;
pub mod ptxas;
pub mod rust_cuda;
pub mod text;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use mode::{Codegen, Mode};
use text::{TARGETS, Text};

/// Why something could not be built, as a message.
pub type Error = Box<dyn std::error::Error>;

/// The build script of `norm`.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // cargo shows these as its own errors; what `main` returned would be shown as Rust writes a string.
            error.to_string().lines().for_each(|line| println!("cargo::error={line}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    println!("cargo::rerun-if-env-changed=NORM_PTX");
    println!("cargo::rerun-if-env-changed=NORM_CODEGEN");
    println!("cargo::rerun-if-changed=build.rs");
    let [ptx, codegen] = ["NORM_PTX", "NORM_CODEGEN"].map(env::var_os);
    let Some((codegen, mode)) = mode::asked(codegen.as_deref(), ptx.as_deref())? else { return Ok(()) };

    println!("cargo::rerun-if-changed=norm-kernels");
    println!("cargo::rerun-if-changed=norm-host/ptx");
    println!("cargo::rerun-if-changed=norm-ptx-rust-cuda");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let checked_in = root.join(match codegen {
        Codegen::Stock => "norm-host/ptx",
        Codegen::RustCuda => "norm-ptx-rust-cuda",
    });
    let write_command = codegen.write_command();
    let locks = TARGETS.map(|target| checked_in.join(format!("{target}.lock")));
    let mut kept = Vec::new();
    if mode == Mode::Check {
        // Before minutes of compiling.
        for lock in &locks {
            kept.push(fs::read_to_string(lock).map_err(|error| {
                format!("{}: {error}; `{write_command}` writes it, with its bundle", lock.display())
            })?);
        }
    }
    let texts = match codegen {
        Codegen::Stock => with_stock(&root, &out),
        Codegen::RustCuda => with_rust_cuda(&root, &out),
    }?;
    match mode {
        Mode::Write => {
            for (target, text) in TARGETS.iter().zip(&texts) {
                fs::write(out.join(format!("{target}.ptx")), text.to_string())?;
            }
            let out = out.display();
            println!(
                "cargo::warning=the kernels' PTX is in {out}; bundles and lock files are written by `{write_command}`"
            );
        }
        Mode::Check => {
            for ((lock, kept), text) in locks.iter().zip(&kept).zip(&texts) {
                compiled::compare(kept, text).map_err(|differing| {
                    let lock = lock.display();
                    format!("{lock} is not of what the source compiles to: {differing}; `{write_command}` writes it anew")
                })?;
            }
        }
    }
    Ok(())
}

fn with_stock(root: &Path, out: &Path) -> Result<Vec<Text>, Error> {
    let nightly = nightly::find()?;
    TARGETS.iter().map(|target| ptx::compile(&nightly, root, out, target)).collect()
}

/// Runs the program in `rust-cuda/`, which has a workspace, a lock file and a toolchain of its own.
fn with_rust_cuda(root: &Path, out: &Path) -> Result<Vec<Text>, Error> {
    println!("cargo::rerun-if-changed=rust-cuda");
    for name in ["LLVM_CONFIG", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let found = rust_cuda::find();
    let toolchain = found
        .map_err(|missing| format!("rust-cuda's toolchain is not here: {missing}; {}", rust_cuda::INSTALL))?;

    let mut cargo = Command::new("rustup");
    cargo.args(["run", rust_cuda::NIGHTLY, "cargo", "run", "--release", "--locked", "--target-dir"]);
    cargo.arg(out.join("rust-cuda")).arg("--").arg(out);
    command::forget_this_build(&mut cargo);
    cargo.env("CUDA_PATH", toolchain.cuda).env("LLVM_CONFIG", toolchain.llvm_config);
    cargo.current_dir(root.join("rust-cuda"));
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(command::failed(&cargo, &output).into());
    }
    let texts = TARGETS.iter().map(|target| {
        let written = fs::read_to_string(out.join(format!("{target}.ptx")))?;
        Ok(Text::of(&written)?)
    });
    texts.collect()
}

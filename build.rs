//! Compiles `norm-kernels` to PTX, when asked.
//!
//! A default build takes the PTX that is checked in and needs stable Rust alone.
//! `NORM_PTX=write cargo build` compiles it anew; `NORM_PTX=check cargo build` compiles it and
//! fails where it differs from what is checked in. `NORM_CODEGEN=rust-cuda` does so with rust-cuda
//! in place of stock rustc; without `NORM_PTX`, it writes.

#[path = "build/command.rs"]
mod command;
#[path = "build/directives.rs"]
mod directives;
#[path = "build/mode.rs"]
mod mode;
#[path = "build/nightly.rs"]
mod nightly;
#[path = "build/ptx.rs"]
mod ptx;
#[path = "build/rust_cuda.rs"]
mod rust_cuda;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use mode::{Codegen, Mode};

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
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
    println!("cargo::rerun-if-changed=build");
    let [ptx, codegen] = ["NORM_PTX", "NORM_CODEGEN"].map(env::var_os);
    let Some((codegen, mode)) = mode::asked(codegen.as_deref(), ptx.as_deref())? else { return Ok(()) };

    println!("cargo::rerun-if-changed=norm-kernels");
    println!("cargo::rerun-if-changed=norm-host/ptx");
    println!("cargo::rerun-if-changed=norm-ptx-rust-cuda");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    match codegen {
        Codegen::Stock => with_stock(mode, &root, &out),
        Codegen::RustCuda => with_rust_cuda(mode, &root, &out),
    }
}

fn with_stock(mode: Mode, root: &Path, out: &Path) -> Result<(), Error> {
    let nightly = nightly::find()?;
    for target in ptx::TARGETS {
        let text = ptx::compile(&nightly, root, out, target)?;
        let file = root.join("norm-host/ptx").join(format!("{target}.ptx"));
        match mode {
            Mode::Write => fs::write(&file, text)?,
            Mode::Check => compare(&file, &text, "NORM_PTX=write")?,
        }
    }
    Ok(())
}

/// Runs the program in `rust-cuda/`, which has a workspace, a lock file and a toolchain of its own.
fn with_rust_cuda(mode: Mode, root: &Path, out: &Path) -> Result<(), Error> {
    println!("cargo::rerun-if-changed=rust-cuda");
    for name in ["LLVM_CONFIG", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let found = rust_cuda::find();
    let toolchain = found
        .map_err(|missing| format!("rust-cuda's toolchain is not here: {missing}; {}", rust_cuda::INSTALL))?;
    let kept = root.join("norm-ptx-rust-cuda");
    let fresh = if let Mode::Write = mode { &kept } else { out };

    let mut cargo = Command::new("rustup");
    cargo.args(["run", rust_cuda::NIGHTLY, "cargo", "run", "--release", "--locked", "--target-dir"]);
    cargo.arg(out.join("rust-cuda")).arg("--").arg(fresh);
    command::forget_this_build(&mut cargo);
    cargo.env("CUDA_PATH", toolchain.cuda).env("LLVM_CONFIG", toolchain.llvm_config);
    cargo.current_dir(root.join("rust-cuda"));
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(command::failed(&cargo, &output).into());
    }
    if let Mode::Check = mode {
        for target in ptx::TARGETS {
            let name = format!("{target}.ptx");
            compare(&kept.join(&name), &fs::read_to_string(fresh.join(&name))?, "NORM_CODEGEN=rust-cuda")?;
        }
    }
    Ok(())
}

/// Names the first line in which the checked-in file differs from `fresh`, and what asks for it anew.
fn compare(file: &Path, fresh: &str, asked: &str) -> Result<(), Error> {
    let kept = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    if kept == fresh {
        return Ok(());
    }
    let same = kept.lines().zip(fresh.lines()).take_while(|(kept, fresh)| kept == fresh).count();
    Err(format!(
        "{} is not what its source compiles to, from line {} on:\n  kept:  {}\n  fresh: {}\n\
         `{asked} cargo build` writes it anew",
        file.display(),
        same + 1,
        kept.lines().nth(same).unwrap_or("(end of file)"),
        fresh.lines().nth(same).unwrap_or("(end of file)"),
    )
    .into())
}

//! Compiles `norm-kernels` with rust-cuda, and writes the PTX for each target to a folder.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use cuda_builder::{CudaBuilder, NvvmArch};

/// The target of each text: the oldest architecture that it runs on.
const TARGETS: [(&str, NvvmArch); 2] = [("sm_80", NvvmArch::Compute80), ("sm_90", NvvmArch::Compute90)];

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::args_os().nth(1).map(PathBuf::from).ok_or("expected a folder to write to, given none")?;
    for (target, arch) in TARGETS {
        let ptx = compile(&Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels"), target, arch)?;
        let file = out.join(format!("{target}.ptx"));
        fs::copy(ptx, &file)?;
        println!("{}", file.display());
    }
    Ok(())
}

fn compile(kernels: &Path, target: &str, arch: NvvmArch) -> Result<PathBuf, Box<dyn Error>> {
    // The flags of stock rustc (`build/ptx.rs`): the target as a `cfg`, and no jump threading, which would copy barriers into
    // both branches of a condition. And all calls inlined before LLVM: where LLVM 7 inlines, it lets arrays of one size share their
    // memory, whatever their elements are, which then does not become registers, or becomes one for each byte.
    let flags = [
        &format!("--cfg={target}"),
        "-Zmir-enable-passes=-JumpThreading",
        "-Zinline-mir-hint-threshold=100000",
        "-Zinline-mir-threshold=250",
    ];
    let flags = format!("profile.release.package.norm-kernels.rustflags={flags:?}");
    let ptx = CudaBuilder::new(kernels)
        .arch(arch)
        // The source calls `fma` where it means one: contraction would change bits elsewhere.
        .fma_contraction(false)
        .build_args(&["-Zprofile-rustflags", "--config", &flags])
        .build()
        // Its error type does not implement `std::error::Error`.
        .map_err(|error| error.to_string())?;
    Ok(ptx)
}

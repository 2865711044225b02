//! Compiles `norm-kernels` with rust-cuda, and writes the PTX beside that of stock rustc.

#[path = "../../build/directives.rs"]
mod directives;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use cuda_builder::{CudaBuilder, NvvmArch};

/// The oldest device of each text.
const TARGETS: [(&str, NvvmArch); 2] = [("sm_80", NvvmArch::Compute80), ("sm_90", NvvmArch::Compute90)];

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = env::args_os().nth(1).map_or_else(|| here.join("../norm-host/ptx"), PathBuf::from);
    // `CudaBuilder` looks for the compiler's backend in `target`.
    env::set_current_dir(here)?;
    for (target, arch) in TARGETS {
        let ptx = compile(target, arch)?;
        let text = directives::add(&fs::read_to_string(ptx)?)?;
        let file = out.join(format!("rust-cuda-{target}.ptx"));
        fs::write(&file, text)?;
        println!("{}", file.display());
    }
    Ok(())
}

fn compile(target: &str, arch: NvvmArch) -> Result<PathBuf, Box<dyn Error>> {
    // As for stock rustc: what is `cfg` there, and no barrier copied into both branches of a condition.
    let flags = format!(
        "profile.release.package.norm-kernels.rustflags=['--cfg={target}', '-Zmir-enable-passes=-JumpThreading']"
    );
    let ptx = CudaBuilder::new("kernels")
        .arch(arch)
        // The source says itself where it means fma, and where bits must not change.
        .fma_contraction(false)
        .build_args(&["-Zprofile-rustflags", "--config", &flags])
        .build()?;
    Ok(ptx)
}

//! Compiles `norm-kernels` with rust-cuda, and writes the PTX beside that of stock rustc.

#[path = "../../build/directives.rs"]
mod directives;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use cuda_builder::{CudaBuilder, NvvmArch};
use norm_kernels::abi::{Access, DType, EntryPoint, NormKind};

/// The oldest device of each text.
const TARGETS: [(&str, NvvmArch); 2] = [("sm_80", NvvmArch::Compute80), ("sm_90", NvvmArch::Compute90)];

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = env::args_os().nth(1).map_or_else(|| here.join("../norm-host/ptx"), PathBuf::from);
    // `CudaBuilder` looks for the compiler's backend in `target`.
    env::set_current_dir(here)?;
    for (target, arch) in TARGETS {
        let ptx = compile(target, arch)?;
        let text = directives::add(&fs::read_to_string(ptx)?, more_registers)?;
        let file = out.join(format!("rust-cuda-{target}.ptx"));
        fs::write(&file, text)?;
        println!("{}", file.display());
    }
    Ok(())
}

/// What libNVVM leaves to ptxas of these kernels takes a register or two more than of stock rustc,
/// which ptxas would spill. Registers are handed out by eight.
fn more_registers(kernel: EntryPoint) -> u32 {
    match kernel {
        EntryPoint::Norm(kernel)
            if (kernel.kind, kernel.access) == (NormKind::Layer, Access::Staged)
                && kernel.w == DType::F32
                && kernel.y != DType::F32 =>
        {
            8
        }
        _ => 0,
    }
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
        .build()
        // It is no `std::error::Error`.
        .map_err(|error| error.to_string())?;
    Ok(ptx)
}

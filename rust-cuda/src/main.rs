//! Compiles `norm-kernels` with rust-cuda, and writes the PTX into the package of its own.

#[path = "../../build/directives.rs"]
mod directives;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use cuda_builder::{CudaBuilder, NvvmArch};
use norm_kernels::abi::{Variant, DType, EntryPoint, NormKind};

/// The oldest device of each text.
const TARGETS: [(&str, NvvmArch); 2] = [("sm_80", NvvmArch::Compute80), ("sm_90", NvvmArch::Compute90)];

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = env::args_os().nth(1).map_or_else(|| here.join("../norm-ptx-rust-cuda"), PathBuf::from);
    for (target, arch) in TARGETS {
        let ptx = compile(&here.join("kernels"), target, arch)?;
        let text = directives::add(&fs::read_to_string(ptx)?, registers)?;
        let file = out.join(format!("{target}.ptx"));
        fs::write(&file, text)?;
        println!("{}", file.display());
    }
    Ok(())
}

/// What libNVVM leaves to ptxas of some kernels takes a register or two more than of stock rustc, which
/// ptxas would spill to fit one more block on a multiprocessor. Registers are handed out by eight.
fn registers(entry: EntryPoint) -> Option<u32> {
    use DType::{BF16, F16, F32};
    let most = entry.max_registers();
    let EntryPoint::Norm(kernel) = entry else { return most };
    match (kernel.kind, kernel.variant, kernel.x, kernel.w, kernel.y) {
        (NormKind::Layer, Variant::Staged, F16 | BF16, _, F16 | BF16) => most.map(|most| most + 8),
        (NormKind::Rms, Variant::Add4, F16, F16 | BF16, F32) => Some(48),
        _ => most,
    }
}

fn compile(kernels: &Path, target: &str, arch: NvvmArch) -> Result<PathBuf, Box<dyn Error>> {
    // As for stock rustc: what is `cfg` there, and no barrier copied into both branches of a condition.
    let flags = format!(
        "profile.release.package.norm-kernels.rustflags=['--cfg={target}', '-Zmir-enable-passes=-JumpThreading']"
    );
    let ptx = CudaBuilder::new(kernels)
        .arch(arch)
        // The source says itself where it means fma, and where bits must not change.
        .fma_contraction(false)
        .build_args(&["-Zprofile-rustflags", "--config", &flags])
        .build()
        // It is no `std::error::Error`.
        .map_err(|error| error.to_string())?;
    Ok(ptx)
}

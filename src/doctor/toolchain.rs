//! The tools that only contributors need, to compile changed kernels.

use std::env;
use std::path::PathBuf;

use norm_host::ptx::RUST_CUDA;

use super::{Finding, output_of};
use norm_build::{nightly, ptxas, rust_cuda};

const NVCC_HOW: &str = "https://developer.nvidia.com/cuda-downloads, if you want its debugger and profilers";

/// The toolkit, the nightly with its sources, and the assembler.
pub fn findings() -> Vec<Finding> {
    let toolchain = nightly::toolchain();
    let sources = match &toolchain {
        Ok(toolchain) => nightly::sources(toolchain).map(|core| core.display().to_string()),
        Err(_) => Err("comes with the pinned nightly".to_owned()),
    };
    let pinned =
        toolchain.map(|found| format!("{}…), installed as '{}'", nightly::VERSION.trim_end(), found.name));
    vec![
        Finding::new(
            "CUDA toolkit",
            toolkit(),
            "candle's own CUDA kernels alone (feature candle-cuda); those here rustc compiles, and the driver is opened at run time",
            NVCC_HOW,
        ),
        Finding::new(
            "pinned nightly",
            pinned,
            "compiling the kernels to PTX; a build takes the checked-in PTX without it",
            nightly::INSTALL,
        ),
        Finding::new("rust-src", sources, "compiling the kernels to PTX, `core` included", nightly::INSTALL),
        Finding::new("rust-cuda", rust_cuda(), "compiling the kernels with rust-cuda", rust_cuda::INSTALL),
        Finding::new("rust-cuda's kernels", rust_cudas_kernels(), "--ptx rust-cuda", rust_cuda::INSTALL),
        Finding::new(
            "ptxas",
            assembler(),
            "the kernels' registers and spills, in `norm ptx stats` and the tests",
            ptxas::INSTALL,
        ),
    ]
}

/// The parts of rust-cuda's toolchain, or those that are missing.
fn rust_cuda() -> Result<String, String> {
    let rust_cuda::Toolchain { cuda, llvm_config } = rust_cuda::find()?;
    Ok(format!("{}, {}, {}", rust_cuda::NIGHTLY, llvm_config.display(), cuda.display()))
}

/// The kernels as compiled by rust-cuda, if they were compiled from the current source.
fn rust_cudas_kernels() -> Result<String, String> {
    let bytes =
        RUST_CUDA.iter().map(|ptx| ptx.header().map(|_| ptx.bytes())).sum::<norm_host::Result<usize>>();
    bytes.map(|bytes| format!("{bytes} bytes, compressed")).map_err(|error| error.to_string())
}

/// The path of nvcc, and its release.
fn toolkit() -> Result<String, String> {
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os).map(PathBuf::from);
    let in_homes = homes.chain([PathBuf::from("/usr/local/cuda")]).map(|home| home.join("bin/nvcc"));
    let nvcc = which::which("nvcc").into_iter().chain(in_homes).find(|nvcc| nvcc.is_file());
    release(nvcc.ok_or("no nvcc in PATH or under CUDA_HOME")?)
}

fn assembler() -> Result<String, String> {
    release(ptxas::find()?)
}

/// Runs a tool of the toolkit, and returns the line of its output with the release.
fn release(tool: PathBuf) -> Result<String, String> {
    let tool = tool.display().to_string();
    let text = output_of(&tool, &["--version"])?;
    let release = text.lines().find(|line| line.contains("release")).unwrap_or("of unknown release");
    Ok(format!("{tool}, {release}"))
}

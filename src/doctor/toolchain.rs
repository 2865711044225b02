//! What only those need who change the kernels.

use std::path::Path;

use super::{Finding, output_of};
use crate::ptxas;

/// How the pinned nightly names itself, under whatever name it is installed.
const NIGHTLY: &str = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)";

/// A file of the sources that the nightly compiles `core` from.
const CORE: &str = "lib/rustlib/src/rust/library/core/src/lib.rs";

/// The toolkit, the nightly with its sources, and the assembler.
pub fn findings() -> Vec<Finding> {
    let nightly = nightly();
    let rust_src = nightly.clone().and_then(|toolchain| rust_src(&toolchain));
    vec![
        Finding::new(
            "CUDA toolkit",
            toolkit(),
            "nothing here: the kernels are compiled by rustc and the driver is opened at run time",
            "https://developer.nvidia.com/cuda-downloads, if you want its debugger and profilers",
        ),
        Finding::new(
            "pinned nightly",
            nightly.map(|toolchain| format!("{NIGHTLY}, installed as '{toolchain}'")),
            "compiling the kernels to PTX; the checked-in PTX does without",
            "rustup toolchain install nightly-2026-05-20",
        ),
        Finding::new(
            "rust-src",
            rust_src,
            "compiling the kernels to PTX, `core` included",
            "rustup component add rust-src --toolchain nightly-2026-05-20",
        ),
        Finding::new(
            "ptxas",
            assembler(),
            "counting the registers and spills of the kernels (`norm ptx stats`)",
            "pip install nvidia-cuda-nvcc; it is found in site-packages, in PATH, under CUDA_HOME or as $PTXAS",
        ),
    ]
}

/// Where nvcc is, and the release it names.
fn toolkit() -> Result<String, String> {
    let in_toolkit = || ptxas::toolkits().into_iter().map(|home| home.join("bin/nvcc")).find(|nvcc| nvcc.is_file());
    let nvcc = which::which("nvcc").ok().or_else(in_toolkit).ok_or("no nvcc in PATH or under CUDA_HOME")?;
    let nvcc = nvcc.display().to_string();
    let text = output_of(&nvcc, &["--version"])?;
    let release = text.lines().find(|line| line.contains("release")).unwrap_or("of unknown release");
    Ok(format!("{nvcc}, {release}"))
}

/// The name of the toolchain that is the pinned nightly.
fn nightly() -> Result<String, String> {
    let list = output_of("rustup", &["toolchain", "list"])?;
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    let found = names
        .filter(|name| name.contains("nightly"))
        .find(|name| version_of(name).is_ok_and(|version| version == NIGHTLY));
    found.map(str::to_owned).ok_or_else(|| format!("no toolchain is {NIGHTLY}"))
}

fn version_of(toolchain: &str) -> Result<String, String> {
    output_of("rustup", &["run", toolchain, "rustc", "--version"])
}

fn rust_src(toolchain: &str) -> Result<String, String> {
    let sysroot = output_of("rustup", &["run", toolchain, "rustc", "--print", "sysroot"])?;
    let core = Path::new(&sysroot).join(CORE);
    let shown = core.display().to_string();
    if core.is_file() { Ok(shown) } else { Err(format!("no {shown}")) }
}

fn assembler() -> Result<String, String> {
    let path = ptxas::find().ok_or("not in PATH, under CUDA_HOME, in Python's site-packages or named by $PTXAS")?;
    let path = path.display().to_string();
    let text = output_of(&path, &["--version"])?;
    let release = text.lines().find(|line| line.contains("release")).unwrap_or("of unknown release");
    Ok(format!("{path}, {release}"))
}

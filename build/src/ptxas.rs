//! ptxas, NVIDIA's assembler: finding it, and the resources that it reports for a module.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// How to get it.
pub const INSTALL: &str =
    "pip install nvidia-cuda-nvcc, and set PTXAS to its nvidia/cu13/bin/ptxas, or install the CUDA toolkit";

/// Finds ptxas: `$PTXAS`, the toolkit that `$CUDA_HOME` or `$CUDA_PATH` names, `/usr/local/cuda`,
/// or on the path.
///
/// # Errors
/// How to get it.
pub fn find() -> Result<PathBuf, String> {
    let roots = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os).map(PathBuf::from);
    let in_toolkits = roots.chain([PathBuf::from("/usr/local/cuda")]).map(|root| root.join("bin/ptxas"));
    let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let on_path = on_path.into_iter().flatten().map(|folder| folder.join("ptxas"));
    let named = env::var_os("PTXAS").map(PathBuf::from);
    let found = named.into_iter().chain(in_toolkits).chain(on_path).find(|path| path.is_file());
    found.ok_or_else(|| format!("no ptxas ({INSTALL})"))
}

/// The resources that ptxas reports for one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembled {
    /// The kernel's name.
    pub name: String,
    /// Registers a thread.
    pub registers: u32,
    /// Static shared memory a block, bytes.
    pub shared_bytes: u32,
    /// Stack a thread, bytes.
    pub stack_bytes: u32,
    /// Spilled registers, bytes stored and loaded.
    pub spill_bytes: u32,
}

/// Assembles `text` for `arch`, such as `sm_90`.
///
/// # Errors
/// What ptxas prints where it rejects the text; and whatever keeps it from running.
pub fn assemble(ptxas: &Path, text: &str, arch: &str) -> io::Result<Vec<Assembled>> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("module.ptx");
    fs::write(&source, text)?;
    let cubin = folder.path().join("module.cubin");
    let output = Command::new(ptxas).args(["-v", "-arch", arch, "-o"]).arg(cubin).arg(&source).output()?;
    let report = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(io::Error::other(format!("{} -arch {arch}: {report}", ptxas.display())));
    }
    Ok(parse(&report))
}

/// Reads the report of `ptxas -v`.
fn parse(report: &str) -> Vec<Assembled> {
    let mut kernels: Vec<Assembled> = Vec::new();
    for line in report.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let name = rest.split('\'').next().unwrap_or_default().to_owned();
            kernels.push(Assembled { name, ..Assembled::default() });
        }
        let Some(kernel) = kernels.last_mut() else { continue };
        let before = |what: &str| -> u32 {
            let number = line.split(what).next().and_then(|head| head.split_whitespace().last());
            number.filter(|_| line.contains(what)).and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        kernel.registers += before(" registers");
        kernel.shared_bytes += before(" bytes smem");
        kernel.stack_bytes += before(" bytes stack frame");
        kernel.spill_bytes += before(" bytes spill stores") + before(" bytes spill loads");
    }
    kernels
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_the_report_of_every_kernel() {
        use super::{Assembled, parse};

        let report = "ptxas info    : 0 bytes gmem\n\
            ptxas info    : Compiling entry function 'a' for 'sm_90'\n\
            ptxas info    : Function properties for a\n    32 bytes stack frame, 28 bytes spill stores, 24 bytes spill loads\n\
            ptxas info    : Used 64 registers, used 1 barriers, 384 bytes smem\n\
            ptxas info    : Compiling entry function 'b' for 'sm_90'\n    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
            ptxas info    : Used 32 registers, used 0 barriers\n";
        let kernel = |name: &str, registers, shared_bytes, stack_bytes, spill_bytes| Assembled {
            name: name.to_owned(),
            registers,
            shared_bytes,
            stack_bytes,
            spill_bytes,
        };
        assert_eq!(parse(report), [kernel("a", 64, 384, 32, 52), kernel("b", 32, 0, 0, 0)]);
    }
}

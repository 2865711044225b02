//! Compiles `norm-kernels` to PTX by stock rustc, without a CUDA toolkit and without a linker.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{failed, forget_this_build};
use crate::nightly::Nightly;
use crate::text::Text;

/// The oldest version of PTX that has what the kernels use on a target. bf16 conversions need 8.0, which drivers for CUDA
/// 12.0 and newer read; `st.async` of sm_90 needs 8.1, which drivers for CUDA 12.1 and newer read.
fn version(target: &str) -> &'static str {
    if target == "sm_80" { "+ptx80" } else { "+ptx81" }
}

/// Compiler flags that every target shares.
const FLAGS: [&str; 3] = [
    // Unroll loops completely: an array that is indexed in a loop stays in registers only if the loop is unrolled.
    "-Cllvm-args=-unroll-threshold=10000",
    // No jump threading: it copies the code between two tests of one condition into both branches, with its barriers and
    // shuffles, which all threads have to reach together.
    "-Zmir-enable-passes=-JumpThreading",
    // No debug information, so that the output does not depend on the path of the sources.
    "-Cdebuginfo=0",
];

/// Compiles the kernels for `target`.
pub fn compile(nightly: &Nightly, root: &Path, out: &Path, target: &str) -> Result<Text, crate::Error> {
    let target_dir = out.join(target);
    // Otherwise an assembly file of an earlier compilation might be taken for the new one.
    let deps = target_dir.join("nvptx64-nvidia-cuda/release/deps");
    let _ = fs::remove_dir_all(&deps);

    let mut cargo = Command::new("rustup");
    cargo.args(["run", nightly.name, "cargo", "rustc", "--release", "--lib", "--package", "norm-kernels"]);
    cargo.args(["--target", "nvptx64-nvidia-cuda", "-Zbuild-std=core", "--crate-type", "staticlib"]);
    cargo.arg("--manifest-path").arg(root.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(&target_dir);
    cargo.args(["--", "--emit=asm"]);
    forget_this_build(&mut cargo);
    let target = format!("-Ctarget-cpu={target} --cfg {target} -Ctarget-feature={}", version(target));
    cargo.env("RUSTFLAGS", format!("{target} {}", FLAGS.join(" ")));
    // Fat LTO merges `core` and the kernels into one file of assembly, which is the PTX.
    cargo.env("CARGO_PROFILE_RELEASE_LTO", "fat");
    cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    cargo.env("CARGO_PROFILE_RELEASE_PANIC", "abort");
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(failed(&cargo, &output).into());
    }

    let mut assembly = fs::read_dir(&deps)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "s"));
    match (assembly.next(), assembly.next()) {
        (Some(file), None) => Ok(Text::of(&fs::read_to_string(file)?)?),
        _ => Err(format!("expected one assembly file in {}", deps.display()).into()),
    }
}

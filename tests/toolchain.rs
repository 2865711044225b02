//! The checked-in PTX against the tools that make and take it, where they are installed.

mod support;

#[path = "../build/ptx.rs"]
mod compile;
#[path = "../build/directives.rs"]
mod directives;
#[path = "../build/nightly.rs"]
mod nightly;
// Its own tests run with the binary's; without the harness they are not compiled here.
#[allow(unused_imports)]
#[path = "../src/ptxas.rs"]
mod ptxas;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use norm_host::ptx::{EMBEDDED, RUST_CUDA, for_capability};

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let nightly = nightly::find().map(Arc::new);
    let ptxas = ptxas::find();
    let mut trials: Vec<Trial> = compile::TARGETS
        .map(|target| {
            let name = format!("{target}_ptx_is_what_its_source_compiles_to");
            support::trial(&name, "nightly", &nightly, move |nightly| same_as_compiled(&nightly, target))
        })
        .into();
    // What a device of each capability is given: sm_89 has a third less room for threads than sm_80.
    for (compiler, set) in [("", &EMBEDDED[..]), ("rust_cuda_", &RUST_CUDA[..])] {
        for (arch, capability) in
            [("sm_80", (8, 0)), ("sm_89", (8, 9)), ("sm_90", (9, 0)), ("sm_100", (10, 0))]
        {
            let ptx = for_capability(set, capability).unwrap_or_else(|error| panic!("{arch}: {error}"));
            let name = format!("{compiler}{}_ptx_assembles_for_{arch}_without_stack_or_spills", ptx.target);
            trials
                .push(support::trial(&name, "ptxas", &ptxas, move |ptxas| assembles(&ptxas, ptx.text, arch)));
        }
    }
    support::run(trials)
}

fn same_as_compiled(nightly: &nightly::Nightly, target: &str) -> Result<(), Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let fresh = compile::compile(nightly, root, out, target).map_err(|error| error.to_string())?;
    let kept = EMBEDDED.iter().find(|ptx| ptx.target == target).ok_or("target is not embedded")?;
    if fresh != kept.text {
        return Err(format!("{target}: `NORM_PTX=write cargo build` writes it anew").into());
    }
    Ok(())
}

fn assembles(ptxas: &Path, text: &str, arch: &str) -> Result<(), Failed> {
    let kernels = ptxas::assemble(ptxas, text, arch).map_err(|error| error.to_string())?;
    if kernels.len() != norm_kernels::abi::EntryPoint::all().count() {
        return Err(format!("{} kernels assembled", kernels.len()).into());
    }
    let spilling: Vec<_> =
        kernels.iter().filter(|kernel| kernel.stack_bytes + kernel.spill_bytes > 0).collect();
    if !spilling.is_empty() {
        return Err(format!("stack or spills: {spilling:?}").into());
    }
    Ok(())
}

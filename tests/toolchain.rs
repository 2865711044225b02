//! The checked-in PTX against the tools that make and take it, where they are installed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::{fs, io};

use libtest_mimic::{Failed, Trial};
use norm_build::{
    compiled, nightly, ptx as compile,
    ptxas::{self, Assembled},
    text::TARGETS,
};
use norm_host::ptx::{EMBEDDED, Ptx, for_capability, specialize::specialize};
use norm_kernels::abi::{EntryPoint, EpilogueRounding, Gating};
use norm_testing::{shipped, template, trials};
use xtask::lock::{self, Assembly, version_of};
use xtask::set::Set;

/// For which devices all kernels are assembled with other places of rounding too, which takes as long as the tests of many
/// files: one for each text, of which sm_89 has the least room.
const ROUNDED_ELSEWHERE: [&str; 2] = ["sm_89", "sm_90"];

fn main() -> ExitCode {
    let nightly = nightly::find().map(Arc::new);
    let ptxas = ptxas::find();
    let mut trials: Vec<Trial> = TARGETS
        .map(|target| {
            let name = format!("{target}_ptx_is_what_its_source_compiles_to");
            trials::trial(&name, "nightly", &nightly, move |nightly| same_as_compiled(&nightly, target))
        })
        .into();
    // What a device of each capability is given: sm_89 has a third less room for threads than sm_80.
    let archs = [("sm_80", (8, 0)), ("sm_89", (8, 9)), ("sm_90", (9, 0)), ("sm_100", (10, 0))];
    for (number, (arch, capability)) in archs.into_iter().enumerate() {
        let ptx = for_capability(&EMBEDDED, capability).unwrap_or_else(|error| panic!("{arch}: {error}"));
        // A minute's work that two tests look at.
        let assembled = Arc::new(OnceLock::new());
        let assemble = move |ptxas: &Path| -> Result<Vec<Assembled>, Failed> {
            let assemble = || assembles(ptxas, &ptx.module_of(ptx.entries()?)?, arch);
            assembled.get_or_init(assemble).clone()
        };
        if arch == ptx.target {
            let name = format!("{arch}_registers_and_shared_memory_are_those_of_the_lock_file");
            let lock = lock_of(arch).unwrap_or_else(|error| panic!("{arch}: {error}"));
            let locked = ptxas.clone().and_then(|ptxas| same_ptxas(ptxas, &lock));
            let assemble = assemble.clone();
            trials.push(trials::trial(&name, "ptxas", &locked, move |ptxas| {
                as_locked(&lock, &ptx, assemble(&ptxas)?)
            }));
        }
        let name = format!("{}_ptx_assembles_for_{arch}_without_stack_or_spills", ptx.target);
        trials.push(trials::trial(&name, "ptxas", &ptxas, move |ptxas| assemble(&ptxas).map(drop)));
        if ROUNDED_ELSEWHERE.contains(&arch) {
            let name = format!("{}_ptx_that_rounds_elsewhere_assembles_for_{arch}", ptx.target);
            trials.push(trials::trial(&name, "ptxas", &ptxas, move |ptxas| {
                assembles(&ptxas, &rounding_elsewhere(&ptx, number)?, arch).map(drop)
            }));
        }
        let both = ptxas.clone().and_then(|ptxas| Ok((ptxas, shipped::rust_cuda()?)));
        let name = format!("rust_cuda_ptx_assembles_for_{arch}_without_stack_or_spills");
        trials.push(trials::trial(&name, "rust-cuda", &both, move |(ptxas, set)| {
            let ptx = for_capability(set, capability)?;
            assembles(&ptxas, &ptx.module_of(ptx.entries()?)?, arch).map(drop)
        }));
    }
    for (target, capability) in [("sm_80", (8, 0)), ("sm_90", (9, 0))] {
        let name = format!("pseudo_instructions_assemble_for_{target}");
        let run = move |ptxas: PathBuf| pseudo_instructions(&ptxas, target, capability);
        trials.push(trials::trial(&name, "ptxas", &ptxas, run));
    }
    trials::run(trials)
}

/// Every kernel with another place where its epilogue rounds than its neighbour has, beginning with that number.
fn rounding_elsewhere(ptx: &Ptx, number: usize) -> Result<String, Failed> {
    let elsewhere = EpilogueRounding::all().skip(1).cycle().skip(number);
    let entries = EntryPoint::all().zip(elsewhere).map(|(entry, epilogue)| {
        let gated = entry.gated(Gating::ALL[number % Gating::ALL.len()]);
        let name = gated.unwrap_or(entry).with_epilogue(epilogue).to_string();
        ptx.entry(&name)?.ok_or_else(|| Failed::from(format!("no kernel {name}")))
    });
    Ok(ptx.module_of(entries.collect::<Result<Vec<_>, Failed>>()?)?)
}

/// Templates written by hand, with each pseudo-instruction, for the types of every entry point.
fn pseudo_instructions(ptxas: &Path, target: &str, capability: (u32, u32)) -> Result<(), Failed> {
    let mut module = template::header(target);
    for entry in EntryPoint::all() {
        let text = template::entry(entry.template());
        module += &specialize(&text, entry, capability).map_err(|error| error.to_string())?;
        module += "\n\n";
    }
    assembles(ptxas, &module, target).map(drop)
}

fn same_as_compiled(nightly: &nightly::Nightly, target: &str) -> Result<(), Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let fresh = compile::compile(nightly, root, out, target).map_err(|error| error.to_string())?;
    let kept = lock_of(target)?;
    compiled::compare(&kept, &fresh).map_err(|differing| {
        format!("{target}: {differing} differ; `cargo xtask ptx write` writes them anew").into()
    })
}

/// The lock file of a target.
fn lock_of(target: &str) -> io::Result<String> {
    fs::read_to_string(Set::stock(Path::new(env!("CARGO_MANIFEST_DIR"))).lock(target))
}

/// A ptxas, where it is of the version whose registers are in the lock file: others take more or fewer.
fn same_ptxas(ptxas: PathBuf, lock: &str) -> Result<PathBuf, String> {
    let (given, locked) =
        (version_of(&ptxas).map_err(|error| error.to_string())?, Assembly::in_lock(lock).version);
    if given == locked {
        return Ok(ptxas);
    }
    Err(format!("{} is ptxas {given}, and the lock files' registers are of {locked}", ptxas.display()))
}

/// Holds kernels to their lines in the lock file, and what that says of shared memory to what ptxas says.
fn as_locked(lock: &str, ptx: &Ptx, kernels: Vec<Assembled>) -> Result<(), Failed> {
    let locked = Assembly::in_lock(lock);
    for Assembled { name, registers, shared_bytes, .. } in kernels {
        let entry = ptx.entry(&name)?.ok_or_else(|| format!("no kernel {name}"))?;
        let given = (locked.registers.get(&name), lock::shared_bytes(&ptx.module_of([entry])?));
        if given != (Some(&registers), shared_bytes) {
            return Err(format!(
                "{name}: {registers} registers, {shared_bytes} bytes of shared memory, in the lock file {given:?}: \
                 `cargo xtask ptx lock` writes it anew"
            )
            .into());
        }
    }
    Ok(())
}

/// Assembles every kernel, none of which may spill.
fn assembles(ptxas: &Path, text: &str, arch: &str) -> Result<Vec<Assembled>, Failed> {
    let kernels = ptxas::assemble(ptxas, text, arch).map_err(|error| error.to_string())?;
    if kernels.len() != EntryPoint::all().count() {
        return Err(format!("{} kernels assembled", kernels.len()).into());
    }
    let spilling: Vec<_> =
        kernels.iter().filter(|kernel| kernel.stack_bytes + kernel.spill_bytes > 0).collect();
    if !spilling.is_empty() {
        return Err(format!("stack or spills: {spilling:?}").into());
    }
    Ok(kernels)
}

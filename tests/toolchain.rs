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
use norm_kernels::abi::{EntryPoint, EpilogueRounding, Gating, Template};
use norm_testing::{shipped, template, trials};
use xtask::lock::{self, Assembly, version_of};
use xtask::set::Set;

/// For which devices every kernel is assembled. Newer ones take the same texts: for them `cargo xtask ptx write` assembles every
/// kernel, and these tests one of each template.
const EVERY_KERNEL: [&str; 2] = ["sm_80", "sm_90"];

/// For which devices a kernel of each template is assembled, which rounds at another place: one for each text, of which sm_89 has
/// the least room, and the newest.
const ROUNDED_ELSEWHERE: [&str; 3] = ["sm_89", "sm_90", "sm_100"];

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
    let mut locks = Vec::new();
    for (number, (arch, capability)) in archs.into_iter().enumerate() {
        let ptx = for_capability(&EMBEDDED, capability).unwrap_or_else(|error| panic!("{arch}: {error}"));
        // A minute's work that two tests look at.
        let assembled = Arc::new(OnceLock::new());
        let assemble = move |ptxas: &Path| -> Result<Vec<Assembled>, Failed> {
            let assemble =
                || assembles(ptxas, &ptx.module_of(ptx.entries()?)?, arch, EntryPoint::all().count());
            assembled.get_or_init(assemble).clone()
        };
        if arch == ptx.target {
            let name = format!("{arch}_registers_and_shared_memory_are_those_of_the_lock_file");
            let lock = lock_of(arch).unwrap_or_else(|error| panic!("{arch}: {error}"));
            let locked = ptxas.clone().and_then(|ptxas| same_ptxas(ptxas, &lock));
            let assemble = assemble.clone();
            locks.push(trials::trial(&name, "ptxas", &locked, move |ptxas| {
                as_locked(&lock, &ptx, assemble(&ptxas)?)
            }));
        }
        if EVERY_KERNEL.contains(&arch) {
            let name = format!("{}_ptx_assembles_for_{arch}_without_stack_or_spills", ptx.target);
            trials.push(trials::trial(&name, "ptxas", &ptxas, move |ptxas| assemble(&ptxas).map(drop)));
        }
        if ROUNDED_ELSEWHERE.contains(&arch) {
            let name = format!("{}_ptx_that_rounds_elsewhere_assembles_for_{arch}", ptx.target);
            trials.push(trials::trial(&name, "ptxas", &ptxas, move |ptxas| {
                assembles(&ptxas, &rounding_elsewhere(&ptx, number)?, arch, Template::all().count()).map(drop)
            }));
        }
        let both = ptxas.clone().and_then(|ptxas| Ok((ptxas, shipped::rust_cuda()?)));
        let name = format!("rust_cuda_ptx_assembles_for_{arch}_without_stack_or_spills");
        trials.push(trials::trial(&name, "rust-cuda", &both, move |(ptxas, set)| {
            let ptx = for_capability(set, capability)?;
            let entries = of_each_template(number).map(|entry| entry.to_string());
            let entries = entries.map(|name| ptx.entry(&name)?.ok_or_else(|| no_kernel(&name)));
            let module = ptx.module_of(entries.collect::<Result<Vec<_>, Failed>>()?)?;
            assembles(&ptxas, &module, arch, Template::all().count()).map(drop)
        }));
    }
    for (target, capability) in [("sm_80", (8, 0)), ("sm_90", (9, 0))] {
        let name = format!("pseudo_instructions_assemble_for_{target}");
        let run = move |ptxas: PathBuf| pseudo_instructions(&ptxas, target, capability);
        trials.push(trials::trial(&name, "ptxas", &ptxas, run));
    }
    let disassembler = ptxas.clone().and_then(disassembler);
    trials.push(trials::trial(
        "machine_code_for_few_doubles_has_at_most_a_quarter_of_an_f64_instruction_an_element",
        "cuobjdump",
        &disassembler,
        |tools| few_doubles(&tools),
    ));
    // Trials start in this order, a thread each: beside the one that assembles for them these would only wait.
    trials.extend(locks);
    trials::run(trials)
}

/// ptxas, and the cuobjdump beside it, which has nvdisasm read machine code.
fn disassembler(ptxas: PathBuf) -> Result<[PathBuf; 2], String> {
    let [cuobjdump, nvdisasm] = ["cuobjdump", "nvdisasm"].map(|name| ptxas.with_file_name(name));
    match cuobjdump.is_file() && nvdisasm.is_file() {
        true => Ok([ptxas, cuobjdump]),
        false => Err(
            "no cuobjdump and nvdisasm beside ptxas (pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm)"
                .to_owned(),
        ),
    }
}

/// Instructions of f64 in the machine code of LayerNorm's kernels, and of RMSNorm's that read a row again, for two GPUs that have two
/// lanes of it a multiprocessor: arithmetic, comparisons, and conversions from and to it.
fn few_doubles([ptxas, cuobjdump]: &[PathBuf; 2]) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (arch, capability) in [("sm_86", (8, 6)), ("sm_103", (10, 3))] {
        let ptx = for_capability(&EMBEDDED, capability)?;
        let is_meant = |name: &str| {
            let types = [
                "layer_f16_f16_f16_",
                "layer_bf16_bf16_bf16_",
                "layer_f32_f32_f32_",
                "rms_f16_f16_f16_stream",
            ];
            types.iter().any(|types| name.starts_with(types))
        };
        let entries: Vec<_> = ptx.entries()?.filter(|entry| is_meant(entry.name())).collect();
        let [source, cubin] = ["module.ptx", "module.cubin"].map(|name| folder.path().join(name));
        fs::write(&source, ptx.module_of(entries.clone())?)?;
        let run = |tool: &Path, arguments: &[&std::ffi::OsStr]| -> Result<String, Failed> {
            let output = std::process::Command::new(tool).args(arguments).output()?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
            }
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        run(ptxas, &["-arch".as_ref(), arch.as_ref(), source.as_ref(), "-o".as_ref(), cubin.as_ref()])?;
        let code = run(cuobjdump, &["-sass".as_ref(), cubin.as_ref()])?;
        let functions: Vec<&str> = code.split("Function : ").skip(1).collect();
        if functions.len() != entries.len() {
            return Err(format!("{arch}: {} of {} kernels", functions.len(), entries.len()).into());
        }
        for function in functions {
            let name = function.split_whitespace().next().unwrap_or_default();
            let opcodes = function.lines().filter_map(|line| line.split("*/").nth(1));
            let opcodes =
                opcodes.filter_map(|code| code.split_whitespace().find(|word| !word.starts_with('@')));
            let doubles = opcodes.filter(|opcode| {
                ["DADD", "DMUL", "DFMA", "DSETP", "DMNMX"].iter().any(|double| opcode.starts_with(double))
                    || opcode.contains(".F64")
            });
            // The fewest elements that a thread of these kernels has: two vectors of 16 bytes, or four of f32.
            let elements = if name.contains("f32_f32_f32_warp2") { 8 } else { 16 };
            let doubles: Vec<&str> = doubles.collect();
            if 4 * doubles.len() > elements {
                return Err(format!("{name} for {arch}: {doubles:?}").into());
            }
        }
    }
    Ok(())
}

/// Those of [`of_each_template`], each with another place where its epilogue rounds than its neighbour has.
fn rounding_elsewhere(ptx: &Ptx, number: usize) -> Result<String, Failed> {
    let elsewhere = EpilogueRounding::all().skip(1).cycle().skip(number);
    let entries = of_each_template(number).zip(elsewhere).map(|(entry, epilogue)| {
        let gated = entry.gated(Gating::ALL[number % Gating::ALL.len()]);
        let name = gated.unwrap_or(entry).with_epilogue(epilogue).to_string();
        ptx.entry(&name)?.ok_or_else(|| no_kernel(&name))
    });
    Ok(ptx.module_of(entries.collect::<Result<Vec<_>, Failed>>()?)?)
}

/// A kernel of each template, by turns of another type, beginning with that number.
fn of_each_template(number: usize) -> impl Iterator<Item = EntryPoint> {
    Template::all().enumerate().map(move |(turn, template)| {
        let entries: Vec<EntryPoint> = template.entry_points().collect();
        entries[(turn + number) % entries.len()]
    })
}

fn no_kernel(name: &str) -> Failed {
    format!("no kernel {name}").into()
}

/// Templates written by hand, with each pseudo-instruction, for the types of every entry point.
fn pseudo_instructions(ptxas: &Path, target: &str, capability: (u32, u32)) -> Result<(), Failed> {
    let mut module = template::header(target);
    for entry in EntryPoint::all() {
        let text = template::entry(entry.template());
        module += &specialize(&text, entry, capability).map_err(|error| error.to_string())?;
        module += "\n\n";
    }
    assembles(ptxas, &module, target, EntryPoint::all().count()).map(drop)
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

/// Assembles so many kernels, none of which may spill.
fn assembles(ptxas: &Path, text: &str, arch: &str, expected: usize) -> Result<Vec<Assembled>, Failed> {
    let kernels = lock::assembled(ptxas, text, arch).map_err(|error| error.to_string())?;
    if kernels.len() != expected {
        return Err(format!("{} kernels assembled", kernels.len()).into());
    }
    Ok(kernels)
}

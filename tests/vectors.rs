//! The simulator gives what a GPU gave: `tests/vectors.json`, which
//! `NORM_RECORD=tests/vectors.json cargo test --test device vectors_are_recorded` writes on one.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use norm_host::ptx::{EMBEDDED, Ptx, opcodes};
use norm_host::{Simulator, plan::DeviceProfile};
use norm_testing::{
    cases, program,
    recorded::{Outputs, Program, Vectors, hold, load},
    shipped, trials,
};
use rayon::prelude::*;

fn main() -> ExitCode {
    let vectors = load().map(Arc::new);
    let trial = |name: &str, run: fn(&Vectors) -> Result<(), Failed>| -> Trial {
        trials::trial(name, "vectors", &vectors, move |vectors: Arc<Vectors>| run(&vectors))
    };
    let trials = vec![
        trial("programs_give_the_recorded_bits", programs),
        trial("every_arithmetic_instruction_of_the_kernels_is_recorded", |vectors| {
            instructions(vectors, &EMBEDDED)
        }),
        trial("kernels_give_the_recorded_bits_but_for_rsqrt", kernels),
        trials::trial(
            "every_arithmetic_instruction_of_rust_cudas_kernels_is_recorded",
            "rust-cuda",
            &shipped::rust_cuda().and_then(|set| Ok((vectors.clone()?, set))),
            |(vectors, set)| instructions(&vectors, set),
        ),
    ];
    trials::run(trials)
}

/// What computes nothing but with other lanes, or is not to give the same bits everywhere.
const NO_ARITHMETIC: &[&str] = &[
    "bar",
    "barrier",
    "bra",
    "cp",
    "createpolicy",
    "cvta",
    "ex2",
    "fence",
    "griddepcontrol",
    "ld",
    "mapa",
    "mbarrier",
    "mov",
    "prefetch",
    "rcp",
    "redux",
    "ret",
    "rsqrt",
    "shfl",
    "st",
    "vote",
];

/// What kernels have had only since the programs were recorded, and the next recording will have: `norm_testing::program` draws
/// them. All are of integers, for which PTX leaves nothing open; ptx-sim's `semantics` holds their results.
const NOT_YET: &[&str] = &["cvt.u16.u64", "setp.ge.u64", "setp.gt.s32", "setp.le.u64"];

/// Each opcode of a set's kernels, with its modifiers, is one of a program's.
fn instructions(recorded: &Vectors, set: &[Ptx]) -> Result<(), Failed> {
    let programs = recorded.programs.iter().flat_map(|program| &program.instructions);
    let recorded: BTreeSet<&str> = programs.flat_map(|instruction| opcodes(instruction)).collect();
    let mut all = BTreeSet::new();
    for ptx in set {
        for entry in ptx.entries()? {
            all.extend(opcodes(&entry.text()?).map(str::to_owned));
        }
    }
    let lacking: Vec<&str> = all
        .iter()
        .map(String::as_str)
        .filter(|opcode| !recorded.contains(opcode) && !NOT_YET.contains(opcode))
        .filter(|opcode| opcode.split('.').next().is_some_and(|name| !NO_ARITHMETIC.contains(&name)))
        .collect();
    if all.is_empty() || !lacking.is_empty() {
        return Err(format!("not recorded: {lacking:?}").into());
    }
    Ok(())
}

/// All programs, so that one run names every instruction that differs.
fn programs(recorded: &Vectors) -> Result<(), Failed> {
    let differing: Vec<String> = recorded.programs.iter().filter_map(differs).collect();
    if differing.is_empty() { Ok(()) } else { Err(differing.join("\n").into()) }
}

/// How the simulator's results of a program differ from the recorded ones.
fn differs(Program { instructions, inputs, outputs }: &Program) -> Option<String> {
    let (inputs, _) = inputs.as_chunks();
    let simulated = program::simulate(&program::module(instructions), inputs, inputs.len() as u32);
    let at = simulated.iter().zip(outputs).position(|(simulated, recorded)| simulated != recorded)?;
    let input = inputs[at / program::OUTPUTS];
    Some(format!(
        "{instructions:?}\n    result {} of {input:#010x?}: {:#010x} simulated, {:#010x} recorded",
        at % program::OUTPUTS,
        simulated[at],
        outputs[at],
    ))
}

fn kernels(recorded: &Vectors) -> Result<(), Failed> {
    let profile = DeviceProfile::of_capability(recorded.capability);
    let cases = cases::recorded()
        .flat_map(|kernel| cases::of_kernel(kernel, profile).map(move |case| (kernel, case)));
    let cases: Vec<_> = cases.collect();
    let simulated = cases.into_par_iter().map(|(kernel, case)| {
        let mut tensors = case.tensors();
        case.run(&mut tensors, &Simulator::with_profile(profile))?;
        let outputs = Outputs::of_kernel(kernel, case.dim, &tensors);
        Ok((case, tensors.b, outputs))
    });
    let simulated: Vec<_> = simulated.collect::<Result<_, Failed>>()?;
    let count = simulated.iter().map(|(.., outputs)| outputs.len()).sum::<usize>();
    if count != recorded.kernels.len() {
        return Err(format!("{count} tensors, {} recorded", recorded.kernels.len()).into());
    }
    let simulated =
        simulated.iter().flat_map(|(case, b, outputs)| outputs.iter().map(move |given| (case, b, given)));
    for ((case, biases, given), recorded) in simulated.zip(&recorded.kernels) {
        hold(case, biases.as_ref(), given, recorded)?;
    }
    Ok(())
}

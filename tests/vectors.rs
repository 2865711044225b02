//! The simulator gives what a GPU gave: `tests/vectors.json`, which
//! `NORM_RECORD=tests/vectors.json cargo test --test device vectors_are_recorded` writes on one.

#[path = "device/cases.rs"]
#[allow(dead_code)]
mod cases;
#[path = "../norm-host/tests/common/mod.rs"]
mod common;
#[path = "../ptx-sim/tests/common/program.rs"]
mod program;
mod support;

use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use norm_host::{DType, Limits, Simulator, accuracy::ulp};
use norm_kernels::abi::Kernel;
use rayon::prelude::*;
use support::vectors::{Outputs, Program, Vectors, load, number, positions};

/// `rsqrt.approx.f32` is off by 2^-22.9 at most (PTX ISA, "rsqrt"), on either side of the truth; the
/// two roundings behind it in f32 are the rest.
const APPROXIMATE: f64 = 1.0 / (1 << 21) as f64;

fn main() {
    let vectors = load().map(Arc::new);
    let trial = |name: &str, run: fn(&Vectors) -> Result<(), Failed>| -> Trial {
        support::trial(name, "vectors", &vectors, move |vectors: Arc<Vectors>| run(&vectors))
    };
    let trials = vec![
        trial("programs_give_the_recorded_bits", programs),
        trial("kernels_give_the_recorded_bits_but_for_rsqrt", kernels),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
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
    let limits = Limits::of_capability(recorded.capability);
    let expected =
        Kernel::all().flat_map(|kernel| cases::of_kernel(kernel, limits).map(move |case| (kernel, case)));
    let expected: Vec<_> = expected.collect();
    if expected.len() != recorded.kernels.len() {
        return Err(format!("{} cases, {} recorded", expected.len(), recorded.kernels.len()).into());
    }
    expected.into_par_iter().zip(&recorded.kernels).try_for_each(|((kernel, case), outputs)| {
        if (&kernel.to_string(), case.dim) != (&outputs.kernel, outputs.dim) {
            return Err(
                format!("{kernel} of {}, recorded {} of {}", case.dim, outputs.kernel, outputs.dim).into()
            );
        }
        let mut tensors = case.tensors();
        case.run(&mut tensors, &Simulator::with_limits(limits))?;
        let all = tensors.y.bits();
        let biases = tensors.b;
        let simulated = positions(all.len()).map(|position| {
            let bias = biases.as_ref().map_or(0.0, |b| b.get(position % case.dim));
            (all[position], bias)
        });
        close(case.y, simulated, outputs)
    })
}

/// Holds a kernel's outputs to the recorded ones: as near as `rsqrt.approx` allows, and nearly all of
/// those that 16 bits round have the same bits.
fn close(
    y: DType,
    simulated: impl ExactSizeIterator<Item = (u32, f64)>,
    recorded: &Outputs,
) -> Result<(), Failed> {
    let (count, name) = (simulated.len(), &recorded.kernel);
    if count != recorded.bits.len() {
        return Err(format!("{name}: {count} outputs, {} recorded", recorded.bits.len()).into());
    }
    let mut other_bits = 0;
    for ((given, bias), &expected) in simulated.zip(&recorded.bits) {
        other_bits += usize::from(given != expected);
        let (given, expected) = (number(y, given), number(y, expected));
        let rounding = if y == DType::F32 { 0.0 } else { ulp(y, expected) };
        let allowed = (expected.abs() + bias.abs()) * APPROXIMATE + rounding;
        if (given - expected).abs() > allowed {
            return Err(format!("{name}: {given:e} simulated, {expected:e} recorded").into());
        }
    }
    if y != DType::F32 && other_bits * 10 > count {
        return Err(format!("{name}: {other_bits} of {count} outputs have other bits").into());
    }
    Ok(())
}

//! The kernels that rust-cuda made, held to those of stock rustc, and to what those are held to. Where they were made
//! of other kernels than are here, each of these tests is ignored, for that reason.
#![allow(dead_code, unused_imports)] // Of the other test files, what holds a set of kernels to something is used.

#[path = "cli/apply.rs"]
mod apply;
#[path = "cli/file.rs"]
mod file;
#[path = "ptx.rs"]
mod ptx;
#[path = "cli/report.rs"]
mod report;
#[path = "cli/run.rs"]
mod run;

use std::process::ExitCode;
use std::sync::LazyLock;

use libtest_mimic::Failed;
use norm_host::{
    DType, NormKind, Rounding, Simulator,
    plan::DeviceProfile,
    ptx::{EMBEDDED, RUST_CUDA},
};
use proptest::{
    prelude::*,
    test_runner::{TestCaseResult, TestRunner},
};
use rayon::prelude::*;

use norm_testing::{
    case::{Addition, Case, Residual, case},
    config, shipped, trials,
    values::Values,
};
use report::Run;

fn main() -> ExitCode {
    let rust_cuda = shipped::rust_cuda();
    let trial = |name: &str, run: fn()| {
        trials::trial(name, "rust-cuda", &rust_cuda, move |_| -> Result<(), Failed> {
            run();
            Ok(())
        })
    };
    trials::run(vec![
        trial("any_operation_has_the_same_bits", any_operation_has_the_same_bits),
        trial("every_kernel_has_the_same_bits", every_kernel_has_the_same_bits),
        trial("rows_of_clusters_and_longer_ones_have_the_same_bits", rows_of_clusters_and_longer_ones),
        trial("random_cases_keep_every_promise", random_cases_keep_every_promise),
        trial("kernels_normalize_a_file", || apply::normalize_a_file("rust-cuda")),
        trial("no_kernel_uses_local_memory_or_calls_anything", || ptx::uses_no_local_memory(&ptx::RUST_CUDA)),
        trial("barriers_and_shuffles_are_as_many_as_in_the_source", || {
            ptx::barriers_and_shuffles(&ptx::RUST_CUDA)
        }),
        trial("steps_over_shards_have_no_more_barriers_than_the_source", || {
            ptx::steps_over_shards(&ptx::RUST_CUDA)
        }),
        trial("gated_norms_have_no_more_barriers_than_the_source", || ptx::gated_norms(&ptx::RUST_CUDA)),
        trial("heads_are_summed_by_shuffles_and_move_in_whole_vectors", || ptx::heads(&ptx::RUST_CUDA)),
        trial("aligned_rows_move_in_16_byte_accesses", || ptx::widths_of_accesses(&ptx::RUST_CUDA)),
        trial("every_kernel_states_its_largest_block", || ptx::largest_blocks(&ptx::RUST_CUDA)),
        trial("every_kernel_is_in_the_report", || report::holds_every_kernel("rust-cuda", &RUNS)),
        trial("every_kernel_moves_what_it_must_and_no_more", || report::moves_what_it_must(&RUNS)),
        trial("warps_part_where_one_lane_acts_for_all_and_where_rows_end", || {
            report::parts_where_it_must(&RUNS)
        }),
    ])
}

/// What `norm ptx report` counts of them.
static RUNS: LazyLock<Vec<Run>> = LazyLock::new(|| report::runs("rust-cuda"));

/// As `tests/cli/sim.rs` has it of stock rustc's.
fn random_cases_keep_every_promise() {
    let check = ["check", "--device", "sim", "--ptx", "rust-cuda", "--cases", "1500", "--seed", "3"];
    run::norm(run::here(), &check).good();
}

/// A simulator a target, with the kernels of stock rustc and with those of rust-cuda.
static SIMULATORS: LazyLock<Vec<[Simulator; 2]>> = LazyLock::new(|| {
    let sets = EMBEDDED.iter().zip(&RUST_CUDA);
    sets.map(|(stock, rust_cuda)| [stock, rust_cuda].map(|ptx| Simulator::with_ptx(*ptx))).collect()
});

/// Holds `y`, and the residual, to the same bits for both.
fn agree(case: &Case, [stock, rust_cuda]: &[Simulator; 2]) -> TestCaseResult {
    let run = |simulator: &Simulator| {
        let mut tensors = case.tensors();
        case.run(&mut tensors, simulator).map(|()| tensors)
    };
    let [stock, rust_cuda] = [run(stock), run(rust_cuda)];
    let fail = |error: norm_host::Error| TestCaseError::fail(error.to_string());
    let (stock, rust_cuda) = (stock.map_err(fail)?, rust_cuda.map_err(fail)?);
    prop_assert_eq!(stock.y.bits(), rust_cuda.y.bits());
    prop_assert_eq!(stock.r.map(|r| r.bits()), rust_cuda.r.map(|r| r.bits()));
    Ok(())
}

fn any_operation_has_the_same_bits() {
    let agree = |case| SIMULATORS.iter().try_for_each(|simulators| agree(&case, simulators));
    TestRunner::new(config(96)).run(&case(4099), agree).unwrap_or_else(|error| panic!("{error}"));
}

/// Rows that each kernel is for, with values whose sums show another order of additions.
fn every_kernel_has_the_same_bits() {
    let kinds_and_types = || {
        let types = (0..27).map(|n| [n / 9, n / 3 % 3, n % 3].map(|k| DType::ALL[k]));
        types.flat_map(|types| NormKind::ALL.map(|kind| (kind, types)))
    };
    let cases: Vec<Case> = [64, 200, 512, 1024, 2048, 4096, 4095, 32_768]
        .into_iter()
        .flat_map(|dim| kinds_and_types().map(move |(kind, types)| (kind, types, dim)))
        .enumerate()
        .map(|(index, (kind, [x, w, y], dim))| Case {
            kind,
            heads: false,
            residual: Residual::ALL[index / 2 % 3],
            addition: Addition::PLAIN,
            x,
            y,
            w: Some(w),
            b: (index % 5 == 0).then_some(w),
            front: vec![if dim <= 512 { 5 } else { 2 }],
            dim,
            gaps: vec![(0, 0)],
            r_gaps: [0; 3],
            param_gap: 0,
            shared: [false; 2],
            values: Values::Extreme,
            eps: 1e-5,
            weight_offset: [0.0, 0.5][index % 2],
            round_offset: index % 4 == 1,
            rounding: Rounding::ALL[index / 3 % 4],
            seed: index as u64,
        })
        .collect();
    cases.par_iter().for_each(|case| {
        for simulators in SIMULATORS.iter() {
            agree(case, simulators).unwrap_or_else(|error| panic!("{case:?}: {error}"));
            // Rows that may take another kernel where they are many.
            if case.dim > 1024 && case.residual == Residual::None {
                let many = |simulator: &Simulator| {
                    simulator.on(DeviceProfile { short_grid: 0, ..simulator.profile() })
                };
                let many = simulators.each_ref().map(many);
                agree(case, &many).unwrap_or_else(|error| panic!("{case:?}, as if many: {error}"));
            }
        }
    });
}

/// Clusters, and rows that no shared memory holds.
fn rows_of_clusters_and_longer_ones() {
    for (dim, profile) in [(131_072, DeviceProfile::of_capability((9, 0))), (131_072, DeviceProfile::LEAST)] {
        for kind in NormKind::ALL {
            let case = Case {
                kind,
                heads: false,
                residual: Residual::None,
                addition: Addition::PLAIN,
                x: DType::F16,
                y: DType::F16,
                w: Some(DType::F32),
                b: None,
                front: vec![1],
                dim,
                gaps: vec![(0, 0)],
                r_gaps: [0; 3],
                param_gap: 0,
                shared: [false; 2],
                values: Values::Extreme,
                eps: 1e-5,
                weight_offset: 0.0,
                round_offset: false,
                rounding: Rounding::Single,
                seed: 1,
            };
            let newest = SIMULATORS.last().expect("there are targets");
            let simulators = [newest[0].on(profile), newest[1].on(profile)];
            agree(&case, &simulators).unwrap_or_else(|error| panic!("{case:?}: {error}"));
        }
    }
}

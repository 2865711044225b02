//! The kernels that rust-cuda made, and those of stock rustc, on the simulator.

#[path = "../norm-host/tests/common/mod.rs"]
mod common;

use std::sync::LazyLock;

use norm_host::{
    DType, DeviceProfile, NormKind, Simulator,
    ptx::{EMBEDDED, RUST_CUDA},
};
use proptest::{prelude::*, test_runner::TestCaseResult};
use rayon::prelude::*;

use common::{
    buffer::Buffer,
    case::{Case, Residual, case},
    config,
    values::Values,
};

/// A simulator a target, with the kernels of stock rustc and with those of rust-cuda.
static SIMULATORS: LazyLock<Vec<[Simulator; 2]>> = LazyLock::new(|| {
    let sets = EMBEDDED.iter().zip(&RUST_CUDA);
    sets.map(|(stock, rust_cuda)| [stock, rust_cuda].map(|ptx| Simulator::with_ptx(*ptx))).collect()
});

/// Holds the residual to the same bits for both, and `y` to what [`Case::agrees_but_for_the_mean`] says.
fn agree(case: &Case, [stock, rust_cuda]: &[Simulator; 2]) -> TestCaseResult {
    let before = case.tensors();
    let run = |simulator: &Simulator| {
        let mut tensors = before.clone();
        case.run(&mut tensors, simulator).map(|()| tensors)
    };
    let [stock, rust_cuda] = [run(stock), run(rust_cuda)];
    let fail = |error: norm_host::Error| TestCaseError::fail(error.to_string());
    let (stock, rust_cuda) = (stock.map_err(fail)?, rust_cuda.map_err(fail)?);
    prop_assert!(stock.r.as_ref().map(Buffer::bits) == rust_cuda.r.as_ref().map(Buffer::bits), "r");
    case.agrees_but_for_the_mean(&before, &stock.y, &rust_cuda.y).map_err(TestCaseError::fail)?;
    Ok(())
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn any_operation_has_the_same_bits(case in case(4099)) {
        for simulators in SIMULATORS.iter() {
            agree(&case, simulators)?;
        }
    }
}

/// Rows that each kernel is for, with values whose sums show another order of additions.
#[test]
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
#[test]
fn rows_of_clusters_and_longer_ones_have_the_same_bits() {
    for (dim, profile) in [(131_072, DeviceProfile::of_capability((9, 0))), (131_072, DeviceProfile::LEAST)] {
        for kind in NormKind::ALL {
            let case = Case {
                kind,
                heads: false,
                residual: Residual::None,
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
                seed: 1,
            };
            let newest = SIMULATORS.last().expect("there are targets");
            let simulators = [newest[0].on(profile), newest[1].on(profile)];
            agree(&case, &simulators).unwrap_or_else(|error| panic!("{case:?}: {error}"));
        }
    }
}

//! A row's bits do not depend on how many rows there are: the kernels that a launch takes for few and
//! for many, on the simulator.

use norm_host::{NormKind, Simulator, plan::DeviceProfile};
use rayon::prelude::*;

use norm_testing::{
    case::{Case, Residual},
    cases::{dtypes_and_kinds, plain},
    values::Values,
};

/// One for which a grid of any length is a short one, or a long one, beside memory that is fast or not.
fn simulator(short_grid: u64, memory_bytes_per_clock: u32) -> Simulator {
    Simulator::with_profile(DeviceProfile {
        short_grid,
        memory_bytes_per_clock,
        ..DeviceProfile::of_capability((9, 0))
    })
}

/// At dims where the two kernels differ: LayerNorm's from registers, RMSNorm's from registers or
/// shared memory and from L1; and where there is one for both.
#[test]
fn short_and_long_grids_have_the_same_bits() {
    let cases: Vec<Case> = [264, 1608, 8192, 16_384]
        .into_iter()
        .flat_map(|dim| dtypes_and_kinds().map(move |(dtypes, kind)| plain(kind, dtypes, 2, dim)))
        .enumerate()
        .map(|(index, case)| Case {
            b: case.w.filter(|_| case.kind == NormKind::Layer && index % 3 == 0),
            residual: if index % 4 == 1 { Residual::Before } else { Residual::None },
            // Sums of these show another order of additions; of those, some rows take LayerNorm another pass.
            values: if index / 2 % 2 == 0 { Values::Extreme } else { Values::Shifted },
            ..case
        })
        .collect();
    cases.par_iter().for_each(|case| {
        for memory_bytes_per_clock in [12, 18] {
            let [short, long] = [u64::MAX, 0].map(|short_grid| {
                let mut tensors = case.tensors();
                case.run(&mut tensors, &simulator(short_grid, memory_bytes_per_clock))
                    .unwrap_or_else(|error| panic!("{case:?}: {error}"));
                (tensors.y.bits(), tensors.r.map(|r| r.bits()))
            });
            assert_eq!(short, long, "{case:?}, {memory_bytes_per_clock} bytes a clock");
        }
    });
}

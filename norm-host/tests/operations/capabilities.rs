//! Rows that are long beside what a block may have, on the limits of each compute capability: the shipped kernels on the
//! simulator, which refuses an access outside of the shared memory that a launch asks for.

use norm_host::{DType, NormKind, Rounding, Simulator, plan::DeviceProfile};
use norm_testing::{
    case::{Addition, Case, Residual},
    values::Values,
};

/// A dense row of one type throughout, with weights.
fn row(kind: NormKind, dtype: DType, dim: usize, values: Values) -> Case {
    Case {
        kind,
        heads: false,
        residual: Residual::None,
        addition: Addition::PLAIN,
        x: dtype,
        y: dtype,
        w: Some(dtype),
        b: None,
        front: vec![1],
        dim,
        gaps: vec![(0, 0); 3],
        r_gaps: [0; 3],
        param_gap: 0,
        shared: [false; 2],
        values,
        eps: 1e-5,
        weight_offset: 0.0,
        round_offset: false,
        rounding: Rounding::Single,
        seed: dim as u64,
    }
}

/// Runs a case within the limits of a capability, with plans for fast memory and for slow.
fn holds(case: &Case, capability: (u32, u32)) {
    for memory_bytes_per_clock in [10, 18] {
        let profile = DeviceProfile { memory_bytes_per_clock, ..DeviceProfile::of_capability(capability) };
        let (before, mut after) = (case.tensors(), case.tensors());
        case.run(&mut after, &Simulator::with_profile(profile))
            .unwrap_or_else(|error| panic!("{capability:?}: {case:?}: {error}"));
        for row in 0..case.rows() {
            let judged = case.judge(&before, &after, row);
            assert!(judged.promised && judged.is_kept(), "{capability:?}: {case:?}: row {row}: {judged:?}");
        }
    }
}

/// One of each limit: of shared memory, clusters, overlap.
const CAPABILITIES: [(u32, u32); 6] = [(8, 0), (8, 6), (8, 9), (9, 0), (11, 0), (12, 0)];

/// Lengths whose last block, thread or vector has less than the others: 4251 vectors in four blocks, 8250 in nine a thread.
#[test]
fn long_rows_keep_the_promise_on_every_capability() {
    for (dtype, dim) in [(DType::F32, 17_004), (DType::F16, 66_000)] {
        for (kind, values) in [(NormKind::Rms, Values::Plain), (NormKind::Layer, Values::Shifted)] {
            let case = row(kind, dtype, dim, values);
            // A residual behind the norm is staged, whole.
            let behind = Case { residual: Residual::Behind, ..case.clone() };
            for capability in CAPABILITIES {
                holds(&case, capability);
                holds(&behind, capability);
            }
        }
    }
}

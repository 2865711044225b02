//! What each compute capability has, and what plans make of that.

use super::*;

/// A compute capability, and what the CUDA C++ Programming Guide, 'Technical Specifications per Compute Capability', says
/// that a block may have there of shared memory, in KiB; then what kernels use: KiB of shared memory, blocks of a cluster,
/// whether a launch may overlap with the one in front of it, and bytes a clock from memory.
type Limits = ((u32, u32), u32, u32, u32, bool, u32);

#[rustfmt::skip]
const CAPABILITIES: &[Limits] = &[
    (( 8, 0), 163, 160,  1, false, 10),
    (( 8, 6),  99,  96,  1, false, 10),
    (( 8, 7), 163, 160,  1, false, 10),
    (( 8, 9),  99,  96,  1, false, 10),
    (( 9, 0), 227, 224, 16, true,  18),
    ((10, 0), 227, 224, 16, true,  18),
    ((10, 3), 227, 224, 16, true,  18),
    ((11, 0), 227,  96,  1, true,  10),
    ((12, 0),  99,  96,  1, true,  10),
    ((12, 1),  99,  96,  1, true,  10),
];

#[test]
fn each_capability_has_the_limits_of_its_devices() {
    for &(capability, most_kib, kib, max_cluster, dependent_launch, memory_bytes_per_clock) in CAPABILITIES {
        let expected = DeviceProfile {
            max_cluster,
            max_shared_bytes: kib << 10,
            dependent_launch,
            short_grid: 512,
            memory_bytes_per_clock,
        };
        assert_eq!(DeviceProfile::of_capability(capability), expected, "{capability:?}");
        assert!(kib <= most_kib, "{capability:?}");
    }
}

/// Rows that take more shared memory than some devices have are planned within what each has.
#[test]
fn no_plan_takes_more_shared_memory_than_a_block_may_have() {
    for &(capability, most_kib, ..) in CAPABILITIES {
        let profile = DeviceProfile::of_capability(capability);
        let mut most = 0;
        for (kind, dim) in NormKind::ALL.into_iter().flat_map(|kind| (12..20).map(move |n| (kind, 5 << n))) {
            for residual in [None, in_front(DType::F32)] {
                let problem = Problem { kind, residual, ..dense(DType::F32, DType::F32, 3, dim) };
                let plan = Plan::new(&problem, profile).unwrap();
                assert!(plan.shared_bytes <= most_kib << 10, "{capability:?}, {dim}: {}", plan.shared_bytes);
                most = most.max(plan.shared_bytes);
            }
        }
        // What there is, is used: above what every kernel has without being permitted more.
        assert!(most > 48 << 10, "{capability:?}: {most}");
    }
}

/// 4251 vectors in four blocks: three of 1063 and one of 1062.
#[test]
fn the_last_share_has_a_reciprocal_of_its_own() {
    let problem = Problem { kind: NormKind::Layer, ..dense(DType::F32, DType::F32, 3, 17_004) };
    let reciprocals = |profile| {
        let Plan { cluster, args, .. } = Plan::new(&problem, profile).unwrap();
        (cluster, args.share, args.reciprocal, args.share_reciprocal, args.last_share_reciprocal)
    };
    assert_eq!(reciprocals(H200), (4, 4252, 1.0 / 17_004.0, 1.0 / 4252.0, 1.0 / 4248.0));
    let whole = 1.0 / 17_004.0;
    assert_eq!(reciprocals(A100), (1, 17_004, whole, whole, whole));
}

/// 8250 vectors of 928 threads, nine each: kernels stage them two by two, all of them, or the seven that they do not hold in
/// registers.
#[test]
fn shared_memory_has_room_for_an_even_number_of_vectors() {
    let plain = dense(DType::F16, DType::F16, 3, 66_000);
    for (problem, variant, vectors) in [(plain, Variant::Mixed, 8), (behind(plain), Variant::Staged, 10)] {
        let plan = Plan::new(&problem, A100).unwrap();
        assert_eq!((plan.kernel.variant, plan.block), (variant, [928, 1, 1]));
        assert_eq!(plan.shared_bytes, vectors * 928 * 16);
    }
}

/// Each of a block's rows has its own: 128 rows of four threads with two vectors.
#[test]
fn shared_memory_has_room_for_all_rows_of_a_block() {
    let problem = behind(dense(DType::F16, DType::F16, 300, 64));
    let plan = Plan::new(&problem, A100).unwrap();
    assert_eq!((plan.kernel.variant, plan.block), (Variant::Staged, [4, 128, 1]));
    assert_eq!(plan.shared_bytes, 2 * 4 * 128 * 16);
}

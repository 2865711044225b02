//! Every kernel there is, once: small enough to be run under compute-sanitizer.

use libtest_mimic::Failed;
use norm_host::{
    Device, NormKind,
    plan::{DeviceProfile, Plan},
};
use norm_kernels::abi::{Kernel, Variant};

use norm_testing::{
    case::Case,
    cases::{Addresses, of_kernel, problem},
    device::on_device::{OnDevice, Shifts, judge},
};

/// Those of one normalization and variant.
pub fn each_once(device: Device, kind: NormKind, variant: Variant) -> Result<(), Failed> {
    let profile = device.profile();
    // Rows that fit no shared memory, or that a large cluster has no room for, are too long for racecheck.
    let device = device.with_profile(match variant {
        Variant::Stream => DeviceProfile { max_shared_bytes: 0, ..profile },
        Variant::Mixed => DeviceProfile { max_cluster: profile.max_cluster.min(2), ..profile },
        _ => profile,
    });
    let stream = norm_host::Stream::new(&device)?;
    for kernel in Kernel::all().filter(|kernel| (kernel.kind, kernel.variant) == (kind, variant)) {
        for case in of_kernel(kernel, device.profile()) {
            let mut tensors = case.tensors();
            let mut on_device = OnDevice::upload(device, &case, &tensors, Shifts::NONE)?;
            assert_eq!(planned(device, &case, &mut on_device)?, kernel, "{case:?}");
            on_device.enqueue(&stream)?;
            stream.synchronize()?;
            on_device.download(&mut tensors)?;
            judge(&case, &tensors)?;
        }
    }
    Ok(())
}

/// The kernel that a case of dense rows takes.
fn planned(device: Device, case: &Case, tensors: &mut OnDevice) -> Result<Kernel, Failed> {
    let views = tensors.views();
    let problem = problem(
        case,
        Addresses {
            x: views.x.address(),
            y: views.y.address(),
            r: views.r.map(|r| r.address()),
            s: views.s.map(|s| s.address()),
            scale: views.scale.map(|scale| scale.address()),
            w: views.w.map(|w| w.address()),
            b: views.b.map(|b| b.address()),
        },
    );
    Ok(Plan::new(&problem, device.profile())?.kernel)
}

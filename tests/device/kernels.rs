//! Every kernel there is, once: small enough to be run under compute-sanitizer.

use libtest_mimic::Failed;
use norm_host::{Device, DeviceProfile, NormKind, Operand, Param, Plan, Problem};
use norm_kernels::abi::{Axis, Kernel, Variant};

use crate::{
    cases::of_kernel,
    common::case::Case,
    on_device::{OnDevice, Shifts, judge},
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
            tensors.y = on_device.y.download()?;
            tensors.r = on_device.r.as_ref().map(|r| r.download()).transpose()?;
            judge(&case, &tensors)?;
        }
    }
    Ok(())
}

/// The kernel that a case of dense rows takes.
fn planned(device: Device, case: &Case, tensors: &mut OnDevice) -> Result<Kernel, Failed> {
    let views = tensors.views();
    let param = |p: norm_host::View<'_>| Param { address: p.address(), dtype: p.dtype(), stride: 0 };
    let stride = case.dim as u64;
    let rows = Axis { extent: case.rows() as u64, x_stride: stride, y_stride: stride, r_stride: stride };
    let problem = Problem {
        kind: case.kind,
        x: Operand { address: views.x.address(), dtype: case.x },
        y: Operand { address: views.y.address(), dtype: case.y },
        r: views.r.map(|r| Operand { address: r.address(), dtype: r.dtype() }),
        accumulate: false,
        w: views.w.map(param),
        b: views.b.map(param),
        axes: [Axis::ONE, Axis::ONE, rows],
        rows: case.rows() as u64,
        dim: u32::try_from(case.dim)?,
        eps: case.eps,
        weight_offset: case.weight_offset,
        round_offset: case.round_offset,
        rounding: case.rounding,
        overlap: true,
    };
    Ok(Plan::new(&problem, device.profile())?.kernel)
}

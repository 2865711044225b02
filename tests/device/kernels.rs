//! Every kernel there is, once: small enough to be run under compute-sanitizer.

use libtest_mimic::Failed;
use norm_host::{Device, Operand, Param, Plan, Problem};
use norm_kernels::abi::{Access, Axis, Kernel, NormKind, Tile};

use crate::{
    cases::plain,
    common::case::Case,
    on_device::{OnDevice, Shifts, judge},
};

/// A number of rows, and a number of vectors in a row, for which a kernel of this access runs,
/// with idle threads in rows, and idle rows in the last block.
fn size(kind: NormKind, access: Access) -> [usize; 2] {
    match access {
        Access::Warp2 => [131, if kind == NormKind::Rms { 40 } else { 7 }],
        Access::Warp4 => [11, 50],
        Access::Block2 => [3, 100],
        Access::Block4 => [2, 600],
        // A cluster's last block has a shorter share than the others.
        Access::Staged => [2, 9005],
        Access::Stream => [1, 480_001],
        Access::Scalar => [3, 100],
    }
}

pub fn each_once(device: Device) -> Result<(), Failed> {
    let stream = norm_host::Stream::new(&device)?;
    for kernel in Kernel::all() {
        let [rows, vectors] = size(kernel.kind, kernel.access);
        let width = Tile::new(kernel.kind, kernel.x, kernel.y, 1, device.limits()).width as usize;
        // Scalar rows of every length: those of a warp, of a block, of a cluster.
        let dims = match kernel.access {
            Access::Scalar => vec![5 * width + 1, vectors * width + 1, 9005 * width + 1],
            _ => vec![vectors * width],
        };
        for dim in dims {
            let case = plain(kernel.kind, [kernel.x, kernel.w, kernel.y], rows, dim);
            // Kernels that hold rows of RMSNorm know no biases.
            let may_have_biases = kernel.kind == NormKind::Layer || kernel.access == Access::Scalar;
            let b = case.w.filter(|_| may_have_biases && kernel.index() % 2 == 0);
            let case = Case { b, ..case };
            let mut tensors = case.tensors();
            let mut on_device = OnDevice::upload(device, &case, &tensors, Shifts::NONE)?;
            assert_eq!(planned(device, &case, &mut on_device)?, kernel, "{case:?}");
            on_device.enqueue(&stream)?;
            stream.synchronize()?;
            tensors.y = on_device.y.download()?;
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
    let rows = Axis { extent: case.rows() as u64, x_stride: stride, y_stride: stride, r_stride: 0 };
    let problem = Problem {
        kind: case.kind,
        x: Operand { address: views.x.address(), dtype: case.x },
        y: Operand { address: views.y.address(), dtype: case.y },
        r: None,
        accumulate: false,
        w: views.w.map(param),
        b: views.b.map(param),
        axes: [Axis::ONE, Axis::ONE, rows],
        rows: case.rows() as u64,
        dim: u32::try_from(case.dim)?,
        eps: case.eps,
        weight_offset: case.weight_offset,
        overlap: true,
    };
    Ok(Plan::new(&problem, device.limits())?.kernel)
}

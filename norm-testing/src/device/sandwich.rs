//! Two norms with a residual between them, in one launch and in two.

use libtest_mimic::Failed;
use norm_host::{Device, Rounding, Stream};
use norm_kernels::abi::Kernel;

use super::on_device::{OnDevice, Shifts};
use crate::{
    cases::of_sandwich,
    sandwich::{Between, Sandwich},
};

/// Every kernel of two norms in every order: the bits of two operations, and both promises.
pub fn each_kernel_once(device: Device) -> Result<(), Failed> {
    for (index, kernel) in Kernel::all().filter(|kernel| kernel.variant.is_sandwich()).enumerate() {
        for (turn, rounding) in (index..).zip(Rounding::ALL) {
            holds(device, &of_sandwich(kernel, rounding, turn, device.profile()))?;
        }
    }
    Ok(())
}

fn holds(device: Device, case: &Sandwich) -> Result<(), Failed> {
    let before = case.tensors();
    let [fused, apart] = [true, false].map(|fused| run(device, case, before.clone(), fused));
    let (fused, apart) = (fused?, apart?);
    if Sandwich::bits(&fused) != Sandwich::bits(&apart) {
        return Err(format!("{case:?}: other bits than two operations").into());
    }
    for row in 0..case.first.rows() {
        for judged in case.judge(&before, &fused, row) {
            if !(judged.promised && judged.is_kept()) {
                return Err(format!("{case:?}: row {row}: {judged:?}").into());
            }
        }
    }
    Ok(())
}

/// The tensors after one operation, or after two.
fn run(device: Device, case: &Sandwich, mut tensors: Between, fused: bool) -> Result<Between, Failed> {
    let stream = Stream::new(&device)?;
    let mut first = OnDevice::upload(device, &case.first, &tensors.first, Shifts::NONE)?;
    let mut second = OnDevice::upload(device, &case.second, &tensors.second, Shifts::NONE)?;
    if !fused {
        first.enqueue(&stream)?;
    }
    let (of_first, mut of_second) = (first.views(), second.views());
    let next = case.second.described().weight(of_second.w).bias(of_second.b);
    if fused {
        let norm = case.first.described().weight(of_first.w).bias(of_first.b);
        let norm = norm.sum_scale(case.first.sum_scale(of_first.scale));
        let (x, mut sum, y) = (of_first.x, of_first.y, &mut of_second.y);
        match of_first.r {
            Some(r) => norm.sandwich_rows_to(&next, x, r.as_view(), &mut sum, y, &stream)?,
            None => norm.sandwich_rows(&next, x, &mut sum, y, &stream)?,
        }
    } else {
        next.rows(of_first.y.as_view(), &mut of_second.y, &stream)?;
    }
    stream.synchronize()?;
    first.download(&mut tensors.first)?;
    second.download(&mut tensors.second)?;
    Ok(tensors)
}

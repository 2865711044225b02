//! `rms_norm_tp` on several streams, of one device or of several.

use std::ptr::null_mut;

use cuda_driver::{driver, sys::CUcontext};
use cust::memory::LockedBuffer;
use libtest_mimic::Failed;
use norm_host::{
    Arg, DType, Device, Error, NormKind, Place, Rounding, Stream, TpContext, View, ViewMut, head_norm_tp,
    layer_norm_tp, rms_norm_tp,
};

use super::on_device::{OnDevice, Shifts, Views};
use crate::{
    case::Case,
    cases::{dtypes, plain},
};

const EPS: f32 = 1e-6;

/// The case that the `index`-th of a group has: of values of its own.
pub fn on_one(case: &Case, index: usize) -> Case {
    Case { seed: case.seed.wrapping_add(index as u64), ..case.clone() }
}

/// One set of tensors a device, with different values, and the group's streams.
pub fn group(devices: &[Device], case: &Case) -> Result<(Vec<OnDevice>, TpContext), Failed> {
    let mut tensors = Vec::new();
    let mut streams = Vec::new();
    for (index, device) in devices.iter().enumerate() {
        tensors.push(upload(*device, case, index)?);
        streams.push(Stream::new(device)?);
    }
    Ok((tensors, TpContext::sharing_devices(streams)?))
}

/// The tensors that the `index`-th of a group has.
fn upload(device: Device, case: &Case, index: usize) -> Result<OnDevice, Failed> {
    let case = on_one(case, index);
    OnDevice::upload(device, &case, &case.tensors(), Shifts::NONE)
}

/// What the first device makes of the tensors of each, by plain calls on one stream.
pub fn on_the_first(devices: &[Device], case: &Case) -> Result<Vec<Vec<u32>>, Failed> {
    let stream = Stream::new(&devices[0])?;
    let mut tensors = Vec::new();
    for index in 0..devices.len() {
        let mut on_device = upload(devices[0], case, index)?;
        on_device.enqueue(&stream)?;
        tensors.push(on_device);
    }
    stream.synchronize()?;
    y_bits(&tensors)
}

/// Runs `rms_norm_tp` on lists that `change` may spoil first.
fn run(
    tensors: &mut [OnDevice],
    tp: &TpContext,
    change: impl FnOnce(&mut Vec<View<'_>>, &mut Vec<View<'_>>, &mut Vec<ViewMut<'_>>),
) -> Result<(), Error> {
    let (mut x, mut w, mut y) = (Vec::new(), Vec::new(), Vec::new());
    for Views { x: one_x, w: one_w, y: one_y, .. } in tensors.iter_mut().map(OnDevice::views) {
        x.push(one_x);
        w.extend(one_w);
        y.push(one_y);
    }
    change(&mut x, &mut w, &mut y);
    rms_norm_tp(&x, &w, &mut y, EPS, tp)
}

pub fn y_bits(tensors: &[OnDevice]) -> Result<Vec<Vec<u32>>, Failed> {
    tensors.iter().map(|tensors| Ok(tensors.y.download()?.bits())).collect()
}

/// Each device has the bits that the first makes of the same tensors by itself. The devices are of
/// one capability.
pub fn equals_rms_norm(devices: &[Device]) -> Result<(), Failed> {
    for dtypes in dtypes() {
        for dim in [127, 4096, 33_000] {
            let case = Case { eps: EPS, ..plain(NormKind::Rms, dtypes, 5, dim) };
            let (mut tensors, tp) = group(devices, &case)?;
            run(&mut tensors, &tp, |_, _, _| {})?;
            tp.synchronize()?;
            let together = y_bits(&tensors)?;
            assert_eq!(together, on_the_first(devices, &case)?, "{case:?}");
            let written = |bits: &Vec<u32>| bits.iter().any(|&bit| bit != bits[0]);
            assert!(together.iter().all(written), "{case:?}");
        }
    }
    Ok(())
}

/// LayerNorm and head norm, too, with biases and without, have the bits that the first device makes of
/// the same tensors by itself.
pub fn others_equal(devices: &[Device]) -> Result<(), Failed> {
    for (kind, heads) in [(NormKind::Layer, false), (NormKind::Rms, true), (NormKind::Layer, true)] {
        for (index, dtypes) in dtypes().enumerate() {
            let case = plain(kind, dtypes, 5, [1000, 128, 9000][index % 3]);
            let front = if heads { vec![5, 3] } else { vec![5] };
            let b = case.w.filter(|_| index % 2 == 0);
            let case = Case { heads, front, b, ..case };
            let (mut tensors, tp) = group(devices, &case)?;
            enqueue(&mut tensors, &tp)?;
            tp.synchronize()?;
            assert_eq!(y_bits(&tensors)?, on_the_first(devices, &case)?, "{case:?}");
        }
    }
    Ok(())
}

/// The function for a group that does what the tensors' case says, one without a residual. What the functions leave out,
/// descriptions have.
pub fn enqueue(tensors: &mut [OnDevice], tp: &TpContext) -> Result<(), Error> {
    let case = tensors[0].case.clone();
    call(&case, tensors.iter_mut().map(OnDevice::views).collect(), tp)
}

/// The same of other views, one of each kind a device.
pub fn call(case: &Case, views: Vec<Views<'_>>, tp: &TpContext) -> Result<(), Error> {
    let &Case { kind, heads, eps, weight_offset, rounding, .. } = case;
    let (mut x, mut w, mut b, mut y) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for views in views {
        x.push(views.x);
        w.extend(views.w);
        b.extend(views.b);
        y.push(views.y);
    }
    let b = (!b.is_empty()).then_some(&b[..]);
    if weight_offset != 0.0 || rounding != Rounding::Single {
        let norm = case.described();
        return match heads {
            true => norm.heads_tp(&x, Some(&w), b, &mut y, tp),
            false => norm.rows_tp(&x, Some(&w), b, &mut y, tp),
        };
    }
    match (kind, heads) {
        (_, true) => head_norm_tp(&x, &w, b, &mut y, eps, kind, tp),
        (NormKind::Layer, false) => layer_norm_tp(&x, &w, b, &mut y, eps, tp),
        (NormKind::Rms, false) => rms_norm_tp(&x, &w, &mut y, eps, tp),
    }
}

/// A stream of the caller and one of the group take turns, and each step reads what the one before
/// wrote.
pub fn waits(devices: &[Device]) -> Result<(), Failed> {
    let case = plain(NormKind::Rms, [DType::F32; 3], 2000, 4096);
    let (mut in_turn, tp) = group(devices, &case)?;
    let (mut alone, _) = group(&devices[..1], &case)?;
    let [main, other] = [Stream::new(&devices[0])?, Stream::new(&devices[0])?];
    for step in 0..20 {
        alone[0].enqueue_in_place(&other)?;
        if step % 2 == 0 {
            in_turn[0].enqueue_in_place(&main)?;
            tp.wait(&main)?;
        } else {
            in_turn[0].enqueue_in_place(&tp.streams()[0])?;
            tp.join(&main)?;
        }
    }
    [&main, &other].into_iter().try_for_each(Stream::synchronize)?;
    tp.synchronize()?;
    assert_eq!(in_turn[0].x.download()?.bits(), alone[0].x.download()?.bits());
    Ok(())
}

/// The context that is current stays so, be there none or another device's; after errors too.
pub fn restores_the_context(devices: &[Device]) -> Result<(), Failed> {
    let driver = driver()?;
    let case = plain(NormKind::Rms, [DType::F16; 3], 5, 4096);
    let (mut tensors, tp) = group(devices, &case)?;
    let last = devices.len() - 1;
    let before = driver.context_current()?;
    // SAFETY: a null handle means no context.
    unsafe { driver.context_set_current(null_mut()) }?;
    let mut unchanged = |context: CUcontext| -> Result<(), Failed> {
        run(&mut tensors, &tp, |_, _, _| {})?;
        assert_eq!(driver.context_current()?, context);
        assert!(run(&mut tensors, &tp, |x, _, _| x.truncate(last)).is_err());
        assert_eq!(driver.context_current()?, context);
        tp.synchronize()?;
        assert_eq!(driver.context_current()?, context);
        Ok(())
    };
    unchanged(null_mut())?;
    {
        let _current = devices[last].enter()?;
        unchanged(driver.context_current()?)?;
    }
    assert_eq!(driver.context_current()?, null_mut());
    // SAFETY: `before` was the current context, which is still alive, or null.
    unsafe { driver.context_set_current(before) }?;
    Ok(())
}

/// What is wrong with the last of the lists keeps the first from being launched.
pub fn checks_before_launching(devices: &[Device]) -> Result<(), Failed> {
    let case = plain(NormKind::Rms, [DType::F32; 3], 5, 256);
    let (mut tensors, tp) = group(devices, &case)?;
    let before = y_bits(&tensors)?;
    let last = devices.len() - 1;
    let place = devices[last].place();
    let at_last = |source| Error::Tp { index: last, place, launched: 0, source: Box::new(source) };
    let length = |arg| Error::ListLength { arg, expected: last + 1, given: last };

    let short = run(&mut tensors, &tp, |x, _, _| x.truncate(last));
    assert_eq!(short, Err(length(Arg::X)));
    let short = run(&mut tensors, &tp, |_, w, _| w.truncate(last));
    assert_eq!(short, Err(length(Arg::W)));
    let short = run(&mut tensors, &tp, |_, _, y| y.truncate(last));
    assert_eq!(short, Err(length(Arg::Y)));

    let host = [0.0; 256];
    let elsewhere = run(&mut tensors, &tp, |_, w, _| {
        // SAFETY: the operation refuses memory of the host.
        let host = unsafe { View::from_raw_parts(Place::Host, host.as_ptr() as u64, DType::F32, &[256]) };
        w[last] = host.expect("one axis");
    });
    assert_eq!(elsewhere, Err(at_last(Error::Place { arg: Arg::W, expected: place, given: Place::Host })));

    // A device can reach pinned memory, and the driver names a device for it; it is the host's all the same.
    let pinned = {
        let _current = devices[last].enter()?;
        LockedBuffer::new(&0_f32, 256)?
    };
    let address = pinned.as_slice().as_ptr().addr() as u64;
    let of_the_host = run(&mut tensors, &tp, |_, w, _| {
        // SAFETY: the operation refuses memory of the host.
        w[last] = unsafe { View::from_raw_parts(place, address, DType::F32, &[256]) }.expect("one axis");
    });
    assert_eq!(of_the_host, Err(at_last(Error::NotOnDevice { arg: Arg::W, address })));

    tp.synchronize()?;
    assert_eq!(y_bits(&tensors)?, before, "something was launched");
    Ok(())
}

//! Each function by its name, on tensors shaped as in a Llama or a ViT.

use cust::memory::{CopyDestination, DeviceBuffer};
use half::f16;
use libtest_mimic::Failed;
use norm_host::{
    DType::{BF16, F16, F32},
    Device, NormKind, Place, Result as NormResult, Stream, TpContext, View, ViewMut, add_layer_norm,
    add_layer_norm_, add_rms_norm, add_rms_norm_, head_norm, head_norm_, layer_norm, layer_norm_,
    layer_norm_add, rms_norm, rms_norm_, rms_norm_add, rms_norm_tp,
};

use super::{
    memory::settle,
    on_device::{OnDevice, Shifts, Views, judge},
};
use crate::{
    case::{Case, Residual},
    cases::{DTypes, plain},
};

/// Types to try: all f16, an activation in bf16, and weights kept in f32.
const DTYPES: [DTypes; 4] = [[F16; 3], [BF16; 3], [F16, F32, F16], [F32; 3]];

/// Runs `operation`, which writes `y`, or `x` where `in_place`, and judges what it left.
fn holds(
    device: Device,
    case: &Case,
    in_place: bool,
    operation: impl FnOnce(Views<'_>, &Stream) -> NormResult<()>,
) -> Result<(), Failed> {
    let stream = Stream::new(&device)?;
    let mut tensors = case.tensors();
    let mut on_device = OnDevice::upload(device, case, &tensors, Shifts::NONE)?;
    if in_place {
        // Then `y` is the tensor to work on, with what is in `x`.
        on_device.y.write(&tensors.x)?;
    }
    operation(on_device.views(), &stream)?;
    stream.synchronize()?;
    on_device.download(&mut tensors)?;
    judge(case, &tensors)
}

pub fn rms(device: Device) -> Result<(), Failed> {
    for dtypes in DTYPES {
        let case = plain(NormKind::Rms, dtypes, 37, 4096);
        holds(device, &case, false, |v, on| {
            let Views { x, w, mut y, .. } = v;
            rms_norm(x, w, &mut y, case.eps, on)
        })?;
    }
    Ok(())
}

pub fn rms_in_place(device: Device) -> Result<(), Failed> {
    for [x, w, _] in DTYPES {
        let case = plain(NormKind::Rms, [x, w, x], 37, 4096);
        holds(device, &case, true, |mut v, on| rms_norm_(&mut v.y, v.w, case.eps, on))?;
    }
    Ok(())
}

pub fn layer(device: Device) -> Result<(), Failed> {
    for dtypes in DTYPES {
        let case = plain(NormKind::Layer, dtypes, 50, 768);
        for b in [case.w, None] {
            let case = Case { b, ..case.clone() };
            holds(device, &case, false, |v, on| {
                let Views { x, w, b, mut y, .. } = v;
                layer_norm(x, w, b, &mut y, case.eps, on)
            })?;
        }
    }
    Ok(())
}

pub fn layer_in_place(device: Device) -> Result<(), Failed> {
    for [x, w, _] in DTYPES {
        let case = plain(NormKind::Layer, [x, w, x], 50, 768);
        for b in [case.w, None] {
            let case = Case { b, ..case.clone() };
            holds(device, &case, true, |mut v, on| layer_norm_(&mut v.y, v.w, v.b, case.eps, on))?;
        }
    }
    Ok(())
}

/// Rows with a residual of the type of `x` in front of the norm, or behind it.
fn residual_case(kind: NormKind, residual: Residual, dtypes: DTypes) -> Case {
    let case = Case { residual, ..plain(kind, dtypes, 37, 4096) };
    Case { b: case.w.filter(|_| kind == NormKind::Layer), ..case }
}

pub fn add_rms(device: Device) -> Result<(), Failed> {
    for dtypes in DTYPES {
        let case = residual_case(NormKind::Rms, Residual::Before, dtypes);
        holds(device, &case, false, |v, on| {
            let Views { x, w, mut y, r, .. } = v;
            add_rms_norm(x, &mut r.expect("the case has a residual"), w, &mut y, case.eps, on)
        })?;
    }
    Ok(())
}

pub fn add_rms_in_place(device: Device) -> Result<(), Failed> {
    for [x, w, _] in DTYPES {
        let case = residual_case(NormKind::Rms, Residual::Before, [x, w, x]);
        holds(device, &case, true, |mut v, on| {
            add_rms_norm_(&mut v.y, &mut v.r.expect("the case has a residual"), v.w, case.eps, on)
        })?;
    }
    Ok(())
}

pub fn rms_add(device: Device) -> Result<(), Failed> {
    for dtypes in DTYPES {
        let case = residual_case(NormKind::Rms, Residual::Behind, dtypes);
        holds(device, &case, false, |mut v, on| rms_norm_add(v.x, v.w, &mut v.y, case.eps, on))?;
    }
    Ok(())
}

pub fn add_layer(device: Device) -> Result<(), Failed> {
    for dtypes in DTYPES {
        let case = residual_case(NormKind::Layer, Residual::Before, dtypes);
        holds(device, &case, false, |v, on| {
            let Views { x, w, b, mut y, r, .. } = v;
            add_layer_norm(x, &mut r.expect("the case has a residual"), w, b, &mut y, case.eps, on)
        })?;
    }
    Ok(())
}

pub fn add_layer_in_place(device: Device) -> Result<(), Failed> {
    for [x, w, _] in DTYPES {
        let case = residual_case(NormKind::Layer, Residual::Before, [x, w, x]);
        holds(device, &case, true, |mut v, on| {
            add_layer_norm_(&mut v.y, &mut v.r.expect("the case has a residual"), v.w, v.b, case.eps, on)
        })?;
    }
    Ok(())
}

pub fn layer_add(device: Device) -> Result<(), Failed> {
    for dtypes in DTYPES {
        let case = residual_case(NormKind::Layer, Residual::Behind, dtypes);
        holds(device, &case, false, |mut v, on| layer_norm_add(v.x, v.w, v.b, &mut v.y, case.eps, on))?;
    }
    Ok(())
}

/// `(tokens, heads, head_dim)` with each head's own weights, and biases or none.
fn head_cases(kind: NormKind, dtypes: DTypes) -> [Case; 2] {
    let case = Case { heads: true, front: vec![17, 32], ..plain(kind, dtypes, 1, 128) };
    [Case { b: case.w, ..case.clone() }, case]
}

pub fn head(device: Device) -> Result<(), Failed> {
    for (kind, dtypes) in NormKind::ALL.into_iter().flat_map(|kind| DTYPES.map(|dtypes| (kind, dtypes))) {
        for case in head_cases(kind, dtypes) {
            holds(device, &case, false, |v, on| {
                let Views { x, w, b, mut y, .. } = v;
                head_norm(x, w, b, &mut y, case.eps, kind, on)
            })?;
        }
    }
    Ok(())
}

pub fn head_in_place(device: Device) -> Result<(), Failed> {
    for (kind, [x, w, _]) in NormKind::ALL.into_iter().flat_map(|kind| DTYPES.map(|dtypes| (kind, dtypes))) {
        for case in head_cases(kind, [x, w, x]) {
            holds(device, &case, true, |mut v, on| head_norm_(&mut v.y, v.w, v.b, case.eps, kind, on))?;
        }
    }
    Ok(())
}

pub fn rms_tp(device: Device) -> Result<(), Failed> {
    for dtypes in DTYPES {
        let case = plain(NormKind::Rms, dtypes, 37, 4096);
        let tp = TpContext::on_devices(&[device.ordinal()])?;
        holds(device, &case, false, |v, _| {
            let Views { x, w, y, .. } = v;
            rms_norm_tp(&[x], &[w.expect("the case has weights")], &mut [y], case.eps, &tp)?;
            tp.synchronize()
        })?;
    }
    Ok(())
}

/// Memory that `cust` owns needs no unsafe code; its place comes from the driver.
pub fn cust_buffers(device: Device) -> Result<(), Failed> {
    let (rows, dim) = (3, 128);
    let stream = Stream::new(&device)?;
    let _current = device.enter()?;
    let x: Vec<u16> = (0..rows * dim).map(|i| f16::from_f32((i % 89) as f32 - 44.0).to_bits()).collect();
    let x = DeviceBuffer::from_slice(&x)?;
    let mut y = DeviceBuffer::from_slice(&vec![f32::NAN; rows * dim])?;
    settle()?;

    let view = View::from_buffer::<f16>(&x, &[rows, dim])?;
    assert_eq!(view.place(), Place::Cuda(device.ordinal()));
    // The second row alone, out of the middle of the buffer.
    let part = x.index(dim..2 * dim);
    let mut y_part = y.index(dim..2 * dim);
    rms_norm(
        View::from_buffer::<f16>(&part, &[dim])?,
        None,
        &mut ViewMut::from_buffer::<f32>(&mut y_part, &[dim])?,
        1e-6,
        &stream,
    )?;
    stream.synchronize()?;
    let mut alone = vec![0.0; rows * dim];
    y.copy_to(&mut alone)?;
    assert!(alone.iter().enumerate().all(|(i, y)| y.is_nan() != (dim..2 * dim).contains(&i)));

    rms_norm(view, None, &mut ViewMut::from_buffer::<f32>(&mut y, &[rows, dim])?, 1e-6, &stream)?;
    stream.synchronize()?;
    let mut together = vec![0.0; rows * dim];
    y.copy_to(&mut together)?;
    assert!(together.iter().all(|y| y.is_finite()));
    assert_eq!(together[dim..2 * dim], alone[dim..2 * dim]);
    Ok(())
}

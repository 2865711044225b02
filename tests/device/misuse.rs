//! Misuse is an error before anything is launched.

use libtest_mimic::Failed;
use norm_host::{
    Arg, Cpu, DType, Device, Error, Norm, NormKind, Place, Shape, Stream, View, ViewMut, add_layer_norm,
    head_norm, layer_norm, rms_norm,
};

use norm_testing::{
    case::{Case, Residual},
    cases::plain,
    device::on_device::{OnDevice, Shifts, Views},
};

const ROWS: usize = 4;
const DIM: usize = 96;

/// A view of an address that no operation may follow.
fn bad(place: Place, address: u64, dtype: DType, shape: &[usize]) -> View<'static> {
    // SAFETY: every use below is refused: the place is wrong, or the address null or misaligned.
    unsafe { View::from_raw_parts(place, address, dtype, shape) }.expect("a good shape")
}

/// Calls `operation` on good tensors, which it spoils, and looks that the error is `expected` and
/// that the stream has written nothing.
fn refuses(
    device: Device,
    case: &Case,
    expected: impl FnOnce(&Views<'_>) -> Error,
    operation: impl FnOnce(Views<'_>, &Stream) -> norm_host::Result<()>,
) -> Result<(), Failed> {
    let stream = Stream::new(&device)?;
    let tensors = case.tensors();
    let mut on_device = OnDevice::upload(device, case, &tensors, Shifts::NONE)?;
    let expected = expected(&on_device.views());
    let given = operation(on_device.views(), &stream);
    stream.synchronize()?;
    assert_eq!(given, Err(expected));
    assert_eq!(on_device.x.download()?.bits(), tensors.x.bits(), "x was written");
    assert_eq!(on_device.y.download()?.bits(), tensors.y.bits(), "y was written");
    Ok(())
}

fn good() -> Case {
    let case = plain(NormKind::Layer, [DType::F32, DType::F16, DType::F32], ROWS, DIM);
    Case { b: case.w, ..case }
}

/// Tensors of the host given to a stream, of the device to the CPU, of another device to this.
pub fn wrong_places(device: Device) -> Result<(), Failed> {
    let here = device.place();
    let elsewhere = Place::Cuda(device.ordinal() + 1);
    let wrong = |arg, expected, given| Error::Place { arg, expected, given };
    let (host_x, mut host_y, host_w) = ([0.0_f32; ROWS * DIM], [0.0_f32; ROWS * DIM], [half::f16::ONE; DIM]);
    let x = View::from_slice(&host_x, &[ROWS, DIM])?;
    let mut y = ViewMut::from_slice(&mut host_y, &[ROWS, DIM])?;
    let w = View::from_slice(&host_w, &[DIM])?;
    let case = good();

    refuses(
        device,
        &case,
        |_| wrong(Arg::X, here, Place::Host),
        |mut v, on| rms_norm(x, v.w, &mut v.y, 1e-6, on),
    )?;
    refuses(
        device,
        &case,
        |_| wrong(Arg::W, here, Place::Host),
        |mut v, on| rms_norm(v.x, w, &mut v.y, 1e-6, on),
    )?;
    refuses(
        device,
        &case,
        |_| wrong(Arg::B, here, Place::Host),
        |mut v, on| layer_norm(v.x, v.w, w, &mut v.y, 1e-6, on),
    )?;
    refuses(
        device,
        &case,
        |_| wrong(Arg::Y, here, Place::Host),
        |v, on| rms_norm(v.x, v.w, &mut y, 1e-6, on),
    )?;
    refuses(
        device,
        &case,
        |_| wrong(Arg::X, Place::Host, here),
        |mut v, _| rms_norm(v.x, None, &mut v.y, 1e-6, &Cpu),
    )?;
    refuses(
        device,
        &case,
        |_| wrong(Arg::Y, Place::Host, here),
        |mut v, _| rms_norm(x, None, &mut v.y, 1e-6, &Cpu),
    )?;
    refuses(
        device,
        &case,
        |_| wrong(Arg::X, here, elsewhere),
        |mut v, on| {
            let x = bad(elsewhere, v.x.address(), DType::F32, &[ROWS, DIM]);
            rms_norm(x, v.w, &mut v.y, 1e-6, on)
        },
    )?;
    assert!(host_y.iter().all(|&y| y == 0.0));
    Ok(())
}

pub fn bad_addresses(device: Device) -> Result<(), Failed> {
    let (case, here) = (good(), device.place());
    refuses(
        device,
        &case,
        |_| Error::NullPointer { arg: Arg::X },
        |mut v, on| rms_norm(bad(here, 0, DType::F32, &[ROWS, DIM]), v.w, &mut v.y, 1e-6, on),
    )?;
    let misaligned = |v: &Views<'_>| Error::Misaligned { arg: Arg::W, align: 2, address: v.x.address() + 1 };
    refuses(device, &case, misaligned, |mut v, on| {
        rms_norm(v.x, bad(here, v.x.address() + 1, DType::F16, &[DIM]), &mut v.y, 1e-6, on)
    })?;
    let misaligned = |v: &Views<'_>| Error::Misaligned { arg: Arg::X, align: 4, address: v.x.address() + 2 };
    refuses(device, &case, misaligned, |mut v, on| {
        rms_norm(bad(here, v.x.address() + 2, DType::F32, &[ROWS, DIM]), v.w, &mut v.y, 1e-6, on)
    })
}

/// Overlapping but unequal x and y, and parameters within y.
pub fn overlaps(device: Device) -> Result<(), Failed> {
    let case = good();
    refuses(
        device,
        &case,
        |_| Error::Overlap { a: Arg::X, b: Arg::Y },
        |mut v, on| {
            // SAFETY: it lies within `y`, and the operation refuses to read it.
            let x = unsafe {
                View::from_raw_parts(v.y.place(), v.y.address() + 4, DType::F32, &[ROWS - 1, DIM])
            }?;
            // SAFETY: the first rows of `y`, in whose place this is used.
            let mut y =
                unsafe { ViewMut::from_raw_parts(v.y.place(), v.y.address(), DType::F32, &[ROWS - 1, DIM]) }?;
            rms_norm(x, v.w.take(), &mut y, 1e-6, on)
        },
    )?;
    refuses(
        device,
        &case,
        |_| Error::Overlap { a: Arg::W, b: Arg::Y },
        |mut v, on| {
            // SAFETY: it lies within `y`, and the operation refuses to read it.
            let w = unsafe { View::from_raw_parts(v.y.place(), v.y.address(), DType::F32, &[DIM]) }?;
            rms_norm(v.x, w, &mut v.y, 1e-6, on)
        },
    )
}

/// A residual elsewhere, of another type than `x`, or on memory of another tensor.
pub fn residuals(device: Device) -> Result<(), Failed> {
    let case = Case { residual: Residual::Before, ..good() };
    let add = |v: Views<'_>, r: &mut ViewMut<'_>, on: &Stream| {
        let Views { x, w, b, mut y, .. } = v;
        add_layer_norm(x, r, w, b, &mut y, 1e-6, on)
    };
    let mut host_r = [0.0_f32; ROWS * DIM];
    let mut r = ViewMut::from_slice(&mut host_r, &[ROWS, DIM])?;
    let place = Error::Place { arg: Arg::R, expected: device.place(), given: Place::Host };
    refuses(device, &case, |_| place, |v, on| add(v, &mut r, on))?;

    let dtype = Error::DType { arg: Arg::R, expected: DType::F32, given: DType::BF16 };
    refuses(
        device,
        &case,
        |_| dtype,
        |v, on| {
            let address = v.r.as_ref().expect("the case has a residual").address();
            // SAFETY: the first half of the residual, which the operation refuses to read.
            let mut r = unsafe { ViewMut::from_raw_parts(v.x.place(), address, DType::BF16, &[ROWS, DIM]) }?;
            add(v, &mut r, on)
        },
    )?;

    for (a, b) in [(Arg::X, Arg::R), (Arg::R, Arg::Y)] {
        refuses(
            device,
            &case,
            |_| Error::Overlap { a, b },
            |v, on| {
                let address = if a == Arg::X { v.x.address() } else { v.y.address() };
                // SAFETY: it is the memory of another tensor, so the operation refuses it.
                let mut r =
                    unsafe { ViewMut::from_raw_parts(v.x.place(), address, DType::F32, &[ROWS, DIM]) }?;
                add(v, &mut r, on)
            },
        )?;
    }
    Ok(())
}

pub fn shapes_and_numbers(device: Device) -> Result<(), Failed> {
    let case = good();
    for eps in [-1e-6, f32::NAN, f32::INFINITY] {
        let stream = Stream::new(&device)?;
        let mut tensors = OnDevice::upload(device, &case, &case.tensors(), Shifts::NONE)?;
        let Views { x, w, mut y, .. } = tensors.views();
        let given = rms_norm(x, w, &mut y, eps, &stream);
        assert!(
            matches!(given, Err(Error::Eps { given }) if (given as f32).to_bits() == eps.to_bits()),
            "{given:?}"
        );
        stream.synchronize()?;
        assert_eq!(tensors.y.download()?.bits(), case.tensors().y.bits(), "y was written");
    }
    refuses(
        device,
        &case,
        |_| Error::WeightOffset { given: f32::INFINITY },
        |mut v, on| Norm::rms(1e-6).weight(v.w).weight_offset(f32::INFINITY).rows(v.x, &mut v.y, on),
    )?;
    refuses(
        device,
        &case,
        |_| {
            let shape = |extents: &[usize]| Shape::new(extents).expect("one axis or two");
            Error::HeadShape { arg: Arg::W, expected: shape(&[ROWS, DIM]), given: shape(&[DIM / 2]) }
        },
        |mut v, on| {
            let w = v.w.expect("the case has weights");
            // SAFETY: half of them, never read: the operation refuses their shape.
            let w = unsafe { View::from_raw_parts(w.place(), w.address(), w.dtype(), &[DIM / 2]) }?;
            head_norm(v.x, w, None, &mut v.y, 1e-6, NormKind::Rms, on)
        },
    )?;
    refuses(
        device,
        &case,
        |_| Error::LastAxisStrided { arg: Arg::X, stride: 2 },
        |mut v, on| {
            // SAFETY: half of each row, never read: the operation refuses its last stride.
            let x =
                unsafe { View::from_raw_parts(v.x.place(), v.x.address(), DType::F32, &[ROWS, DIM / 2]) }?;
            // SAFETY: within `y`, in whose place this is used.
            let mut y =
                unsafe { ViewMut::from_raw_parts(v.y.place(), v.y.address(), DType::F32, &[ROWS, DIM / 2]) }?;
            rms_norm(x.with_strides(&[DIM, 2])?, v.w.take(), &mut y, 1e-6, on)
        },
    )?;
    refuses(
        device,
        &case,
        |_| Error::EmptyRow { arg: Arg::X },
        |v, on| {
            // SAFETY: there are no elements.
            let x = unsafe { View::from_raw_parts(v.x.place(), v.x.address(), DType::F32, &[ROWS, 0]) }?;
            // SAFETY: there are no elements.
            let mut y =
                unsafe { ViewMut::from_raw_parts(v.y.place(), v.y.address(), DType::F32, &[ROWS, 0]) }?;
            rms_norm(x, None, &mut y, 1e-6, on)
        },
    )
}

/// No rows: fine, and nothing to do.
pub fn no_rows(device: Device) -> Result<(), Failed> {
    let case = good();
    let stream = Stream::new(&device)?;
    let mut tensors = OnDevice::upload(device, &case, &case.tensors(), Shifts::NONE)?;
    let Views { x, w, b, y, .. } = tensors.views();
    // SAFETY: there are no elements.
    let none = unsafe { View::from_raw_parts(x.place(), x.address(), DType::F32, &[0, DIM]) }?;
    // SAFETY: there are no elements.
    let mut no_y = unsafe { ViewMut::from_raw_parts(y.place(), y.address(), DType::F32, &[0, DIM]) }?;
    layer_norm(none, w, b, &mut no_y, 1e-6, &stream)?;
    stream.synchronize()?;
    assert_eq!(tensors.y.download()?.bits(), case.tensors().y.bits(), "y was written");
    Ok(())
}

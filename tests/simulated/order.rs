//! The stand-in's streams are as late as the program lets them be, so that a wait that is missing is seen.

use libtest_mimic::Failed;
use norm_host::{DType, NormKind, Stream, TpContext};

use crate::{alone, device};
use norm_testing::{
    case::Case,
    cases::plain,
    device::{
        on_device::{OnDevice, Shifts, normalize},
        tensor_parallel::{enqueue, group, y_bits},
    },
};

fn case() -> Case {
    plain(NormKind::Rms, [DType::F32; 3], 3, 100)
}

/// `x = norm(x)` on one stream, then `y = norm(x)` on another, which waits for the first or not.
fn second_of_two(waits: bool) -> Result<Vec<u32>, Failed> {
    let device = device(0);
    let [first, second] = [Stream::new(&device)?, Stream::new(&device)?];
    let mut tensors = OnDevice::upload(device, &case(), &case().tensors(), Shifts::NONE)?;
    tensors.enqueue_in_place(&first)?;
    if waits {
        second.wait(&first)?;
    }
    tensors.enqueue(&second)?;
    second.synchronize()?;
    let y = tensors.y.download()?.bits();
    first.synchronize()?;
    Ok(y)
}

#[test]
fn a_stream_that_does_not_wait_reads_what_was_there() -> Result<(), Failed> {
    let _alone = alone();
    let once = normalize(device(0), &case(), Shifts::NONE)?.y.bits();
    assert_eq!(second_of_two(false)?, once);
    assert_ne!(second_of_two(true)?, once);
    Ok(())
}

#[test]
fn results_are_there_when_a_stream_was_waited_for() -> Result<(), Failed> {
    let _alone = alone();
    let device = device(0);
    let stream = Stream::new(&device)?;
    let mut tensors = OnDevice::upload(device, &case(), &case().tensors(), Shifts::NONE)?;
    let before = tensors.y.download()?.bits();
    tensors.enqueue(&stream)?;
    assert_eq!(tensors.y.download()?.bits(), before);
    stream.synchronize()?;
    assert_ne!(tensors.y.download()?.bits(), before);
    Ok(())
}

/// What two devices make of the case, after `first` and when `last` has waited.
fn on_two_devices(
    first: impl FnOnce(&mut [OnDevice], &TpContext) -> norm_host::Result<()>,
    last: impl FnOnce(&TpContext) -> norm_host::Result<()>,
) -> Result<Vec<Vec<u32>>, Failed> {
    let (mut tensors, tp) = group(&[device(0), device(1)], &case())?;
    first(&mut tensors, &tp)?;
    enqueue(&mut tensors, &tp)?;
    last(&tp)?;
    y_bits(&tensors)
}

#[test]
fn a_group_waits_for_a_stream() -> Result<(), Failed> {
    let _alone = alone();
    let main = Stream::new(&device(0))?;
    let in_order =
        on_two_devices(|tensors, tp| tensors[0].enqueue_in_place(&tp.streams()[0]), TpContext::synchronize)?;
    let over_streams = on_two_devices(
        |tensors, tp| {
            tensors[0].enqueue_in_place(&main)?;
            tp.wait(&main)
        },
        TpContext::synchronize,
    )?;
    assert_eq!(over_streams, in_order);
    Ok(())
}

#[test]
fn a_stream_waits_for_a_group() -> Result<(), Failed> {
    let _alone = alone();
    let main = Stream::new(&device(0))?;
    let expected = on_two_devices(|_, _| Ok(()), TpContext::synchronize)?;
    let joined = on_two_devices(
        |_, _| Ok(()),
        |tp| {
            tp.join(&main)?;
            main.synchronize()
        },
    )?;
    assert_eq!(joined, expected);
    Ok(())
}

//! The stand-in's streams are as late as the program lets them be, so that a wait that is missing is seen.

use libtest_mimic::Failed;
use norm_host::{DType, NormKind, Stream};

use crate::{
    cases::plain,
    common::case::Case,
    device,
    on_device::{OnDevice, Shifts, normalize},
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
    let once = normalize(device(0), &case(), Shifts::NONE)?.y.bits();
    assert_eq!(second_of_two(false)?, once);
    assert_ne!(second_of_two(true)?, once);
    Ok(())
}

#[test]
fn results_are_there_when_a_stream_was_waited_for() -> Result<(), Failed> {
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

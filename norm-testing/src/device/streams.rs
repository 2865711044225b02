//! Streams: owned, borrowed, the default one, several at once.

use std::ptr::null_mut;

use cust::stream::{Stream as CustStream, StreamFlags};
use libtest_mimic::Failed;
use norm_host::{DType::F16, DType::F32, Device, NormKind, Stream};

use super::on_device::{OnDevice, Shifts, normalized_bits, row_bits};
use crate::{case::Case, cases::plain};

fn case() -> Case {
    plain(NormKind::Layer, [F16, F32, F16], 64, 4096)
}

/// The bits of each row when the case is run on `stream`.
fn bits_on(stream: &Stream, case: &Case) -> Result<Vec<Vec<u32>>, Failed> {
    let mut tensors = OnDevice::upload(*stream.device(), case, &case.tensors(), Shifts::NONE)?;
    tensors.enqueue(stream)?;
    stream.synchronize()?;
    Ok(row_bits(case, &tensors.y.download()?, &case.y_strides()))
}

/// One made here, and one made by `cust`; both live on after the handle.
pub fn borrowed(device: Device) -> Result<(), Failed> {
    let case = case();
    let owner = Stream::new(&device)?;
    let expected = bits_on(&owner, &case)?;
    {
        // SAFETY: `owner` outlives the borrowed handle.
        let borrowed = unsafe { Stream::from_raw(&device, owner.as_raw()) }?;
        assert_eq!(bits_on(&borrowed, &case)?, expected);
    }
    assert_eq!(bits_on(&owner, &case)?, expected);

    let _current = device.enter()?;
    let owner = CustStream::new(StreamFlags::NON_BLOCKING, None)?;
    {
        // SAFETY: `owner` outlives the borrowed handle.
        let borrowed = unsafe { Stream::from_raw(&device, owner.as_inner().cast()) }?;
        assert_eq!(bits_on(&borrowed, &case)?, expected);
    }
    owner.synchronize()?;
    Ok(())
}

pub fn default_stream(device: Device) -> Result<(), Failed> {
    let case = case();
    // SAFETY: a null handle is the default stream, which is never destroyed.
    let default = unsafe { Stream::from_raw(&device, null_mut()) }?;
    assert_eq!(bits_on(&default, &case)?, normalized_bits(device, &case, Shifts::NONE)?);
    Ok(())
}

/// Different work on two streams, again and again without waiting, gives what each gives alone.
pub fn two_at_once(device: Device) -> Result<(), Failed> {
    let cases = [case(), plain(NormKind::Rms, [F32; 3], 7, 40_000)];
    let streams = [Stream::new(&device)?, Stream::new(&device)?];
    let mut tensors = Vec::new();
    for case in &cases {
        tensors.push(OnDevice::upload(device, case, &case.tensors(), Shifts::NONE)?);
    }
    for _ in 0..100 {
        for (tensors, stream) in tensors.iter_mut().zip(&streams) {
            tensors.enqueue(stream)?;
        }
    }
    streams.iter().try_for_each(Stream::synchronize)?;
    for (case, tensors) in cases.iter().zip(&tensors) {
        let bits = row_bits(case, &tensors.y.download()?, &case.y_strides());
        assert_eq!(bits, normalized_bits(device, case, Shifts::NONE)?);
    }
    Ok(())
}

/// Threads that share a device, and one stream, get the bits of one thread alone.
pub fn threads(device: Device) -> Result<(), Failed> {
    let cases: Vec<Case> =
        (0..8).map(|seed| Case { seed, ..plain(NormKind::Layer, [F16; 3], 33, 1 << seed) }).collect();
    let stream = Stream::new(&device)?;
    let together = std::thread::scope(|scope| {
        let running: Vec<_> = cases.iter().map(|case| scope.spawn(|| bits_on(&stream, case))).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    for (case, bits) in cases.iter().zip(together) {
        assert_eq!(bits?, normalized_bits(device, case, Shifts::NONE)?);
    }
    Ok(())
}

/// A stream that waits for another starts when that one's work is done: each of many steps reads
/// what the other stream wrote.
pub fn waiting(device: Device) -> Result<(), Failed> {
    let case = plain(NormKind::Rms, [F32; 3], 2000, 4096);
    let [a, b] = [Stream::new(&device)?, Stream::new(&device)?];
    let mut alone = OnDevice::upload(device, &case, &case.tensors(), Shifts::NONE)?;
    let mut in_turn = OnDevice::upload(device, &case, &case.tensors(), Shifts::NONE)?;
    for step in 0..20 {
        alone.enqueue_in_place(&a)?;
        let (on, before) = if step % 2 == 0 { (&a, &b) } else { (&b, &a) };
        on.wait(before)?;
        in_turn.enqueue_in_place(on)?;
    }
    a.synchronize()?;
    b.synchronize()?;
    assert!(alone.x.download()?.bits() == in_turn.x.download()?.bits());
    Ok(())
}

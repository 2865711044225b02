//! Operations captured into CUDA graphs.

use libtest_mimic::Failed;
use norm_host::{Device, NormKind, Result as NormResult, Stream};

use super::on_device::{OnDevice, Shifts};
use crate::{
    case::Case,
    cases::{dtypes_and_kinds, plain},
};

/// `y = norm(x)`, then `x = norm(x)` and `y = norm(x)` again: each depends on the one before.
fn work(tensors: &mut OnDevice, on: &Stream) -> NormResult<()> {
    tensors.enqueue(on)?;
    tensors.enqueue_in_place(on)?;
    tensors.enqueue(on)
}

/// The bits of x and y after [`work`] without a graph.
fn direct(device: Device, case: &Case) -> Result<[Vec<u32>; 2], Failed> {
    let stream = Stream::new(&device)?;
    let mut tensors = OnDevice::upload(device, case, &case.tensors(), Shifts::NONE)?;
    work(&mut tensors, &stream)?;
    stream.synchronize()?;
    bits(&tensors)
}

fn bits(tensors: &OnDevice) -> Result<[Vec<u32>; 2], Failed> {
    Ok([tensors.x.download()?.bits(), tensors.y.download()?.bits()])
}

/// A graph gives the same bits as direct launches, each time with what the tensors hold then. Capturing runs nothing.
pub fn same_bits(device: Device) -> Result<(), Failed> {
    for (index, (dtypes, kind)) in dtypes_and_kinds().enumerate() {
        let dim = [64, 127, 512, 4096, 16384, 40000][index % 6];
        let case = Case { heads: index % 2 == 1, front: vec![5, 2], ..plain(kind, dtypes, 1, dim) };
        let stream = Stream::new(&device)?;
        let first = case.tensors();
        let mut tensors = OnDevice::upload(device, &case, &first, Shifts::NONE)?;
        let graph = stream.capture(|on| work(&mut tensors, on))?;
        stream.synchronize()?;
        assert_eq!(bits(&tensors)?, [first.x.bits(), first.y.bits()], "{case:?}: ran while captured");

        let other = Case { seed: 7, ..case.clone() };
        // Of `other` only x is taken: the graph and the direct launches both use the weights of `case`.
        for values in [&case, &other, &case] {
            let x = values.tensors().x;
            tensors.x.write(&x)?;
            // SAFETY: the tensors are alive, and nothing else uses them.
            unsafe { graph.launch(&stream) }?;
            stream.synchronize()?;
            let replayed = bits(&tensors)?;

            let mut expected = OnDevice::upload(device, &case, &case.tensors(), Shifts::NONE)?;
            expected.x.write(&x)?;
            work(&mut expected, &stream)?;
            stream.synchronize()?;
            assert_eq!(replayed, bits(&expected)?, "{values:?}: graph and direct launches differ");
        }
    }
    Ok(())
}

/// A graph can be launched on another stream than the one it was captured on, even after that one is gone.
pub fn other_streams(device: Device) -> Result<(), Failed> {
    let case = plain(NormKind::Layer, [norm_host::DType::F32; 3], 9, 1000);
    let expected = direct(device, &case)?;
    let mut tensors = OnDevice::upload(device, &case, &case.tensors(), Shifts::NONE)?;
    let graph = Stream::new(&device)?.capture(|on| work(&mut tensors, on))?;
    let stream = Stream::new(&device)?;
    // SAFETY: the tensors are alive, and nothing else uses them.
    unsafe { graph.launch(&stream) }?;
    stream.synchronize()?;
    assert_eq!(bits(&tensors)?, expected);
    Ok(())
}

/// After a capture that failed the stream runs operations as before.
pub fn failed_capture(device: Device) -> Result<(), Failed> {
    let case = plain(NormKind::Rms, [norm_host::DType::F16; 3], 9, 1024);
    let expected = direct(device, &case)?;
    let stream = Stream::new(&device)?;
    let mut tensors = OnDevice::upload(device, &case, &case.tensors(), Shifts::NONE)?;
    let error = norm_host::Error::Eps { given: -1.0 };
    let captured = stream.capture(|on| {
        work(&mut tensors, on)?;
        norm_host::Norm::rms(-1.0).rows_in_place(&mut tensors.views().y, on)
    });
    assert_eq!(captured.map(drop), Err(error));
    work(&mut tensors, &stream)?;
    stream.synchronize()?;
    assert_eq!(bits(&tensors)?, expected);
    Ok(())
}

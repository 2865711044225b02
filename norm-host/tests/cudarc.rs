//! cudarc's memory and streams, on a stand-in for the driver that cudarc opens too.

use std::sync::{Arc, MutexGuard};

use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr};
use half::f16;
use norm_host::{Arg, Error, Norm, Place, QuantFormat, Quantization, QuantizedMut, Stream, View, ViewMut};
use norm_testing::mock::{Mock, interface::DEVICES, mock};

const NOT_READY: u32 = 600;

/// The stand-in, with this test alone on it, and two of cudarc's streams: with more than one, cudarc
/// keeps events with its memory.
fn setup() -> (&'static Mock, MutexGuard<'static, ()>, Arc<CudaContext>, [Arc<CudaStream>; 2]) {
    setup_on(0)
}

/// The same on any of the devices.
fn setup_on(
    ordinal: usize,
) -> (&'static Mock, MutexGuard<'static, ()>, Arc<CudaContext>, [Arc<CudaStream>; 2]) {
    let mock = mock();
    let alone = mock.alone();
    let context = CudaContext::new(ordinal).unwrap();
    // cudarc makes its context current and leaves it so.
    let streams = [(); 2].map(|()| context.new_stream_with_priority(0).unwrap());
    assert!(context.is_managing_stream_synchronization());
    (mock, alone, context, streams)
}

fn memory(stream: &Arc<CudaStream>, elements: usize) -> CudaSlice<f16> {
    // SAFETY: the stand-in driver runs no kernels, so nothing reads the uninitialized memory.
    unsafe { stream.alloc(elements).unwrap() }
}

/// Whether cudarc calls a function of the driver meanwhile: it keeps the error that it is given.
fn calls<T>(mock: &Mock, context: &CudaContext, function: &str, what: impl FnOnce() -> T) -> (bool, T) {
    context.check_err().unwrap();
    mock.fail(function, NOT_READY);
    let value = what();
    mock.fail(function, 0);
    (context.check_err().is_err(), value)
}

#[test]
fn an_operation_is_launched_on_cudarcs_stream_with_its_addresses() {
    let (mock, _alone, _, [stream, _]) = setup();
    let mut x = memory(&stream, 3 * 256);
    let address = x.device_ptr(&stream).0;
    let on = Stream::from_cudarc(&stream).unwrap();
    {
        // SAFETY: the view is used by work on that stream only, and dropped when that is enqueued.
        let mut x = unsafe { ViewMut::from_cudarc(&mut x, &[3, 256], &stream) }.unwrap();
        Norm::rms(1e-6).rows_in_place(&mut x.view_mut(), &on).unwrap();
    }
    let launch = mock.launch().unwrap();
    assert_eq!((launch.device, launch.stream, launch.first), (0, stream.cu_stream() as usize, address));
    assert!(mock.launch().is_none());
}

/// Memory and streams say which device is theirs: nothing is of the first one by itself.
#[test]
fn every_device_of_cudarcs_is_known_as_what_it_is() {
    for ordinal in 0..DEVICES {
        let (mock, _alone, context, [stream, _]) = setup_on(ordinal);
        let (device, place) = (ordinal as u32, Place::Cuda(ordinal as u32));
        let [x, mut y] = [(); 2].map(|()| memory(&stream, 3 * 256));
        let on = Stream::from_cudarc(&stream).unwrap();
        assert_eq!((on.device().ordinal(), norm_host::Backend::place(&on)), (device, place));
        {
            // SAFETY: used on that stream alone, and dropped.
            let (x, mut y) = unsafe {
                let y = ViewMut::from_cudarc(&mut y, &[3, 256], &stream).unwrap();
                (View::from_cudarc(&x, &[3, 256], &stream).unwrap(), y)
            };
            assert_eq!((x.view().place(), y.view_mut().place()), (place, place));
            Norm::rms(1e-6).rows(x.view(), &mut y.view_mut(), &on).unwrap();
        }
        let launch = mock.launch().unwrap();
        assert_eq!((launch.device as usize, launch.stream), (ordinal, stream.cu_stream() as usize));
        let default = Stream::from_cudarc(&context.default_stream()).unwrap();
        assert_eq!(default.device().ordinal(), device);
    }
}

#[test]
fn a_handle_keeps_cudarcs_stream_alive() {
    let (mock, _alone, _, [stream, other]) = setup();
    let on = Stream::from_cudarc(&stream).unwrap();
    let streams = mock.alive().streams;
    drop(stream);
    assert_eq!(mock.alive().streams, streams);
    assert_eq!(on.is_done(), Ok(true));
    drop(on);
    assert_eq!(mock.alive().streams, streams - 1);
    drop(other);
}

#[test]
fn the_default_streams_can_be_borrowed() {
    let (_mock, _alone, context, _) = setup();
    for stream in [context.default_stream(), context.per_thread_stream()] {
        let on = Stream::from_cudarc(&stream).unwrap();
        assert_eq!((on.as_raw(), on.device().ordinal()), (stream.cu_stream().cast(), 0));
    }
}

#[test]
fn a_view_waits_for_the_writes_of_other_streams_and_leaves_an_event() {
    let (mock, _alone, context, [stream, _]) = setup();
    let mut x = memory(&stream, 8);
    // SAFETY: no work uses the view.
    let (waited, view) =
        calls(mock, &context, "cuStreamWaitEvent", || unsafe { View::from_cudarc(&x, &[8], &stream) });
    let view = view.unwrap();
    assert!(waited);
    assert_eq!((view.view().place(), view.view().shape()), (Place::Cuda(0), &[8][..]));
    assert!(calls(mock, &context, "cuEventRecord", || drop(view)).0);

    // SAFETY: no work uses the view.
    let (waited, view) =
        calls(mock, &context, "cuStreamWaitEvent", || unsafe { ViewMut::from_cudarc(&mut x, &[8], &stream) });
    assert!(waited);
    assert!(calls(mock, &context, "cuEventRecord", || drop(view.unwrap())).0);
}

#[test]
fn parts_of_memory_are_viewed_where_they_lie() {
    let (_mock, _alone, _, [stream, _]) = setup();
    let x = memory(&stream, 100);
    let (part, start) = (x.slice(10..90), x.device_ptr(&stream).0);
    // SAFETY: no work uses the view.
    let view = unsafe { View::from_cudarc(&part, &[8, 10], &stream) }.unwrap();
    assert_eq!(view.view().address(), start + 20);
    let strided = view.view().with_strides(&[20, 1]).unwrap_err();
    assert_eq!(strided, Error::OutOfBounds { arg: Arg::View, needed: 150, available: 80 });
    // SAFETY: the constructor returns an error, so there is no view.
    let long = unsafe { View::from_cudarc(&part, &[81], &stream) }.map(|_| ()).unwrap_err();
    assert_eq!(long, Error::OutOfBounds { arg: Arg::View, needed: 81, available: 80 });
}

/// Codes are cudarc's bytes; scales are a view beside them, for the same launch.
#[test]
fn a_quantized_output_is_written_to_cudarcs_bytes() {
    let (mock, _alone, context, [stream, _]) = setup();
    let x = memory(&stream, 3 * 256);
    // SAFETY: the stand-in driver runs no kernels, so nothing reads the uninitialized memory.
    let (mut codes, mut scales) =
        unsafe { (stream.alloc::<u8>(3 * 256).unwrap(), stream.alloc::<f32>(3).unwrap()) };
    let on = Stream::from_cudarc(&stream).unwrap();
    let quantization = Quantization::per_token(QuantFormat::E4m3);
    // SAFETY: the memory is used by work on that stream only, and the views are dropped when that is enqueued.
    let short = unsafe { QuantizedMut::from_cudarc(&mut codes, QuantFormat::E4m3, &[4, 256], &stream) };
    assert_eq!(short.unwrap_err(), Error::OutOfBounds { arg: Arg::View, needed: 1024, available: 768 });
    {
        // SAFETY: the memory is used by work on that stream only, and the views end with this block, when it is enqueued.
        let (x, mut codes, mut scales) = unsafe {
            let codes = QuantizedMut::from_cudarc(&mut codes, QuantFormat::E4m3, &[3, 256], &stream).unwrap();
            let scales = ViewMut::from_cudarc(&mut scales, &[3, 1], &stream).unwrap();
            (View::from_cudarc(&x, &[3, 256], &stream).unwrap(), codes, scales)
        };
        let mut y = codes.quantized_mut().scales(scales.view_mut());
        Norm::rms(1e-6).quantize_rows(&quantization, x.view(), &mut y, &on).unwrap();
    }
    let launch = mock.launch().unwrap();
    assert_eq!((launch.device, launch.stream), (0, stream.cu_stream() as usize));
    assert!(mock.launch().is_none());
    // The bytes are cudarc's to wait for.
    let (waited, _) =
        calls(mock, &context, "cuStreamWaitEvent", || codes.device_ptr(&context.default_stream()).0);
    assert!(waited);
}

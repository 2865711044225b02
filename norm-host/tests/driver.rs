//! What is asked of the CUDA driver, seen on a stand-in for it.

use cust::memory::DeviceBuffer;
use half::f16;
use norm_host::ptx::EMBEDDED;
use norm_host::{
    Activation, Arg, DType, Device, EpilogueRounding, Error, Gate, GateOrder, Gating, Norm, NormKind, Place,
    QkNormRope, Qkv, QuantFormat, Quantization, QuantizedMut, Rounding, Stream, View, ViewMut,
    plan::{DeviceProfile, Plan},
    problem::{Operand, Problem},
    rms_norm,
};
use norm_kernels::abi::{Axis, Variant};
use norm_testing::mock::{Mock, interface::DEVICES, mock};
use std::ptr::null_mut;
use std::sync::MutexGuard;

const INVALID_VALUE: u32 = 1;

/// The stand-in, with this test alone on it, and its first device.
fn setup() -> (&'static Mock, MutexGuard<'static, ()>, Device) {
    let mock = mock();
    let alone = mock.alone();
    (mock, alone, Device::new(0).unwrap())
}

/// The context that a device makes current.
fn context(device: &Device) -> usize {
    let _current = device.enter().unwrap();
    current()
}

/// The context that is current on this thread.
fn current() -> usize {
    cuda_driver::driver().unwrap().context_current().unwrap().addr()
}

fn buffer<T: cust::memory::DeviceCopy>(device: &Device, values: &[T]) -> DeviceBuffer<T> {
    let _current = device.enter().unwrap();
    DeviceBuffer::from_slice(values).unwrap()
}

#[test]
fn devices_are_found_and_named() {
    let (_mock, _alone, device) = setup();
    let count = DEVICES as u32;
    assert_eq!(Device::count(), Ok(count));
    assert_eq!((device.ordinal(), device.capability()), (0, (9, 0)));
    assert_eq!(Device::new(1).unwrap().name(), "Mock device 1");
    assert_eq!(device.place(), Place::Cuda(0));
    assert_eq!(Device::new(count), Err(Error::NoDevice { ordinal: count, count }));
}

#[test]
fn a_device_is_opened_once_and_leaves_no_context_current() {
    let (mock, _alone, device) = setup();
    let other = Device::new(1).unwrap();
    let before = mock.alive();
    assert_eq!(Device::new(0).unwrap(), device);
    assert_ne!(other, device);
    assert_eq!(mock.alive(), before);
    assert_eq!(current(), 0);
}

#[test]
fn what_cust_has_is_borrowed() {
    let (_mock, _alone, first) = setup();
    let opened = cust::context::Context::new(cust::device::Device::get_device(1).unwrap()).unwrap();
    let theirs = cust::stream::Stream::new(cust::stream::StreamFlags::NON_BLOCKING, None).unwrap();
    let second = Device::from_cust(&opened).unwrap();
    assert_eq!(second, Device::new(1).unwrap());
    assert_eq!(current(), context(&second), "cust leaves its context current, and nobody takes it away");
    {
        // SAFETY: `theirs` outlives the borrowed handle.
        let stream = unsafe { Stream::from_cust(&second, &theirs) }.unwrap();
        assert_eq!(stream.as_raw().addr(), theirs.as_inner().addr());
    }
    // Not destroyed with the handle.
    theirs.synchronize().unwrap();
    // SAFETY: `theirs` is alive; the function returns an error, so there is no handle that it must outlive.
    let foreign = unsafe { Stream::from_cust(&first, &theirs) };
    assert_eq!(foreign.err(), Some(Error::ForeignStream { device: first.place() }));
}

#[test]
fn entering_a_device_is_undone() {
    let (_mock, _alone, first) = setup();
    let second = Device::new(1).unwrap();
    {
        let _first = first.enter().unwrap();
        let inside = current();
        assert_ne!(inside, 0);
        {
            let _again = first.enter().unwrap();
            assert_eq!(current(), inside);
            let _second = second.enter().unwrap();
            assert_ne!(current(), inside);
        }
        assert_eq!(current(), inside);
    }
    assert_eq!(current(), 0);
}

#[test]
fn an_operation_becomes_one_launch_with_its_arguments() {
    let (mock, _alone, device) = setup();
    let stream = Stream::new(&device).unwrap();
    let x = buffer(&device, &[0_u16; 70 * 256]);
    let mut y = buffer(&device, &[0_f32; 70 * 256]);
    let w = buffer(&device, &[0_f32; 256]);
    let x = View::from_buffer::<f16>(&x, &[70, 256]).unwrap();
    let w = View::from_buffer::<f32>(&w, &[256]).unwrap();
    let mut y = ViewMut::from_buffer::<f32>(&mut y, &[70, 256]).unwrap();
    rms_norm(x, w, &mut y, 1e-6, &stream).unwrap();

    let launch = mock.launch().expect("one launch");
    // 64 vectors of 4 elements, two a thread: a warp a row, sixteen rows a block.
    assert_eq!(launch.kernel(), "rms_f16_f32_f32_warp2");
    assert_eq!((launch.grid, launch.block, launch.shared_bytes), ([5, 1, 1], [32, 16, 1], 0));
    assert_eq!((launch.cluster, launch.overlap), (1, 1));
    assert_eq!((launch.device, launch.stream), (0, stream.as_raw().addr()));
    assert_eq!(launch.first, x.address());
    assert!(mock.launch().is_none());
    assert_eq!(current(), 0);
}

#[test]
fn a_plan_is_launched_as_it_stands() {
    let (mock, _alone, device) = setup();
    let stream = Stream::new(&device).unwrap();
    let memory = buffer(&device, &[0_f32; 8 * 512]);
    let address = memory.as_device_ptr().as_raw();
    let tensor = Operand { address, dtype: DType::F32 };
    let rows = Axis { extent: 8, x_stride: 512, y_stride: 512, r_stride: 0, s_stride: 0 };
    let problem = Problem {
        kind: NormKind::Rms,
        x: tensor,
        y: tensor,
        residual: None,
        w: None,
        b: None,
        axes: [Axis::ONE, Axis::ONE, rows],
        rows: 8,
        dim: 512,
        eps: 1e-6,
        weight_offset: 0.0,
        round_offset: false,
        rounding: Rounding::Single,
        overlap: true,
    };
    let mut plan = Plan::new(&problem, device.profile()).unwrap();
    plan.kernel.variant = Variant::Stream;
    (plan.block, plan.grid) = ([96, 1, 1], [8, 1, 1]);
    // SAFETY: the stand-in driver runs no kernels, so nothing is read or written.
    unsafe { stream.launch_plan(&plan) }.unwrap();
    let launch = mock.launch().expect("one launch");
    assert_eq!(
        (launch.kernel(), launch.block, launch.grid),
        ("rms_f32_f32_f32_stream", [96, 1, 1], [8, 1, 1])
    );
    assert_eq!(launch.first, address);
}

/// One launch where a kernel does both norms; and two where none does, as where rows are short.
#[test]
fn a_sandwich_is_one_launch_of_a_kernel_for_both_norms() {
    let (mock, _alone, device) = setup();
    let stream = Stream::new(&device).unwrap();
    let launches = |dim: usize| {
        let elements = 3 * dim;
        let [x, r] = [(); 2].map(|()| buffer(&device, &vec![0_u16; elements]));
        let [mut sum, mut y] = [(); 2].map(|()| buffer(&device, &vec![0_u16; elements]));
        let shape = [3, dim];
        let [x, r] = [&x, &r].map(|tensor| View::from_buffer::<f16>(tensor, &shape).unwrap());
        let sum = &mut ViewMut::from_buffer::<f16>(&mut sum, &shape).unwrap();
        let y = &mut ViewMut::from_buffer::<f16>(&mut y, &shape).unwrap();
        let (norm, next) = (Norm::rms(1e-6).branch_scale(0.5), Norm::rms(1e-5));
        norm.sandwich_rows_to(&next, x, r, sum, y, &stream).unwrap();
        let first = mock.launch().expect("one launch at least");
        let kernel = (first.kernel().to_owned(), first.grid, first.first == x.address());
        (kernel, mock.launch().map(|second| (second.kernel().to_owned(), second.first == sum.address())))
    };
    let once = ("rms_f16_f16_f16_sandwich2_scaled".to_owned(), [3, 1, 1], true);
    assert_eq!(launches(1024), (once, None));
    let (first, second) = launches(64);
    assert_eq!(first, ("rms_f16_f16_f16_staged_scaled".to_owned(), first.1, true));
    assert_eq!(second, Some(("rms_f16_f16_f16_warp2".to_owned(), true)));
}

/// Which kernel a gated norm is, by the rows' length and the order; and that it has been loaded before, where that was asked
/// for.
#[test]
fn a_gated_norm_is_one_launch_of_a_kernel_that_can_be_preloaded() {
    let (mock, _alone, device) = setup();
    let stream = Stream::new(&device).unwrap();
    for (dim, order, rounding, expected) in [
        (128, GateOrder::NormFirst, Rounding::Single, "gated_f16_f16_warp_sigmoid"),
        (1024, GateOrder::GateFirst, Rounding::Single, "gated_f16_f16_block_sigmoid_gate_first"),
        (1024, GateOrder::NormFirst, Rounding::BeforeWeight, "gated_f16_f16_block_sigmoid_before_weight"),
        (20_000, GateOrder::NormFirst, Rounding::BeforeBias, "gated_f16_f16_stream_sigmoid_before_bias"),
        // The product is what is stored: nothing is rounded before that.
        (1024, GateOrder::GateFirst, Rounding::BeforeBias, "gated_f16_f16_block_sigmoid_gate_first"),
        (129, GateOrder::NormFirst, Rounding::Single, "gated_f16_f16_scalar_sigmoid"),
    ] {
        let gating = Gating { activation: Activation::Sigmoid, order };
        let epilogue = EpilogueRounding { order: rounding, offset: false };
        device.preload_gated([DType::F16; 2], gating, dim, epilogue).unwrap();
        let shape = [3, dim];
        let [x, g] = [(); 2].map(|()| buffer(&device, &vec![0_u16; 3 * dim]));
        let mut y = buffer(&device, &vec![0_u16; 3 * dim]);
        let [x, g] = [&x, &g].map(|tensor| View::from_buffer::<f16>(tensor, &shape).unwrap());
        let y = &mut ViewMut::from_buffer::<f16>(&mut y, &shape).unwrap();
        let modules = mock.alive().modules;
        let gate = Gate::sigmoid(g).order(order);
        Norm::rms(1e-6).rounding(rounding).gated_rows(x, gate, y, &stream).unwrap();
        assert_eq!(mock.alive().modules, modules, "{expected}");
        let launch = mock.launch().expect("one launch");
        assert_eq!((launch.kernel(), launch.first), (expected, x.address()));
        assert!(mock.launch().is_none());
    }
    let preload = |types, dim| device.preload_gated(types, Gating::DEFAULT, dim, EpilogueRounding::SINGLE);
    let error = Error::DType { arg: Arg::W, expected: DType::F16, given: DType::BF16 };
    assert_eq!(preload([DType::F16, DType::BF16], 128), Err(error));
    assert_eq!(preload([DType::F16; 2], 0), Err(Error::EmptyRow { arg: Arg::X }));
}

#[test]
fn a_kernel_is_loaded_once() {
    let (mock, _alone, device) = setup();
    let stream = Stream::new(&device).unwrap();
    let x = buffer(&device, &[0_f32; 12]);
    let mut y = buffer(&device, &[0_f32; 12]);
    let x = View::from_buffer::<f32>(&x, &[3, 4]).unwrap();
    let mut y = ViewMut::from_buffer::<f32>(&mut y, &[3, 4]).unwrap();
    let mut loaded = || {
        Norm::layer(0.5).rows(x, &mut y, &stream).unwrap();
        mock.alive().modules
    };
    assert_eq!(loaded(), loaded());
}

#[test]
fn preloaded_kernels_need_no_loading_later() {
    let (mock, _alone, device) = setup();
    device
        .preload(NormKind::Layer, [DType::BF16, DType::F32, DType::BF16], 4096, EpilogueRounding::SINGLE)
        .unwrap();
    let before = mock.alive().modules;
    device
        .preload(NormKind::Layer, [DType::BF16, DType::F32, DType::BF16], 4095, EpilogueRounding::SINGLE)
        .unwrap();
    assert_eq!(mock.alive().modules, before);
    let empty =
        device.preload(NormKind::Layer, [DType::BF16, DType::F32, DType::BF16], 0, EpilogueRounding::SINGLE);
    assert_eq!(empty, Err(Error::EmptyRow { arg: Arg::X }));
    let long = device.preload(
        NormKind::Layer,
        [DType::BF16, DType::F32, DType::BF16],
        1 << 40,
        EpilogueRounding::SINGLE,
    );
    assert!(matches!(long, Err(Error::RowTooLong { arg: Arg::X, .. })), "{long:?}");
}

#[test]
fn what_the_driver_refuses_is_returned() {
    let (mock, _alone, device) = setup();
    let stream = Stream::new(&device).unwrap();
    let mut x = buffer(&device, &[0_f32; 8]);
    let mut x = ViewMut::from_buffer::<f32>(&mut x, &[2, 4]).unwrap();
    let mut run = || Norm::rms(1e-6).rows_in_place(&mut x, &stream);

    mock.fail("cuModuleLoadDataEx", 218);
    let not_loaded = run();
    mock.fail("cuModuleLoadDataEx", 0);
    let Err(Error::Load { kernel, call, code, .. }) = not_loaded else { panic!("{not_loaded:?}") };
    assert_eq!((&*kernel, call, code), ("rms_f32_f32_f32_warp2", "cuModuleLoadDataEx", 218));

    mock.fail("cuLaunchKernelEx", 912);
    let refused = run();
    mock.fail("cuLaunchKernelEx", 0);
    let name = "CUDA_ERROR_INVALID_CLUSTER_SIZE, invalid cluster size".to_string();
    assert_eq!(refused, Err(Error::Driver { call: "cuLaunchKernelEx", code: 912, name }));

    // Neither failure stays.
    assert_eq!(run(), Ok(()));
    assert_eq!(current(), 0);
}

#[test]
fn nothing_is_launched_without_rows() {
    let (mock, _alone, device) = setup();
    let stream = Stream::new(&device).unwrap();
    // SAFETY: there are no elements.
    let mut x = unsafe { ViewMut::from_raw_parts(Place::Cuda(0), 256, DType::F32, &[0, 4]) }.unwrap();
    Norm::rms(1e-6).rows_in_place(&mut x, &stream).unwrap();
    assert!(mock.launch().is_none());
}

#[test]
fn buffers_are_where_the_driver_says() {
    let (_mock, _alone, first) = setup();
    let second = Device::new(1).unwrap();
    let mut here = buffer(&first, &[0_u16; 6]);
    let there = buffer(&second, &[0_f32; 6]);
    let view = ViewMut::from_buffer::<f16>(&mut here, &[2, 3]).unwrap();
    assert_eq!((view.place(), view.dtype()), (Place::Cuda(0), DType::F16));
    let view = View::from_buffer::<f32>(&there, &[6]).unwrap();
    assert_eq!((view.place(), view.dtype()), (Place::Cuda(1), DType::F32));
    // Parts of buffers too, and never past their end.
    let part = there.index(2..5);
    let view = View::from_buffer::<f32>(&part, &[3]).unwrap();
    assert_eq!(view.address(), there.as_device_ptr().as_raw() + 8);
    let long = View::from_buffer::<f32>(&part, &[4]).map(|view| view.address());
    assert_eq!(long, Err(Error::OutOfBounds { arg: Arg::View, needed: 4, available: 3 }));
}

#[test]
fn tensors_elsewhere_are_refused_before_a_launch() {
    let (mock, _alone, first) = setup();
    let second = Device::new(1).unwrap();
    let stream = Stream::new(&first).unwrap();
    let there = buffer(&second, &[0_f32; 4]);
    let mut here = buffer(&first, &[0_f32; 4]);
    let x = View::from_buffer::<f32>(&there, &[4]).unwrap();
    let mut y = ViewMut::from_buffer::<f32>(&mut here, &[4]).unwrap();
    let result = rms_norm(x, None, &mut y, 1e-6, &stream);
    let (expected, given) = (Place::Cuda(0), Place::Cuda(1));
    assert_eq!(result, Err(Error::Place { arg: Arg::X, expected, given }));
    assert!(mock.launch().is_none());
}

#[test]
fn streams_are_destroyed_by_their_owner() {
    let (mock, _alone, device) = setup();
    let before = mock.alive().streams;
    let owned = Stream::new(&device).unwrap();
    assert_eq!(mock.alive().streams, before + 1);
    // SAFETY: `owned` outlives the borrowed handle.
    let borrowed = unsafe { Stream::from_raw(&device, owned.as_raw()) }.unwrap();
    assert_eq!((borrowed.device(), borrowed.as_raw()), (&device, owned.as_raw()));
    assert_eq!((borrowed.is_done(), borrowed.synchronize()), (Ok(true), Ok(())));
    drop(borrowed);
    assert_eq!(mock.alive().streams, before + 1);
    drop(owned);
    assert_eq!(mock.alive().streams, before);
    // SAFETY: a null handle is the default stream, which is never destroyed.
    let default = unsafe { Stream::from_raw(&device, null_mut()) }.unwrap();
    assert_eq!(default.synchronize(), Ok(()));
}

#[test]
fn a_stream_of_another_context_is_refused() {
    let (_mock, _alone, first) = setup();
    let second = Device::new(1).unwrap();
    let stream = Stream::new(&second).unwrap();
    // SAFETY: `stream` is alive; the function returns an error, so there is no handle that it must outlive.
    let result = unsafe { Stream::from_raw(&first, stream.as_raw()) };
    assert_eq!(result.map(drop), Err(Error::ForeignStream { device: Place::Cuda(0) }));
    assert_eq!(current(), 0);
}

#[test]
fn streams_wait_for_each_other_and_leave_no_events() {
    let (mock, _alone, first) = setup();
    let before = mock.alive().events;
    let a = Stream::new(&first).unwrap();
    let b = Stream::new(&Device::new(1).unwrap()).unwrap();
    assert_eq!((a.wait(&b), b.wait(&a)), (Ok(()), Ok(())));
    assert_eq!(mock.alive().events, before);
    mock.fail("cuStreamWaitEvent", INVALID_VALUE);
    assert!(matches!(a.wait(&b), Err(Error::Driver { call: "cuStreamWaitEvent", .. })));
    mock.fail("cuStreamWaitEvent", 0);
    assert_eq!(mock.alive().events, before);
}

#[test]
fn a_captured_graph_launches_what_was_captured() {
    let (mock, _alone, device) = setup();
    let before = mock.alive().graphs;
    let stream = Stream::new(&device).unwrap();
    let mut x = buffer(&device, &[0_f32; 2048]);
    let mut x = ViewMut::from_buffer::<f32>(&mut x, &[2, 1024]).unwrap();
    // The first of its kind: it is loaded during the capture.
    let graph = stream.capture(|stream| {
        Norm::layer(1e-5).rows_in_place(&mut x, stream)?;
        Norm::rms(1e-5).rows_in_place(&mut x, stream)
    });
    let graph = graph.unwrap();
    assert!(mock.launch().is_none(), "captured, not run");
    for _ in 0..2 {
        // SAFETY: `x` is alive, and nothing else uses it.
        unsafe { graph.launch(&stream) }.unwrap();
        assert_eq!(mock.launch().expect("the first").kernel(), "layer_f32_f32_f32_short4");
        assert_eq!(mock.launch().expect("the second").kernel(), "rms_f32_f32_f32_block2");
        assert!(mock.launch().is_none());
    }

    let elsewhere = Stream::new(&Device::new(1).unwrap()).unwrap();
    // SAFETY: `x` is alive, and nothing else uses it; a stream of another device is refused before a launch.
    let result = unsafe { graph.launch(&elsewhere) };
    let (expected, given) = (Place::Cuda(0), Place::Cuda(1));
    assert_eq!(result, Err(Error::Place { arg: Arg::Stream, expected, given }));
    drop(graph);
    assert_eq!(mock.alive().graphs, before);
}

#[test]
fn handles_with_other_kernels_are_of_the_same_device() {
    let (mock, _alone, device) = setup();
    let contexts = mock.alive().contexts;
    let set: &'static [_] = vec![EMBEDDED[0]].leak();
    let other = Device::with_ptx(0, set).unwrap();
    assert_eq!(mock.alive().contexts, contexts + 1, "retained, not made");
    assert_eq!(Device::with_ptx(0, set), Ok(other));
    assert_eq!(mock.alive().contexts, contexts + 1, "once");
    assert_eq!((other, context(&other)), (device, context(&device)));
    assert_eq!((device.ptx().target, other.ptx().target), ("sm_90", "sm_80"));
    assert_eq!(device.with_profile(DeviceProfile::LEAST), device);
    // Blocks of kernels for sm_80 know of no cluster, so none is launched, whatever the device could do.
    assert_eq!([device, other].map(|device| device.profile().max_cluster), [16, 1]);

    // One set's graph on a stream of the other's.
    let [captured, launched] = [other, device].map(|device| Stream::new(&device).unwrap());
    let mut x = buffer(&device, &[0_f32; 2048]);
    let mut x = ViewMut::from_buffer::<f32>(&mut x, &[2, 1024]).unwrap();
    let graph = captured.capture(|stream| Norm::rms(1e-5).rows_in_place(&mut x, stream)).unwrap();
    // SAFETY: `x` is alive, and nothing else uses it.
    assert_eq!(unsafe { graph.launch(&launched) }, Ok(()));
    let launch = mock.launch().expect("one");
    assert_eq!((launch.kernel(), launch.stream), ("rms_f32_f32_f32_block2", launched.as_raw().addr()));
}

#[test]
fn a_capture_that_fails_or_panics_ends() {
    let (mock, _alone, device) = setup();
    let before = mock.alive().graphs;
    let stream = Stream::new(&device).unwrap();
    let error = Error::Eps { given: -1.0 };
    assert_eq!(stream.capture(|_| Err(error.clone())).map(drop), Err(error));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        stream.capture(|_| std::panic::resume_unwind(Box::new(()))).map(drop)
    }));
    assert!(panicked.is_err());
    // The next capture begins, so the others have ended.
    drop(stream.capture(|_| Ok(())).unwrap());
    assert_eq!(mock.alive().graphs, before);
    // SAFETY: a null handle is the default stream, which is never destroyed.
    let default = unsafe { Stream::from_raw(&device, null_mut()) }.unwrap();
    let result = default.capture(|_| Ok(()));
    assert!(matches!(result, Err(Error::Driver { call: "cuStreamBeginCapture_v2", .. })));
}

/// `rows` rows of `dim` elements that lie nowhere: the stand-in runs no kernel.
fn rows_of(dtype: DType, address: u64, shape: &[usize]) -> View<'static> {
    // SAFETY: nobody reads it.
    unsafe { View::from_raw_parts(Place::Cuda(0), address, dtype, shape) }.unwrap()
}

/// As [`rows_of`], to be written.
fn rows_mut_of(dtype: DType, address: u64, shape: &[usize]) -> ViewMut<'static> {
    // SAFETY: nobody writes it.
    unsafe { ViewMut::from_raw_parts(Place::Cuda(0), address, dtype, shape) }.unwrap()
}

const X: u64 = 1 << 40;
const R: u64 = 2 << 40;
const Y: u64 = 3 << 40;
const W: u64 = 4 << 40;

/// Everything that `preload` promises for rows of that type: without a residual, with one in front and behind, each with
/// weights and with biases, of as many rows as a short, a medium and a long grid have, at addresses that suit vectors and
/// at others.
fn run_all(kind: NormKind, dtype: DType, dim: usize, stream: &Stream) {
    let size = dtype.size() as u64;
    for (rows, shift) in [1, 600, 1 << 16].into_iter().flat_map(|rows| [(rows, 0), (rows, size)]) {
        let shape = [rows, dim];
        let x = rows_of(dtype, X + shift, &shape);
        let w = rows_of(dtype, W, &[dim]);
        let y = &mut rows_mut_of(dtype, Y, &shape);
        let r = &mut rows_mut_of(dtype, R, &shape);
        for norm in [Norm::new(kind, 1e-6).weight(w), Norm::new(kind, 1e-6).weight(w).bias(w)] {
            norm.rows(x, y, stream).unwrap();
            norm.add_then_norm(x, r, y, stream).unwrap();
            norm.norm_then_add(x, y, stream).unwrap();
        }
    }
}

/// A warp, one block and clusters a row, and rows that take several kernels by their number.
const PRELOADED: [usize; 7] = [64, 512, 2048, 4096, 8192, 32_768, 300_000];

#[test]
fn preloading_leaves_no_kernel_out() {
    let (mock, _alone, _) = setup();
    // None is loaded in a set that nothing else has.
    let open = || Device::with_ptx(0, EMBEDDED.to_vec().leak()).unwrap();
    let all = open().profile();
    let slow = DeviceProfile { memory_bytes_per_clock: 12, ..all };
    for profile in [all, slow, DeviceProfile::LEAST] {
        for (kind, dim) in NormKind::ALL.into_iter().flat_map(|kind| PRELOADED.map(|dim| (kind, dim))) {
            let device = open().with_profile(profile);
            device.preload(kind, [DType::F16; 3], dim, EpilogueRounding::SINGLE).unwrap();
            let modules = mock.alive().modules;
            run_all(kind, DType::F16, dim, &Stream::new(&device).unwrap());
            assert_eq!(mock.alive().modules, modules, "{kind:?} of {dim}, {profile:?}");
        }
    }
    // What it does not promise: factors, residuals in f32, and two norms in one launch.
    let device = open();
    device.preload(NormKind::Rms, [DType::F16; 3], 2048, EpilogueRounding::SINGLE).unwrap();
    let stream = Stream::new(&device).unwrap();
    let shape = [3, 2048];
    let (x, r) = (rows_of(DType::F16, X, &shape), rows_of(DType::F16, R, &shape));
    let (sum, y) = (&mut rows_mut_of(DType::F16, W, &shape), &mut rows_mut_of(DType::F16, Y, &shape));
    let wide = &mut rows_mut_of(DType::F32, R, &shape);
    let norm = Norm::rms(1e-6);
    let loads = |work: &mut dyn FnMut() -> norm_host::Result<()>| {
        let modules = mock.alive().modules;
        work().unwrap();
        mock.alive().modules - modules
    };
    assert_eq!(loads(&mut || norm.branch_scale(0.5).norm_then_add(x, y, &stream)), 1);
    assert_eq!(loads(&mut || norm.add_then_norm(x, wide, y, &stream)), 1);
    assert_eq!(loads(&mut || norm.sandwich_rows_to(&norm, x, r, sum, y, &stream)), 1);
}

#[test]
fn the_longest_rows_are_preloaded_and_longer_ones_refused() {
    let (_mock, _alone, device) = setup();
    let max = norm_host::MAX_DIM as usize;
    let preload = |dim| device.preload(NormKind::Rms, [DType::F16; 3], dim, EpilogueRounding::SINGLE);
    assert_eq!(preload(max), Ok(()));
    assert_eq!(preload(max + 1), Err(Error::RowTooLong { arg: Arg::X, dim: max + 1, max }));
}

/// Whether each launch since the last call may start before the one in front of it has ended.
fn overlaps(mock: &Mock) -> Vec<i32> {
    std::iter::from_fn(|| mock.launch()).map(|launch| launch.overlap).collect()
}

#[test]
fn a_launch_overlaps_with_the_one_in_front_unless_told_not_to() {
    let (mock, _alone, device) = setup();
    let stream = Stream::new(&device).unwrap();
    // A kernel that has no cluster, and one that has: one attribute and two.
    for (dim, overlap) in [64, 2048, 131_072].into_iter().flat_map(|dim| [(dim, true), (dim, false)]) {
        let norm = Norm::rms(1e-6).overlap(overlap);
        let next = Norm::rms(1e-5).overlap(overlap);
        let shape = [3, dim];
        let (x, r) = (rows_of(DType::F16, X, &shape), rows_of(DType::F16, R, &shape));
        let y = &mut rows_mut_of(DType::F16, Y, &shape);
        let sum = &mut rows_mut_of(DType::F16, W, &shape);
        norm.rows(x, y, &stream).unwrap();
        norm.rows_in_place(y, &stream).unwrap();
        norm.heads(x, y, &stream).unwrap();
        norm.norm_then_add(x, y, &stream).unwrap();
        norm.add_then_norm(x, sum, y, &stream).unwrap();
        norm.sandwich_rows_to(&next, x, r, sum, y, &stream).unwrap();
        let launches: Vec<_> = std::iter::from_fn(|| mock.launch()).collect();
        assert!(launches.len() >= 6, "{dim}");
        let attributes = (if dim == 131_072 { 8 } else { 1 }, i32::from(overlap));
        let differs = launches.iter().find(|launch| (launch.cluster, launch.overlap) != attributes);
        assert!(differs.is_none(), "{dim}, {overlap}: {}", differs.unwrap().kernel());
    }
}

/// The forms that have kernels of their own.
#[test]
fn launches_of_every_form_overlap_unless_told_not_to() {
    let (mock, _alone, device) = setup();
    let stream = Stream::new(&device).unwrap();
    let shape = [3, 1024];
    for overlap in [true, false] {
        let norm = Norm::rms(1e-6).overlap(overlap);
        let (x, g) = (rows_of(DType::F16, X, &shape), rows_of(DType::F16, R, &shape));
        norm.gated_rows(x, Gate::silu(g), &mut rows_mut_of(DType::F16, Y, &shape), &stream).unwrap();
        // SAFETY: nobody writes it.
        let codes = unsafe { QuantizedMut::from_raw_parts(Place::Cuda(0), Y, QuantFormat::E4m3, &shape) };
        let mut codes = codes.unwrap().scales(rows_mut_of(DType::F32, W, &[3, 1]));
        norm.quantize_rows(&Quantization::per_token(QuantFormat::E4m3), x, &mut codes, &stream).unwrap();
        let q = rows_mut_of(DType::F16, Y, &[3, 8, 128]);
        QkNormRope::new().q_norm(Norm::rms(1e-6)).overlap(overlap).in_place(Qkv::new(q), &stream).unwrap();
        assert_eq!(overlaps(mock), [i32::from(overlap); 3]);
    }
}

#[test]
fn a_handle_has_no_more_than_its_device() {
    let (mock, _alone, device) = setup();
    let most = DeviceProfile {
        max_cluster: 64,
        max_shared_bytes: u32::MAX,
        dependent_launch: true,
        short_grid: 7,
        memory_bytes_per_clock: 99,
    };
    let of = |device: Device, profile| device.with_profile(profile).profile();
    // What kernels are selected by is the caller's choice.
    let chosen = DeviceProfile { short_grid: 7, memory_bytes_per_clock: 99, ..device.profile() };
    assert_eq!(of(device, most), chosen);
    assert_eq!(of(device, DeviceProfile { max_cluster: 7, ..chosen }).max_cluster, 4, "a power of two");
    assert_eq!(of(device, DeviceProfile { max_cluster: 0, ..chosen }).max_cluster, 1);
    // A handle that has less gets all of the device again.
    assert_eq!(of(device.with_profile(DeviceProfile::LEAST), most), chosen);
    for (settings, capability) in
        [("devices=8.0", (8, 0)), ("devices=8.6", (8, 6)), ("devices=8.9", (8, 9)), ("devices=12.0", (12, 0))]
    {
        mock.set(settings);
        let older = Device::with_ptx(0, EMBEDDED.to_vec().leak());
        mock.set("devices=9.0,9.0,9.0,9.0");
        let own = DeviceProfile::of_capability(capability);
        let chosen = DeviceProfile { short_grid: 7, memory_bytes_per_clock: 99, ..own };
        assert_eq!(of(older.unwrap(), most), chosen, "{settings}");
    }
}

/// The stand-in refuses what a device of that capability does not have: shared memory, clusters, attributes of a launch.
#[test]
fn rows_of_any_length_are_launched_on_every_capability() {
    let (mock, _alone, _) = setup();
    for capability in ["8.0", "8.6", "8.7", "8.9", "9.0", "10.0", "11.0", "12.0"] {
        mock.set(&format!("devices={capability}"));
        let device = Device::with_ptx(0, EMBEDDED.to_vec().leak()).unwrap();
        // Another handle may ask for all that there is on newer ones.
        let all = device.with_profile(DeviceProfile::of_capability((9, 0)));
        let mut most = 0;
        for device in [device, all] {
            let stream = Stream::new(&device).unwrap();
            for (kind, dim) in NormKind::ALL.into_iter().flat_map(|kind| (9..20).map(move |n| (kind, 5 << n)))
            {
                for (dtype, rows) in DType::ALL.into_iter().flat_map(|dtype| [(dtype, 3), (dtype, 1 << 16)]) {
                    let shape = [rows, dim];
                    let (x, y) = (rows_of(dtype, X, &shape), &mut rows_mut_of(dtype, Y, &shape));
                    let r = &mut rows_mut_of(dtype, R, &shape);
                    let norm = Norm::new(kind, 1e-6);
                    let ran = norm.rows(x, y, &stream).and_then(|()| norm.add_then_norm(x, r, y, &stream));
                    assert_eq!(ran, Ok(()), "{capability}: {kind:?} of {dim}, {dtype}");
                }
            }
            while let Some(launch) = mock.launch() {
                most = most.max(launch.shared_bytes);
            }
        }
        mock.set("devices=9.0,9.0,9.0,9.0");
        assert!(most > 48 << 10, "{capability}: what every kernel may have by itself suffices: {most}");
    }
}

/// In a global capture other threads could not.
#[test]
fn other_threads_allocate_while_a_stream_captures() {
    let (_mock, _alone, device) = setup();
    let stream = Stream::new(&device).unwrap();
    let allocate = || {
        let _current = device.enter()?;
        let allocated = DeviceBuffer::from_slice(&[0_u8; 4]).map(drop);
        Ok::<_, Error>(allocated.is_ok())
    };
    let mut seen = [None; 3];
    let graph = stream.capture(|stream| {
        let elsewhere = std::thread::scope(|scope| scope.spawn(allocate).join().expect("no panic"))?;
        let before = allocate()?;
        // A kernel that no other test loads: loading may do what the graph's work may not.
        let shape = [3, 72];
        Norm::layer(1e-6).rows(
            rows_of(DType::BF16, X, &shape),
            &mut rows_mut_of(DType::F32, Y, &shape),
            stream,
        )?;
        seen = [Some(elsewhere), Some(before), Some(allocate()?)];
        Ok(())
    });
    assert!(graph.is_ok());
    let expected = [Some(true), Some(false), Some(false)];
    assert_eq!(
        seen, expected,
        "the thread that captures is held to what a graph can have, in front of loading and behind"
    );
}

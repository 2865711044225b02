//! Groups of devices, seen on a stand-in for the driver and for NCCL.

use cust::memory::{CopyDestination, DeviceBuffer, LockedBuffer};
use half::f16;
use norm_host::{
    Arg, DType, Device, EpilogueRounding, Error, NcclGroup, NcclId, Norm, NormKind, PeerOffer, PeerOptions,
    Place, ReduceGroup, Rounding, RowSums, Shape, Shard, Stream, TpContext, View, ViewMut, all_reduce,
    all_reduce_rms_norm, head_norm_tp, layer_norm_tp, rms_norm_sharded, rms_norm_tp,
};
use norm_testing::mock::{Mock, interface::DEVICES, mock};
use std::ptr::null_mut;
use std::sync::MutexGuard;

const INVALID_VALUE: u32 = 1;

/// The stand-in, with this test alone on it.
fn setup() -> (&'static Mock, MutexGuard<'static, ()>) {
    let mock = mock();
    (mock, mock.alone())
}

fn device(ordinal: u32) -> Device {
    Device::new(ordinal).unwrap()
}

/// The context that is current on this thread.
fn current() -> usize {
    cuda_driver::driver().unwrap().context_current().unwrap().addr()
}

fn buffer<T: cust::memory::DeviceCopy>(device: &Device, values: &[T]) -> DeviceBuffer<T> {
    let _current = device.enter().unwrap();
    DeviceBuffer::from_slice(values).unwrap()
}

const ROWS: [usize; 2] = [4, 512];
const HEADS: [usize; 2] = [4, 512];

/// Tensors of two devices, and a group of their streams.
struct Group {
    x: Vec<DeviceBuffer<u16>>,
    w: Vec<DeviceBuffer<u16>>,
    y: Vec<DeviceBuffer<u16>>,
    sums: Vec<DeviceBuffer<f32>>,
    tp: TpContext,
}

/// What the functions are given.
struct Lists<'a> {
    x: Vec<View<'a>>,
    w: Vec<View<'a>>,
    y: Vec<ViewMut<'a>>,
}

impl Group {
    fn new() -> Group {
        let devices = [device(0), device(1)];
        let each = |elements| devices.iter().map(|device| buffer(device, &vec![0; elements])).collect();
        Group {
            x: each(4 * 512),
            w: each(4 * 512),
            y: each(4 * 512),
            sums: devices.iter().map(|device| buffer(device, &[1.0_f32, 2.0, 3.0, 4.0])).collect(),
            tp: TpContext::on_devices(&[0, 1]).unwrap(),
        }
    }

    /// Views, weights of this shape.
    fn lists(&mut self, w: &[usize]) -> (Lists<'_>, &TpContext) {
        let x = self.x.iter().map(|x| View::from_buffer::<f16>(x, &ROWS).unwrap());
        let w = self.w.iter().map(|buffer| View::from_buffer::<f16>(buffer, w).unwrap());
        let y = self.y.iter_mut().map(|y| ViewMut::from_buffer::<f16>(y, &ROWS).unwrap());
        (Lists { x: x.collect(), w: w.collect(), y: y.collect() }, &self.tp)
    }

    /// `rms_norm_tp` after `change` has had its way with the lists.
    fn run(&mut self, eps: f32, change: impl FnOnce(&mut Lists<'_>)) -> Result<(), Error> {
        let (mut lists, tp) = self.lists(&[512]);
        change(&mut lists);
        rms_norm_tp(&lists.x, &lists.w, &mut lists.y, eps, tp)
    }

    /// `rms_norm_sharded` after `change` has had its way with the shards.
    fn run_sharded(
        &mut self,
        dim: usize,
        reduce: &impl norm_host::AllReduce,
        change: impl FnOnce(&mut Vec<Shard<'_>>),
    ) -> Result<(), Error> {
        let tensors = self.x.iter().zip(&self.w).zip(self.y.iter_mut().zip(&mut self.sums));
        let shards = tensors.map(|((x, w), (y, sums))| Shard {
            x: View::from_buffer::<f16>(x, &ROWS).unwrap(),
            w: Some(View::from_buffer::<f16>(w, &[512]).unwrap()),
            y: ViewMut::from_buffer::<f16>(y, &ROWS).unwrap(),
            sums: ViewMut::from_buffer::<f32>(sums, &[4]).unwrap(),
        });
        let mut shards = shards.collect();
        change(&mut shards);
        rms_norm_sharded(&mut shards, 1e-6, dim, &self.tp, reduce)
    }

    fn sums(&self, index: usize) -> [f32; 4] {
        let _current = device(index as u32).enter().unwrap();
        let mut sums = [0.0; 4];
        self.sums[index].copy_to(&mut sums).unwrap();
        sums
    }
}

fn at(index: usize, source: Error) -> Result<(), Error> {
    let place = Place::Cuda(index as u32);
    Err(Error::Tp { index, place, launched: 0, source: Box::new(source) })
}

#[test]
fn groups_are_of_different_devices_and_of_some() {
    let (mock, _alone) = setup();
    let stream = |ordinal| Stream::new(&device(ordinal)).unwrap();
    assert_eq!(TpContext::new(Vec::new()).map(drop), Err(Error::EmptyGroup));
    assert_eq!(TpContext::on_devices(&[]).map(drop), Err(Error::EmptyGroup));
    let twice = TpContext::new(vec![stream(0), stream(1), stream(0)]).map(drop);
    assert_eq!(twice, Err(Error::DuplicateDevice { place: Place::Cuda(0), first: 0, second: 2 }));
    let count = DEVICES as u32;
    let none = TpContext::on_devices(&[1, count]).map(drop);
    assert_eq!(none, Err(Error::NoDevice { ordinal: count, count }));
    assert!(TpContext::sharing_devices(vec![stream(0), stream(0)]).is_ok());
    let before = mock.alive().streams;
    let owner = stream(1);
    // SAFETY: `owner` outlives the borrowed handle.
    let borrowed = unsafe { Stream::from_raw(owner.device(), owner.as_raw()) }.unwrap();
    drop(TpContext::new(vec![stream(0), borrowed]).unwrap());
    assert_eq!(mock.alive().streams, before + 1, "its own is gone, the borrowed one is not");
}

#[test]
fn each_function_launches_once_a_device() {
    let (mock, _alone) = setup();
    let mut group = Group::new();
    let _current = device(1).enter().unwrap();
    let before = current();
    let launched_on = |group: &Group, kernel: &str| {
        for (ordinal, stream) in group.tp.streams().iter().enumerate() {
            let launch = mock.launch().expect("one a device");
            assert_eq!((launch.device as usize, launch.stream), (ordinal, stream.as_raw().addr()));
            assert_eq!(launch.first, group.x[ordinal].as_device_ptr().as_raw());
            assert_eq!(launch.kernel(), kernel);
        }
        assert!(mock.launch().is_none());
        assert_eq!(current(), before);
    };
    assert_eq!(group.run(1e-6, |_| ()), Ok(()));
    launched_on(&group, "rms_f16_f16_f16_warp2");

    let (mut lists, tp) = group.lists(&[512]);
    assert_eq!(layer_norm_tp(&lists.x, &lists.w, None, &mut lists.y, 1e-6, tp), Ok(()));
    launched_on(&group, "layer_f16_f16_f16_warp4");
    let (mut lists, tp) = group.lists(&[512]);
    let b = lists.w.clone();
    assert_eq!(layer_norm_tp(&lists.x, &lists.w, Some(&b), &mut lists.y, 1e-6, tp), Ok(()));
    launched_on(&group, "layer_f16_f16_f16_warp4");

    let (mut lists, tp) = group.lists(&HEADS);
    let heads = head_norm_tp(&lists.x, &lists.w, None, &mut lists.y, 1e-6, NormKind::Rms, tp);
    assert_eq!(heads, Ok(()));
    launched_on(&group, "rms_f16_f16_f16_warp2");

    // Descriptions have the options that the functions leave out.
    let (mut lists, tp) = group.lists(&[512]);
    let norm = Norm::rms(1e-6).overlap(false);
    assert_eq!(norm.weight_offset(1.0).rows_tp(&lists.x, Some(&lists.w), None, &mut lists.y, tp), Ok(()));
    launched_on(&group, "rms_f16_f16_f16_warp2");
    let (mut lists, tp) = group.lists(&HEADS);
    assert_eq!(norm.heads_tp(&lists.x, None, None, &mut lists.y, tp), Ok(()));
    launched_on(&group, "rms_f16_f16_f16_warp2");
    assert_eq!(group.tp.synchronize(), Ok(()));
}

#[test]
fn a_description_for_several_devices_has_no_parameters_itself() {
    let (mock, _alone) = setup();
    let mut group = Group::new();
    let (mut lists, tp) = group.lists(&[512]);
    let w = lists.w[0];
    for (norm, arg) in [
        (Norm::rms(1e-6).weight(w), Arg::W),
        (Norm::layer(1e-6).bias(w), Arg::B),
        (Norm::layer(1e-6).weight(w).bias(w), Arg::W),
    ] {
        let refused = Err(Error::OwnParameters { arg });
        assert_eq!(norm.rows_tp(&lists.x, Some(&lists.w), None, &mut lists.y, tp), refused);
        assert_eq!(norm.heads_tp(&lists.x, Some(&lists.w), None, &mut lists.y, tp), refused);
        assert_eq!(norm.rows_sharded(&mut [], 1024, tp, &|_: &RowSums<'_>| Ok(())), refused);
    }
    assert_eq!(
        Error::OwnParameters { arg: Arg::W }.to_string(),
        "w: expected those of each device alone, given some in the description of the norm as well"
    );

    // What each device is asked for is refused there.
    let t5 = Norm::rms(1e-6).rounding(Rounding::T5);
    let missing = Error::RoundingWithoutWeights { given: Rounding::T5 };
    assert_eq!(t5.rows_tp(&lists.x, None, None, &mut lists.y, tp), at(0, missing.clone()));
    let layer = Norm::layer(1e-6).rows_sharded(&mut [], 1024, tp, &|_: &RowSums<'_>| Ok(()));
    assert_eq!(layer, Err(Error::SplitLayerNorm));
    assert!(mock.launch().is_none());
}

#[test]
fn everything_is_checked_before_the_first_launch() {
    let (mock, _alone) = setup();
    let mut group = Group::new();
    let lists = |arg, given| Err(Error::ListLength { arg, expected: 2, given });
    assert_eq!(group.run(1e-6, |lists| lists.x.truncate(1)), lists(Arg::X, 1));
    assert_eq!(group.run(1e-6, |lists| lists.w.push(lists.w[0])), lists(Arg::W, 3));
    assert_eq!(group.run(1e-6, |lists| lists.y.clear()), lists(Arg::Y, 0));
    let (mut tensors, tp) = group.lists(&[512]);
    let b = [tensors.w[0]];
    let one_bias = layer_norm_tp(&tensors.x, &tensors.w, Some(&b), &mut tensors.y, 1e-6, tp);
    assert_eq!(one_bias, lists(Arg::B, 1));

    let swapped = Error::Place { arg: Arg::W, expected: Place::Cuda(0), given: Place::Cuda(1) };
    assert_eq!(group.run(1e-6, |lists| lists.w.swap(0, 1)), at(0, swapped));
    assert_eq!(group.run(-1.0, |_| ()), at(0, Error::Eps { given: -1.0 }));

    let fewer = |lists: &mut Lists<'_>| {
        let address = lists.x[1].address();
        // SAFETY: the operation refuses the shape, and accesses nothing.
        lists.x[1] = unsafe { View::from_raw_parts(Place::Cuda(1), address, DType::F16, &[3, 512]) }.unwrap();
    };
    let result = group.run(1e-6, fewer);
    let Err(Error::Tp { index: 1, launched: 0, source, .. }) = result else { panic!("{result:?}") };
    assert!(matches!(*source, Error::Shape { arg: Arg::X, .. }), "{source}");

    mock.fail("cuModuleGetFunction@1", INVALID_VALUE);
    // A kernel that no other test of this file loads on the second device.
    let other = |lists: &mut Lists<'_>| {
        for y in &mut lists.y {
            // SAFETY: the kernel fails to load, so nothing is launched that could access it.
            *y = unsafe { ViewMut::from_raw_parts(y.place(), y.address(), DType::BF16, &ROWS) }.unwrap();
        }
    };
    let result = group.run(1e-6, other);
    mock.fail("cuModuleGetFunction@1", 0);
    let Err(Error::Tp { index: 1, launched: 0, source, .. }) = result else { panic!("{result:?}") };
    assert!(matches!(*source, Error::Driver { call: "cuModuleGetFunction", .. }), "{source}");

    assert!(mock.launch().is_none());
    assert_eq!(current(), 0);
}

#[test]
fn memory_must_be_where_its_view_says() {
    let (mock, _alone) = setup();
    let mut group = Group::new();
    let on_first = group.x[0].as_device_ptr().as_raw();
    let wrong_device = |lists: &mut Lists<'_>| {
        // SAFETY: the operation refuses it, because the memory is the first device's, and accesses nothing.
        lists.x[1] = unsafe { View::from_raw_parts(Place::Cuda(1), on_first, DType::F16, &ROWS) }.unwrap();
    };
    let (expected, given) = (Place::Cuda(1), Place::Cuda(0));
    assert_eq!(group.run(1e-6, wrong_device), at(1, Error::Place { arg: Arg::X, expected, given }));

    let host = [0_u16; 512];
    let address = host.as_ptr().addr() as u64;
    let of_the_host = |lists: &mut Lists<'_>| {
        // SAFETY: the operation refuses it, because it is no memory of a device, and accesses nothing.
        lists.w[1] = unsafe { View::from_raw_parts(Place::Cuda(1), address, DType::F16, &[512]) }.unwrap();
    };
    assert_eq!(group.run(1e-6, of_the_host), at(1, Error::NotOnDevice { arg: Arg::W, address }));

    // The driver names a device for pinned memory too.
    let pinned = {
        let _current = device(1).enter().unwrap();
        LockedBuffer::new(&0_u16, 512).unwrap()
    };
    let address = pinned.as_slice().as_ptr().addr() as u64;
    assert_eq!(cuda_driver::driver().unwrap().pointer_device(address), Ok(1));
    let pinned_weights = |lists: &mut Lists<'_>| {
        // SAFETY: the operation refuses it, because it is the host's memory, and accesses nothing.
        lists.w[1] = unsafe { View::from_raw_parts(Place::Cuda(1), address, DType::F16, &[512]) }.unwrap();
    };
    assert_eq!(group.run(1e-6, pinned_weights), at(1, Error::NotOnDevice { arg: Arg::W, address }));

    // It begins where it should, and ends past its allocation.
    let last = group.y[0].as_device_ptr().as_raw() + 2 * (4 * 512 - 512);
    let too_far = |lists: &mut Lists<'_>| {
        // SAFETY: the operation refuses it, because its last row is outside the allocation, and accesses nothing.
        lists.y[0] = unsafe { ViewMut::from_raw_parts(Place::Cuda(0), last, DType::F16, &ROWS) }.unwrap();
    };
    let result = group.run(1e-6, too_far);
    let Err(Error::Tp { index: 0, source, .. }) = result else { panic!("{result:?}") };
    let another =
        matches!(*source, Error::NotOnDevice { arg: Arg::Y, .. } | Error::Place { arg: Arg::Y, .. });
    assert!(another, "{source}");

    assert!(mock.launch().is_none());
    assert_eq!(current(), 0);
}

#[test]
fn a_launch_that_fails_says_where_and_how_many_went_before() {
    let (mock, _alone) = setup();
    let mut group = Group::new();
    mock.fail("cuLaunchKernelEx@1", INVALID_VALUE);
    let result = group.run(1e-6, |_| ());
    mock.fail("cuLaunchKernelEx@1", 0);
    let Err(Error::Tp { index: 1, place: Place::Cuda(1), launched: 1, source }) = result else {
        panic!("{result:?}")
    };
    assert!(matches!(*source, Error::Driver { call: "cuLaunchKernelEx", code: 1, .. }), "{source}");
    assert_eq!(mock.launch().map(|launch| launch.device), Some(0));
    assert!(mock.launch().is_none());
    assert_eq!(current(), 0);
}

#[test]
fn groups_wait_and_are_waited_for() {
    let (mock, _alone) = setup();
    let events = mock.alive().events;
    let group = Group::new();
    let main = Stream::new(&device(0)).unwrap();
    let raw = |stream: &Stream| stream.as_raw().addr();
    let [first, second] = [0, 1].map(|index| raw(&group.tp.streams()[index]));
    group.tp.wait(&main).unwrap();
    assert_eq!([mock.wait(), mock.wait()], [Some([first, raw(&main)]), Some([second, raw(&main)])]);
    group.tp.join(&main).unwrap();
    assert_eq!([mock.wait(), mock.wait()], [Some([raw(&main), first]), Some([raw(&main), second])]);
    assert_eq!(mock.wait(), None);
    assert_eq!((mock.alive().events, current()), (events, 0));

    mock.fail("cuStreamWaitEvent@1", INVALID_VALUE);
    let result = group.tp.wait(&main);
    mock.fail("cuStreamWaitEvent@1", 0);
    let Err(Error::Tp { index: 1, source, .. }) = result else { panic!("{result:?}") };
    assert!(matches!(*source, Error::Driver { call: "cuStreamWaitEvent", .. }), "{source}");
    assert_eq!((mock.alive().events, current()), (events, 0));
}

#[test]
fn threads_load_each_kernel_once_a_device() {
    let (mock, _alone) = setup();
    let before = mock.alive().modules;
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut group = Group::new();
                for _ in 0..50 {
                    let (mut lists, tp) = group.lists(&HEADS);
                    let Lists { x, w, y } = &mut lists;
                    // Of a type that no other test of this file asks for.
                    for y in y.iter_mut() {
                        let (place, address) = (y.place(), y.address());
                        // SAFETY: the memory is that of an f16 tensor of this shape, which has the same size, and the
                        // stand-in driver runs no kernels that could access it.
                        *y = unsafe { ViewMut::from_raw_parts(place, address, DType::BF16, &ROWS) }.unwrap();
                    }
                    head_norm_tp(x, w, Some(&*w), y, 1e-6, NormKind::Layer, tp).unwrap();
                    assert_eq!(current(), 0);
                }
            });
        }
    });
    assert_eq!(mock.alive().modules, before + 2);
}

#[test]
fn shards_are_summed_by_nccl_between_two_kernels() {
    let (mock, _alone) = setup();
    let mut group = Group::new();
    let nccl = NcclGroup::new(&group.tp).unwrap();
    assert_eq!((nccl.status(), current()), (Ok(()), 0));
    let _current = device(1).enter().unwrap();
    let before = current();
    assert_eq!(group.run_sharded(1024, &nccl, |_| ()), Ok(()));
    assert_eq!(current(), before, "NCCL changes it");
    for kernel in ["rms_partial_f16_vector", "ncclAllReduce", "rms_apply_f16_f16_f16_vector"] {
        for (ordinal, stream) in group.tp.streams().iter().enumerate() {
            let launch = mock.launch().expect("one a device");
            assert_eq!((launch.kernel(), launch.device as usize), (kernel, ordinal));
            assert_eq!(launch.stream, stream.as_raw().addr());
            let [x, sums] =
                [group.x[ordinal].as_device_ptr().as_raw(), group.sums[ordinal].as_device_ptr().as_raw()];
            let expected = if kernel == "ncclAllReduce" { (sums, 4) } else { (x, sums) };
            assert_eq!((launch.first, launch.second), expected);
        }
    }
    assert!(mock.launch().is_none());
    // What was there, as the stand-in's kernels write nothing, once from each.
    group.tp.synchronize().unwrap();
    assert_eq!([group.sums(0), group.sums(1)], [[2.0, 4.0, 6.0, 8.0]; 2]);
}

#[test]
fn rows_are_added_up_by_one_launch_a_device() {
    let (mock, _alone) = setup();
    let mut group = Group::new();
    let reduce = ReduceGroup::new(&group.tp, PeerOptions::default()).unwrap();
    let (mut lists, tp) = group.lists(&[512]);
    let launches = || -> Vec<_> {
        std::iter::from_fn(|| mock.launch()).map(|it| (it.kernel().to_owned(), it.device, it.first)).collect()
    };
    let on_both = |kernel: &str, x: &[View<'_>]| -> Vec<_> {
        (0..2).map(|device| (kernel.to_owned(), device as i32, x[device].address())).collect()
    };
    all_reduce(&lists.x, &mut lists.y, tp, &reduce).unwrap();
    assert_eq!(launches(), on_both("all_reduce_f16_stream", &lists.x));
    all_reduce_rms_norm(&lists.x, &lists.w, &mut lists.y, 1e-6, tp, &reduce).unwrap();
    assert_eq!(launches(), on_both("all_reduce_rms_f16_f16_stream", &lists.x));
}

/// Sizes that have no room in 64 bits with what else a workspace has, or rounded to whole lines.
#[test]
fn buffers_larger_than_memory_are_refused() {
    let (mock, _alone) = setup();
    let group = Group::new();
    let before = mock.alive().allocations;
    for buffer_bytes in [1 << 40, 1 << 62, 1 << 63, usize::MAX - 200, usize::MAX] {
        let options = PeerOptions { buffer_bytes, ..PeerOptions::default() };
        let error = PeerOffer::new(&group.tp, options).err();
        assert_eq!(error, Some(Error::OutOfMemory { call: "cuMemAlloc_v2" }), "{buffer_bytes}");
    }
    assert_eq!(mock.alive().allocations, before);
}

/// A rank's offer has what the group is to agree on and the handle of its own workspace; with the offers of all, each process joins.
#[test]
fn processes_join_by_their_offers() {
    let (_, _alone) = setup();
    let contexts = [0, 1].map(|device| TpContext::on_devices(&[device]).unwrap());
    let options = PeerOptions { buffer_bytes: 4000, blocks: Some(3), ..PeerOptions::default() };
    let offers = contexts.each_ref().map(|tp| PeerOffer::new(tp, options).unwrap());
    let all = offers.each_ref().map(|offer| offer.to_bytes().unwrap()[0]);
    for bytes in &all {
        // Buffers are whole lines of 128 bytes.
        assert_eq!(bytes[..16], [*b"normpg03", 4096_u64.to_le_bytes()].concat());
        assert_eq!(bytes[16..20], 3_u32.to_le_bytes());
    }
    assert_ne!(all[0][32..], all[1][32..]);
    // What is said of its rank is wrong, or the order of the offers.
    for (is_second, rank) in [(false, 1), (true, 0)] {
        let offer = PeerOffer::new(&contexts[0], options).unwrap();
        let own = offer.to_bytes().unwrap()[0];
        let all = if is_second { [all[1], own] } else { [own, all[1]] };
        let expected = "this process's own offer, of this rank";
        assert_eq!(offer.join(&all, rank).err(), Some(Error::PeerOffer { rank, expected }));
    }
    let [one, other] = offers;
    let groups = [one.join(&all, 0).unwrap(), other.join(&all, 1).unwrap()];
    assert_eq!(groups.each_ref().map(|group| (group.ranks(), group.first())), [(2, 0), (2, 1)]);
}

#[test]
fn preloaded_steps_need_no_loading_later() {
    let (mock, _alone) = setup();
    let before = mock.alive().modules;
    // Types that no other test of this file asks for.
    let preload =
        || device(1).preload_sharded([DType::BF16, DType::F32, DType::BF16], EpilogueRounding::SINGLE);
    assert_eq!(preload(), Ok(()));
    assert_eq!(mock.alive().modules, before + 4);
    assert_eq!(preload(), Ok(()));
    assert_eq!((mock.alive().modules, current()), (before + 4, 0));
}

#[test]
fn shards_are_summed_by_a_function_of_the_engine() {
    let (mock, _alone) = setup();
    let mut group = Group::new();
    let told = std::cell::RefCell::new(Vec::new());
    let reduce = |sums: &RowSums<'_>| {
        assert!(mock.launch().is_some() && mock.launch().is_some() && mock.launch().is_none());
        assert_eq!(sums.group().streams().len(), 2);
        told.borrow_mut().extend(sums.iter().map(|sum| (sum.stream.as_raw(), sum.address, sum.rows)));
        Ok(())
    };
    assert_eq!(group.run_sharded(1024, &reduce, |_| ()), Ok(()));
    let expected = group.tp.streams().iter().zip(&group.sums);
    let expected: Vec<_> =
        expected.map(|(stream, sums)| (stream.as_raw(), sums.as_device_ptr().as_raw(), 4)).collect();
    assert_eq!(*told.borrow(), expected);
    assert!(mock.launch().is_some() && mock.launch().is_some() && mock.launch().is_none());

    let failing = |_: &RowSums<'_>| Err(Error::Reduction { reason: "no route".into() });
    let result = group.run_sharded(1024, &failing, |_| ());
    assert_eq!(result, Err(Error::Reduction { reason: "no route".into() }));
    let kernels =
        [mock.launch(), mock.launch()].map(|launch| launch.expect("a partial sum").kernel().to_owned());
    assert!(kernels.iter().all(|kernel| kernel == "rms_partial_f16_vector"));
    assert!(mock.launch().is_none(), "nothing is scaled by sums that are not there");
}

#[test]
fn shards_are_checked_before_the_first_launch() {
    let (mock, _alone) = setup();
    let mut group = Group::new();
    let nccl = NcclGroup::new(&group.tp).unwrap();
    let short = group.run_sharded(1024, &nccl, |shards| shards.truncate(1));
    assert_eq!(short, Err(Error::ListLength { arg: Arg::Shards, expected: 2, given: 1 }));
    let short = group.run_sharded(1000, &nccl, |_| ());
    assert_eq!(short, Err(Error::SplitRow { here: 1024, given: 1000 }));

    let on_first = group.sums[0].as_device_ptr().as_raw();
    let elsewhere = group.run_sharded(1024, &nccl, |shards| {
        // SAFETY: the operation refuses it, because the memory is the first device's, and accesses nothing.
        shards[1].sums =
            unsafe { ViewMut::from_raw_parts(Place::Cuda(1), on_first, DType::F32, &[4]) }.unwrap();
    });
    let (expected, given) = (Place::Cuda(1), Place::Cuda(0));
    assert_eq!(elsewhere, at(1, Error::Place { arg: Arg::Sums, expected, given }));

    let one = TpContext::on_devices(&[0]).unwrap();
    let too_few = NcclGroup::new(&one).unwrap();
    let result = group.run_sharded(1024, &too_few, |_| ());
    assert_eq!(result, Err(Error::ListLength { arg: Arg::Reduce, expected: 2, given: 1 }));
    let reversed = NcclGroup::new(&TpContext::on_devices(&[1, 0]).unwrap()).unwrap();
    let result = group.run_sharded(1024, &reversed, |_| ());
    let (expected, given) = (Place::Cuda(0), Place::Cuda(1));
    assert_eq!(result, Err(Error::Communicator { index: 0, expected, given }));

    let none: fn(&mut Vec<Shard<'_>>) = |shards| {
        for shard in shards {
            let place = shard.x.place();
            // SAFETY: there are no elements.
            unsafe {
                shard.x = View::from_raw_parts(place, 0, DType::F16, &[0, 512]).unwrap();
                shard.y = ViewMut::from_raw_parts(place, 0, DType::F16, &[0, 512]).unwrap();
                shard.sums = ViewMut::from_raw_parts(place, 0, DType::F32, &[0]).unwrap();
            }
        }
    };
    assert_eq!(group.run_sharded(1024, &nccl, none), Ok(()));
    assert!(mock.launch().is_none());
    assert_eq!(current(), 0);
}

#[test]
fn what_nccl_refuses_is_returned() {
    let (mock, _alone) = setup();
    let mut group = Group::new();
    let nccl = NcclGroup::new(&group.tp).unwrap();
    mock.fail("ncclAllReduce", 2);
    let refused = group.run_sharded(1024, &nccl, |_| ());
    mock.fail("ncclAllReduce", 0);
    let name = "unhandled system error".to_string();
    assert_eq!(refused, Err(Error::Nccl { call: "ncclAllReduce", code: 2, name }));
    assert_eq!(current(), 0);
    // The group that was begun has been ended.
    assert_eq!(group.run_sharded(1024, &nccl, |_| ()), Ok(()));

    let twice =
        TpContext::sharing_devices(vec![Stream::new(&device(0)).unwrap(), Stream::new(&device(0)).unwrap()]);
    let result = NcclGroup::new(&twice.unwrap()).map(drop);
    assert!(matches!(result, Err(Error::Nccl { call: "ncclCommInitRank", code: 5, .. })), "{result:?}");
    assert_eq!(current(), 0);
}

#[test]
fn communicators_are_aborted_after_an_error_and_else_destroyed() {
    let (mock, _alone) = setup();
    let mut group = Group::new();
    let before = mock.alive().communicators;
    let make = |group: &Group| {
        let nccl = NcclGroup::new(&group.tp).unwrap();
        assert_eq!(mock.alive().communicators, before + 2);
        nccl
    };
    // Of the two ways one is barred, so that what is gone went the other way.
    let dropped = |nccl: NcclGroup, barred: &str| {
        mock.fail(barred, 6);
        drop(nccl);
        mock.fail(barred, 0);
        assert_eq!((mock.alive().communicators, current()), (before, 0), "by {barred}");
    };
    let nccl = make(&group);
    assert_eq!(group.run_sharded(1024, &nccl, |_| ()), Ok(()));
    dropped(nccl, "ncclCommAbort");

    let nccl = make(&group);
    mock.fail("ncclAllReduce", 2);
    assert!(group.run_sharded(1024, &nccl, |_| ()).is_err());
    mock.fail("ncclAllReduce", 0);
    dropped(nccl, "ncclCommDestroy");

    let nccl = make(&group);
    mock.fail("ncclCommGetAsyncError", 6);
    let status = nccl.status();
    assert!(matches!(status, Err(Error::Nccl { call: "ncclCommGetAsyncError", code: 6, .. })), "{status:?}");
    mock.fail("ncclCommGetAsyncError", 0);
    dropped(nccl, "ncclCommDestroy");

    // Nobody has asked yet when it is dropped.
    let nccl = make(&group);
    mock.fail("ncclCommGetAsyncError", 6);
    dropped(nccl, "ncclCommDestroy");
    mock.fail("ncclCommGetAsyncError", 0);

    // An engine's own stay, whatever became of them.
    let nccl = make(&group);
    // SAFETY: the stand-in library refuses a null communicator, and accesses nothing.
    let borrowed = unsafe { NcclGroup::from_raw(vec![null_mut(); 2]) }.unwrap();
    assert!(matches!(borrowed.status(), Err(Error::Nccl { code: 4, .. })));
    drop(borrowed);
    assert_eq!(mock.alive().communicators, before + 2);
    dropped(nccl, "ncclCommAbort");
}

#[test]
fn processes_join_by_an_id() {
    let (mock, _alone) = setup();
    // Two groups, as two processes would have them.
    let groups = [0, 1].map(|ordinal| TpContext::on_devices(&[ordinal]).unwrap());
    let id = NcclId::from_bytes(NcclId::new().unwrap().to_bytes());
    let nccl = [0, 1].map(|rank| NcclGroup::join(&groups[rank], id, 2, rank).unwrap());
    assert!(matches!(NcclGroup::join(&groups[0], id, 2, 2), Err(Error::Nccl { code: 4, .. })));
    let sums = buffer(&device(1), &[1.0_f32; 3]);
    let mut sums = [sums];
    let (x, mut y) = (buffer(&device(1), &[0_u16; 24]), buffer(&device(1), &[0_u16; 24]));
    let mut shard = [Shard {
        x: View::from_buffer::<f16>(&x, &[3, 8]).unwrap(),
        w: None,
        y: ViewMut::from_buffer::<f16>(&mut y, &[3, 8]).unwrap(),
        sums: ViewMut::from_buffer::<f32>(&mut sums[0], &[3]).unwrap(),
    }];
    assert_eq!(rms_norm_sharded(&mut shard, 1e-6, 16, &groups[1], &nccl[1]), Ok(()));
    let kernels: Vec<_> = std::iter::from_fn(|| mock.launch()).map(|launch| launch.device).collect();
    assert_eq!(kernels, [1, 1, 1]);
    let raw = vec![null_mut()];
    // SAFETY: the call refuses the group, which has fewer communicators than streams, before it uses one.
    let borrowed = unsafe { NcclGroup::from_raw(raw) }.unwrap();
    let result = Group::new().run_sharded(1024, &borrowed, |_| ());
    assert_eq!(result, Err(Error::ListLength { arg: Arg::Reduce, expected: 2, given: 1 }));
}

/// A row fewer on one device than on the others, with the memory that this takes.
#[test]
fn shards_have_the_same_number_of_rows() {
    let (mock, _alone) = setup();
    let mut group = Group::new();
    let nccl = NcclGroup::new(&group.tp).unwrap();
    for (index, rows) in [(1, 3), (0, 3), (1, 0), (0, 0)] {
        let refused = group.run_sharded(1024, &nccl, |shards| {
            let Shard { x, y, sums, .. } = &mut shards[index];
            let (place, shape) = (x.place(), [rows, 512]);
            // SAFETY: it is the beginning of what was there.
            unsafe {
                *x = View::from_raw_parts(place, x.address(), DType::F16, &shape).unwrap();
                *y = ViewMut::from_raw_parts(place, y.address(), DType::F16, &shape).unwrap();
                *sums = ViewMut::from_raw_parts(place, sums.address(), DType::F32, &[rows]).unwrap();
            }
        });
        let [first, second] = [0, 1].map(|of| Shape::new(&[if of == index { rows } else { 4 }]).unwrap());
        assert_eq!(refused, at(1, Error::Shape { arg: Arg::Sums, expected: first, given: second }));
        assert!(mock.launch().is_none());
    }
}

/// Each tensor that an operation on a group is given, on the other device of the two, under its own device's name.
#[test]
fn every_tensor_is_asked_for_where_it_is() {
    let (mock, _alone) = setup();
    let mut group = Group::new();
    let nccl = NcclGroup::new(&group.tp).unwrap();
    for index in [0, 1] {
        let other = 1 - index;
        let here = Place::Cuda(index as u32);
        let elsewhere =
            |arg| at(index, Error::Place { arg, expected: here, given: Place::Cuda(other as u32) });
        let addresses = |buffers: &[DeviceBuffer<u16>]| buffers[other].as_device_ptr().as_raw();
        let [x, w, y] = [&group.x, &group.w, &group.y].map(|buffers| addresses(buffers));
        let sums = group.sums[other].as_device_ptr().as_raw();
        let view = |address, shape: &[usize]| {
            // SAFETY: refused.
            unsafe { View::from_raw_parts(here, address, DType::F16, shape) }.unwrap()
        };
        let view_mut = |address, dtype, shape: &[usize]| {
            // SAFETY: refused.
            unsafe { ViewMut::from_raw_parts(here, address, dtype, shape) }.unwrap()
        };

        let run = |group: &mut Group, change: &dyn Fn(&mut Lists<'_>)| group.run(1e-6, |lists| change(lists));
        assert_eq!(run(&mut group, &|lists| lists.x[index] = view(x, &ROWS)), elsewhere(Arg::X));
        assert_eq!(run(&mut group, &|lists| lists.w[index] = view(w, &[512])), elsewhere(Arg::W));
        let y_elsewhere = run(&mut group, &|lists| lists.y[index] = view_mut(y, DType::F16, &ROWS));
        assert_eq!(y_elsewhere, elsewhere(Arg::Y));
        let (mut lists, tp) = group.lists(&[512]);
        let mut b = lists.w.clone();
        b[index] = view(w, &[512]);
        let biases = layer_norm_tp(&lists.x, &lists.w, Some(&b), &mut lists.y, 1e-6, tp);
        assert_eq!(biases, elsewhere(Arg::B));

        let mut shards = |change: &dyn Fn(&mut Shard<'_>)| {
            group.run_sharded(1024, &nccl, |shards| change(&mut shards[index]))
        };
        assert_eq!(shards(&|shard| shard.x = view(x, &ROWS)), elsewhere(Arg::X));
        assert_eq!(shards(&|shard| shard.w = Some(view(w, &[512]))), elsewhere(Arg::W));
        assert_eq!(shards(&|shard| shard.y = view_mut(y, DType::F16, &ROWS)), elsewhere(Arg::Y));
        assert_eq!(shards(&|shard| shard.sums = view_mut(sums, DType::F32, &[4])), elsewhere(Arg::Sums));
    }
    assert!(mock.launch().is_none());
    assert_eq!(current(), 0);
}

#[test]
fn a_later_step_that_fails_says_where_and_how_many_went_before() {
    let (mock, _alone) = setup();
    let mut group = Group::new();
    let reduce = |_: &RowSums<'_>| {
        mock.fail("cuLaunchKernelEx@1", INVALID_VALUE);
        Ok(())
    };
    let refused = group.run_sharded(1024, &reduce, |_| ());
    mock.fail("cuLaunchKernelEx@1", 0);
    let Err(Error::Tp { index: 1, place: Place::Cuda(1), launched: 3, source }) = refused else {
        panic!("{refused:?}")
    };
    assert!(matches!(*source, Error::Driver { call: "cuLaunchKernelEx", code: 1, .. }), "{source}");
    let devices: Vec<_> = std::iter::from_fn(|| mock.launch()).map(|launch| launch.device).collect();
    assert_eq!(devices, [0, 1, 0]);
}

/// The stand-in's streams do what they have when they are waited for.
#[test]
fn a_stream_that_fails_keeps_no_other_from_being_waited_for() {
    let (mock, _alone) = setup();
    let group = Group::new();
    for failing in [0, 1] {
        let other = 1 - failing;
        // What was there is copied over the sums of the other device: by its stream, when that is waited for.
        let source = buffer(&device(other as u32), &[failing as f32 + 5.0; 4]);
        let stream = &group.tp.streams()[other];
        {
            let _current = stream.device().enter().unwrap();
            let [to, from] = [&group.sums[other], &source].map(|buffer| buffer.as_device_ptr().as_raw());
            // SAFETY: both have as many bytes, and stay until the stream has been waited for.
            unsafe { cuda_driver::driver().unwrap().copy_async(to, from, 16, stream.as_raw().cast()) }
                .unwrap();
        }
        assert_ne!(group.sums(other), [failing as f32 + 5.0; 4], "not yet");
        let function = format!("cuStreamSynchronize@{failing}");
        mock.fail(&function, INVALID_VALUE);
        let failed = group.tp.synchronize();
        mock.fail(&function, 0);
        let Err(Error::Tp { index, launched: 0, source: error, .. }) = failed else { panic!("{failed:?}") };
        assert_eq!(index, failing);
        assert!(matches!(*error, Error::Driver { call: "cuStreamSynchronize", code: 1, .. }), "{error}");
        assert_eq!(group.sums(other), [failing as f32 + 5.0; 4], "its stream was waited for");
    }
    // If there are several errors, the first is returned.
    mock.fail("cuStreamSynchronize", INVALID_VALUE);
    let failed = group.tp.synchronize();
    mock.fail("cuStreamSynchronize", 0);
    assert!(matches!(failed, Err(Error::Tp { index: 0, .. })), "{failed:?}");
}

#[test]
fn launches_of_a_group_overlap_unless_told_not_to() {
    let (mock, _alone) = setup();
    let mut group = Group::new();
    let nccl = NcclGroup::new(&group.tp).unwrap();
    for overlap in [true, false] {
        let norm = Norm::rms(1e-6).overlap(overlap);
        let (mut lists, tp) = group.lists(&[512]);
        norm.rows_tp(&lists.x, Some(&lists.w), None, &mut lists.y, tp).unwrap();
        norm.heads_tp(&lists.x, None, None, &mut lists.y, tp).unwrap();
        let sums: Vec<_> = group.sums.iter().map(|sums| sums.as_device_ptr().as_raw()).collect();
        let (lists, tp) = group.lists(&[512]);
        let shards = lists.x.into_iter().zip(lists.y).zip(&sums).map(|((x, y), &sums)| {
            // SAFETY: the stand-in runs no kernel, and nobody else uses them.
            let sums = unsafe { ViewMut::from_raw_parts(x.place(), sums, DType::F32, &[4]) }.unwrap();
            Shard { x, w: None, y, sums }
        });
        norm.rows_sharded(&mut shards.collect::<Vec<_>>(), 1024, tp, &nccl).unwrap();
        let launches: Vec<_> = std::iter::from_fn(|| mock.launch()).collect();
        let kernels: Vec<_> = launches.iter().filter(|launch| launch.kernel() != "ncclAllReduce").collect();
        assert_eq!(kernels.len(), 8);
        for launch in kernels {
            assert_eq!(launch.overlap, i32::from(overlap), "{} with {overlap}", launch.kernel());
        }
    }
}
